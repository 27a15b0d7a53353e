"""The tumour: left S1-S2, growing forward out of the bone; at diagnosis and, smaller, after chemotherapy.

Target sizes are those of the published case (case-report.md): 3.4 x 4.7 x 5 cm and 4.4 x 3.2 x 4.2 cm. The shape
is a lobulated ellipsoid in axes that follow the sacrum at S2, kept out of joints and discs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel
from implantflow.geometry import FloatArray
from implantflow.phantom.anatomy import Patient, Pose
from implantflow.phantom.grids import BoxField, Field, Grid, surface_points
from implantflow.phantom.primitives import noise_at

TIMEPOINTS = ("diagnosis", "preoperative")
#: Station of the tumour's centre on the sacrum: x, u, s (mm).
_CENTRE = (31.5, 7.5, 27.5)
#: Extents to reach: across (x), front to back (u), along the sacrum (s); sorted they are those of the report.
EXTENTS_MM: Mapping[str, tuple[float, float, float]] = {
    "diagnosis": (34.0, 47.0, 50.0),
    "preoperative": (32.0, 42.0, 44.0),
}
#: After chemotherapy it has drawn back towards the bone: shift of the centre along (x, u, s).
_SHIFT: Mapping[str, tuple[float, float, float]] = {
    "diagnosis": (0.0, 0.0, 0.0),
    "preoperative": (0.3, -1.5, 0.5),
}
#: Free distance to the hip bone (the joint's cartilage stops it) and to L5 and its disc.
_FROM_HIP_MM, _FROM_L5_MM = 2.4, 3.0
_MARGIN_MM = 36.0


@dataclass(frozen=True)
class Tumour:
    """One state: its field on a box of the grid and its extents along x, u, s of the sacrum at S2."""

    name: str
    field: BoxField
    extents_mm: FloatArray
    axes: FloatArray


def tumour_axes(patient: Patient) -> FloatArray:
    """Rows: across (left), forward (u) and down (s) at the tumour's station, unit vectors, anatomy frame."""
    s = _CENTRE[2]
    forward = patient.line.point(0, 1, s) - patient.line.point(0, 0, s)
    return np.stack([[1.0, 0.0, 0.0], forward, np.cross([1.0, 0.0, 0.0], forward)])


def tumours(patient: Patient, found: Mapping[str, BoxField], grid: Grid, pose: Pose) -> dict[str, Tumour]:
    """Both states on ``grid``; each state's radii are adjusted until its extents are those wanted."""
    return {name: _tumour(name, patient, found, grid, pose) for name in TIMEPOINTS}


def _tumour(name: str, patient: Patient, found: Mapping[str, BoxField], grid: Grid, pose: Pose) -> Tumour:
    axes = tumour_axes(patient)
    x, u, s = np.array(_CENTRE) + _SHIFT[name]
    centre = patient.line.point(float(x), float(u), float(s))
    box = grid.box(centre - _MARGIN_MM, centre + _MARGIN_MM, pose.lps_from_anatomy)
    part = grid.part(box)
    local = np.eye(4)
    local[:3, :3], local[:3, 3] = axes, -axes @ centre
    matrix = np.ascontiguousarray((local @ pose.anatomy_from_lps @ part.affine)[:3])
    limits = _limits(found, box, part.shape)
    target = np.array(EXTENTS_MM[name])
    radii = target / 2 / pose.scale
    values = np.empty(part.shape, np.float32)
    for _ in range(6):
        # The lobules and the cuts move the extents off the radii: correct the radii by what is missing.
        _fill_tumour(values, matrix, radii, patient.noise, 0, part.shape[0])
        values *= np.float32(pose.scale)
        np.maximum(values, limits, out=values)
        reached = extents(values, matrix) * pose.scale
        radii = radii + np.clip(target - reached, -4, 4) / 2 / pose.scale * 0.8
    return Tumour(name, BoxField(box, values), reached, axes)


def _limits(
    found: Mapping[str, BoxField], box: tuple[slice, slice, slice], shape: tuple[int, int, int]
) -> Field:
    """How far a point lies inside what the tumour spares (positive: forbidden), mm."""
    limits = np.full(shape, -100.0, np.float32)
    whole = BoxField(box, limits)
    for bone, distance in (("hip_left", _FROM_HIP_MM), ("l5", _FROM_L5_MM)):
        if bone not in found:
            continue
        overlap = whole.common(found[bone])
        if overlap is not None:
            mine, theirs = overlap
            np.maximum(limits[mine], distance - found[bone].values[theirs], out=limits[mine])
    return limits


def extents(values: Field, matrix: FloatArray) -> FloatArray:
    """Extents (3,) of the inside along the rows of ``matrix`` (3, 4), which maps (i, j, k, 1) to those axes.

    Surface points are found by linear interpolation between voxels along each grid axis.
    """
    points = surface_points(values)
    along = points @ matrix[:, :3].T
    return np.asarray(np.ptp(along, axis=0))


@kernel
def _fill_tumour(
    out: Field, matrix: FloatArray, radii: FloatArray, noise: NDArray[np.float32], first: int, last: int
) -> None:
    """Lobulated ellipsoid; ``matrix`` maps (i, j, k, 1) to its own axes."""
    smallest = min(radii[0], radii[1], radii[2])
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                u = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                s = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                q = ((x / radii[0]) ** 2 + (u / radii[1]) ** 2 + (s / radii[2]) ** 2) ** 0.5
                lobules = 1.1 * noise_at(noise, x + 61.0, u + 23.0, s, 7.0)
                out[k, j, i] = (q - 1.0) * smallest + lobules + 0.3 * noise_at(noise, x, u, s + 31.0, 3.0)
