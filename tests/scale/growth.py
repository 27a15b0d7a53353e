"""How cost grows with the image, the implant and the cohort; writes docs/scale.md.

    python -m tests.scale.growth --state FOLDER [--only image,implant,cohort] [--table docs/scale.md]

``image``: the demo patient (SIMULATED) scanned with voxels of three sizes, run to its plan. ``implant``: solids of
three heights, as a field and as a build file. ``cohort``: dry runs of 1, 10 and 100 copies of the tiny case. Whole
processes on an idle machine, or the figures are too high. What is measured stays in FOLDER; the same command goes on.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tests.bench.measure import Cost, peer, run
from tests.e2e.conftest import Workspace, new_workspace

from implantflow import benchmarks
from implantflow.artifacts import read_json
from implantflow.config.models import LATER

ROOT = Path(__file__).parents[2]
#: Voxels of the planning CT, by how much longer than the demo's (0.8 x 0.8 x 1.0 mm).
STEPS = (2.0, 1.4, 1.0)
#: Jobs that read the planning CT, or what was made of it.
IMAGE_JOBS = (
    "simulate_patient",
    "ingest_series.ct_planning",
    "segment_bones",
    "measure_tumour",
    "plan_resection.p1",
)
HEIGHTS_MM = (89.0, 110.0, 178.0)
COHORTS = (1, 10, 100)
#: Above this the growth is called more than linear: three points carry no more than that.
LINEAR = 1.1

Point = dict[str, Any]


def image(folder: Path) -> Iterator[Point]:
    """Jobs of the demo patient up to the plan, by the voxels of the planning CT."""
    work = Workspace(folder) if (folder / "config").exists() else new_workspace(folder)
    demo = work.read_case("demo")
    for number, step in enumerate(STEPS):
        name = f"image_{number}"
        work.write_case(name, _until_plan(demo, step))
        done = work.snakemake("plan", cases=name)
        if done.returncode:
            raise RuntimeError(f"{name}:\n{done.stderr[-3000:]}")
        manifest = read_json(folder / f"results/{name}/ingest/ct_planning/manifest.json")
        voxels = float(np.prod(manifest["size_ijk"]))
        for row in benchmarks.read(folder / "results" / name):
            if row["job"] in IMAGE_JOBS:
                yield {
                    "what": row["job"], "unit": "million voxels", "size": voxels / 1e6,
                    "cpu_s": row["cpu_s"], "peak_mb": row["peak_rss_mb"], "disk_mb": _disk_mb(folder, name, row["job"]),
                }  # fmt: skip


def _until_plan(demo: dict[str, Any], step: float) -> dict[str, Any]:
    """The demo's config up to its first plan, scanned with voxels ``step`` times as long."""
    later = [section for group in LATER[2:] for section in group]
    dropped = [*later, "followup", "simulated_print", "simulated_followup"]
    case = {k: copy.deepcopy(v) for k, v in demo.items() if k not in dropped}
    operated = [t["series"] for t in demo["followup"]["timepoints"]]
    case["ingest"]["series"] = {k: v for k, v in case["ingest"]["series"].items() if k not in operated}
    case["simulated"]["ct_spacing_mm"] = [round(step * v, 3) for v in demo["simulated"]["ct_spacing_mm"]]
    first = case["plan"]["revisions"][0]
    case["plan"]["revisions"] = [{k: v for k, v in first.items() if k not in ("fixation", "mirror")}]
    return case


def _disk_mb(folder: Path, name: str, job: str) -> float:
    """What the job wrote."""
    told = read_json(folder / f"results/{name}/logs/{job}.job.json")
    found = [folder / p for v in told["outputs"].values() for p in ([v] if isinstance(v, str) else v)]
    files = [f for p in found for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()]
    return sum(f.stat().st_size for f in files) / 1e6


def implant(folder: Path) -> Iterator[Point]:
    """Field and build file of a hemisacrum-like solid, by its volume."""
    for height in HEIGHTS_MM:
        stl, cli = folder / f"solid_{height:.0f}.stl", folder / "solid.cli"
        code = "import sys; from pathlib import Path; from tests.bench import inputs; "
        code += "inputs.hemisacrum(Path(sys.argv[1]), float(sys.argv[2]))"
        subprocess.run([sys.executable, "-c", code, str(stl), str(height)], check=True)
        for what, script, rest in (
            ("field made and measured", "ours_field.py", []),
            ("build file written", "ours_write.py", [str(cli)]),
        ):
            command = peer(script, str(stl), *rest, "diamond", "2.5", "0.5")
            cost = run("implant", what, command, work=1, repeats=2)
            yield _point(what, "mm of height", height, cost, cli.stat().st_size / 1e6 if rest else 0.0)
        cost = run("implant", "read back", peer("ours_check.py", str(cli)), work=1, repeats=1)
        yield _point("build file read back", "mm of height", height, cost, 0.0)


def cohort(folder: Path) -> Iterator[Point]:
    """A dry run of copies of the tiny case: what Snakemake and this project take to know what there is to do."""
    names = [f"copy_{n:03d}" for n in range(max(COHORTS))]
    for count in COHORTS:
        with tempfile.TemporaryDirectory() as empty:
            work = new_workspace(Path(empty) / "w")
            tiny = work.read_case("tiny")
            for name in names[:count]:
                work.write_case(name, tiny)
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "cohort"]
            command += ["--directory", str(work.path), "--dry-run", "--quiet", "--cores", "2"]
            command += ["--config", "cases=" + ",".join(names[:count])]
            cost = run("cohort", "dry run", command, work=count, repeats=1)
        yield _point("dry run", "cases", float(count), cost, 0.0)


def _point(what: str, unit: str, size: float, cost: Cost, disk_mb: float) -> Point:
    return {
        "what": what, "unit": unit, "size": size,
        "cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb, "disk_mb": disk_mb,
    }  # fmt: skip


GROUPS: dict[str, Callable[[Path], Iterator[Point]]] = {"image": image, "implant": implant, "cohort": cohort}


def exponent(points: list[Point], key: str) -> float | None:
    """Slope of log cost over log size (least squares); None where a cost is nothing.

    Fixed cost (imports, 1 to 2 CPU-s and some 150 MB) lowers it: what grows faster than its input shows between the two
    largest, so their slope counts where it is larger.
    """
    size = np.log([p["size"] for p in points])
    cost = np.array([p[key] or 0.0 for p in points])
    if len(points) < 2 or (cost <= 0).any():
        return None
    log = np.log(cost)
    return float(max(np.polyfit(size, log, 1)[0], (log[-1] - log[-2]) / (size[-1] - size[-2])))


def _digits(value: float) -> str:
    """Three digits, none of them behind the point of a hundred or more."""
    return f"{value:.0f}" if value >= 100.0 else f"{value:.3g}"


def table(points: list[Point]) -> list[str]:
    """One row per thing measured: sizes, costs, exponents."""
    lines = [
        "| what | sizes | CPU-s | exponent | peak MB | exponent | MB on disk |",
        "|---|---|---|---|---|---|---|",
    ]
    for what in dict.fromkeys(p["what"] for p in points):
        some = sorted((p for p in points if p["what"] == what), key=lambda p: p["size"])
        sizes = ", ".join(f"{p['size']:.3g}" for p in some) + f" {some[0]['unit']}"
        cells = [what, sizes]
        for key in ("cpu_s", "peak_mb"):
            slope = exponent(some, key)
            shown = "-" if slope is None else f"{slope:.2f}"
            cells += [
                ", ".join(_digits(p[key] or 0.0) for p in some),
                f"**{shown}**" if slope is not None and slope > LINEAR else shown,
            ]
        disk = [p["disk_mb"] for p in some]
        cells.append(", ".join(map(_digits, disk)) if any(disk) else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--only", default=",".join(GROUPS))
    parser.add_argument("--table", type=Path, default=None, help="page whose table is replaced")
    options = parser.parse_args()
    folder = options.state.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    points: list[Point] = []
    for name in GROUPS:
        kept = folder / f"{name}.json"
        if name in options.only.split(",") and not kept.exists():
            kept.write_text(json.dumps(list(GROUPS[name](folder)), indent=1))
        points += json.loads(kept.read_text()) if kept.exists() else []
    lines = table(points)
    print("\n".join(lines))
    if options.table is not None:
        text = options.table.read_text(encoding="utf-8")
        before, rest = text.split("<!-- growth -->\n")
        after = rest.split("<!-- end -->\n")[1]
        options.table.write_text(
            f"{before}<!-- growth -->\n" + "\n".join(lines) + f"\n<!-- end -->\n{after}", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
