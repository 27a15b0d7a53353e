"""Screw corridors: the straight line whose smallest distance to the cortex is largest.

Search on a 1.5 mm grid of distances to the cortex: over entry points on the surface and
directions in a cone about the textbook one, or, for a screw that goes through the pelvis from side to side, over
points of a plane that it crosses. The best few lines are then refined on the bone's triangles themselves. The first
millimetres below the entry, where the line has to pass the cortex, do not count (``free_mm``). A joint that the screw
crosses is bridged: its surfaces are not cortex to keep away from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane, unit
from implantflow.plan.cortex import Cortex, Depths, outside_mm
from implantflow.plan.way import NEAR_MM, OWN_FROM_MM, REACH_MM, Way
from implantflow.solids.booleans import to_manifold
from implantflow.solids.distance import winding_number
from implantflow.solids.mesh import IntArray, Solid
from implantflow.solids.shapes import frame_of

_GRID_MM = 1.5
_MAX_ENTRIES = 400
#: Lines that are refined on the triangles; the grid's order of the best ones is not trusted to a millimetre.
_FINALISTS = 6
_APART_MM = 4.0
#: A longer screw has the clearance of the shortest one when it loses less: refined lines are that far from straight on.
_SAME_MM = 0.05


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
    within : Plane or None
        The axis stays on its positive side.
    way : Way
        What bars the driver's way to an entry.
    """

    bones: Sequence[Solid]
    entry_mm: FloatArray
    direction_lps: FloatArray
    cone_deg: float
    length_min_mm: float
    length_max_mm: float
    free_mm: float
    within: Plane | None = None
    way: Way = field(default_factory=Way.open)


@dataclass(frozen=True)
class Crossing:
    """Where to look for a corridor through the sacrum from the outside of one ilium to the outside of the other.

    Attributes
    ----------
    sacrum, hips : Solid and sequence of two
    place_mm : (N, 3) array
        Where the line may cross the mid-plane.
    direction_lps : (3,) array
        To the patient's left.
    cone_deg, free_mm : float
        As in :class:`Search`; ``free_mm`` holds at both ends.
    """

    sacrum: Solid
    hips: Sequence[Solid]
    place_mm: FloatArray
    direction_lps: FloatArray
    cone_deg: float
    free_mm: float


@dataclass(frozen=True)
class Corridor:
    """A straight screw path in patient LPS.

    Attributes
    ----------
    start_lps_mm, end_lps_mm : (3,) arrays
    min_clearance_mm : float
        Exact smallest distance from axis to cortex; 0 when the axis leaves bone, where a distance to cortex is no room.
    outside_mm : (N,) array
        Where it is out of bone, mm below the start.
    inside_pct : float
        Share of it inside bone.
    """

    start_lps_mm: FloatArray
    end_lps_mm: FloatArray
    min_clearance_mm: float
    outside_mm: FloatArray
    inside_pct: float

    @classmethod
    def measured(
        cls,
        bones: Sequence[Solid],
        start: FloatArray,
        end: FloatArray,
        free_mm: float,
        free_end_mm: float = 0.0,
    ) -> Corridor:
        """The figures of a line, whoever drew it."""
        outside, inside_pct = outside_mm(bones, start, end)
        clearance = 0.0
        if len(outside) == 0:
            clearance = Cortex.around(bones, start, end).clearance_mm(start, end, free_mm, free_end_mm)
        return cls(start, end, clearance, outside, inside_pct)

    @property
    def length_mm(self) -> float:
        """Length from entry to tip in mm."""
        return float(np.linalg.norm(self.end_lps_mm - self.start_lps_mm))


def plan_corridor(search: Search) -> Corridor:
    """The best corridor of ``search``.

    Raises
    ------
    GeometryError
        There is no entry point, or no line of the least length stays inside the bone.
    """
    from implantflow.plan import line_kernels

    if len(search.entry_mm) == 0:
        raise GeometryError("a corridor has no entry point on the bone", fix="check the bone labels")
    reach = search.length_max_mm + 5.0
    depths = Depths(
        search.bones, search.entry_mm.min(axis=0) - reach, search.entry_mm.max(axis=0) + reach, _GRID_MM
    )
    if search.within is not None:
        nodes = np.argwhere(depths.depth > 0.0)
        beyond = nodes[search.within.distance(depths.low + _GRID_MM * nodes) < 0.0]
        depths.depth[tuple(beyond.T)] = 0.0
    entries = search.entry_mm[:: max(1, len(search.entry_mm) // _MAX_ENTRIES)]
    directions = _cone(search.direction_lps, search.cone_deg)
    value, chosen = line_kernels.deepest_directions(
        depths.depth,
        depths.low,
        _GRID_MM,
        entries,
        directions,
        search.free_mm,
        search.length_min_mm,
        search.way.barred,
        search.way.low,
        np.array([search.way.step_mm, NEAR_MM, OWN_FROM_MM, REACH_MM]),
    )
    if value.max() <= 0.0:
        raise GeometryError(
            f"no straight line of {search.length_min_mm:.0f} mm that a driver reaches stays inside the bone",
            fix="allow a shorter screw (length_min_mm) or leave the corridor out",
        )
    tips = entries + search.length_min_mm * directions[chosen]
    lines = _refined(
        search.bones, entries, tips, value, search.free_mm, 0.0, search.within, search.way.is_clear
    )
    return _best_inside(_finished(search, *line) for line in lines)


def _finished(search: Search, start: FloatArray, end: FloatArray) -> Corridor:
    """The line from the surface on, as long as the screws go and its clearance holds."""
    start, end = _seated(search.bones, start, end)
    far = start + search.length_max_mm * unit(end - start)
    end = _longest(Cortex.around(search.bones, start, far), search, start, end)
    return Corridor.measured(search.bones, start, end, search.free_mm)


def plan_crossing(search: Crossing) -> Corridor:
    """The best corridor through the pelvis; starts on the right.

    Raises
    ------
    GeometryError
        No line through the places given stays in bone from ilium to ilium.
    """
    from implantflow.plan import line_kernels

    bones = [search.sacrum, *search.hips]
    low, high = search.place_mm.min(axis=0) - 45.0, search.place_mm.max(axis=0) + 45.0
    # To the sides as far as the bones go: the ends are found on their outer surfaces.
    low[0], high[0] = -np.inf, np.inf
    depths = Depths(bones, low, high, _GRID_MM)
    ilium = np.logical_or.reduce(depths.masks[1:]).astype(np.uint8)
    directions = _cone(search.direction_lps, search.cone_deg)
    value, chosen, length = line_kernels.deepest_crossings(
        depths.depth, ilium, depths.low, _GRID_MM, search.place_mm, directions, search.free_mm
    )
    if value.max() <= 0.0:
        raise GeometryError("no straight line through the sacrum stays in bone from ilium to ilium")
    towards = directions[chosen]
    starts, ends = search.place_mm - length[:, :1] * towards, search.place_mm + length[:, 1:] * towards
    lines = _refined(bones, starts, ends, value, search.free_mm, search.free_mm)
    found = [line for line in (_surfaced(search, *line) for line in lines) if line is not None]
    if not found:
        raise GeometryError("no straight line through the sacrum starts and ends in an ilium")
    return _best_inside(
        Corridor.measured(bones, start, end, search.free_mm, search.free_mm) for start, end in found
    )


def _surfaced(search: Crossing, start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """The line from surface to surface; None when refinement has moved an end out of the ilium."""
    bones, along = [search.sacrum, *search.hips], unit(end - start)
    start, end = start + _to_surface(bones, start, along), end + _to_surface(bones, end, along)
    # As deep as the grid search asks for the ilium.
    ends = np.array([start + 3.0 * along, end - 3.0 * along])
    in_hip = np.logical_or.reduce([winding_number(ends, hip.triangles_mm) > 0.5 for hip in search.hips])
    return (start, end) if in_hip.all() else None


def _best_inside(found: Iterable[Corridor]) -> Corridor:
    """The one with the largest clearance of those wholly inside bone; when there is none the first: it does not fit.

    Seated on the surface and made as long as it goes, a line may have another clearance than when it was refined.
    """
    lines = list(found)
    if not lines:
        raise GeometryError("no straight line stays inside the bone")
    inside = [line for line in lines if len(line.outside_mm) == 0]
    return max(inside, key=lambda line: round(line.min_clearance_mm, 6), default=lines[0])


def _refined(
    bones: Sequence[Solid],
    starts: FloatArray,
    ends: FloatArray,
    value: FloatArray,
    free: float,
    free_end: float,
    within: Plane | None = None,
    reached: Callable[[FloatArray, FloatArray], bool] | None = None,
) -> list[tuple[FloatArray, FloatArray]]:
    """The deepest lines, none of which has both ends within 4 mm of another's, refined; best first."""
    order = np.lexsort((np.arange(len(value)), -np.round(value, 6)))
    picked: list[int] = []
    for i in order:
        if value[i] <= 0.0 or len(picked) == _FINALISTS:
            break
        far = [max(np.linalg.norm(starts[i] - starts[j]), np.linalg.norm(ends[i] - ends[j])) for j in picked]
        if min(far, default=np.inf) > _APART_MM:
            picked.append(int(i))
    low = np.min([np.minimum(starts[i], ends[i]) for i in picked], axis=0) - 30.0
    high = np.max([np.maximum(starts[i], ends[i]) for i in picked], axis=0) + 30.0
    cortex = Cortex(bones, low, high)
    found = [cortex.refined(starts[i], ends[i], free, free_end, within, reached) for i in picked]
    return [(start, end) for start, end, _ in sorted(found, key=lambda item: -round(item[2], 6))]


def _seated(bones: Sequence[Solid], start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The line shifted along itself until it starts on the surface, where refinement has moved it off."""
    shift = _to_surface(bones, start, unit(end - start))
    return start + shift, end + shift


def _to_surface(
    bones: Sequence[Solid], point: FloatArray, along: FloatArray, reach: float = 10.0
) -> FloatArray:
    """Shift (3,) along ``along`` to the nearest crossing of a surface; none when it is farther than ``reach`` mm."""
    low, high = point - reach * along, point + reach * along
    hits = [
        reach * (2.0 * hit.distance - 1.0)
        for bone in bones
        for hit in to_manifold(bone).ray_cast(low.tolist(), high.tolist())
    ]
    return np.asarray(min(hits, key=abs, default=0.0) * along)


def _cone(axis: FloatArray, half_angle_deg: float, step_deg: float = 3.0) -> FloatArray:
    """Unit directions (N, 3) filling a cone evenly, its axis first."""
    frame = frame_of(axis)
    out = [frame[:, 2]]
    for tilt in np.radians(np.arange(step_deg, half_angle_deg + 1e-9, step_deg)):
        count = max(6, round(2 * np.pi * np.sin(tilt) / np.radians(step_deg)))
        for turn in 2 * np.pi * np.arange(count) / count:
            out.append(frame @ [np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)])
    return np.array(out)


def _longest(cortex: Cortex, search: Search, start: FloatArray, end: FloatArray) -> FloatArray:
    """Tip of the longest screw, in steps of 5 mm, that keeps the clearance of the shortest one to 0.05 mm."""
    base = cortex.clearance_mm(start, end, search.free_mm)
    direction, length = unit(end - start), search.length_min_mm
    while length + 5.0 <= search.length_max_mm:
        longer = start + (length + 5.0) * direction
        out = search.within is not None and search.within.distance(longer[None])[0] < 0.0
        if out or cortex.clearance_mm(start, longer, search.free_mm) < base - _SAME_MM:
            break
        length += 5.0
    return np.asarray(start + length * direction)


def entries_on(solid: Solid, triangles: IntArray) -> FloatArray:
    """Centres (N, 3) of some triangles as entry points, thinned to one per 2 mm cell."""
    centres = solid.centres_mm[triangles]
    cell = np.floor(centres / 2.0).astype(np.int64)
    _, first = np.unique(cell, axis=0, return_index=True)
    return np.asarray(centres[np.sort(first)])


def looking_along(solid: Solid, direction: FloatArray, cosine: float) -> NDArray[np.bool_]:
    """Which triangles (M,) have a normal within acos(``cosine``) of ``direction`` (3,)."""
    return np.asarray(solid.normals @ direction > cosine)
