"""Draws that a reader of pelvic scans would accept: a draw outside the ranges is refused and drawn anew."""

from __future__ import annotations

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.phantom.anatomy import Patient, Pose, bones
from implantflow.phantom.grids import BoxField, Grid, surface_points
from implantflow.phantom.parameters import draw
from implantflow.phantom.sacrum_tables import BODY_DEPTH

#: Ranges of an adult pelvis, textbook-like and not measured on a population (phantom.md has their origin).
RANGES = {
    "sacral_width_mm": (104.0, 116.0),
    "sacral_chord_mm": (98.0, 120.0),
    "sacral_inclination_deg": (58.0, 72.0),
    "sacral_volume_ml": (180.0, 230.0),
    "asis_distance_mm": (230.0, 252.0),
    "si_gap_mm": (1.5, 3.0),
}
_COARSE_MM = 3.0
_ATTEMPTS = 25


def measures(patient: Patient) -> dict[str, float]:
    """The figures of :data:`RANGES`, measured on a coarse sampling of the bones."""
    shape = patient.shape
    grid = Grid.spanning((-150, -100, -145), (150, 105, 70), _COARSE_MM)
    found = bones(patient, grid, Pose(np.eye(4), shape.scale))
    sacrum = found["sacrum"].values
    share = np.clip(0.5 - sacrum / _COARSE_MM, 0, 1)
    width = np.ptp(_points(grid, found["sacrum"])[:, 0])
    line = patient.line
    promontory = line.point(0, BODY_DEPTH[0] * shape.endplate_half_depth_mm / 16, 0) * shape.scale
    apex = line.point(0, BODY_DEPTH[-1], 112.0) * shape.scale
    chord = promontory - apex
    asis = []
    for name in ("hip_left", "hip_right"):
        points = _points(grid, found[name])
        upper = points[points[:, 2] > -45]
        asis.append(upper[upper[:, 1] < upper[:, 1].min() + 3, 0].mean())
    return {
        "sacral_width_mm": float(width),
        "sacral_chord_mm": float(np.linalg.norm(chord)),
        "sacral_inclination_deg": float(np.degrees(np.arctan2(chord[2], -chord[1]))),
        "sacral_volume_ml": float(share.sum(dtype=np.float64) * grid.voxel_mm3 / 1000),
        "asis_distance_mm": float(abs(asis[0] - asis[1])),
        "si_gap_mm": shape.si_gap_mm * shape.scale,
    }


def _points(grid: Grid, field: BoxField) -> FloatArray:
    """Surface points (N, 3) of a bone, mm."""
    return transform_points(grid.part(field.box).affine, surface_points(field.values))


def out_of_range(figures: dict[str, float]) -> list[str]:
    """Names of the figures that lie outside :data:`RANGES`."""
    return [name for name, (low, high) in RANGES.items() if not low <= figures[name] <= high]


def draw_in_range(seed: int) -> Patient:
    """The first draw of ``seed`` whose figures all lie in :data:`RANGES`; GeometryError after 25 refusals."""
    for attempt in range(_ATTEMPTS):
        patient = Patient.of(draw(seed, attempt))
        if not out_of_range(measures(patient)):
            return patient
    raise GeometryError(f"no draw of seed {seed} lies in the ranges of an adult pelvis")
