"""Solids as meshes, plans and files of them: what the tests of the build start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import manifold3d
import numpy as np

from implantflow.build.cli_reader import CliFile
from implantflow.build.cli_writer import CliHeader, CliWriter
from implantflow.build.layers import slice_layers
from implantflow.build.plan import DenseGrid, Plan
from implantflow.build.slicer import Slicer
from implantflow.build.solid import Solid
from implantflow.build.stamps import make_stamps

UNIT, LAYER = 0.005, 0.05
Mesh = tuple[np.ndarray, np.ndarray]

#: Section ``build`` of a case, as far as the tests of the stage do not vary it.
BUILD: dict[str, Any] = {
    "machine": "arcam-a1",
    "orientation": {
        "up_lps": [0, 0, 1],
        "right_lps": [1, 0, 0],
        "support_gap_mm": 1.0,
        "search_directions": 20,
    },
    "limits": {
        "volume_error_pct": 0.5,
        "island_join_max_mm": 2.5,
        "island_area_max_mm2": 2.0,
        "crumb_max_mm3": 2.0,
    },
}


def mesh_of(shape: manifold3d.Manifold) -> Mesh:
    """Vertices and faces of a manifold3d shape."""
    mesh = shape.to_mesh()
    return np.asarray(mesh.vert_properties, dtype=np.float64)[:, :3], np.asarray(mesh.tri_verts)


def plan_for(
    mesh: Mesh,
    lattice: tuple[str, float, float] | None = None,
    dense: DenseGrid | None = None,
    area_min_mm2: float = 0.01,
) -> Plan:
    stamps = None if lattice is None else make_stamps(*lattice, LAYER, UNIT, area_min_mm2)
    return Plan(Solid.of(*mesh), dense, stamps, LAYER, UNIT, 0.2, 0.2, area_min_mm2)


def write_plan(path: Path, plan: Plan, threads: int = 1) -> np.ndarray:
    """Slice a plan into a CLI file; returns the figures of its layers."""
    vertices = plan.solid.vertices_mm
    header = CliHeader(UNIT, plan.layers, np.array([vertices.min(0), vertices.max(0)]))
    with CliWriter(path, header) as writer:
        return slice_layers(Slicer(plan), writer.write, threads)[0]


def user_data(cli: CliFile) -> list[str]:
    """Texts of the ``$$USERDATA`` lines."""
    return [value.split(",", 2)[-1] for key, value in cli.header if key == "USERDATA"]
