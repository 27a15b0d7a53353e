"""Lattice of a hemisacrum-like solid, made and measured, beside a peer that meshes it: python -m tests.bench.porous."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from tests.bench import inputs
from tests.bench.measure import Cost, peer, run

#: Grid of the peer (mm): what it needs to draw a strut of half a millimetre at all.
PEER_GRID_MM = 0.55
#: Cells of ours, with their strut (mm).
CELLS_MADE = (("diamond", "0.67"), ("gyroid", "0.82"))


def porous(work: Path, peers: bool = True) -> list[Cost]:
    """Field made and measured (volumes, pores, islands, powder, cell, windows); PyScaffolder where it is installed."""
    solid = work / "porous.stl"
    inputs.hemisacrum(solid)
    found = [
        run(
            "porous",
            f"implantflow {cell} {strut}",
            peer("ours_field.py", str(solid), cell, "2.5", strut),
            work=1,
        )
        for cell, strut in CELLS_MADE
    ]
    if not peers:
        return found
    if importlib.util.find_spec("PyScaffolder") is None:
        print("porous: PyScaffolder is not installed, so the peer is missing")
        return found
    script = peer("scaffolder_fill.py", str(solid), str(PEER_GRID_MM))
    return [*found, run("porous", f"PyScaffolder gyroid at {PEER_GRID_MM} mm", script, work=1, repeats=1)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for cost in porous(Path(folder)):
            print(f"{cost.name:<40}{cost.cpu_s:8.2f} CPU s{cost.wall_s:8.2f} wall s{cost.peak_mb:8.0f} MB")


if __name__ == "__main__":
    main()
