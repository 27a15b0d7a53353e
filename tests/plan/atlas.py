"""The pelvis atlas (docs of its folder): closed bones of a subject, and what an expert left of a corridor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from implantflow.geometry import FloatArray, unit
from implantflow.segment.prior import read_atlas_surface
from implantflow.solids.mesh import IntArray, Solid, require_closed

FOLDER = Path(__file__).parents[2] / "../shared/data/pelvis-atlas"


def subjects() -> list[int]:
    """Numbers of the subjects, ascending."""
    return sorted(int(re.findall(r"\d+", p.stem)[0]) for p in (FOLDER / "surface" / "sacrum").glob("*.vtk"))


def bones(subject: int) -> dict[str, Solid]:
    """``sacrum``, ``hip_left`` and ``hip_right`` of one subject, patient LPS mm, their holes filled."""
    files = {"sacrum": "sacrum/Sacrum", "hip_left": "left/LeftHip", "hip_right": "right/RightHip"}
    found = {}
    for name, stem in files.items():
        points, faces = read_atlas_surface(FOLDER / "surface" / f"{stem}{subject}_cpd.vtk")
        found[name] = closed(points, faces, f"{name} of subject {subject}")
    return found


def closed(points: FloatArray, faces: IntArray, name: str) -> Solid:
    """The surface's largest part made manifold, its holes filled."""
    import pymeshlab

    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.add_mesh(pymeshlab.Mesh(points, faces.astype(np.int32)))
    for _ in range(4):
        meshes.meshing_remove_duplicate_faces()
        meshes.meshing_remove_null_faces()
        meshes.meshing_repair_non_manifold_edges(method="Remove Faces")
        meshes.meshing_repair_non_manifold_vertices(vertdispratio=0.0)
        meshes.meshing_remove_connected_component_by_face_number(mincomponentsize=200)
        meshes.meshing_close_holes(maxholesize=2000, newfaceselected=False, selfintersection=False)
    made = meshes.current_mesh()
    solid = Solid.of(made.vertex_matrix(), made.face_matrix())
    if solid.volume_mm3 < 0:
        solid = Solid.of(solid.vertices, solid.faces[:, ::-1])
    require_closed(solid, name)
    return solid


@dataclass(frozen=True)
class Expert:
    """An expert's corridor: line through the middle of the volume, or why there is none."""

    point: FloatArray
    direction: FloatArray
    length_mm: float
    usable: bool
    why: str


def expert(subject: int, level: str) -> Expert | None:
    """The expert's ``Iliosacral {level}`` volume of a subject, None when the atlas has no file."""
    path = (
        FOLDER / "trajectory" / f"Iliosacral {level}" / f"TrajectoryVolume_{subject}_Iliosacral {level}.stl"
    )
    if not path.exists():
        return None
    words = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    points = np.array([w[1:] for w in words if w and w[0] == "vertex"], dtype=np.float64)
    points = np.unique(points, axis=0)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2.0
    # A bundle of straight paths, wide at both ends: its axis joins the middles of the slices across it.
    direction = unit(np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0])
    direction = direction if direction[0] > 0 else -direction
    size = points.max(axis=0) - points.min(axis=0)
    usable = bool(100.0 < size[0] < 220.0 and max(size[1], size[2]) < 75.0 and abs(direction[0]) > 0.95)
    why = "" if usable else f"the volume spans {size[0]:.0f} x {size[1]:.0f} x {size[2]:.0f} mm: no corridor"
    for _ in range(5):
        along = (points - centre) @ direction
        reach = np.quantile(np.abs(along), 0.98)
        middles = []
        for low in np.linspace(-reach, reach, 9)[:-1]:
            part = points[(along >= low) & (along < low + reach / 4.0)]
            if len(part) >= 6:
                flat = part - ((part - centre) @ direction)[:, None] * direction
                middle = (flat.min(axis=0) + flat.max(axis=0)) / 2.0
                middles.append(middle + ((part - centre) @ direction).mean() * direction)
        if len(middles) < 3:
            break
        stack = np.array(middles)
        centre = stack.mean(axis=0)
        new = unit(np.linalg.svd(stack - centre, full_matrices=False)[2][0])
        direction = new if new[0] > 0 else -new
    return Expert(centre, direction, float(size[0]), usable, why)
