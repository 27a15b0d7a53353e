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
from implantflow.solids.booleans import difference, intersection, shells, union
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.offset import distance_grid, isosurface

_GRID_MM = 0.8
#: Distances are known this far; surfaces farther apart than it cannot be blended.
_BAND_MM = 12.0
#: Pieces smaller than this are crumbs of the boolean along the border.
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
    """``bone`` with the pattern's surface where the weights say so; untouched where they vanish.

    Raises
    ------
    GeometryError
        The blend falls into pieces.
    """
    reach = weights.changed_mm + weights.blend_mm
    tumour = weights.tumour.solid
    low, high = tumour.bounds_mm[0] - reach - 3.0 * _GRID_MM, tumour.bounds_mm[1] + reach + 3.0 * _GRID_MM
    n = np.ceil((high - low) / _GRID_MM).astype(int) + 1
    shape = (int(n[0]), int(n[1]), int(n[2]))
    nodes = low + _GRID_MM * np.stack(np.meshgrid(*[np.arange(m) for m in shape], indexing="ij"), -1)
    own = distance_grid(bone, low, shape, _GRID_MM, _BAND_MM)
    theirs = distance_grid(pattern, low, shape, _GRID_MM, _BAND_MM)
    share = np.zeros(shape)
    # Far from both surfaces, or alike on both, the share does not matter.
    asked = np.abs(own - theirs) > 1e-6
    share[asked] = weights.at(nodes[asked])
    mixed = (1.0 - share) * own + share * theirs
    changed = share > 0.0
    if not changed.any():
        return bone
    region = _region(tumour, weights, low, shape)
    # Closed at the box: outside of the region the mix is not used.
    for axis in range(3):
        for end in (0, -1):
            side = np.moveaxis(mixed, axis, 0)
            side[end] = np.maximum(side[end], _GRID_MM)
    inside = intersection(isosurface(mixed, low, _GRID_MM, 0.0), region)
    whole, *rest = shells(union(difference(bone, region), inside))
    lost = sum(abs(piece.volume_mm3) for piece in rest)
    if lost > _CRUMB_MM3:
        raise GeometryError(
            f"the mirrored surface does not join the own one: {lost:.0f} mm3 fall off",
            where="plan.mirror",
            fix="use a wider blend_mm, or leave mirror out",
        )
    return whole


def _region(tumour: Solid, weights: Weights, low: FloatArray, shape: tuple[int, int, int]) -> Solid:
    """What lies within reach of the blend about the tumour."""
    reach = weights.changed_mm + weights.blend_mm
    grid = distance_grid(tumour, low, shape, _GRID_MM, reach + 3.0 * _GRID_MM)
    return isosurface(grid, low, _GRID_MM, reach)


def sources(share: FloatArray) -> FloatArray:
    """Code (N,) of each place: own, mirrored or blended."""
    return np.where(share <= 1e-6, OWN, np.where(share >= 1.0 - 1e-6, MIRRORED, BLENDED)).astype(np.uint8)
