"""How far places are from bone and implant: quick on a grid for searches, exact for verdicts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from implantflow.geometry import FloatArray
from implantflow.solids.booleans import crop
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.offset import distance_grid

_STEP_MM = 1.5
_BAND_MM = 8.0
#: Bone outside the box is kept this far, so that distances near the box's border are right.
_BEYOND_MM = 9.0


class Room:
    """Signed distance to the nearest of some solids within a box, negative inside, mm.

    Parameters
    ----------
    solids : name -> Solid
    low_mm, high_mm : (3,) array-likes
        The box that is asked about; outside of it the grid answers with its border.
    """

    def __init__(self, solids: Mapping[str, Solid], low_mm: ArrayLike, high_mm: ArrayLike) -> None:
        self._low = np.asarray(low_mm, dtype=np.float64)
        high = np.asarray(high_mm, dtype=np.float64)
        parts = {
            name: crop(solid, self._low - _BEYOND_MM, high + _BEYOND_MM) for name, solid in solids.items()
        }
        self._solids = {name: part for name, part in parts.items() if len(part.faces)}
        self._surfaces = {name: Surface(part) for name, part in self._solids.items()}
        nodes = np.ceil((high - self._low) / _STEP_MM).astype(int) + 1
        self._shape = (int(nodes[0]), int(nodes[1]), int(nodes[2]))
        self._grid = np.full(self._shape, _BAND_MM)
        for part in self._solids.values():
            np.minimum(
                self._grid, distance_grid(part, self._low, self._shape, _STEP_MM, _BAND_MM), out=self._grid
            )

    def about_mm(self, points: FloatArray) -> FloatArray:
        """Distance (N,) of ``points`` (N, 3), good to about 0.3 mm, at most 8 mm."""
        from scipy.ndimage import map_coordinates

        return np.asarray(
            map_coordinates(self._grid, ((points - self._low) / _STEP_MM).T, order=1, mode="nearest")
        )

    def exactly(self, points: FloatArray) -> tuple[FloatArray, list[str]]:
        """Distance (N,) of ``points`` (N, 3), at most 1000 mm, and the solid that each is nearest to."""
        names = list(self._surfaces)
        each = np.array([self._surfaces[name].signed_distance_mm(points) for name in names])
        return each.min(axis=0), [names[i] for i in each.argmin(axis=0)]
