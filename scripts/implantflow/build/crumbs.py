"""Crumbs: bits of lattice that the implant's skin cuts off on all sides. They would lie loose in the powder.

Whether a piece is one shows only further up, where it joins the part or ends. Layers are therefore held back
until every piece in them is decided: a piece that grows beyond the size of a crumb is decided at once, so no
more than a few millimetres of layers wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from implantflow.build.islands import Island, PieceFollower, Rows, row_pitch, row_places
from implantflow.build.plan import Outline
from implantflow.build.stamped import Stamp


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
    width_mm : width of the part along y; pieces are compared on rows over all of it.
    crumb_max_mm3 : a loose piece above this is no leftover of trimming but part of the design that hangs in
        the air; it stays in, for the checks to name.
    """

    def __init__(self, width_mm: float, unit_mm: float, layer_mm: float, crumb_max_mm3: float) -> None:
        self.crumbs = Crumbs()
        self._pitch, self._rows = row_pitch(unit_mm), len(row_places(width_mm, unit_mm))
        self._follower = PieceFollower(unit_mm, layer_mm)
        self._most = crumb_max_mm3
        self._drop: dict[int, set[int]] = {}
        self._pushed = 0
        self._released = 0

    def cut(self, outline: Outline, stamp: Stamp) -> Rows:
        """Cut a layer's loops, and its whole islands, into rows; may run in any thread."""
        from implantflow.build import crumb_kernels

        return Rows(
            *crumb_kernels.cut_rows(
                outline.x, outline.y, outline.starts, outline.whole, *stamp, self._pitch, self._rows
            )
        )

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
        for held, group in tracker.floating().items():
            volume = sum(island.volume_mm3 for island in group)
            if volume > self._most:
                tracker.settle(held)
            elif held in tracker.alive and not last:
                waits = min(waits, *(island.layer for island in group))
            else:
                tracker.settle(held)
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
