"""Crumbs: bits of lattice that the implant's skin cuts off on all sides. They would lie loose in the powder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.build.islands import Island, PieceFollower, row_places
from implantflow.build.slicer import Slicer, in_order
from implantflow.geometry import FloatArray


class _Rows(NamedTuple):
    points: FloatArray
    starts: NDArray[np.int64]
    area: FloatArray
    begin: NDArray[np.int64]
    where: FloatArray
    owner: NDArray[np.int64]


@dataclass(frozen=True)
class Crumbs:
    """Loose pieces of a part.

    Attributes
    ----------
    drop : layer -> loops of that layer that belong to crumbs.
    count, volume_mm3 : of the crumbs. largest_mm3 : of the largest.
    """

    drop: dict[int, set[int]]
    count: int
    volume_mm3: float
    largest_mm3: float


def find_crumbs(slicer: Slicer, envelope_mm: float, crumb_max_mm3: float, threads: int) -> Crumbs:
    """Follow all pieces through all layers and collect those that never join the part.

    Only pieces up to ``crumb_max_mm3`` are crumbs. A larger one is left in place, for the checks to name: it
    is no leftover of trimming but a part of the design that hangs in the air.
    """
    from implantflow.build import check_kernels as kernels

    unit = slicer.plan.unit_mm
    rows = row_places(envelope_mm, unit)
    follower = PieceFollower(unit, slicer.plan.layer_mm)

    def make(index: int, scratch: NDArray[np.int32]) -> _Rows:
        outline = slicer.outline(index, scratch)
        points, starts = kernels.close_loops(outline.x, outline.y, outline.starts)
        _, _, area, _ = kernels.loop_figures(points, starts, np.ones(len(starts) - 1, dtype=np.int64))
        begin, where, _, owner = kernels.row_crossings(points, starts, 1, rows)
        return _Rows(points, starts, area, begin, where, owner)

    in_order(
        slicer.plan.layers, make, lambda index, made: follower.take(index, *made), slicer.scratch, threads
    )
    return _collect(follower.tracker.loose(), crumb_max_mm3)


def _collect(groups: list[list[Island]], crumb_max_mm3: float) -> Crumbs:
    drop: dict[int, set[int]] = {}
    volumes = []
    for group in groups:
        volume = sum(island.volume_mm3 for island in group)
        if volume > crumb_max_mm3:
            continue
        volumes.append(volume)
        for layer, loop in (place for island in group for place in island.loops):
            drop.setdefault(layer, set()).add(loop)
    return Crumbs(drop, len(volumes), float(sum(volumes)), float(max(volumes, default=0.0)))
