"""Compiled kernels that turn one period of the lattice at one height into exact, small, integer contours."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: A chord replaces at most this many segments: keeps thinning linear in the number of points.
MOST_DROPPED = 32


@kernel
def all_cells(values: FloatArray) -> IntArray:
    """(J, 2) first square and square after the last of each row of a table: all of them."""
    cells = np.zeros((values.shape[0], 2), np.int64)
    cells[:, 1] = values.shape[1]
    return cells


@kernel
def _link(
    values: FloatArray, j: int, up: int, i: int, right: int, follow: IntArray, heads: IntArray, count: int
) -> int:
    """Link the crossings of the square between columns i, right and rows j, up, which a contour crosses."""
    n = values.shape[1]
    a, b = values[j, i] < 0.0, values[j, right] < 0.0
    c, d = values[up, right] < 0.0, values[up, i] < 0.0
    south = 2 * (j * n + i)
    west = south + 1
    north = 2 * (up * n + i)
    east = 2 * (j * n + right) + 1
    if a == c and b == d:
        middle = values[j, i] + values[j, right] + values[up, right] + values[up, i] < 0.0
        # Segments run from where metal ends to where it begins, going round the cell's border.
        if a:
            follow[south] = east if middle else west
            follow[north] = west if middle else east
            heads[count] = south
            heads[count + 1] = north
        else:
            follow[east] = north if middle else south
            follow[west] = south if middle else north
            heads[count] = east
            heads[count + 1] = west
        return count + 2
    if a and not b:
        begin = south
    elif b and not c:
        begin = east
    elif c and not d:
        begin = north
    else:
        begin = west
    if b and not a:
        end = south
    elif c and not b:
        end = east
    elif d and not c:
        end = north
    else:
        end = west
    follow[begin] = end
    heads[count] = begin
    return count + 1


@kernel
def link_square(values: FloatArray, j: int, i: int, follow: IntArray, heads: IntArray, count: int) -> int:
    """:func:`next_crossing` for one square that is not at the period's border; returns how many heads there are."""
    a = values[j, i] < 0.0
    if a == (values[j, i + 1] < 0.0) == (values[j + 1, i + 1] < 0.0) == (values[j + 1, i] < 0.0):
        return count
    return _link(values, j, j + 1, i, i + 1, follow, heads, count)


@kernel
def next_crossing(values: FloatArray, cells: IntArray, follow: IntArray) -> IntArray:
    """Linked marching squares on a periodic (J, I) table of values, metal (negative) on the left.

    ``cells`` (J, 2) limits each row to squares [first, last).

    Edge ids: 2*(j*I + i) is the edge from node (j, i) to (j, i+1), plus one the edge to (j+1, i). Writes the
    edge that follows each crossed edge to ``follow`` (2*I*J, filled with -1) and returns the crossed edges
    that start a segment, in row order. On a saddle the mean of the four nodes decides.
    """
    rows, n = values.shape
    heads = np.empty(2 * (cells[:, 1] - cells[:, 0]).sum(), np.int64)
    count = 0
    for j in range(rows):
        up = j + 1 if j + 1 < rows else 0
        first, last = cells[j]
        # Each square's right side is the next one's left side.
        b = first < last and values[j, first] < 0.0
        c = first < last and values[up, first] < 0.0
        for i in range(first, last):
            right = i + 1 if i + 1 < n else 0
            a, d = b, c
            b = values[j, right] < 0.0
            c = values[up, right] < 0.0
            if a == b and b == c and c == d:
                continue
            count = _link(values, j, up, i, right, follow, heads, count)
    return heads[:count]


@kernel
def trace_periodic(
    values: FloatArray, follow: IntArray, heads: IntArray, step: float
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Walk the linked crossings of a periodic table into curves, unwrapped over the border.

    Returns
    -------
    points (P, 2) mm, starts (C + 1), shift (C, 2): where a curve ends relative to its start. (0, 0) is a
    closed loop, anything else a curve that runs on for ever with that period. ``follow`` is used up.
    """
    rows, n = values.shape
    period_x = n * step
    period_y = rows * step
    points = np.empty((heads.shape[0] + 1, 2))
    starts = np.empty(heads.shape[0] + 1, np.int64)
    shift = np.zeros((heads.shape[0], 2))
    filled = 0
    curves = 0
    for h in range(heads.shape[0]):
        edge = heads[h]
        if follow[edge] < 0:
            continue
        starts[curves] = filled
        first = filled
        x = 0.0
        y = 0.0
        while True:
            node = edge >> 1
            j = node // n
            i = node - j * n
            if edge & 1:
                other = values[(j + 1) % rows, i]
            else:
                other = values[j, (i + 1) % n]
            t = values[j, i] / (values[j, i] - other)
            px = (i + (0.0 if edge & 1 else t)) * step
            py = (j + (t if edge & 1 else 0.0)) * step
            if filled > first or follow[edge] < 0:
                px -= period_x * math.floor((px - x) / period_x + 0.5)
                py -= period_y * math.floor((py - y) / period_y + 0.5)
            x, y = px, py
            if follow[edge] < 0:
                shift[curves, 0] = period_x * math.floor((x - points[first, 0]) / period_x + 0.5)
                shift[curves, 1] = period_y * math.floor((y - points[first, 1]) / period_y + 0.5)
                break
            points[filled, 0] = x
            points[filled, 1] = y
            filled += 1
            after = follow[edge]
            follow[edge] = -1
            edge = after
        curves += 1
    starts[curves] = filled
    return points[:filled], starts[: curves + 1], shift[:curves]


@kernel
def swept_area(points: FloatArray, shift: FloatArray) -> float:
    """Integral of x dy over one period, less what depends on where it starts.

    For a closed loop it is the enclosed area; for an endless curve its change is the area swept outwards.
    """
    n = points.shape[0]
    total = 0.0
    for a in range(n):
        if a + 1 < n:
            x, y = points[a + 1, 0], points[a + 1, 1]
        else:
            x, y = points[0, 0] + shift[0], points[0, 1] + shift[1]
        total += 0.5 * (points[a, 0] + x) * (y - points[a, 1])
    return float(total - shift[0] * points[0, 1])


@kernel
def simplify(points: FloatArray, shift: FloatArray, tolerance: float) -> IntArray:
    """Indices of the points to keep so that no dropped one is further than ``tolerance`` from its chord."""
    n = points.shape[0]
    keep = np.empty(n + 1, np.int64)
    count = 0
    a = 0
    limit2 = tolerance * tolerance
    while a < n:
        keep[count] = a
        count += 1
        b = a + 1
        while b < n and b - a < MOST_DROPPED:
            trial = b + 1
            if trial < n:
                ex, ey = points[trial, 0], points[trial, 1]
            else:
                ex, ey = points[0, 0] + shift[0], points[0, 1] + shift[1]
            dx, dy = ex - points[a, 0], ey - points[a, 1]
            length2 = dx * dx + dy * dy
            fits = length2 > 0.0
            for c in range(a + 1, trial):
                if not fits:
                    break
                off = dx * (points[c, 1] - points[a, 1]) - dy * (points[c, 0] - points[a, 0])
                fits = off * off <= limit2 * length2
            if not fits:
                break
            b = trial
        a = b
    return keep[:count]


@kernel
def equal_area(points: FloatArray, shift: FloatArray, area: float, rounds: int) -> None:
    """Move every edge of a curve outwards by the one distance that gives it ``area`` (see swept_area).

    Each of the ``rounds`` leaves a few percent of the last one's error.
    """
    n = points.shape[0]
    miter = np.empty((n, 2))
    for a in range(n):
        bx, by = points[a - 1, 0], points[a - 1, 1]
        if a == 0:
            bx, by = points[n - 1, 0] - shift[0], points[n - 1, 1] - shift[1]
        if a + 1 < n:
            cx, cy = points[a + 1, 0], points[a + 1, 1]
        else:
            cx, cy = points[0, 0] + shift[0], points[0, 1] + shift[1]
        ux, uy = points[a, 0] - bx, points[a, 1] - by
        vx, vy = cx - points[a, 0], cy - points[a, 1]
        u, v = math.sqrt(ux * ux + uy * uy), math.sqrt(vx * vx + vy * vy)
        nx, ny = uy / u + vy / v, -ux / u - vx / v
        scale = 1.0 + (ux * vx + uy * vy) / (u * v)
        scale = max(scale, 0.5)
        miter[a, 0], miter[a, 1] = nx / scale, ny / scale
    for _ in range(rounds):
        length = 0.0
        for a in range(n):
            if a + 1 < n:
                length += math.hypot(points[a + 1, 0] - points[a, 0], points[a + 1, 1] - points[a, 1])
            else:
                length += math.hypot(
                    points[0, 0] + shift[0] - points[a, 0], points[0, 1] + shift[1] - points[a, 1]
                )
        move = (area - swept_area(points, shift)) / length
        for a in range(n):
            points[a, 0] += move * miter[a, 0]
            points[a, 1] += move * miter[a, 1]


@kernel
def settle(points: FloatArray, shift: FloatArray, area: float) -> None:
    """Round points to whole numbers, then move single points by one until no such move improves the area.

    Rounding alone would leave every copy of a stamp with the same error of a few tenths of a percent.
    Coordinates and shift are in units here.
    """
    n = points.shape[0]
    for a in range(n):
        points[a, 0] = math.floor(points[a, 0] + 0.5)
        points[a, 1] = math.floor(points[a, 1] + 0.5)
    moved = np.zeros(n, np.bool_)
    for _ in range(n):
        missing = area - swept_area(points, shift)
        best = abs(missing)
        chosen = -1
        step_x, step_y = 0.0, 0.0
        for a in range(n):
            if moved[a]:
                continue
            bx, by = points[a - 1, 0], points[a - 1, 1]
            if a == 0:
                bx, by = points[n - 1, 0] - shift[0], points[n - 1, 1] - shift[1]
            if a + 1 < n:
                cx, cy = points[a + 1, 0], points[a + 1, 1]
            else:
                cx, cy = points[0, 0] + shift[0], points[0, 1] + shift[1]
            for sx, sy in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
                gain = 0.5 * (sx * (cy - by) - sy * (cx - bx))
                if abs(missing - gain) < best - 1e-9:
                    best = abs(missing - gain)
                    chosen = a
                    step_x, step_y = sx, sy
        if chosen < 0:
            return
        points[chosen, 0] += step_x
        points[chosen, 1] += step_y
        moved[chosen] = True
