"""Compiled contours of one layer of the field, from values on a raster to small integer loops."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.build.mesh_kernels import double_area
from implantflow.build.stamp_kernels import equal_area, next_crossing, simplify, swept_area
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Nodes beyond the solid's border that are evaluated, so that every contour leaves the solid before it ends.
_BEYOND = 2


@kernel
def spans_of(
    xs: IntArray, ys: IntArray, starts: IntArray, origin: FloatArray, step: float, rows: int
) -> IntArray:
    """(rows, 2) first node and node after the last of each row that loops enclose, with a little room; units."""
    spans = np.zeros((rows, 2), np.int64)
    spans[:, 0] = np.iinfo(np.int64).max
    room = _BEYOND * step
    for c in range(starts.shape[0] - 1):
        p = starts[c + 1] - 1
        for q in range(starts[c], starts[c + 1]):
            low, high = min(ys[p], ys[q]), max(ys[p], ys[q])
            j0 = max(math.floor((low - room - origin[1]) / step), 0)
            j1 = min(math.ceil((high + room - origin[1]) / step), rows - 1)
            for j in range(j0, j1 + 1):
                y = origin[1] + j * step
                xa, xb = float(xs[p]), float(xs[q])
                if high > low:
                    slope = (xb - xa) / (ys[q] - ys[p])
                    a = min(max(y - room, float(low)), float(high))
                    b = min(max(y + room, float(low)), float(high))
                    xa, xb = xs[p] + (a - ys[p]) * slope, xs[p] + (b - ys[p]) * slope
                first = math.floor((min(xa, xb) - room - origin[0]) / step)
                last = math.ceil((max(xa, xb) + room - origin[0]) / step) + 1
                spans[j, 0] = min(spans[j, 0], first)
                spans[j, 1] = max(spans[j, 1], last)
            p = q
    for j in range(rows):
        if spans[j, 1] <= spans[j, 0]:
            spans[j] = 0
    return spans


@kernel
def surround(values: FloatArray, spans: IntArray) -> IntArray:
    """Make the nodes about the spans infinite, so that contours close; (rows, 2) squares [first, last) to look at.

    Whatever else the raster holds is left from other layers and is never read.
    """
    rows = spans.shape[0]
    cells = np.zeros((rows, 2), np.int64)
    for j in range(rows):
        left, right = values.shape[1], -1
        for k in range(max(j - 1, 0), min(j + 2, rows)):
            if spans[k, 1] > 0:
                left, right = min(left, spans[k, 0] - 1), max(right, spans[k, 1])
        if right < 0:
            continue
        stop = spans[j, 0] if spans[j, 1] > 0 else right + 1
        values[j, left:stop] = np.inf
        if spans[j, 1] > 0:
            values[j, spans[j, 1] : right + 1] = np.inf
    for j in range(rows - 1):
        left, right = values.shape[1], -1
        for k in range(j, j + 2):
            if spans[k, 1] > 0:
                left, right = min(left, spans[k, 0] - 1), max(right, spans[k, 1])
        if right >= 0:
            cells[j, 0], cells[j, 1] = left, right
    return cells


@kernel
def _root(before: float, a: float, b: float, after: float) -> float:
    """Where between two nodes of other sign (0 to 1) the values pass zero, bent like the straighter side.

    Taking the smaller of the two second differences keeps a kink beyond one of the nodes out of the answer.
    """
    t = a / (a - b)
    bend, other = before - 2.0 * a + b, a - 2.0 * b + after
    if not (math.isfinite(bend) and math.isfinite(other)) or bend * other <= 0.0:
        return t
    if abs(other) < abs(bend):
        bend = other
    per = 1.0 / (a - b)
    for _ in range(3):
        t = (a - 0.5 * t * (1.0 - t) * bend) * per
    return min(max(t, 0.0), 1.0)


@kernel
def _place(values: FloatArray, edge: int) -> tuple[float, float]:
    """Column and row, with their fraction, at which the contour crosses an edge (ids as in next_crossing)."""
    n = values.shape[1]
    node = edge >> 1
    j = node // n
    i = node - j * n
    a = values[j, i]
    if edge & 1:
        b = values[j + 1, i]
        if not (math.isfinite(a) and math.isfinite(b)):
            return float(i), j + a / (a - b) if math.isfinite(a) else j + 1.0
        return float(i), j + _root(values[j - 1, i], a, b, values[j + 2, i])
    b = values[j, i + 1]
    if not (math.isfinite(a) and math.isfinite(b)):
        return i + a / (a - b) if math.isfinite(a) else i + 1.0, float(j)
    return i + _root(values[j, i - 1], a, b, values[j, i + 2]), float(j)


@kernel
def _heading(points: FloatArray, a: int, way: int, enough: float) -> tuple[float, float, float]:
    """Unit vector with which a loop comes to point a from the side ``way`` (-1, 1), and how it turned before.

    Chords shorter than ``enough`` point anywhere; they are passed over. The turn is the sine between the last two.
    """
    n = points.shape[0]
    b = (a + way) % n
    if abs(points[a, 0] - points[b, 0]) + abs(points[a, 1] - points[b, 1]) < enough:
        b = (b + way) % n
    c = (b + way) % n
    if abs(points[c, 0] - points[b, 0]) + abs(points[c, 1] - points[b, 1]) < enough:
        c = (c + way) % n
    ux, uy = points[a, 0] - points[b, 0], points[a, 1] - points[b, 1]
    vx, vy = points[b, 0] - points[c, 0], points[b, 1] - points[c, 1]
    u, v = math.sqrt(ux * ux + uy * uy), math.sqrt(vx * vx + vy * vy)
    if u > 0.0 and v > 0.0:
        return ux / u, uy / u, (vx * uy - vy * ux) / (u * v)
    return 0.0, 0.0, 1.0


@kernel
def _with_corners(points: FloatArray, step: float, out: FloatArray, sharp: BoolArray) -> int:
    """Copy a closed loop and put back the corners that its chords cut off; returns the number of points.

    A chord cuts off a corner when the loop turns much more over it than before and after it; the corner lies where
    the loop's two ends would meet. ``sharp`` tells which points are corners.
    """
    n = points.shape[0]
    filled = 0
    for a in range(n):
        out[filled, 0], out[filled, 1] = points[a, 0], points[a, 1]
        sharp[filled] = False
        filled += 1
        b = a + 1 if a + 1 < n else 0
        if n < 8:
            continue
        dx, dy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        # Cheap first: a chord that goes on straight cuts off nothing.
        px, py = points[a, 0] - points[a - 1, 0], points[a, 1] - points[a - 1, 1]
        if abs(px * dy - py * dx) < 0.1 * abs(px * dx + py * dy):
            continue
        ux, uy, before = _heading(points, a, -1, 0.3 * step)
        vx, vy, behind = _heading(points, b, 1, 0.3 * step)
        # The second heading runs backwards.
        turn = uy * vx - ux * vy
        if abs(turn) < 0.35 or abs(turn) < 3.0 * (abs(before) + abs(behind)):
            continue
        s = (dx * vy - dy * vx) / -turn
        t = (dx * uy - dy * ux) / -turn
        # Both ends must run on to the corner, and not further than over one square.
        if 0.0 < s < step and 0.0 < t < step:
            out[filled, 0], out[filled, 1] = points[a, 0] + s * ux, points[a, 1] + s * uy
            sharp[filled] = True
            filled += 1
    return filled


@kernel
def _arc_area(points: FloatArray, sharp: BoolArray) -> float:
    """Area of a closed loop whose points lie on a curve: the polygon's, and between each chord and its arc.

    The arc over a chord of length L of a curve that bends by k holds k L^3 / 12; where a chord cuts off a corner, that
    is what it cuts off on average. At a corner that is there, nothing bends.
    """
    n = points.shape[0]
    total = swept_area(points, np.zeros(2))
    ux, uy = points[0, 0] - points[n - 1, 0], points[0, 1] - points[n - 1, 1]
    u = math.sqrt(ux * ux + uy * uy)
    for a in range(n):
        b = a + 1 if a + 1 < n else 0
        vx, vy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        v = math.sqrt(vx * vx + vy * vy)
        if not sharp[a] and u > 1e-9 and v > 1e-9:
            # The sine of the turn: the same for what bends little, and right for a corner. Each chord bends by the
            # mean of its two ends.
            bend = 2.0 * (ux * vy - uy * vx) / (u * v * (u + v))
            total += bend * (u * u * u + v * v * v) / 24.0
        ux, uy, u = vx, vy, v
    return total


@kernel
def _round(points: FloatArray, count: int, area: float) -> None:
    """Round a loop to whole numbers one point after the other, each so that the area so far stays right."""
    error = swept_area(points[:count], np.zeros(2)) - area
    for a in range(count):
        b, c = a - 1 if a > 0 else count - 1, a + 1 if a + 1 < count else 0
        x, y = points[a, 0], points[a, 1]
        best, nx, ny, new = np.inf, x, y, error
        for corner in range(4):
            u, v = math.floor(x) + (corner & 1), math.floor(y) + (corner >> 1)
            far = math.sqrt((u - x) * (u - x) + (v - y) * (v - y))
            if far > 0.9:
                continue
            gain = 0.5 * ((u - x) * (points[c, 1] - points[b, 1]) - (v - y) * (points[c, 0] - points[b, 0]))
            # A unit of distance weighs as much as moving a segment of ten units by it.
            cost = abs(error + gain) + 10.0 * far * far
            if cost < best:
                best, nx, ny, new = cost, u, v, error + gain
        points[a, 0], points[a, 1] = nx, ny
        error = new


@kernel
def raster_loops(
    values: FloatArray,
    cells: IntArray,
    links: IntArray,
    origin: FloatArray,
    step: float,
    chord: float,
    area2_min: int,
) -> tuple[IntArray, IntArray, IntArray]:
    """Contours of a raster (J, I): x, y, starts in units, metal (negative) on the left.

    ``cells`` (J, 2) : squares of each row to look at. ``links`` (2 I J,), all -1, is left so. ``origin`` (2,),
    ``step``, ``chord`` (largest distance of a dropped point) : units. Loops below ``area2_min`` are dropped.
    """
    heads = next_crossing(values, cells, links)
    points = np.empty((heads.shape[0] + 1, 2))
    full = np.empty((2 * heads.shape[0] + 2, 2))
    sharp = np.empty(2 * heads.shape[0] + 2, np.bool_)
    xs = np.empty(2 * heads.shape[0], np.int64)
    ys = np.empty(2 * heads.shape[0], np.int64)
    starts = np.zeros(heads.shape[0] + 1, np.int64)
    still = np.zeros(2)
    filled = 0
    loops = 0
    for h in range(heads.shape[0]):
        edge = heads[h]
        n = 0
        while links[edge] >= 0:
            x, y = _place(values, edge)
            points[n, 0], points[n, 1] = origin[0] + x * step, origin[1] + y * step
            # Crossings at a node lie on two edges.
            if n == 0 or abs(points[n, 0] - points[n - 1, 0]) + abs(points[n, 1] - points[n - 1, 1]) > 1e-3:
                n += 1
            after = links[edge]
            links[edge] = -1
            edge = after
        if n > 0 and abs(points[n - 1, 0] - points[0, 0]) + abs(points[n - 1, 1] - points[0, 1]) <= 1e-3:
            n -= 1
        if n < 3:
            continue
        n = _with_corners(points[:n], step, full, sharp)
        area = _arc_area(full[:n], sharp)
        if 2.0 * abs(area) < area2_min:
            continue
        keep = simplify(full[:n], still, chord)
        if keep.shape[0] < 3:
            continue
        few = full[keep]
        equal_area(few, still, area, 2)
        _round(few, few.shape[0], area)
        begin = filled
        for a in range(few.shape[0]):
            px, py = int(few[a, 0]), int(few[a, 1])
            if filled == begin or px != xs[filled - 1] or py != ys[filled - 1]:
                xs[filled], ys[filled] = px, py
                filled += 1
        while filled > begin + 1 and xs[filled - 1] == xs[begin] and ys[filled - 1] == ys[begin]:
            filled -= 1
        if filled - begin < 3 or abs(double_area(xs, ys, begin, filled)) < area2_min:
            filled = begin
            continue
        loops += 1
        starts[loops] = filled
    return xs[:filled], ys[:filled], starts[: loops + 1]
