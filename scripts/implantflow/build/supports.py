"""Supports: thin walls of single lines under dense surface that faces down, with teeth where they touch the part.

Walls run along x and along y, one or more under every patch of surface that needs them, from the plate or from what of
the part lies below. Close to the part only teeth go on: they carry heat away and hold the surface down, and break off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.build.overhang import Overhang
from implantflow.config.build import Supports
from implantflow.geometry import FloatArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Half the length of a tooth, and how far a wall reaches beyond the middle of its last column (mm).
HALF_TOOTH_MM = 0.2


class Wall(NamedTuple):
    """Columns of all walls along one axis, sorted along them.

    axis : 0 where the walls run along x. line, place : (N,) number of the wall's row and of the column in it.
    x_mm, y_mm, foot_mm, top_mm : (N,) where, and between what heights the column is open. on_plate, tooth : (N,).
    """

    axis: int
    line: IntArray
    place: IntArray
    x_mm: FloatArray
    y_mm: FloatArray
    foot_mm: FloatArray
    top_mm: FloatArray
    on_plate: BoolArray
    tooth: BoolArray


def _chosen(patch: IntArray, across: IntArray, every: int) -> BoolArray:
    """Rows of each patch that carry a wall: every n-th, as far from both ends as can be, at least one."""
    keep = np.zeros(len(patch), dtype=bool)
    for number in range(int(patch.max(initial=-1)) + 1):
        here = patch == number
        first, last = int(across[here].min()), int(across[here].max())
        offset = ((last - first) % every) // 2
        keep |= here & ((across - first - offset) % every == 0)
    return keep


def _teeth(line: IntArray, place: IntArray, patch: IntArray, every: int) -> BoolArray:
    """Columns that carry teeth: counted from the start of each run of neighbours, so that every run has one."""
    if not len(line):
        return np.zeros(0, dtype=bool)
    new = np.ones(len(line), dtype=bool)
    new[1:] = (np.diff(line) != 0) | (np.diff(place) > 1) | (np.diff(patch) != 0)
    run = np.cumsum(new) - 1
    within = place - place[np.flatnonzero(new)][run]
    return np.asarray(within % every == np.minimum(np.bincount(run) - 1, every - 1)[run] // 2)


def _walls(hangs: Overhang, settings: Supports, axis: int) -> Wall:
    column, patch = hangs.column, hangs.patches
    place = (column % hangs.width, column // hangs.width)
    along, across = (place[0], place[1]) if axis == 0 else (place[1], place[0])
    keep = np.flatnonzero(_chosen(patch, across, max(round(settings.pitch_mm / hangs.step_mm), 1)))
    keep = keep[np.lexsort([along[keep], patch[keep], across[keep]])]
    tooth = _teeth(
        across[keep], along[keep], patch[keep], max(round(settings.tooth_pitch_mm / hangs.step_mm), 1)
    )
    order = np.lexsort([hangs.top_mm[keep], along[keep], across[keep]])
    keep, tooth = keep[order], tooth[order]
    line, spot = across[keep], along[keep]
    x, y = hangs.places_mm[keep].T
    return Wall(axis, line, spot, x, y, hangs.foot_mm[keep], hangs.top_mm[keep], hangs.on_plate[keep], tooth)


@dataclass(frozen=True)
class DrawnSupports:
    """Walls ready to be drawn layer by layer.

    Attributes
    ----------
    walls : those along x and those along y, of every solid. layer_mm, unit_mm : of the file.
    """

    walls: tuple[Wall, ...]
    settings: Supports
    layer_mm: float
    unit_mm: float

    @classmethod
    def under(
        cls, hangs: list[Overhang], settings: Supports, layer_mm: float, unit_mm: float
    ) -> DrawnSupports:
        """Supports of all dense surface that faces down, of one or more solids."""
        walls = tuple(_walls(one, settings, axis) for one in hangs for axis in (0, 1))
        return cls(walls, settings, layer_mm, unit_mm)

    @property
    def layers(self) -> int:
        """Number of layers from the plate up to the highest tooth."""
        top = max((float(w.top_mm.max(initial=0.0)) for w in self.walls), default=0.0)
        return math.ceil((top + self.settings.overlap_mm) / self.layer_mm) if top > 0 else 0

    def lines(self, layer: int) -> IntArray:
        """(N, 4) lines of a layer counted from the plate, in units, walls to and fro."""
        z = (layer + 0.5) * self.layer_mm
        return np.concatenate([self._lines(wall, z) for wall in self.walls])

    def _lines(self, wall: Wall, z: float) -> IntArray:
        free, overlap = self.settings.tooth_height_mm, self.settings.overlap_mm
        whole = (z < wall.top_mm - free) & (wall.on_plate | (z > wall.foot_mm + free))
        touching = (z < wall.top_mm + overlap) & (wall.on_plate | (z > wall.foot_mm - overlap))
        keep = np.flatnonzero(whole | (wall.tooth & touching))
        if not len(keep):
            return np.empty((0, 4), dtype=np.int64)
        line, place, joined = wall.line[keep], wall.place[keep], whole[keep]
        new = np.ones(len(keep), dtype=bool)
        new[1:] = (np.diff(line) != 0) | (np.diff(place) != 1) | ~(joined[1:] & joined[:-1])
        first = np.flatnonzero(new)
        last = np.append(first[1:], len(keep)) - 1
        along, across = (wall.x_mm, wall.y_mm) if wall.axis == 0 else (wall.y_mm, wall.x_mm)
        begin, end = along[keep[first]] - HALF_TOOTH_MM, along[keep[last]] + HALF_TOOTH_MM
        odd = line[first] % 2 == 1
        begin, end = np.where(odd, end, begin), np.where(odd, begin, end)
        middle = across[keep[first]]
        ends = [begin, middle, end, middle] if wall.axis == 0 else [middle, begin, middle, end]
        return np.round(np.column_stack(ends) / self.unit_mm).astype(np.int64)


class SupportReader:
    """Follows the supports of a file that is read back: where they lie in metal, and how high they reach.

    ``hangs`` : the columns under the part's down-facing surface, found on the mesh, not on the supports.
    """

    def __init__(self, hangs: Overhang, unit_mm: float, layer_mm: float) -> None:
        self.longest_in_metal_mm = 0.0
        self.length_mm = 0.0
        self.places: list[str] = []
        self._hangs = hangs
        self._unit_mm, self._layer_mm = unit_mm, layer_mm
        # The layer right under the surface of every column; it must be reached there or close by.
        self._under = np.floor(hangs.top_mm / layer_mm - 0.5 + 1e-9).astype(np.int64)
        self._reached = np.zeros(len(hangs.column), dtype=bool)
        self._order = np.argsort(self._under, kind="stable")

    def take(self, layer: int, lines: FloatArray, points: FloatArray, starts: IntArray) -> None:
        """Follow a layer counted from the plate: its support lines (N, 4), the part's polylines, in units."""
        if not len(lines):
            return
        self.length_mm += (
            float(np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]).sum()) * self._unit_mm
        )
        for axis in (0, 1):
            chosen = lines[lines[:, 1 - axis] == lines[:, 3 - axis]]
            if len(chosen):
                self._inside(layer, chosen, points, starts, axis)
                self._touch(layer, chosen, axis)

    def _inside(self, layer: int, lines: FloatArray, points: FloatArray, starts: IntArray, axis: int) -> None:
        from implantflow.build import check_kernels as kernels

        rows = np.unique(lines[:, 1 - axis]) + 0.5
        begin, where, _, _ = kernels.row_crossings(points, starts, 1 - axis, rows)
        low, high = (
            np.minimum(lines[:, axis], lines[:, axis + 2]),
            np.maximum(lines[:, axis], lines[:, axis + 2]),
        )
        row = np.searchsorted(rows, lines[:, 1 - axis])
        for n in np.flatnonzero(begin[row + 1] > begin[row]).tolist():
            crossings = where[begin[row[n]] : begin[row[n] + 1]]
            # From where metal begins to where it ends, as far as the line goes.
            stretch = np.minimum(crossings[1::2], high[n]) - np.maximum(crossings[0::2], low[n])
            worst = float(stretch.max(initial=0.0)) * self._unit_mm
            if worst > self.longest_in_metal_mm:
                self.longest_in_metal_mm = worst
                x, y = (0.5 * (lines[n, k] + lines[n, k + 2]) * self._unit_mm for k in (0, 1))
                self.places = [f"layer {layer} at x {x:.2f}, y {y:.2f} mm: {worst:.2f} mm"]

    def _touch(self, layer: int, lines: FloatArray, axis: int) -> None:
        a, b = np.searchsorted(self._under[self._order], [layer, layer + 1])
        which = self._order[a:b]
        if not len(which):
            return
        places = self._hangs.places_mm[which] / self._unit_mm
        low, high = (
            np.minimum(lines[:, axis], lines[:, axis + 2]),
            np.maximum(lines[:, axis], lines[:, axis + 2]),
        )
        on = np.abs(places[:, None, 1 - axis] - lines[None, :, 1 - axis]) <= 1.0
        on &= (places[:, None, axis] >= low[None]) & (places[:, None, axis] <= high[None])
        self._reached[which] |= on.any(axis=1)

    def holds(self, places_mm: FloatArray, reach_mm: float) -> list[bool]:
        """Whether a support touches the surface within ``reach_mm`` (along x, y and z) of each place (N, 3)."""
        from scipy.spatial import cKDTree

        touched = np.flatnonzero(self._reached)
        if not len(touched) or not len(places_mm):
            return [False] * len(places_mm)
        tree = cKDTree(np.column_stack([self._hangs.places_mm[touched], self._hangs.top_mm[touched]]))
        return [bool(away <= reach_mm + 1e-9) for away in tree.query(places_mm, p=np.inf)[0]]

    def unsupported_mm2(self, reach_mm: float) -> float:
        """Dense surface further than ``reach_mm`` (along x or y) from where a support touches its patch."""
        from scipy.spatial import cKDTree

        hangs, total = self._hangs, 0.0
        for number in range(int(hangs.patches.max(initial=-1)) + 1):
            here = np.flatnonzero(hangs.patches == number)
            touched = here[self._reached[here]]
            far = np.ones(len(here), dtype=bool)
            if len(touched):
                tree = cKDTree(hangs.places_mm[touched])
                far = tree.query(hangs.places_mm[here], p=np.inf)[0] > reach_mm + 1e-9
            total += float(hangs.slant[here[far]].sum()) * hangs.step_mm**2
        return total


def supported(drawn: DrawnSupports | None, read: SupportReader | None, reach_mm: float) -> dict[str, Any]:
    """The drawn supports' part of the support report; nothing where none are drawn."""
    if drawn is None or read is None:
        return {}
    settings = drawn.settings
    return {
        "supports_in_file": True,
        "note": "walls of single lines under dense surface flatter than overhang_deg from the vertical; lattice "
        "carries itself and is judged by its islands. Supports that stand on the part have to be taken out between "
        "two of its surfaces. What teeth leave on the surface is taken off by hand.",
        "supports": {
            **settings.model_dump(),
            "teeth": sum(int(w.tooth.sum()) for w in drawn.walls),
            "teeth_standing_on_part": sum(int((w.tooth & ~w.on_plate).sum()) for w in drawn.walls),
            "length_m": read.length_mm / 1000.0,
            "longest_in_metal_mm": read.longest_in_metal_mm,
            "reach_mm": reach_mm,
            "dense_area_out_of_reach_mm2": read.unsupported_mm2(reach_mm),
        },
    }
