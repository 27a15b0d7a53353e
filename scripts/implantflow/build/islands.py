"""Pieces of metal that begin on powder: where, how large, and how far up they join the part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray

IntArray = NDArray[np.int64]

#: Distance of the rows on which pieces of neighbouring layers are compared (mm).
ROW_MM = 0.1


def row_pitch(unit_mm: float) -> int:
    """Distance of the rows in units."""
    return max(round(ROW_MM / unit_mm), 1)


def row_places(width_mm: float, unit_mm: float) -> FloatArray:
    """Rows from 0 to ``width_mm`` in units, half a unit off, so that no point of a contour lies on one."""
    pitch = row_pitch(unit_mm)
    return np.asarray(np.arange(0, width_mm / unit_mm + pitch, pitch) + 0.5)


@dataclass
class Island:
    """A piece that had no metal under it when it began.

    Attributes
    ----------
    layer : layer of the file in which it begins. xy_mm : a point of it. area_mm2 : of its first layer.
    joins_layer : layer in which it first touches a piece that stands on the plate, None if never.
    loops : (layer, loop of that layer) of everything in it, kept only while it has not joined.
    volume_mm3 : of those loops.
    """

    layer: int
    xy_mm: tuple[float, float]
    area_mm2: float
    joins_layer: int | None = None
    loops: list[tuple[int, int]] = field(default_factory=list)
    volume_mm3: float = 0.0

    def as_json(self, layer_mm: float, z_mm: float) -> dict[str, Any]:
        """Row of ``checks.json``; heights in mm."""
        joins = None if self.joins_layer is None else (self.joins_layer - self.layer) * layer_mm
        return {
            "layer": self.layer,
            "z_mm": z_mm,
            "xy_mm": list(self.xy_mm),
            "area_mm2": self.area_mm2,
            "joins_after_mm": joins,
        }


class IslandTracker:
    """Follows pieces from layer to layer with a union-find over everything that hangs together so far.

    Set 0 is what stands on the plate; every island that begins on powder opens a set of its own.
    """

    def __init__(self, layer_mm: float) -> None:
        self.islands: list[Island] = []
        self.alive: set[int] = set()
        self._layer_mm = layer_mm
        self._parent: list[int] = [0]
        self._members: dict[int, list[int]] = {}
        self._open: dict[int, None] = {}
        self._sets: IntArray = np.empty(0, dtype=np.int64)

    def _root(self, a: int) -> int:
        while self._parent[a] != a:
            self._parent[a] = self._parent[self._parent[a]]
            a = self._parent[a]
        return a

    def _unite(self, a: int, b: int, layer: int) -> None:
        low, high = sorted((self._root(a), self._root(b)))
        if low == high:
            return
        self._parent[high] = low
        moved = self._members.pop(high)
        self._open.pop(high, None)
        if low == 0:
            for number in moved:
                self.islands[number].joins_layer = layer
                self.islands[number].loops.clear()
        else:
            self._members[low].extend(moved)

    def advance(
        self,
        layer: int,
        pairs: IntArray,
        piece_of_loop: IntArray,
        areas_mm2: FloatArray,
        places_mm: FloatArray,
        grounded: bool,
    ) -> None:
        """Take over the pieces of the next layer.

        Parameters
        ----------
        layer : its number.
        pairs : (N, 2) touching pieces of the layer before and of this one, in any order, also more than once.
        piece_of_loop : (L,) which piece each loop bounds.
        areas_mm2, places_mm : (P,), (P, 2) area and a point of each piece.
        grounded : the layer stands on the plate or its supports: all its pieces count as joined.
        """
        from implantflow.build import follow_kernels

        # Nearly everything stands on the plate; only what does not needs care, one by one.
        sets, loose = follow_kernels.carried(pairs, self._sets, len(areas_mm2), grounded)
        if not len(loose) and not sets.any():
            self._sets, self.alive = sets, set()
            return
        for held, here in zip(self._sets[loose[:, 0]].tolist(), loose[:, 1].tolist(), strict=True):
            if sets[here] < 0:
                sets[here] = held
            else:
                self._unite(int(sets[here]), held, layer)
        for piece in np.nonzero(sets < 0)[0].tolist():
            number = len(self._parent)
            self._parent.append(number)
            self._members[number] = [len(self.islands)]
            self._open[number] = None
            sets[piece] = number
            x, y = places_mm[piece].tolist()
            self.islands.append(Island(layer, (x, y), float(areas_mm2[piece])))
        for piece in np.nonzero(sets > 0)[0].tolist():
            sets[piece] = self._root(int(sets[piece]))
        self._sets = sets
        self.alive = set(sets[sets > 0].tolist())
        if self.alive:
            self._remember(layer, piece_of_loop, areas_mm2)

    def _remember(self, layer: int, piece_of_loop: IntArray, areas_mm2: FloatArray) -> None:
        for piece in np.nonzero(self._sets > 0)[0].tolist():
            first = self._members[int(self._sets[piece])][0]
            self.islands[first].volume_mm3 += float(areas_mm2[piece]) * self._layer_mm
        holder = self._sets[piece_of_loop]
        for loop in np.nonzero(holder > 0)[0].tolist():
            self.islands[self._members[int(holder[loop])][0]].loops.append((layer, loop))

    def floating(self) -> dict[int, list[Island]]:
        """Groups of islands that hang together and have not joined the part, by the number of their set.

        Those of :meth:`settle` are left out.
        """
        return {held: [self.islands[n] for n in self._members[held]] for held in self._open}

    def settle(self, held: int) -> None:
        """Ask no more for a group."""
        del self._open[held]


class Rows(NamedTuple):
    """One layer cut by rows, as :mod:`implantflow.build.check_kernels` and ``crumb_kernels`` return it, in units."""

    points: FloatArray
    starts: IntArray
    area: FloatArray
    begin: IntArray
    where: FloatArray
    owner: IntArray


#: What begins in the part's lowest half millimetre stands on the plate or its supports. The very lowest metal alone
#: would not do: on a tilted part it may be a bit of strut that the skin cut off, and then all else would float.
FOOT_MM = 0.5


class PieceFollower:
    """Finds the pieces of each layer, what they stand on, and keeps the tracker."""

    def __init__(self, unit_mm: float, layer_mm: float) -> None:
        self.tracker = IslandTracker(layer_mm)
        self._unit_mm = unit_mm
        self._below: tuple[IntArray, FloatArray, IntArray, IntArray] | None = None
        self._foot_layers = round(FOOT_MM / layer_mm)

    def take(self, layer: int, rows: Rows) -> None:
        """Follow one layer."""
        from implantflow.build import check_kernels as kernels

        count, piece, total, place = kernels.pieces(
            rows.points, rows.starts, rows.area, rows.begin, rows.where, rows.owner
        )
        pairs = np.empty((0, 2), dtype=np.int64)
        if self._below is not None:
            pairs = kernels.contacts(*self._below, rows.begin, rows.where, rows.owner, piece)
        grounded = self._foot_layers > 0
        self.tracker.advance(layer, pairs, piece, total * self._unit_mm**2, place * self._unit_mm, grounded)
        # Metal begins on the plate or its supports: until then every layer is the first.
        if count or self._below is not None:
            self._below = (rows.begin, rows.where, rows.owner, piece)
            self._foot_layers -= 1
