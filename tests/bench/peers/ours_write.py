"""Ours up to the finished build file, not yet read back: STL (or a case's lattice folder) -> CLI."""

import sys
from pathlib import Path

from implantflow.build.stage import write_build, write_solid


def main(source: str, cli: str, cell: str = "", cell_mm: str = "0", strut_mm: str = "0") -> None:
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
