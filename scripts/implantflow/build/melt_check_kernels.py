"""Compiled examination of the beam's paths in dense metal as read back; shares nothing with what makes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Segments of outlines are kept in squares of this side (units), and paths are looked at in steps of it.
_SQUARE = 128.0


@inner
def _point_to_segment(px: float, py: float, ax: float, ay: float, bx: float, by: float) -> float:
    """Squared distance of a point from a segment."""
    dx, dy = bx - ax, by - ay
    length2 = dx * dx + dy * dy
    t = 0.0
    if length2 > 0.0:
        t = min(max(((px - ax) * dx + (py - ay) * dy) / length2, 0.0), 1.0)
    x, y = ax + t * dx - px, ay + t * dy - py
    return x * x + y * y


@inner
def _side(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> float:
    return (bx - ax) * (py - ay) - (by - ay) * (px - ax)


@inner
def _apart(ax: float, ay: float, bx: float, by: float, cx: float, cy: float, dx: float, dy: float) -> float:
    """Squared distance of two segments."""
    one, two = _side(ax, ay, bx, by, cx, cy), _side(ax, ay, bx, by, dx, dy)
    three, four = _side(cx, cy, dx, dy, ax, ay), _side(cx, cy, dx, dy, bx, by)
    if one * two < 0.0 and three * four < 0.0:
        return 0.0
    return min(
        min(_point_to_segment(ax, ay, cx, cy, dx, dy), _point_to_segment(bx, by, cx, cy, dx, dy)),
        min(_point_to_segment(cx, cy, ax, ay, bx, by), _point_to_segment(dx, dy, ax, ay, bx, by)),
    )


@kernel
def _squares(
    points: FloatArray, starts: IntArray, wanted: BoolArray
) -> tuple[IntArray, IntArray, float, float, int, int]:
    """Segments of the wanted polylines by squares: starts, first points, corner, columns, rows."""
    x0, y0 = points[:, 0].min(), points[:, 1].min()
    columns = int((points[:, 0].max() - x0) / _SQUARE) + 1
    rows = int((points[:, 1].max() - y0) / _SQUARE) + 1
    begin = np.zeros(columns * rows + 1, np.int64)
    members = np.empty(0, np.int64)
    for sweep in range(2):
        for c in range(starts.shape[0] - 1):
            if not wanted[c]:
                continue
            for p in range(starts[c], starts[c + 1] - 1):
                left, right = min(points[p, 0], points[p + 1, 0]), max(points[p, 0], points[p + 1, 0])
                low, high = min(points[p, 1], points[p + 1, 1]), max(points[p, 1], points[p + 1, 1])
                for j in range(int((low - y0) / _SQUARE), int((high - y0) / _SQUARE) + 1):
                    for i in range(int((left - x0) / _SQUARE), int((right - x0) / _SQUARE) + 1):
                        if sweep == 0:
                            begin[j * columns + i + 1] += 1
                        else:
                            members[begin[j * columns + i]] = p
                            begin[j * columns + i] += 1
        if sweep == 0:
            for b in range(columns * rows):
                begin[b + 1] += begin[b]
            members = np.empty(begin[columns * rows], np.int64)
    for b in range(columns * rows, 0, -1):
        begin[b] = begin[b - 1]
    begin[0] = 0
    return begin, members, x0, y0, columns, rows


#: How much further, squared, rounding may move the border of a strut than other paths.
_SHARP = 6.0


@inner
def _near(
    ax: float,
    ay: float,
    bx: float,
    by: float,
    reach: float,
    points: FloatArray,
    squares: tuple[IntArray, IntArray, float, float, int, int],
) -> float:
    """Squared distance of a short segment from the nearest outline, at most ``reach`` squared."""
    begin, members, x0, y0, columns, rows = squares
    best = reach * reach
    left, right, low, high = (
        min(ax, bx) - reach,
        max(ax, bx) + reach,
        min(ay, by) - reach,
        max(ay, by) + reach,
    )
    i0 = max(int(np.floor((left - x0) / _SQUARE)), 0)
    i1 = min(int(np.floor((right - x0) / _SQUARE)), columns - 1)
    j0 = max(int(np.floor((low - y0) / _SQUARE)), 0)
    j1 = min(int(np.floor((high - y0) / _SQUARE)), rows - 1)
    for j in range(j0, j1 + 1):
        for i in range(i0, i1 + 1):
            for m in range(begin[j * columns + i], begin[j * columns + i + 1]):
                p = members[m]
                cx, cy, dx, dy = points[p, 0], points[p, 1], points[p + 1, 0], points[p + 1, 1]
                if max(cx, dx) < left or min(cx, dx) > right or max(cy, dy) < low or min(cy, dy) > high:
                    continue
                best = min(best, _apart(ax, ay, bx, by, cx, cy, dx, dy))
    return best


@kernel
def _in_metal(x: float, y: float, points: FloatArray, starts: IntArray) -> bool:
    """Is a point inside the closed polylines (even-odd over all of them)?"""
    odd = False
    for c in range(starts.shape[0] - 1):
        for p in range(starts[c], starts[c + 1] - 1):
            a, b = points[p, 1], points[p + 1, 1]
            if (a > y) != (b > y):
                at = points[p, 0] + (y - a) / (b - a) * (points[p + 1, 0] - points[p, 0])
                if at < x:
                    odd = not odd
    return odd


@kernel
def path_faults(
    lines: FloatArray,
    depths: FloatArray,
    asked_for: BoolArray,
    points: FloatArray,
    starts: IntArray,
    offset: BoolArray,
    rows: FloatArray,
    begin: IntArray,
    where: FloatArray,
    slack: float,
) -> tuple[int, int]:
    """Paths that leave the metal, and paths nearer to an outline than they should be.

    Parameters
    ----------
    lines : (N, 4). depths : (N,) least distance from the outlines that the beam stays inside of, units; 0 for borders
        of struts, which run along one. asked_for : (N,) lines of which it is asked whether they lie in metal.
    points, starts : all closed polylines of the layer; ``offset`` (L,) those that the beam stays inside of.
    rows, begin, where : the metal cut by rows along x. slack : what rounding may take, units.
    """
    out, near = 0, 0
    if lines.shape[0] == 0:
        return out, near
    if points.shape[0] == 0:
        return lines.shape[0], near
    squares = _squares(points, starts, offset)
    first, pitch = rows[0], rows[1] - rows[0]
    known = False
    for n in range(lines.shape[0]):
        ax, ay, bx, by = lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3]
        joined = n > 0 and ax == lines[n - 1, 2] and ay == lines[n - 1, 3]
        low, high = min(ay, by), max(ay, by)
        r = max(int(np.ceil((low - first) / pitch)), 0)
        x, y = 0.5 * (ax + bx), 0.5 * (ay + by)
        good, asked = True, not asked_for[n]
        beside = slack * slack
        if depths[n] <= 0.0:
            # The border of a strut: it lies along an outline, and rounding moves it more where that turns sharply.
            beside *= _SHARP
            good, asked = _near(x, y, x, y, 3.0 * slack, points, squares) <= beside, True
        while asked_for[n] and r < rows.shape[0] and rows[r] <= high and ay != by:
            at = ax + (rows[r] - ay) / (by - ay) * (bx - ax)
            side = np.searchsorted(where[begin[r] : begin[r + 1]], at)
            if side % 2 == 0 and _near(at, rows[r], at, rows[r], 3.0 * slack, points, squares) > beside:
                good = False
            asked = True
            r += 1
        if not asked and not (joined and known):
            good = _in_metal(x, y, points, starts)
        known = good
        out += 0 if good else 1
        if depths[n] > slack:
            least = depths[n] - slack
            steps = int(max(abs(bx - ax), abs(by - ay)) / _SQUARE) + 1
            for s in range(steps):
                u, v = s / steps, (s + 1) / steps
                cx, cy, dx, dy = (
                    ax + u * (bx - ax),
                    ay + u * (by - ay),
                    ax + v * (bx - ax),
                    ay + v * (by - ay),
                )
                if _near(cx, cy, dx, dy, least + 1.0, points, squares) < least * least:
                    near += 1
                    break
    return out, near


@inner
def _shift(row: int) -> float:
    """How far a row's places are shifted, in steps: by the golden ratio, so that no wall falls between all of them."""
    return row * 0.6180339887498949 % 1.0


@inner
def _mark(
    seen: NDArray[np.uint8],
    ax: float,
    ay: float,
    bx: float,
    by: float,
    reach: float,
    x0: float,
    y0: float,
    step: float,
) -> None:
    """Set the places of a grid (rows shifted) within ``reach`` of a segment."""
    dx, dy = bx - ax, by - ay
    j0 = max(int(np.ceil((min(ay, by) - reach - y0) / step)), 0)
    j1 = min(int(np.floor((max(ay, by) + reach - y0) / step)), seen.shape[0] - 1)
    for j in range(j0, j1 + 1):
        y, first = y0 + j * step, x0 + _shift(j) * step
        # Only the part of the segment that is this near to the row can reach it.
        t0, t1 = 0.0, 1.0
        if dy != 0.0:
            t0, t1 = (y - reach - ay) / dy, (y + reach - ay) / dy
            t0, t1 = max(min(t0, t1), 0.0), min(max(t0, t1), 1.0)
        left, right = min(ax + t0 * dx, ax + t1 * dx), max(ax + t0 * dx, ax + t1 * dx)
        i0 = max(int(np.ceil((left - reach - first) / step)), 0)
        i1 = min(int(np.floor((right + reach - first) / step)), seen.shape[1] - 1)
        for i in range(i0, i1 + 1):
            if seen[j, i] == 0 and _point_to_segment(first + i * step, y, ax, ay, bx, by) <= reach * reach:
                seen[j, i] = 1


@kernel
def bare_places(
    lines: FloatArray,
    points: FloatArray,
    starts: IntArray,
    offset: BoolArray,
    followed: BoolArray,
    rows: FloatArray,
    begin: IntArray,
    where: FloatArray,
    owner: IntArray,
    reach: float,
) -> tuple[int, int]:
    """Places on a square grid in pieces of metal that hold dense metal: how many, and how many no path comes near.

    Parameters
    ----------
    lines : (N, 4) all paths but supports. offset, followed : (L,) polylines that the beam stays inside of, and those it
        runs along. rows, begin, where, owner : the metal cut by rows along x, whose distance is the grid's.
    reach : a place further from every path is bare, units.
    """
    x0, y0, x1, y1 = np.inf, np.inf, -np.inf, -np.inf
    for c in range(offset.shape[0]):
        if offset[c]:
            for p in range(starts[c], starts[c + 1]):
                x0, x1 = min(x0, points[p, 0]), max(x1, points[p, 0])
                y0, y1 = min(y0, points[p, 1]), max(y1, points[p, 1])
    if x0 > x1:
        return 0, 0
    step = rows[1] - rows[0]
    top = np.searchsorted(rows, y0)
    count = np.searchsorted(rows, y1) - top
    if count <= 0:
        return 0, 0
    seen = np.zeros((count, int((x1 - x0) / step) + 1), np.uint8)
    for n in range(lines.shape[0]):
        _mark(seen, lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3], reach, x0, rows[top], step)
    for c in range(followed.shape[0]):
        if followed[c]:
            for p in range(starts[c], starts[c + 1] - 1):
                ax, ay, bx, by = points[p, 0], points[p, 1], points[p + 1, 0], points[p + 1, 1]
                if max(ax, bx) >= x0 - reach and min(ax, bx) <= x1 + reach:
                    _mark(seen, ax, ay, bx, by, reach, x0, rows[top], step)
    places, bare = 0, 0
    for j in range(count):
        r, first = top + j, x0 + _shift(j) * step
        for m in range(begin[r], begin[r + 1] - 1, 2):
            if not (offset[owner[m]] or offset[owner[m + 1]]):
                continue
            i0 = max(int(np.ceil((where[m] - first) / step)), 0)
            i1 = min(int(np.floor((where[m + 1] - first) / step)), seen.shape[1] - 1)
            for i in range(i0, i1 + 1):
                places += 1
                bare += 1 if seen[j, i] == 0 else 0
    return places, bare
