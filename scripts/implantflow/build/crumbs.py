"""Crumbs: bits of lattice that the implant's skin cuts off on all sides. They would lie loose in the powder.

Whether a piece is one shows only further up, where it joins the part or ends. Layers are therefore held back
until every piece in them is decided: a piece that grows beyond the size of a crumb is decided at once, so no
more than a few millimetres of layers wait.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implantflow.build.islands import IntArray, Island, PieceFollower, Rows
from implantflow.geometry import FloatArray


@dataclass(frozen=True)
class Crumbs:
    """What was left out of a part: number of crumbs, their volume and the largest (mm3)."""

    count: int = 0
    volume_mm3: float = 0.0
    largest_mm3: float = 0.0

    def and_of(self, other: Crumbs) -> Crumbs:
        """Those of two parts in one file."""
        return Crumbs(
            self.count + other.count,
            self.volume_mm3 + other.volume_mm3,
            max(self.largest_mm3, other.largest_mm3),
        )


class CrumbFilter:
    """Decides layer by layer which loops belong to crumbs.

    Parameters
    ----------
    row_places : rows in units on which pieces are compared.
    crumb_max_mm3 : a loose piece above this is no leftover of trimming but part of the design that hangs in
        the air; it stays in, for the checks to name.
    """

    def __init__(self, row_places: FloatArray, unit_mm: float, layer_mm: float, crumb_max_mm3: float) -> None:
        self.crumbs = Crumbs()
        self._rows = row_places
        self._follower = PieceFollower(unit_mm, layer_mm)
        self._most = crumb_max_mm3
        self._decided: set[int] = set()
        self._drop: dict[int, set[int]] = {}
        self._pushed = 0
        self._released = 0

    def cut(self, xs: IntArray, ys: IntArray, starts: IntArray) -> Rows:
        """Cut a layer's loops (units) into rows; may run in any thread."""
        from implantflow.build import check_kernels as kernels

        points, begins = kernels.close_loops(xs, ys, starts)
        _, _, area, _ = kernels.loop_figures(points, begins, np.ones(len(begins) - 1, dtype=np.int64))
        begin, where, _, owner = kernels.row_crossings(points, begins, 1, self._rows)
        return Rows(points, begins, area, begin, where, owner)

    def push(self, rows: Rows) -> None:
        """Follow the next layer."""
        self._follower.take(self._pushed, rows)
        self._pushed += 1

    def ready(self, last: bool = False) -> list[tuple[int, set[int]]]:
        """Layers that are decided now, in order, each with the loops to leave out.

        ``last``: no more layers will come, so everything is decided.
        """
        tracker = self._follower.tracker
        waits = self._pushed
        for held, group in tracker.floating(self._decided).items():
            volume = sum(island.volume_mm3 for island in group)
            if volume > self._most:
                self._decided.add(held)
            elif held in tracker.alive and not last:
                waits = min(waits, *(island.layer for island in group))
            else:
                self._decided.add(held)
                self._leave_out(group, volume)
        done = [(layer, self._drop.pop(layer, set())) for layer in range(self._released, waits)]
        self._released = max(self._released, waits)
        return done

    def _leave_out(self, group: list[Island], volume_mm3: float) -> None:
        for layer, loop in (place for island in group for place in island.loops):
            self._drop.setdefault(layer, set()).add(loop)
        self.crumbs = Crumbs(
            self.crumbs.count + 1,
            self.crumbs.volume_mm3 + volume_mm3,
            max(self.crumbs.largest_mm3, volume_mm3),
        )
