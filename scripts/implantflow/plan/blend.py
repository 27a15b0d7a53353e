"""Own and mirrored surface blended into one: signed distances mixed by the way to the tumour.

Within ``changed_mm`` of the tumour the surface is the pattern's, beyond ``changed_mm + blend_mm`` the own one, between
them the mix of both by a smooth step, so that neither height nor slope jumps. Where the pattern's own source was near
the tumour there is nothing to borrow: the bone stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.solids.booleans import shells
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.offset import distance_grid, isosurface

_GRID_MM = 0.7
#: Distances are known this far; surfaces farther apart than it cannot be blended.
_BAND_MM = 12.0
#: Pieces smaller than this are crumbs of the grid.
_CRUMB_MM3 = 30.0
OWN, MIRRORED, BLENDED = 0, 1, 2


@dataclass(frozen=True)
class Weights:
    """Share of the mirrored side at a place, from its distance to the tumour and to the pattern's tumour."""

    tumour: Surface
    back: FloatArray
    changed_mm: float
    blend_mm: float

    def at(self, points: FloatArray) -> FloatArray:
        """Share (N,) 0-1 at ``points`` (N, 3)."""
        reach = self.changed_mm + self.blend_mm + 1.0
        near = self._falling(self.tumour.signed_distance_mm(points, reach))
        # The same about the place that the pattern borrows from.
        source = self._falling(self.tumour.signed_distance_mm(transform_points(self.back, points), reach))
        return near * (1.0 - source)

    def _falling(self, away_mm: FloatArray) -> FloatArray:
        t = np.clip((away_mm - self.changed_mm) / self.blend_mm, 0.0, 1.0)
        return np.asarray(1.0 - t * t * (3.0 - 2.0 * t))


def blended(bone: Solid, pattern: Solid, weights: Weights) -> Solid:
    """``bone`` with the pattern's surface where the weights say so, as one surface on an even grid.

    Where the weights vanish it is the bone's own surface, resampled: see :mod:`implantflow.solids.offset` for how near.

    Raises
    ------
    GeometryError
        Pieces fall off where the surfaces are blended.
    """
    room = 4.0 * _GRID_MM
    low, high = bone.bounds_mm[0] - room, bone.bounds_mm[1] + room
    reach = weights.changed_mm + weights.blend_mm + _GRID_MM
    near = weights.tumour.solid.bounds_mm + np.array([[-reach], [reach]])
    low, high = np.minimum(low, near[0] - room), np.maximum(high, near[1] + room)
    shape = _nodes(low, high)
    mixed = distance_grid(bone, low, shape, _GRID_MM, 3.0 * _GRID_MM)
    first = np.floor((near[0] - low) / _GRID_MM).astype(int)
    corner = low + _GRID_MM * first
    size = _nodes(corner, near[1])
    window = tuple(slice(int(a), int(a + n)) for a, n in zip(first, size, strict=True))
    mixed[window] = _mixed(bone, pattern, weights, corner, size)
    whole, *rest = shells(isosurface(mixed, low, _GRID_MM, 0.0))
    lost = sum(abs(piece.volume_mm3) for piece in rest)
    if lost > _CRUMB_MM3:
        raise GeometryError(
            f"the mirrored surface does not join the own one: {lost:.0f} mm3 fall off",
            where="plan.mirror",
            fix="use a wider blend_mm, or leave mirror out",
        )
    return whole


def _nodes(low: FloatArray, high: FloatArray) -> tuple[int, int, int]:
    n = np.ceil((high - low) / _GRID_MM).astype(int) + 1
    return int(n[0]), int(n[1]), int(n[2])


def _mixed(
    bone: Solid, pattern: Solid, weights: Weights, low: FloatArray, shape: tuple[int, int, int]
) -> FloatArray:
    """Signed distances of both surfaces mixed, on a grid about the tumour."""
    own = distance_grid(bone, low, shape, _GRID_MM, _BAND_MM)
    theirs = distance_grid(pattern, low, shape, _GRID_MM, _BAND_MM)
    # Alike on both, or far from both: the share does not matter.
    asked = np.argwhere(np.abs(own - theirs) > 1e-6)
    share = np.zeros(shape)
    share[tuple(asked.T)] = weights.at(low + _GRID_MM * asked)
    return np.asarray((1.0 - share) * own + share * theirs)


def sources(share: FloatArray) -> FloatArray:
    """Code (N,) of each place: own, mirrored or blended."""
    return np.where(share <= 1e-6, OWN, np.where(share >= 1.0 - 1e-6, MIRRORED, BLENDED)).astype(np.uint8)
