"""The torture suite through ours and the peers, row by row: what each makes of the same files.

Part of ``make bench``; alone: ``python -m tests.bench.ingest_torture``. Writes results/bench/ingest_torture.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OUT = Path("results/bench")
ROWS_DIR = Path(__file__).parents[1] / "ingest"
PEERS = ("implantflow", "SimpleITK", "dcm2niix", "highdicom", "dicom2stl")
#: dicom2stl takes seconds a series: one layout of the values, not four.
ONE_LAYOUT = {"dicom2stl": "signed 16 bit"}
LIMIT_MM = 0.15
#: One level must serve balls of 300 and 1000 HU: at the foot of the brighter one's edge a mesh is coarser.
SHAPE_LIMIT_MM = {"dicom2stl": 0.4}
#: Their headers ask for other values, or leave nothing to measure: being read is all that can be said of them.
NOT_MEASURED = ("one slice", "values beyond 16 bits", "inverted")
_ORDER = ("right", "refuses", "accepts", "WRONG, warns", "WRONG")


def main() -> list[dict[str, Any]]:
    """Make the series, run every contestant over them in a process of its own, print and write the table."""
    sys.path.insert(0, str(ROWS_DIR))
    with tempfile.TemporaryDirectory() as work:
        table = _table(Path(work))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "ingest_torture.json").write_text(json.dumps(table, indent=2) + "\n")
    _print(table)
    return table


def _table(work: Path) -> list[dict[str, Any]]:
    from torture_rows import FORMATS, READ, ROWS

    for row, series in ROWS.items():
        for form in FORMATS:
            series.make(form, work / "series" / form / row.replace(" ", "_"))
    found = {peer: _run(peer, work, list(FORMATS)) for peer in PEERS}
    table = []
    for row in ROWS:
        cells = {peer: _worst(found[peer][row], must_refuse=row not in READ) for peer in PEERS}
        table.append({"series": row, "must": "be read" if row in READ else "be refused", **cells})
    return table


def _run(peer: str, work: Path, forms: list[str]) -> dict[str, list[dict[str, Any]]]:
    """row -> what the contestant made of it, one entry a layout."""
    result = work / f"{peer}.json"
    wanted = [ONE_LAYOUT[peer]] if peer in ONE_LAYOUT else forms
    script = Path(__file__).parent / "peers" / "torture_reader.py"
    command = [sys.executable, "-W", "ignore", str(script), peer, str(work / "series"), str(result), *wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"torture/{peer} failed:\n{done.stderr[-3000:]}")
    entries: dict[str, list[dict[str, Any]]] = {}
    for entry in json.loads(result.read_text()):
        entries.setdefault(entry["row"], []).append(entry)
    return entries


def _worst(entries: list[dict[str, Any]], *, must_refuse: bool) -> dict[str, Any]:
    judged = [{"verdict": _verdict(entry, must_refuse), **entry} for entry in entries]
    return max(judged, key=lambda e: (_ORDER.index(e["verdict"]), e.get("centre_mm") or 0.0))


def _verdict(entry: dict[str, Any], must_refuse: bool) -> str:
    """``accepts``: a series that had to be refused is read, though its balls happen to lie right."""
    if entry["refused"]:
        return "refuses"
    if entry["row"] in NOT_MEASURED:
        return "accepts"
    shape_limit = SHAPE_LIMIT_MM.get(entry["reader"], LIMIT_MM)
    right = entry["centre_mm"] < LIMIT_MM and entry["shape_mm"] < shape_limit and entry["hu_error"] < 2
    if right:
        return "accepts" if must_refuse else "right"
    return "WRONG, warns" if entry["warned"] else "WRONG"


def _print(table: list[dict[str, Any]]) -> None:
    print(
        "\nTorture suite: error of the balls' centres, absolute / after the best rigid fit / of their shape, mm; "
        "worst of four layouts of the values"
    )
    print(f"{'series':<50}" + "".join(f"{peer:<27}" for peer in PEERS))
    for line in table:
        print(f"{line['series']:<50}" + "".join(f"{_cell(line[peer]):<27}" for peer in PEERS))


def _cell(entry: dict[str, Any]) -> str:
    if entry["refused"]:
        return "refuses"
    if entry["row"] in NOT_MEASURED:
        return "accepts"
    figures = "/".join(_figure(entry[key]) for key in ("centre_mm", "fitted_mm", "shape_mm"))
    hu = f" HU {entry['hu_error']:.0f}" if 2 <= entry["hu_error"] < 1e6 else ""
    return f"{entry['verdict']} {figures}{hu}"[:26]


def _figure(value: float) -> str:
    return "lost" if value > 1e6 else f"{value:.2f}" if value < 1 else f"{value:.0f}"


if __name__ == "__main__":
    main()
