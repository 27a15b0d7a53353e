"""The cortex that a screw must keep away from, and exact clearances to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray, Plane, unit
from implantflow.solids.booleans import merged
from implantflow.solids.distance import Surface, winding_number
from implantflow.solids.mesh import Solid
from implantflow.solids.offset import inside_grid
from implantflow.solids.shapes import frame_of

#: Widest joint space that a screw may cross, with the recess of its ligaments.
JOINT_MM = 7.0
#: Cosine between a joint's surface and the way to the other bone; the front of the sacrum beside the joint looks away.
_FACING = 0.5
#: Farther cortex is not looked for: no corridor in a pelvis is that wide.
_LOOK_MM = 30.0
#: Cosine of the directions to two bones beyond which a place lies between them, not before the mouth of the joint.
_OPPOSITE = -0.3
_STATION_MM = 0.5
#: A step of the refinement that gains less is none.
_GAIN_MM = 1e-4
_EXACT_STATION_MM = 0.25


class Cortex:
    """Surface of some bones near a line, without the faces of the joints between them.

    Surface that faces another of the bones within 7 mm belongs to a joint that the screw crosses: no cortex to keep
    away from.
    """

    def __init__(self, bones: Sequence[Solid], low_mm: FloatArray, high_mm: FloatArray) -> None:
        near = [_triangles_in(bone, low_mm, high_mm) for bone in bones]
        near = [bone for bone in near if len(bone.faces)]
        surfaces = [Surface(bone) for bone in near] if len(near) > 1 else []
        kept = []
        for i, bone in enumerate(near):
            joint = np.zeros(len(bone.faces), dtype=bool)
            for j, other in enumerate(surfaces):
                if j != i:
                    found = other.nearest(bone.centres_mm, JOINT_MM, signed=False)
                    way = found.foot_mm - bone.centres_mm
                    facing = np.einsum("ij,ij->i", way, bone.normals) > _FACING * found.distance_mm
                    # Surfaces that touch or overlap (by a fraction of a voxel) have no way between them.
                    joint |= (found.triangle >= 0) & (facing | (found.distance_mm < 0.5))
            if not joint.all():
                kept.append(Solid.of(bone.vertices, bone.faces[~joint]))
        self._surface = Surface(merged(kept))

    @classmethod
    def around(cls, bones: Sequence[Solid], start: FloatArray, end: FloatArray) -> Cortex:
        """The cortex within 30 mm of the box of a line."""
        low, high = np.minimum(start, end) - _LOOK_MM, np.maximum(start, end) + _LOOK_MM
        return cls(bones, low, high)

    def clearance_mm(
        self, start: FloatArray, end: FloatArray, free_mm: float, free_end_mm: float = 0.0
    ) -> float:
        """Smallest distance to the cortex, every 0.25 mm from ``free_mm`` below the start to before the end."""
        length = float(np.linalg.norm(end - start))
        stations = np.arange(free_mm, length - free_end_mm + 1e-9, _EXACT_STATION_MM)
        points = start + stations[:, None] * unit(end - start)
        return float(self.distance_mm(points).min())

    def distance_mm(self, points_mm: FloatArray) -> FloatArray:
        """Distance (N,) of points (N, 3) to the cortex, at most 30 mm."""
        return self._surface.nearest(points_mm, _LOOK_MM, signed=False).distance_mm

    def _weighted(self, start: FloatArray, end: FloatArray, free_mm: float, free_end_mm: float) -> float:
        """What refinement makes large: the clearance; below a lone entry in proportion to the way from it."""
        if free_end_mm:
            return self.clearance_mm(start, end, free_mm, free_end_mm)
        length = float(np.linalg.norm(end - start))
        stations = np.arange(1.0, length + 1e-9, _STATION_MM)
        points = start + stations[:, None] * unit(end - start)
        weight = np.maximum(1.0, free_mm / stations)
        return float((self.distance_mm(points) * weight).min())

    def refined(
        self,
        start: FloatArray,
        end: FloatArray,
        free_mm: float,
        free_end_mm: float = 0.0,
        within: Plane | None = None,
        reached: Callable[[FloatArray, FloatArray], bool] | None = None,
    ) -> tuple[FloatArray, FloatArray, float]:
        """Start, end and value of the line near by with the largest clearance.

        Pattern search over two shifts and two tilts, steps halved from 1 mm and 1 degree to 0.06; a line starts
        inside bone and moves by less than its clearance, so it cannot get out unnoticed. The tip stays on the positive
        side of ``within``, and a driver gets to the line (``reached``).
        """
        best = self._weighted(start, end, free_mm, free_end_mm)
        step = min(1.0, max(0.25, best / 2.0))
        while step > 0.05:
            direction = unit(end - start)
            half = float(np.linalg.norm(end - start)) / 2.0
            across = frame_of(direction)[:, :2].T
            tilt = half * np.tan(np.radians(step))
            moves = [(s * a, s * a) for s in (step, -step) for a in across]
            moves += [(s * a, -s * a) for s in (tilt, -tilt) for a in across]
            tried = [(-1.0, start, end)]
            for shift, turn in moves:
                # A tilt about the middle lengthens the line: put back before it is judged.
                middle, along = (start + shift + end + turn) / 2.0, unit(end + turn - start - shift)
                a, b = middle - half * along, middle + half * along
                own = within is None or within.distance(b[None])[0] >= 0.0
                if own and (reached is None or reached(a, b)):
                    tried.append((self._weighted(a, b, free_mm, free_end_mm), a, b))
            value, a, b = max(tried, key=lambda item: item[0])
            if value > best + _GAIN_MM:
                start, end, best = a, b, value
            else:
                step /= 2.0
        return start, end, best


def outside_mm(bones: Sequence[Solid], start: FloatArray, end: FloatArray) -> tuple[FloatArray, float]:
    """Where the axis is out of bone (N,), mm below its start, and the share of it in percent that is inside.

    Looked at every 0.5 mm. The joint space between two of the bones counts as bone where the axis runs on into bone at
    both of its ends: a screw starts and ends in bone.
    """
    length = float(np.linalg.norm(end - start))
    stations = np.arange(0.25, length, 0.5)
    points = start + stations[:, None] * unit(end - start)
    inside = np.zeros(len(points), dtype=bool)
    for bone in bones:
        inside |= winding_number(points, bone.triangles_mm) > 0.5
    solid = np.flatnonzero(inside)
    if len(bones) > 1 and 0 < len(solid) < len(points):
        gap = np.flatnonzero(~inside)
        gap = gap[(gap > solid[0]) & (gap < solid[-1])]
        inside[gap] = _between(points[gap], [Surface(bone) for bone in bones])
    return stations[~inside], float(100.0 * inside.mean())


def _between(points: FloatArray, surfaces: Sequence[Surface]) -> NDArray[np.bool_]:
    """Which points (N, 3), outside all bones, lie between two of them: within 7 mm of both, on opposite sides."""
    found = np.zeros(len(points), dtype=bool)
    near = [surface.nearest(points, JOINT_MM, signed=False) for surface in surfaces]
    for a, b in itertools.combinations(near, 2):
        both = (a.triangle >= 0) & (b.triangle >= 0)
        to_a, to_b = a.foot_mm - points, b.foot_mm - points
        length = np.maximum(a.distance_mm * b.distance_mm, 1e-12)
        found |= both & (np.einsum("ij,ij->i", to_a, to_b) / length < _OPPOSITE)
    return found


class Depths:
    """Distance to the cortex on a grid over a box, 0 outside bone; joint spaces count as bone.

    Attributes
    ----------
    low : (3,) place of node 0.
    depth : (I, J, K) mm.
    masks : nodes inside each bone.
    """

    def __init__(
        self, bones: Sequence[Solid], low_mm: FloatArray, high_mm: FloatArray, grid_mm: float
    ) -> None:
        from scipy import ndimage

        bones_low = np.min([bone.bounds_mm[0] for bone in bones], axis=0) - 3.0
        bones_high = np.max([bone.bounds_mm[1] for bone in bones], axis=0) + 3.0
        self.low, high = np.maximum(low_mm, bones_low), np.minimum(high_mm, bones_high)
        n = np.ceil((high - self.low) / grid_mm).astype(int) + 1
        shape = (int(n[0]), int(n[1]), int(n[2]))
        self.masks = [inside_grid(bone, self.low, shape, grid_mm) for bone in bones]
        inside: NDArray[np.bool_] = np.logical_or.reduce(self.masks)
        if len(bones) > 1:
            # Half a step more than the joint's width, since nodes are that far from the surface.
            reach = int(np.ceil(JOINT_MM / grid_mm))
            ball = ndimage.generate_binary_structure(3, 1)
            grown = [ndimage.binary_dilation(mask, ball, iterations=reach) for mask in self.masks]
            maybe = np.argwhere((np.sum(grown, axis=0) >= 2) & ~inside)
            near = [_triangles_in(bone, self.low - 6.0, high + 6.0) for bone in bones]
            gap = _between(self.low + grid_mm * maybe, [Surface(bone) for bone in near if len(bone.faces)])
            inside[tuple(maybe[gap].T)] = True
        nodes = np.argwhere(inside)
        cortex = Cortex(bones, self.low - _LOOK_MM, high + _LOOK_MM)
        self.depth: FloatArray = np.zeros(shape)
        self.depth[tuple(nodes.T)] = cortex.distance_mm(self.low + grid_mm * nodes)


def _triangles_in(bone: Solid, low: FloatArray, high: FloatArray) -> Solid:
    """The part of a bone's surface, not closed, whose triangle centres lie in a box."""
    inside = ((bone.centres_mm > low) & (bone.centres_mm < high)).all(axis=1)
    return Solid.of(bone.vertices, bone.faces[inside])
