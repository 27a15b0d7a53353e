"""The project's own shape template: a tumour-free draw of the phantom that no test patient shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import write_npz
from implantflow.config.simulated import TEMPLATE_SEED
from implantflow.jobs import Job, progress
from implantflow.phantom.anatomy import Pose, bones
from implantflow.phantom.grids import Grid, largest_piece
from implantflow.phantom.landmarks import LANDMARKS, landmarks_lps
from implantflow.phantom.population import draw_in_range
from implantflow.phantom.surfaces import decimated, surface

TEMPLATE_BONES = ("sacrum", "hip_left", "hip_right", "l5", "l4", "coccyx")
_SPACING_MM = 1.0
_FACES = 10_000


def make_template(job: Job) -> None:
    """Write the output ``template`` (npz): surfaces and landmarks, see :func:`template_arrays`."""
    write_npz(job.outputs["template"], template_arrays(job.threads))


def template_arrays(threads: int = 1) -> dict[str, NDArray[np.generic]]:
    """Arrays of the template, in its own frame (axes as patient LPS, mm).

    ``<bone>_vertices`` (N, 3) float32 and ``<bone>_faces`` (M, 3) int32 of every bone in
    :data:`TEMPLATE_BONES`, closed, about 5000 vertices each; ``landmark_names`` (12,) and ``landmarks_lps_mm``
    (12, 3). Hip bones end at the lower border of the frame, below the hip joint.
    """
    progress("template: drawing a shape")
    patient = draw_in_range(TEMPLATE_SEED)
    pose = Pose(np.eye(4), patient.shape.scale)
    grid = Grid.spanning((-158, -105, -140), (158, 105, 105), _SPACING_MM)
    fields = bones(patient, grid, pose, threads)
    arrays: dict[str, NDArray[np.generic]] = {}
    meshes = {}
    for name in TEMPLATE_BONES:
        progress(f"template: surface of {name}")
        meshes[name] = surface(largest_piece(fields[name]), grid)
        vertices, faces = decimated(meshes[name], min(_FACES, len(meshes[name][1])))
        arrays[f"{name}_vertices"] = vertices.astype(np.float32)
        arrays[f"{name}_faces"] = faces.astype(np.int32)
    landmarks = landmarks_lps(patient, meshes, pose)
    arrays["landmark_names"] = np.array(LANDMARKS)
    arrays["landmarks_lps_mm"] = np.array([landmarks[name] for name in LANDMARKS])
    return arrays
