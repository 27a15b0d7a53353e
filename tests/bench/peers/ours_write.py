"""Ours up to the finished build file, not yet read back: STL (or a case's lattice folder) -> CLI."""

import sys
from pathlib import Path


def graded(source: str, cli: str, cell: str, cell_mm: float, strut_mm: float, thickest_mm: float) -> None:
    """Struts that thicken from left to right and from bottom to top, on a grid like that of a case."""
    import numpy as np

    from implantflow.build.command import machine_for, place_stl
    from implantflow.build.part import Part
    from implantflow.build.produce import write_build
    from implantflow.field.lattice import Grade, Lattice
    from implantflow.field.material import Material

    machine = machine_for("arcam-a1", None)
    vertices, faces = place_stl(Path(source), machine)
    low, size = vertices.min(0) - 1.0, np.ptp(vertices, axis=0) + 2.0
    share = np.add.outer(
        np.linspace(0.0, 0.5, int(size[2] / 0.5) + 2), np.linspace(0.0, 0.5, int(size[0] / 0.5) + 2)
    )
    strut = strut_mm + (thickest_mm - strut_mm) * share
    grid = np.repeat(np.round(strut * 1e4).astype(np.int16)[:, None, :], int(size[1] / 0.5) + 2, axis=1)
    lattice = Lattice(cell, cell_mm, strut_mm, None, Grade(np.ascontiguousarray(grid), low, np.full(3, 0.5)))
    filling = Material(lattice, low, np.full(3, 0.5))
    part = Part(vertices, faces, None, (cell, cell_mm, strut_mm), filling)
    write_build(Path(cli), part, machine, 0.01, 0.0, {}, False, None, 2)


def main(
    source: str, cli: str, cell: str = "", cell_mm: str = "0", strut_mm: str = "0", thickest: str = ""
) -> None:
    from implantflow.build.command import write_solid
    from implantflow.build.produce import write_build

    if thickest:
        graded(source, cli, cell, float(cell_mm), float(strut_mm), float(thickest))
        return
    if source.endswith(".stl"):
        lattice = (cell, float(cell_mm), float(strut_mm)) if cell else (None, None, None)
        write_solid(Path(source), Path(cli), *lattice, None, "arcam-a1", 2)
        return
    from implantflow.build.part import Part
    from implantflow.build.scale import Scale
    from implantflow.config.build import load_machine
    from implantflow.field.field import Field

    field = Field.load(Path(source) / "field.json", Path(source) / "field.npz")
    machine = load_machine("arcam-a1")
    part = Part.of_field(field, Scale.none(), machine)
    write_build(Path(cli), part, machine, 0.01, 2.0, {}, False, None, 2)


main(*sys.argv[1:])
