"""Closed pores of a build file: void that metal encloses on all sides, so that powder stays in it.

The rows that follow pieces of metal from layer to layer follow the gaps between them just as well. What lies left and
right of all metal is outside, as is everything under the first layer and over the last; a gap that hangs together with
it nowhere is a closed pore.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.islands import Island, IslandTracker, Rows

IntArray = NDArray[np.int64]

#: A closed void below this holds no sphere of half a millimetre (0.065 mm3), the narrowest way out of the lattice that
#: counts; it is a notch where struts meet a wall, open by less than the distance of the rows (mm3).
NOTCH_MM3 = 0.065


class VoidFollower:
    """Follows the void of each layer; call :meth:`closed` after the last."""

    def __init__(self, unit_mm: float, layer_mm: float) -> None:
        self._tracker = IslandTracker(layer_mm)
        self._unit_mm = unit_mm
        self._below: tuple[IntArray, NDArray[np.float64], IntArray, IntArray] | None = None
        self._layer = 0

    def take(self, rows: Rows) -> None:
        """Follow one layer."""
        from implantflow.build import check_kernels as kernels

        begin, where, owner = kernels.void_rows(rows.begin, rows.where, rows.owner, len(rows.area))
        # One more loop without points stands for the outside.
        starts = np.append(rows.starts, rows.starts[-1])
        _, piece, total, place = kernels.pieces(
            rows.points, starts, -np.append(rows.area, 0.0), begin, where, owner
        )
        pairs = np.empty((0, 2), dtype=np.int64)
        if self._below is not None:
            pairs = kernels.contacts(*self._below, begin, where, owner, piece)
        areas, places = total * self._unit_mm**2, place * self._unit_mm
        self._tracker.advance(self._layer, pairs, piece, areas, places, grounded=self._below is None)
        self._below = (begin, where, owner, piece)
        self._layer += 1

    def closed(self) -> list[Island]:
        """Voids that reach neither the outside nor the space over the last layer, largest first."""
        groups = {
            held: group
            for held, group in self._tracker.floating().items()
            if held not in self._tracker.alive  # still open at the top
        }
        found = [
            Island(
                group[0].layer, group[0].xy_mm, group[0].area_mm2, None, [], sum(i.volume_mm3 for i in group)
            )
            for group in groups.values()
        ]
        return sorted(found, key=lambda void: (-void.volume_mm3, void.layer, void.xy_mm))
