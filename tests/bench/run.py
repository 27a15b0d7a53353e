"""``make bench``: every contestant in a process of its own, in one run; writes bench.json and bench.txt."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tests.bench import ingest_torture, inputs, porous, slicing, surface
from tests.bench.measure import Cost, installed, ours, peer, run, warm

OUT = Path("results/bench")


def ingest(work: Path) -> list[Cost]:
    """512 x 512 x 400 DICOM -> compressed NIfTI; ours with every check on."""
    series = work / "series"
    inputs.ct_series(series)
    niix = [installed("dcm2niix"), "-b", "n", "-w", "1", "-f", "out", "-o", str(work)]
    return [
        *arrays(series, niix),
        run("ingest", "implantflow", ours("ingest", str(series), str(work / "ours")), work=400),
        run("ingest", "SimpleITK", peer("sitk_read.py", str(series), str(work / "sitk.nii.gz")), work=400),
        run("ingest", "dcm2niix", [*niix, "-1", "-z", "i", str(series)], work=400, note="zlib level 1"),
    ]


def arrays(series: Path, niix: list[str]) -> list[Cost]:
    """The same series to an array in memory, warm, imports left out; ours with every check on.

    dcm2niix is a program: its whole run, with the uncompressed file it writes, is what it takes to an array.
    """
    readers = ("implantflow", "SimpleITK", "highdicom", "highdicom (int32)")
    return [
        *(warm("array", name, peer("read_array.py", name, str(series), "5"), work=400) for name in readers),
        run("array", "dcm2niix", [*niix, "-z", "n", str(series)], work=400, repeats=6, note="writes a file"),
    ]


def strength() -> list[Cost]:
    """One load case of an implant-like body on 2 mm hexahedra, imports and input files included."""
    solver = Path(__file__).parent / "peers" / "strength_solver.py"
    elements = int(subprocess.run([sys.executable, solver, "count"], capture_output=True, check=True).stdout)
    found = [run("strength", "implantflow", peer(solver.name, "implantflow"), work=elements)]
    if shutil.which("ccx"):
        note = "C3D8I, iterative Cholesky, one core"
        found.append(
            run("strength", "CalculiX", peer(solver.name, "calculix"), work=elements, repeats=1, note=note)
        )
    return found


def beam_paths() -> list[Cost]:
    """Lines to OBP packets in memory, warm, per thousand lines: ours compressed, obplib's (not in the lock) not."""
    found = [warm("obp", "implantflow", peer("obp_write.py", "implantflow", "2000000"), work=2000)]
    if importlib.util.find_spec("obplib") is not None:
        found.append(warm("obp", "obplib", peer("obp_write.py", "obplib", "50000"), work=50))
    return found


def with_ratios(costs: list[Cost]) -> list[dict[str, Any]]:
    """Rows of bench.json: every cost with its ratio to the first of its group, which is ours."""
    first = {cost.group: cost for cost in reversed(costs)}
    return [
        {
            **asdict(cost),
            "cpu_ms_per_unit": cost.cpu_ms_per_unit,
            "ratio_to_ours": cost.cpu_ms_per_unit / first[cost.group].cpu_ms_per_unit,
            "wall_ratio_to_ours": (cost.wall_s / cost.work)
            / (first[cost.group].wall_s / first[cost.group].work),
        }
        for cost in costs
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [
        f"{'group':<9}{'contestant':<52}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}{'ms/unit':>9}{'x ours CPU':>12}"
        f"{'wall':>7}"
    ]
    for row in rows:
        lines.append(
            f"{row['group']:<9}{row['name']:<52}{row['cpu_s']:>8.2f}{row['wall_s']:>8.2f}{row['peak_mb']:>9.0f}"
            f"{row['cpu_ms_per_unit']:>9.2f}{row['ratio_to_ours']:>12.1f}{row['wall_ratio_to_ours']:>7.1f}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    work = OUT / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    costs = ingest(work) + beam_paths() + strength()
    costs += porous.porous(work)
    shutil.rmtree(work)
    ingest_torture.main()
    costs += slicing.main()
    # Rows of the surfaces carry more than a cost: how far off each contestant is (surface.json).
    names = {field.name for field in fields(Cost)}
    costs += [Cost(**{k: v for k, v in row.items() if k in names}) for row in surface.main()]
    rows = with_ratios(costs)
    (OUT / "bench.json").write_text(json.dumps(rows, indent=2) + "\n")
    (OUT / "bench.txt").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
