"""Screw corridors: the straight line whose smallest distance to the cortex is largest.

Search on a 1 mm grid of depths (Euclidean distance transform of the bone), over entry points on the surface and
directions in a cone about the textbook one; the winner is refined, and its clearance is then measured exactly
against the bone's triangles. The first millimetres below the entry, where the line has to pass the cortex, do not
count (``free_mm``). A joint that the screw crosses is bridged: its surfaces are not cortex to keep away from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, unit
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import IntArray, Solid
from implantflow.solids.offset import inside_grid
from implantflow.solids.shapes import frame_of

_GRID_MM = 1.0
_STATION_MM = 1.0
_MAX_ENTRIES = 160
_BATCH = 4000
#: Farther cortex is not looked for: no corridor in a pelvis is that wide.
_LOOK_MM = 30.0
#: Widest joint space that a screw may cross.
_JOINT_MM = 5.0


@dataclass(frozen=True)
class Search:
    """Where to look for one corridor.

    Attributes
    ----------
    bones : sequence of Solid
        Closed bones that the screw may lie in; neighbours across a joint are bridged.
    entry_mm : (N, 3) array
        Candidate entry points on the surface.
    direction_lps : (3,) array
        Textbook direction, from the entry inwards.
    cone_deg : float
        Half angle of the cone searched about it.
    length_min_mm, length_max_mm : float
        Allowed lengths.
    free_mm : float
        Length below the entry that does not count.
    """

    bones: Sequence[Solid]
    entry_mm: FloatArray
    direction_lps: FloatArray
    cone_deg: float
    length_min_mm: float
    length_max_mm: float
    free_mm: float


@dataclass(frozen=True)
class Corridor:
    """A straight screw path in patient LPS, with its exact smallest clearance in mm from axis to cortex."""

    start_lps_mm: FloatArray
    end_lps_mm: FloatArray
    min_clearance_mm: float

    @property
    def length_mm(self) -> float:
        """Length from entry to tip in mm."""
        return float(np.linalg.norm(self.end_lps_mm - self.start_lps_mm))


class _Depths:
    """Depth below the cortex on a grid, interpolated."""

    def __init__(self, search: Search) -> None:
        from scipy import ndimage

        reach = search.length_max_mm + 5.0
        low, high = search.entry_mm.min(axis=0) - reach, search.entry_mm.max(axis=0) + reach
        bones_low = np.min([bone.bounds_mm[0] for bone in search.bones], axis=0) - 3.0
        bones_high = np.max([bone.bounds_mm[1] for bone in search.bones], axis=0) + 3.0
        # Nodes left of the grid count too, so rows may start inside bone.
        self.low = np.maximum(low, bones_low)
        high = np.minimum(high, bones_high)
        n = np.ceil((high - self.low) / _GRID_MM).astype(int) + 1
        shape = (int(n[0]), int(n[1]), int(n[2]))
        masks = [inside_grid(bone, self.low, shape, _GRID_MM) for bone in search.bones]
        inside: NDArray[np.bool_] = np.logical_or.reduce(masks)
        if len(masks) == 2:
            inside = inside | _bridge(masks[0], masks[1])
        self.depth = ndimage.distance_transform_edt(inside, sampling=_GRID_MM)

    def at(self, points_mm: FloatArray) -> FloatArray:
        """Depth (...,) in mm at ``points_mm`` (..., 3), 0 outside bone."""
        from scipy import ndimage

        index = (points_mm.reshape(-1, 3) - self.low) / _GRID_MM
        depth = ndimage.map_coordinates(self.depth, index.T, order=1, mode="constant", cval=0.0)
        return np.asarray(depth.reshape(points_mm.shape[:-1]))


def _bridge(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of the joint space between two bones: within 5 mm of both, no wider than 7 mm across."""
    from scipy import ndimage

    to_a = ndimage.distance_transform_edt(~a, sampling=_GRID_MM)
    to_b = ndimage.distance_transform_edt(~b, sampling=_GRID_MM)
    return np.asarray((to_a <= _JOINT_MM) & (to_b <= _JOINT_MM) & (to_a + to_b <= 7.0))


def plan_corridor(search: Search) -> Corridor:
    """The best corridor of ``search``.

    Raises
    ------
    GeometryError
        There is no entry point, or no line of the least length stays inside the bone.
    """
    if len(search.entry_mm) == 0:
        raise GeometryError("a corridor has no entry point on the bone", fix="check the bone labels")
    depths = _Depths(search)
    step = max(1, len(search.entry_mm) // _MAX_ENTRIES)
    entries = search.entry_mm[::step]
    directions = _cone(search.direction_lps, search.cone_deg)
    entry, direction, value = _best_line(depths, search, entries, directions)
    if value <= 0.0:
        raise GeometryError(
            f"no straight line of {search.length_min_mm:.0f} mm stays inside the bone",
            fix="allow a shorter screw (length_min_mm) or leave the corridor out",
        )
    entry, direction = _refine(depths, search, entry, direction, value)
    length = _longest(depths, search, entry, direction)
    end = entry + length * direction
    return Corridor(entry, end, exact_clearance_mm(search.bones, entry, end, search.free_mm))


def _cone(axis: FloatArray, half_angle_deg: float, step_deg: float = 3.0) -> FloatArray:
    """Unit directions (N, 3) filling a cone evenly, its axis first."""
    frame = frame_of(axis)
    out = [frame[:, 2]]
    for tilt in np.radians(np.arange(step_deg, half_angle_deg + 1e-9, step_deg)):
        count = max(6, round(2 * np.pi * np.sin(tilt) / np.radians(step_deg)))
        for turn in 2 * np.pi * np.arange(count) / count:
            out.append(frame @ [np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)])
    return np.array(out)


def _worst_depth(
    depths: _Depths, entry: FloatArray, direction: FloatArray, free: float, length: float
) -> FloatArray:
    """Smallest depth (N,) over the stations of N lines.

    Above ``free`` a perpendicular entry can be no deeper than its way so far: there depth counts in proportion to
    that way, which keeps a line from running flat below the surface before it goes in.
    """
    stations = np.arange(_STATION_MM, length + 1e-9, _STATION_MM)
    points = entry[:, None] + stations[None, :, None] * direction[:, None]
    return np.asarray((depths.at(points) * np.maximum(1.0, free / stations)).min(axis=1))


def _best_line(
    depths: _Depths, search: Search, entries: FloatArray, directions: FloatArray
) -> tuple[FloatArray, FloatArray, float]:
    best = (entries[0], directions[0], -1.0)
    per_batch = max(1, _BATCH // len(directions))
    for first in range(0, len(entries), per_batch):
        chunk = entries[first : first + per_batch]
        e = np.repeat(chunk, len(directions), axis=0)
        d = np.tile(directions, (len(chunk), 1))
        worst = _worst_depth(depths, e, d, search.free_mm, search.length_min_mm)
        i = int(np.argmax(worst))
        if worst[i] > best[2] + 1e-9:
            best = (e[i], d[i], float(worst[i]))
    return best


def _refine(
    depths: _Depths, search: Search, entry: FloatArray, direction: FloatArray, value: float
) -> tuple[FloatArray, FloatArray]:
    """Pattern search over two shifts and two tilts, the steps halved until 0.1 mm and 0.1 degree."""
    step = 1.0
    while step > 0.05:
        frame = frame_of(direction)
        shift = np.concatenate([step * frame[:, :2].T, -step * frame[:, :2].T, np.zeros((4, 3))])
        tilt = np.radians(step) * np.concatenate([np.zeros((4, 3)), frame[:, :2].T, -frame[:, :2].T])
        e, d = entry + shift, direction + tilt
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        worst = _worst_depth(depths, e, d, search.free_mm, search.length_min_mm)
        i = int(np.argmax(worst))
        if worst[i] > value + 1e-6:
            entry, direction, value = e[i], d[i], float(worst[i])
        else:
            step /= 2.0
    return entry, direction


def _longest(depths: _Depths, search: Search, entry: FloatArray, direction: FloatArray) -> float:
    """Longest length, in steps of 5 mm, that is as deep as the shortest one."""
    base = _worst_depth(depths, entry[None], direction[None], search.free_mm, search.length_min_mm)[0]
    length = search.length_min_mm
    while length + 5.0 <= search.length_max_mm:
        if _worst_depth(depths, entry[None], direction[None], search.free_mm, length + 5.0)[0] < base - 1e-6:
            break
        length += 5.0
    return length


def exact_clearance_mm(bones: Sequence[Solid], start: FloatArray, end: FloatArray, free_mm: float) -> float:
    """Smallest distance from the axis (every 0.25 mm, from ``free_mm`` below the entry) to the cortex.

    Surface within 5 mm of the other of ``bones`` belongs to the joint that the screw crosses and is left out.
    """
    length = float(np.linalg.norm(end - start))
    stations = np.arange(free_mm, length + 1e-9, 0.25)
    points = start + stations[:, None] * unit(end - start)
    low, high = points.min(axis=0) - _LOOK_MM, points.max(axis=0) + _LOOK_MM
    near = [_triangles_in(bone, low, high) for bone in bones]
    clearance = np.inf
    for i, bone in enumerate(near):
        cortex = bone
        others = [other for j, other in enumerate(near) if j != i]
        if others:
            joint = Surface(others[0]).nearest(bone.centres_mm, _JOINT_MM, signed=False).triangle >= 0
            cortex = Solid.of(bone.vertices, bone.faces[~joint])
        distance = Surface(cortex).nearest(points, _LOOK_MM, signed=False).distance_mm
        clearance = min(clearance, float(distance.min()))
    return clearance


def _triangles_in(bone: Solid, low: FloatArray, high: FloatArray) -> Solid:
    """The part of a bone's surface, not closed, whose triangle centres lie in a box."""
    inside = ((bone.centres_mm > low) & (bone.centres_mm < high)).all(axis=1)
    return Solid.of(bone.vertices, bone.faces[inside])


def entries_on(solid: Solid, triangles: IntArray) -> FloatArray:
    """Centres (N, 3) of some triangles as entry points, thinned to one per 2 mm cell."""
    centres = solid.centres_mm[triangles]
    cell = np.floor(centres / 2.0).astype(np.int64)
    _, first = np.unique(cell, axis=0, return_index=True)
    return np.asarray(centres[np.sort(first)])


def looking_along(solid: Solid, direction: FloatArray, cosine: float) -> NDArray[np.bool_]:
    """Which triangles (M,) have a normal within acos(``cosine``) of ``direction`` (3,)."""
    return np.asarray(solid.normals @ direction > cosine)
