"""The page docs/validation/lattice.md: cells and a hemisacrum-like part, made, measured, and timed beside a peer.

    python -m tests.lattice.validation --table docs/validation/lattice.md

About two minutes, and six more where PyScaffolder is installed (``make install-bench``).
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from pathlib import Path

import numpy as np
from tests.bench import inputs
from tests.bench.porous import CELLS_MADE, porous

from implantflow.artifacts import read_stl
from implantflow.field.cells import CELLS, cell_value, occupancy
from implantflow.field.make import make_field
from implantflow.lattice.cell_measures import measure_cell
from implantflow.lattice.part_measures import measure_part, measure_window, porous_windows

CELL_MM = 2.5
STRUTS_MM = {
    "diamond": (0.5, 0.6, 0.65, 0.7),
    "rhombic_dodecahedron": (0.3, 0.5, 0.67),
    "gyroid": (0.4, 0.67, 0.82),
    "gyroid_sheet": (0.2, 0.3, 0.5),
}
#: Points along each edge of a cell for the reference: one at random in each of 8 million little cubes.
REFERENCE_POINTS = 200

TEXT = """\
# Lattice: what is measured of it

Made by `python -m tests.lattice.validation --table docs/validation/lattice.md`. {machine}, Python {python}.

## Share of metal of a cell

Cells of 2.5 mm. "By volume" is what the stage works with (40 voxels a side, each filled in part); the reference counts
8 million points of the exact distance, one at random in each of 8 million little cubes. That the distance itself is
right is tested against geometry that does not use it (`tests/field/test_cells.py`).

| cell | strut or wall, mm | by volume, % | reference, % | off, % of it |
|---|---|---|---|---|
{shares}

## Pores of a cell

Throat: the largest ball that can wander through the pores without end, on nodes of the last column.

| cell | strut or wall, mm | pore, um | throat, um | nodes, um |
|---|---|---|---|---|
{pores}

## A hemisacrum-like part

89 x 58 x 110 mm with a dense strut of 10 mm through it, field on 0.5 mm, measured on 0.2 mm: volumes, closed pores,
loose pieces, powder that cannot escape, windows of pores. Windows on nodes of {window_um:.0f} um and twice as coarse:

| cell | solid, cm3 | porosity, % | closed pores | loose | powder pockets | pore, um | coarser, um |
|---|---|---|---|---|---|---|---|
{parts}

Twenty closed pores and twenty loose pieces planted in a block of 20 mm are all found, and nothing else
(`tests/lattice/test_part_measures.py`).

## Cost

Every row a whole process with its imports, kernels compiled before. Ours: field and all measures above. {peer}

| contestant | CPU s | wall s | peak MB |
|---|---|---|---|
{costs}
"""

PEER = """PyScaffolder
only fills the same solid with a gyroid's triangles, at the coarsest grid that draws half a millimetre, and measures
nothing."""
NO_PEER = """PyScaffolder was
left out of this run (`--no-peer`)."""


def shares() -> list[str]:
    """Rows of the first table."""
    rows = []
    for cell in CELLS:
        for strut in STRUTS_MM[cell]:
            volume = 100.0 * float(occupancy(cell, CELL_MM, strut, 40).mean())
            reference = 100.0 * _counted(cell, strut)
            off = 100.0 * (volume / reference - 1.0)
            rows.append(f"| {cell} | {strut} | {volume:.2f} | {reference:.2f} | {off:+.2f} |")
    return rows


def _counted(cell: str, strut_mm: float) -> float:
    """Share of metal by points, one plane of little cubes after the other."""
    random = np.random.default_rng(11)
    n, step = REFERENCE_POINTS, CELL_MM / REFERENCE_POINTS
    y, x = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    inside = 0
    for z in range(n):
        place = np.column_stack([x.ravel(), y.ravel(), np.full(n * n, z)])
        inside += int(
            (cell_value(cell, CELL_MM, strut_mm, (place + random.random(place.shape)) * step) < 0).sum()
        )
    return inside / n**3


def pores() -> list[str]:
    """Rows of the second table."""
    rows = []
    for cell in CELLS:
        for strut in STRUTS_MM[cell]:
            found = measure_cell(cell, CELL_MM, strut)
            rows.append(
                f"| {cell} | {strut} | {1000 * found.pore_mm:.0f} | {1000 * found.throat_mm:.0f} | "
                f"{1000 * found.resolution_mm:.0f} |"
            )
    return rows


def parts(solid: Path) -> tuple[list[str], float]:
    """Rows of the third table, and the node size of its windows in um."""
    rows, window_um = [], 0.0
    read, faces = read_stl(solid)
    vertices = read.astype(np.float64)
    regions = inputs.strut_through(vertices)
    for cell, strut in CELLS_MADE:
        field = make_field(vertices, faces, regions, np.eye(4), cell, CELL_MM, float(strut), 0.5)
        part = measure_part(field, 0.2, 0.2, 0.5, 2)
        windows = [measure_window(field, corner) for corner in porous_windows(field)]
        fine, coarse = [w["pore_um"] for w in windows], [w["coarser"]["pore_um"] for w in windows]
        window_um = windows[0]["resolution_um"]
        rows.append(
            f"| {cell} {strut} | {part.volumes.solid_mm3 / 1000:.1f} | "
            f"{100 * (1 - part.volumes.relative_density):.2f} | {len(part.closed_pores)} | {len(part.loose)} | "
            f"{len(part.pockets)} | {min(fine):.0f}-{max(fine):.0f} | {min(coarse):.0f}-{max(coarse):.0f} |"
        )
    return rows, window_um


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True, help="page to write")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer's cost out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = porous(Path(folder), not options.no_peer)
        costs = [f"| {c.name} | {c.cpu_s:.1f} | {c.wall_s:.1f} | {c.peak_mb:.0f} |" for c in made]
        measured, window_um = parts(Path(folder) / "porous.stl")
    options.table.write_text(
        TEXT.format(
            machine=platform.machine(),
            python=platform.python_version(),
            shares="\n".join(shares()),
            pores="\n".join(pores()),
            window_um=window_um,
            parts="\n".join(measured),
            costs="\n".join(costs),
            peer=NO_PEER if options.no_peer else PEER,
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
