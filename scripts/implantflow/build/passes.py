"""Where the beam runs in dense metal: contour passes inside its border, hatches within them, a net where neither fits.

The border of dense metal in a layer (solid AND dense region) is offset inwards by half the melt's width for the outer
contour and by the pitch more for each inner one, exactly but for the file's rounding. What no pass and no
hatch reaches, because it is too thin for the offset, is filled with lines of the net's theme.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.build import assemble_kernels, border_kernels, cover_kernels, hatch_kernels, inset_kernels
from implantflow.build.cli_writer import EDGE_ID, INNER_ID, OUTER_ID, OUTLINE_ID, THIN_ID
from implantflow.build.plan import HATCH_MIN_MM, NO_LOOPS, IntArray, Loops, Outline, Plan
from implantflow.config.paths import Paths
from implantflow.geometry import FloatArray

#: Clipper's offsets are made in units so much finer; an arc may lie this far from its chords, and a point that is left
#: out this far from the chord that replaces it (units).
_OFFSET_FINE, _ARC_UNITS, _CHORD_UNITS = 64, 0.25, 0.5
#: Borders of struts are drawn this far inside, so that rounding leaves none of them outside (units).
_EDGE_UNITS = 2.0
#: Metal counts as reached up to this far beyond half the melt's width: what offset and rounding may take (units).
_REACH_UNITS = 1.5
#: Shortest line of the net of thin places, in half widths of the melt: the tip that an offset leaves bare in a corner
#: of 90 degrees is shorter, and a line there would only melt beyond the outline.
_THIN_SHARE = 0.65
#: Turned hatches are made in a turned frame of this much finer units.
_FINE = 16

NO_LINES = np.empty((0, 4), dtype=np.int64)


class Passes(NamedTuple):
    """What the beam follows in a layer beside outlines of struts and their net: (N, 4) lines in units, by kind.

    ``dense_border`` marks the segments of the layer's outlines, by their first point, that border dense metal.
    """

    outer: IntArray = NO_LINES
    inner: IntArray = NO_LINES
    edges: IntArray = NO_LINES
    hatches: IntArray = NO_LINES
    thin: IntArray = NO_LINES
    dense_border: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    @property
    def hatch_units(self) -> float:
        """Length of the hatches."""
        return float(border_kernels.total_length(self.hatches))

    def packed_onto(
        self, words: NDArray[np.uint16], outline: Outline, length: float, unit_mm: float
    ) -> tuple[NDArray[np.uint16], list[float]]:
        """A packed layer with its outlines of dense metal marked as such and the passes behind it.

        ``length`` is that of all outlines in units. Also returns what the beam runs along as contour, the part of it
        that is inner passes, and the net of thin places, in mm.
        """
        if not len(self.dense_border):
            return words, [length * unit_mm, 0.0, 0.0]
        border = (outline.x, outline.y, outline.starts)
        replaced = border_kernels.relabel(words, self.dense_border, *border, OUTLINE_ID)
        lines = (self.outer, self.inner, self.edges, self.thin)
        words, lengths = border_kernels.with_lines(words, lines, (OUTER_ID, INNER_ID, EDGE_ID, THIN_ID))
        outer, inner, edges, thin = (float(value) * unit_mm for value in lengths)
        return words, [(length - replaced) * unit_mm + outer + inner + edges, inner, thin]


def inset(loops: Loops, depth: float) -> tuple[Loops, IntArray]:
    """Loops moved inwards by a depth (units), also as lines; none where nothing is left. Metal stays on the left."""
    if len(loops[0]) == 0:
        return NO_LOOPS, NO_LINES
    x, y, starts, lines, done = inset_kernels.inset_lines(*loops, depth, _CHORD_UNITS)
    if done:
        return (x, y, starts), lines
    found = _as_loops(_inset_by_clipper(loops, depth), _CHORD_UNITS)
    return found, border_kernels.as_lines(*found)


def _inset_by_clipper(loops: Loops, depth: float) -> list[FloatArray]:
    """The same for loops that the kernel leaves: about a tenth of the speed, and no loops that it cannot do."""
    import pyclipr

    offset = pyclipr.ClipperOffset()
    offset.scaleFactor = _OFFSET_FINE
    offset.arcTolerance = _ARC_UNITS * _OFFSET_FINE
    x, y, starts = loops
    paths = [np.column_stack([x[a:b], y[a:b]]) for a, b in itertools.pairwise(starts.tolist())]
    offset.addPaths(paths, pyclipr.JoinType.Round, pyclipr.EndType.Polygon)
    found: list[FloatArray] = offset.execute(-depth)
    return found


def _as_loops(found: list[FloatArray], chord: float = 0.0) -> Loops:
    """Clipper's loops in whole units; points within ``chord`` of their neighbours' chord are left out."""
    if not found:
        return NO_LOOPS
    starts = np.cumsum([0, *(len(p) for p in found)]).astype(np.int64)
    points = np.ascontiguousarray(np.concatenate(found)[:, :2], dtype=np.float64)
    return border_kernels.thinned(points, starts, chord)


def core_of(solid: Loops, dense: Loops, material: Loops, area2_min: int) -> Loops:
    """Loops of the dense metal of a layer: solid AND dense region, whose borders need not be in general position.

    Loops below ``area2_min`` (2 x area) that border nothing of the ``material`` were left out of it, and are here.
    """
    core = _common(solid, dense)
    if len(core[0]) == 0:
        return core
    return border_kernels.without_crumbs(*core, material[0], material[1], area2_min)


def _common(solid: Loops, dense: Loops) -> Loops:
    """Solid AND dense region."""
    if len(solid[0]) == 0 or len(dense[0]) == 0:
        return NO_LOOPS
    x, y, starts, wrong = assemble_kernels.assemble_curves(*solid, *dense, *NO_LOOPS, 1)
    if not wrong:
        return x, y, starts
    import pyclipr

    clipper = pyclipr.Clipper()
    clipper.scaleFactor = 1
    for (px, py, begin), kind in ((solid, pyclipr.Subject), (dense, pyclipr.Clip)):
        loops = [np.column_stack([px[a:b], py[a:b]]) for a, b in itertools.pairwise(begin.tolist())]
        clipper.addPaths(loops, kind)
    return _as_loops(clipper.execute(pyclipr.Intersection, pyclipr.FillRule.Positive))


class DensePaths:
    """Makes the passes of layers; read only, for all threads."""

    def __init__(self, plan: Plan, paths: Paths) -> None:
        unit = plan.unit_mm
        self._paths = paths
        self._depths = [depth / unit for depth in paths.contour_depths_mm]
        self._gap = paths.hatch_gap_mm / unit
        self._radius = 0.5 * paths.melt_width_mm / unit + _REACH_UNITS
        self._pitch = round(plan.hatch_pitch_mm / unit)
        self._net_pitch = round(plan.net_pitch_mm / unit)
        self._shortest = round(HATCH_MIN_MM / unit)
        self._shortest_thin = max(self._shortest, math.ceil(_THIN_SHARE * 0.5 * paths.melt_width_mm / unit))
        self._porous = plan.porous

    def of_layer(self, level: int, outline: Outline, net: IntArray) -> Passes:
        """Passes of layer ``level``, counted from the plate; ``net`` are the lines that fill its struts."""
        core = outline.core
        if len(core[0]) == 0:
            return Passes()
        found = [inset(core, depth) for depth in self._depths]
        outer = found[0][1]
        inner = (
            found[1][1] if len(found) == 2 else np.concatenate([NO_LINES, *(lines for _, lines in found[1:])])
        )
        room = found[-1][0] if self._gap == 0 else inset(core, self._depths[-1] + self._gap)[0]
        hatches = self._hatches(level, room)
        if not self._porous:
            thin = self._thin(level, core, [outer, inner, hatches])
            return Passes(outer, inner, NO_LINES, hatches, thin, np.ones(len(outline.x), dtype=np.bool_))
        border, x, y, starts, edges, islands = border_kernels.strut_borders(
            outline.x, outline.y, outline.starts, *core, _EDGE_UNITS
        )
        # Where a strut meets dense metal, neither its net nor the contour need reach the last of it.
        drawn = [outer, inner, hatches, edges, net, islands]
        return Passes(outer, inner, edges, hatches, self._thin(level, (x, y, starts), drawn), border)

    def _thin(self, level: int, metal: Loops, drawn: list[IntArray]) -> IntArray:
        """Lines of a net where metal lies further from everything drawn than half the melt's width."""
        lines = np.concatenate(drawn)
        return cover_kernels.bare_both_ways(
            *metal, lines, self._radius, self._net_pitch, level % 2 == 1, self._shortest_thin
        )

    def _hatches(self, level: int, room: Loops) -> IntArray:
        """Filling lines inside the loops, in the layer's direction."""
        if len(room[0]) == 0:
            return NO_LINES
        angle_deg = level * self._paths.hatch_turn_deg % 180.0
        square = angle_deg % 90.0 == 0.0
        fine = 1 if square else _FINE
        vertical = square and angle_deg == 90.0
        turned = room if square else _turned(room, angle_deg)
        lines = hatch_kernels.hatch(*turned, *NO_LOOPS, vertical, self._pitch * fine, self._shortest * fine)[
            2
        ]
        if self._paths.hatch_order == "one_way":
            lines = _one_way(lines, vertical)
        return lines if square else _turned_back(lines, angle_deg)


def _turned(loops: Loops, angle_deg: float) -> Loops:
    """Loops in fine units of the frame whose x axis runs along the hatches."""
    c, s = _FINE * math.cos(math.radians(angle_deg)), _FINE * math.sin(math.radians(angle_deg))
    x, y, starts = loops
    return np.rint(c * x + s * y).astype(np.int64), np.rint(c * y - s * x).astype(np.int64), starts


def _turned_back(lines: IntArray, angle_deg: float) -> IntArray:
    """Lines along x of the fine turned frame in units of the file, a unit shorter at each end against the rounding."""
    c, s = math.cos(math.radians(angle_deg)) / _FINE, math.sin(math.radians(angle_deg)) / _FINE
    way = np.sign(lines[:, 2] - lines[:, 0]) * _FINE
    u0, u1, v = lines[:, 0] + way, lines[:, 2] - way, lines[:, 1]
    ends = np.column_stack([c * u0 - s * v, s * u0 + c * v, c * u1 - s * v, s * u1 + c * v])
    return np.asarray(np.rint(ends).astype(np.int64))


def _one_way(lines: IntArray, vertical: bool) -> IntArray:
    """Lines (N, 4) along an axis in the order of their rows, all in the axis' direction."""
    across, along = (0, 1) if vertical else (1, 0)
    back = lines[:, along] > lines[:, along + 2]
    same = np.where(back[:, None], lines[:, [2, 3, 0, 1]], lines)
    return np.asarray(same[np.lexsort((same[:, along], same[:, across]))])
