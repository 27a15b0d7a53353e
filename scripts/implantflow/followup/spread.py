"""The scan's point spread, measured on the implant itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from implantflow.followup.design import Blur, Coverage
from implantflow.followup.evenness import within_blocks
from implantflow.followup.metal_fit import FIRST_GUESS, Voxels
from implantflow.followup.texture import texture_left
from implantflow.geometry import FloatArray, invert_rigid, transform_points

#: Height of the slab of the implant that is looked at, and how far from its cut sides voxels must lie, mm.
_SLAB_MM = 26.0
_CLEAR_MM = 4.0
_POINTS = 20_000
#: Ratios between widths that are tried, wide to narrow steps; the last is the resolution of the answer.
_RATIOS = (1.3, 1.1, 1.03)
#: No clinical scan is sharper or more blurred, mm (standard deviation).
_LIMITS_MM = (0.2, 1.6)


def measure_blur(coverage: Coverage, voxels: Voxels, pose: FloatArray) -> Blur:
    """The point spread with which the design explains most of the scan.

    Parameters
    ----------
    coverage : Coverage
        The design.
    voxels : Voxels
        Around the implant, not smoothed.
    pose : (4, 4)
        scan_from_design, right to a fraction of the point spread.
    """
    places = transform_points(invert_rigid(pose), voxels.places)
    height = transform_points(coverage.build_from_patient, places)[:, 2]
    middle = float(np.median(height))
    near = np.flatnonzero(np.abs(height - middle) < _SLAB_MM / 2 - _CLEAR_MM)
    near = near[:: max(1, len(near) // _POINTS)]
    places = places[near]
    # As with the pose, only what differs between neighbours counts: shading is no matter of the point spread.
    hu = within_blocks(voxels.hu[near][:, None], places)[:, 0]
    part = coverage.slab(middle - _SLAB_MM / 2, middle + _SLAB_MM / 2)
    costs: dict[tuple[float, float], float] = {}

    def cost(in_plane: float, axial: float) -> float:
        key = (round(in_plane, 6), round(axial, 6))
        if key not in costs:
            share = part.blurred(Blur(in_plane, axial), pose).values(places)
            # Absolute residuals: bone beside the part and streaks must not decide.
            costs[key] = float(np.abs(texture_left(share, hu, places)[0]).mean())
        return costs[key]

    best = (FIRST_GUESS.in_plane_mm, FIRST_GUESS.axial_mm)
    for ratio in _RATIOS:
        best = _descend(cost, best, ratio)
    return Blur(*best)


def _descend(
    cost: Callable[[float, float], float], start: tuple[float, float], ratio: float
) -> tuple[float, float]:
    """The pair from which no step by ``ratio`` along either width lowers the cost."""
    best = start
    while True:
        around = [
            (best[0] * a, best[1] * b)
            for a, b in ((1, 1), (ratio, 1), (1 / ratio, 1), (1, ratio), (1, 1 / ratio))
        ]
        around = [pair for pair in around if all(_LIMITS_MM[0] <= s <= _LIMITS_MM[1] for s in pair)]
        better = min(around, key=lambda pair: cost(*pair))
        if cost(*better) >= cost(*best):
            return best
        best = better
