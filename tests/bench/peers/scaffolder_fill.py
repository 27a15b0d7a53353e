"""PyScaffolder fills a solid with a gyroid mesh: SOLID.stl GRID_MM."""

from __future__ import annotations

import sys

import numpy as np
import PyScaffolder
import trimesh

mesh = trimesh.load(sys.argv[1])
parameter = PyScaffolder.Parameter()
parameter.surface_name = "gyroid"
parameter.coff = 2.0 * np.pi / 2.5
# It divides the shortest edge of the bounding box by this number (seen in where its vertices lie).
parameter.grid_size = round(float(mesh.extents.min()) / float(sys.argv[2]))
PyScaffolder.generate_scaffold(mesh.vertices.tolist(), mesh.faces.tolist(), parameter)
