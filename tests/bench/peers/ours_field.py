"""Field of a solid with a strut, made and measured as the lattice stage does: SOLID.stl CELL CELL_MM STRUT_MM."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.bench.inputs import strut_through

from implantflow.artifacts import read_stl
from implantflow.field.make import make_field
from implantflow.lattice.cell_measures import measure_cell
from implantflow.lattice.part_measures import measure_part, measure_window, porous_windows

solid, cell, cell_mm, strut_mm = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
vertices, faces = read_stl(Path(solid))
vertices = vertices.astype(np.float64)
field = make_field(vertices, faces, strut_through(vertices), np.eye(4), cell, cell_mm, strut_mm, 0.5)
part = measure_part(field, 0.2, 0.2, 0.5, 2)
figures = measure_cell(cell, cell_mm, strut_mm)
windows = [measure_window(field, corner) for corner in porous_windows(field)]
print(f"{part.volumes.solid_mm3:.0f} mm3, porosity {1 - part.volumes.relative_density:.4f},")
print(f"closed {len(part.closed_pores)}, loose {len(part.loose)}, pockets {len(part.pockets)},")
print(f"throat {figures.throat_mm:.3f} mm, pore {figures.pore_mm:.3f} mm")
for window in windows:
    print(f"pore {window['pore_um']:.0f} um (coarser: {window['coarser']['pore_um']:.0f})")
