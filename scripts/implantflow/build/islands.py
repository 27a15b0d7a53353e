"""Pieces of metal that begin on powder: where, how large, and how far up they join the part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray

IntArray = NDArray[np.int64]

#: Distance of the rows on which pieces of neighbouring layers are compared (mm).
ROW_MM = 0.1


def row_places(envelope_mm: float, unit_mm: float) -> FloatArray:
    """Rows across the plate in units, half a unit off, so that no point of a contour lies on one."""
    pitch = max(round(ROW_MM / unit_mm), 1)
    return np.asarray(np.arange(0, envelope_mm / unit_mm, pitch) + 0.5)


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
    """Follows pieces from layer to layer with a union-find over everything that hangs together so far."""

    def __init__(self, layer_mm: float) -> None:
        self._layer_mm = layer_mm
        self.islands: list[Island] = []
        self._parent: list[int] = [0]
        self._members: dict[int, list[int]] = {}
        self._sets: list[int] = []

    def _root(self, a: int) -> int:
        while self._parent[a] != a:
            self._parent[a] = self._parent[self._parent[a]]
            a = self._parent[a]
        return a

    def _unite(self, a: int, b: int, layer: int) -> int:
        a, b = self._root(a), self._root(b)
        if a == b:
            return a
        low, high = min(a, b), max(a, b)
        self._parent[high] = low
        moved = self._members.pop(high, [])
        if low == 0:
            for number in moved:
                self.islands[number].joins_layer = layer
                self.islands[number].loops.clear()
        else:
            self._members.setdefault(low, []).extend(moved)
        return low

    def advance(
        self,
        layer: int,
        pairs: IntArray,
        piece_of_loop: IntArray,
        areas_mm2: NDArray[np.float64],
        places_mm: NDArray[np.float64],
        grounded: bool,
    ) -> None:
        """Take over the pieces of the next layer.

        Parameters
        ----------
        layer : its number.
        pairs : (N, 2) touching pieces of the layer before and of this one.
        piece_of_loop : (L,) which piece each loop bounds.
        areas_mm2, places_mm : (P,), (P, 2) area and a point of each piece.
        grounded : the layer stands on the plate or its supports: all its pieces count as joined.
        """
        sets = [-1] * len(areas_mm2)
        for below, here in pairs.tolist():
            root = self._root(self._sets[below])
            sets[here] = root if sets[here] < 0 else self._unite(sets[here], root, layer)
        for piece, held in enumerate(sets):
            if held >= 0:
                sets[piece] = self._root(held)
            elif grounded:
                sets[piece] = 0
            else:
                number = len(self._parent)
                self._parent.append(number)
                self._members[number] = [len(self.islands)]
                sets[piece] = number
                x, y = places_mm[piece].tolist()
                self.islands.append(Island(layer, (x, y), float(areas_mm2[piece])))
        self._sets = sets
        floating = {piece: held for piece, held in enumerate(sets) if held > 0}
        if not floating:
            return
        for piece, held in floating.items():
            self.islands[self._members[held][0]].volume_mm3 += float(areas_mm2[piece]) * self._layer_mm
        for loop, piece in enumerate(piece_of_loop.tolist()):
            if piece in floating:
                self.islands[self._members[floating[piece]][0]].loops.append((layer, loop))

    def loose(self) -> list[list[Island]]:
        """Groups of islands that hang together but never joined the part."""
        return [[self.islands[n] for n in members] for _, members in sorted(self._members.items())]


class PieceFollower:
    """Finds the pieces of each layer, what they stand on, and keeps the tracker."""

    def __init__(self, unit_mm: float, layer_mm: float) -> None:
        self.tracker = IslandTracker(layer_mm)
        self._unit_mm = unit_mm
        self._below: tuple[IntArray, FloatArray, IntArray, IntArray] | None = None

    def take(
        self,
        layer: int,
        points: FloatArray,
        starts: IntArray,
        area: FloatArray,
        begin: IntArray,
        where: FloatArray,
        owner: IntArray,
    ) -> None:
        """Follow one layer; the arrays are those of :mod:`implantflow.build.check_kernels`, in units."""
        from implantflow.build import check_kernels as kernels

        _, piece, total, place = kernels.pieces(points, starts, area, begin, where, owner)
        pairs = np.empty((0, 2), dtype=np.int64)
        if self._below is not None:
            pairs = np.unique(kernels.contacts(*self._below, begin, where, owner, piece), axis=0)
        grounded = self._below is None
        self.tracker.advance(layer, pairs, piece, total * self._unit_mm**2, place * self._unit_mm, grounded)
        # Metal begins on the plate or its supports: until then every layer is the first.
        if len(piece) or self._below is not None:
            self._below = (begin, where, owner, piece)
