"""Compiled helpers of the beam's paths: which borders are whose, thinning of offsets, packing of lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cli_kernels import HATCHES_SHORT, MOST_ITEMS
from implantflow.build.mesh_kernels import double_area, quantise_loops
from implantflow.build.search_kernels import BIN_BITS, link_after, make_grid
from implantflow.build.stamp_kernels import simplify
from implantflow.compiled import inner, kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Words = NDArray[np.uint16]


@kernel
def thinned(points: FloatArray, starts: IntArray, tolerance: float) -> tuple[IntArray, IntArray, IntArray]:
    """Closed loops without the points that lie within ``tolerance`` of a chord, in whole units: x, y, starts."""
    few = np.empty_like(points)
    few_start = np.zeros_like(starts)
    filled = 0
    for c in range(starts.shape[0] - 1):
        loop = points[starts[c] : starts[c + 1]]
        keep = simplify(loop, np.zeros(2), tolerance)
        for n in range(keep.shape[0]):
            few[filled] = loop[keep[n]]
            filled += 1
        few_start[c + 1] = filled
    return quantise_loops(few[:filled], few_start, 1.0, 1)


@kernel
def corners_of(xs: IntArray, ys: IntArray, core_x: IntArray, core_y: IntArray) -> BoolArray:
    """Which points are also corners of the core?"""
    capacity = 16
    while capacity < 2 * core_x.shape[0]:
        capacity *= 2
    mask = capacity - 1
    table = np.full(capacity, -1, np.int64)
    for n in range(core_x.shape[0]):
        key = core_x[n] << 20 | core_y[n]
        slot = (key * 2654435761 >> 12) & mask
        while table[slot] >= 0 and table[slot] != key:
            slot = (slot + 1) & mask
        table[slot] = key
    found = np.zeros(xs.shape[0], np.bool_)
    for n in range(xs.shape[0]):
        key = xs[n] << 20 | ys[n]
        slot = (key * 2654435761 >> 12) & mask
        while table[slot] >= 0 and table[slot] != key:
            slot = (slot + 1) & mask
        found[n] = table[slot] == key
    return found


@kernel
def without_crumbs(
    core_x: IntArray, core_y: IntArray, starts: IntArray, xs: IntArray, ys: IntArray, area2_min: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Loops of the core without those below ``area2_min`` (2 x area) none of whose corners is one of the points."""
    tiny = np.zeros(starts.shape[0] - 1, np.bool_)
    for c in range(starts.shape[0] - 1):
        tiny[c] = abs(double_area(core_x, core_y, starts[c], starts[c + 1])) < area2_min
    if not tiny.any():
        return core_x, core_y, starts
    shared = corners_of(core_x, core_y, xs, ys)
    keep = np.ones(core_x.shape[0], np.bool_)
    few = np.zeros_like(starts)
    loops = 0
    for c in range(starts.shape[0] - 1):
        a, b = starts[c], starts[c + 1]
        if tiny[c] and not shared[a:b].any():
            keep[a:b] = False
        else:
            loops += 1
            few[loops] = few[loops - 1] + b - a
    return core_x[keep], core_y[keep], few[: loops + 1]


@kernel
def on_border(
    xs: IntArray, ys: IntArray, starts: IntArray, core_x: IntArray, core_y: IntArray, core_starts: IntArray
) -> BoolArray:
    """Which segments of the loops (by their first point) run along the core's border: their middles lie on it."""
    after = link_after(core_starts)
    begin, members, x0, y0, bits, nx, ny = make_grid(core_x, core_y, after, BIN_BITS)
    found = np.zeros(xs.shape[0], np.bool_)
    for c in range(starts.shape[0] - 1):
        p = starts[c + 1] - 1
        for q in range(starts[c], starts[c + 1]):
            x, y = 0.5 * (xs[p] + xs[q]), 0.5 * (ys[p] + ys[q])
            i0, i1 = max((int(x) - 2 - x0) >> bits, 0), min((int(x) + 2 - x0) >> bits, nx - 1)
            j0, j1 = max((int(y) - 2 - y0) >> bits, 0), min((int(y) + 2 - y0) >> bits, ny - 1)
            for j in range(j0, j1 + 1):
                for i in range(i0, i1 + 1):
                    for m in range(begin[j * nx + i], begin[j * nx + i + 1]):
                        a = members[m]
                        found[p] = found[p] or _touches(x, y, core_x, core_y, a, after[a])
            p = q
    return found


@inner
def _touches(x: float, y: float, xs: IntArray, ys: IntArray, a: int, b: int) -> bool:
    """Does a point lie on segment a-b, but for the rounding of crossings to units?"""
    dx, dy = float(xs[b] - xs[a]), float(ys[b] - ys[a])
    length2 = dx * dx + dy * dy
    t = min(max(((x - xs[a]) * dx + (y - ys[a]) * dy) / length2, 0.0), 1.0)
    ex, ey = xs[a] + t * dx - x, ys[a] + t * dy - y
    return bool(ex * ex + ey * ey <= 1.0)


@kernel
def chosen_loops(
    xs: IntArray, ys: IntArray, starts: IntArray, flags: BoolArray
) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """Loops that bound pieces with dense metal, with the ``flags`` of their segments; all where holes are unclear.

    A hole without a flagged segment may lie in such a piece, or in an island: then nothing is left out.
    """
    loops = starts.shape[0] - 1
    mine = np.zeros(loops, np.bool_)
    for c in range(loops):
        a, b = starts[c], starts[c + 1]
        mine[c] = flags[a:b].any()
        if not mine[c] and double_area(xs, ys, a, b) < 0:
            return xs, ys, starts, flags
    keep = np.zeros(xs.shape[0], np.bool_)
    few = np.zeros_like(starts)
    count = 0
    for c in range(loops):
        if mine[c]:
            keep[starts[c] : starts[c + 1]] = True
            few[count + 1] = few[count] + starts[c + 1] - starts[c]
            count += 1
    return xs[keep], ys[keep], few[: count + 1], flags[keep]


@kernel
def as_lines(xs: IntArray, ys: IntArray, starts: IntArray) -> IntArray:
    """Closed loops as lines (N, 4), each loop's one after another."""
    out = np.empty((xs.shape[0], 4), np.int64)
    count = 0
    for c in range(starts.shape[0] - 1):
        for p in range(starts[c], starts[c + 1]):
            q = p + 1 if p + 1 < starts[c + 1] else starts[c]
            if xs[p] != xs[q] or ys[p] != ys[q]:
                out[count, 0], out[count, 1], out[count, 2], out[count, 3] = xs[p], ys[p], xs[q], ys[q]
                count += 1
    return out[:count]


@kernel
def unmarked(xs: IntArray, ys: IntArray, starts: IntArray, flags: BoolArray) -> IntArray:
    """Segments (N, 4) of the loops without any flag."""
    out = np.empty((xs.shape[0], 4), np.int64)
    count = 0
    for c in range(starts.shape[0] - 1):
        if flags[starts[c] : starts[c + 1]].any():
            continue
        p = starts[c + 1] - 1
        for q in range(starts[c], starts[c + 1]):
            out[count, 0], out[count, 1], out[count, 2], out[count, 3] = xs[p], ys[p], xs[q], ys[q]
            count += 1
            p = q
    return out[:count].copy()


@kernel
def strut_borders(
    xs: IntArray,
    ys: IntArray,
    starts: IntArray,
    core_x: IntArray,
    core_y: IntArray,
    core_starts: IntArray,
    depth: float,
) -> tuple[BoolArray, IntArray, IntArray, IntArray, IntArray, IntArray]:
    """Borders of the layer's loops beside the core's.

    Returns
    -------
    flags of the segments on the core's border (:func:`on_border`), loops that bound pieces with dense metal
    (:func:`chosen_loops`), edges of struts in them (:func:`strut_edges`), segments of loops without any flag.
    """
    border = on_border(xs, ys, starts, core_x, core_y, core_starts)
    x, y, few, flags = chosen_loops(xs, ys, starts, border)
    return border, x, y, few, strut_edges(x, y, few, flags, depth), unmarked(x, y, few, flags)


@kernel
def strut_edges(xs: IntArray, ys: IntArray, starts: IntArray, flags: BoolArray, depth: float) -> IntArray:
    """Borders of struts in loops that border dense metal too: (N, 4) lines ``depth`` inside the loop, units.

    ``flags``: segments that run along the border of the dense metal, by their first point.
    """
    out = np.empty((xs.shape[0], 4), np.int64)
    count = 0
    for c in range(starts.shape[0] - 1):
        a, b = starts[c], starts[c + 1]
        if not flags[a:b].any():
            continue
        known = False
        x, y = 0, 0
        p = b - 1
        for q in range(a, b):
            if flags[q]:
                known = False
            else:
                r = q + 1 if q + 1 < b else a
                s = r + 1 if r + 1 < b else a
                if not known:
                    x, y = _moved_in(xs, ys, p, q, r, depth)
                    known = True
                u, v = _moved_in(xs, ys, q, r, s, depth)
                if x != u or y != v:
                    out[count, 0], out[count, 1], out[count, 2], out[count, 3] = x, y, u, v
                    count += 1
                x, y = u, v
            p = q
    return out[:count].copy()


@kernel
def _moved_in(xs: IntArray, ys: IntArray, p: int, q: int, r: int, depth: float) -> tuple[int, int]:
    """Point ``q`` of a loop, between ``p`` and ``r``, moved to the left of both its segments, rounded to units."""
    ux, uy = float(xs[q] - xs[p]), float(ys[q] - ys[p])
    vx, vy = float(xs[r] - xs[q]), float(ys[r] - ys[q])
    one, two = math.sqrt(ux * ux + uy * uy), math.sqrt(vx * vx + vy * vy)
    ux, uy, vx, vy = ux / one, uy / one, vx / two, vy / two
    # At a needle's tip the point would fly off: then it keeps to one side.
    share = depth / max(1.0 + ux * vx + uy * vy, 0.5)
    x = xs[q] - share * (uy + vy)
    y = ys[q] + share * (ux + vx)
    return int(np.floor(x + 0.5)), int(np.floor(y + 0.5))


@kernel
def relabel(
    words: Words, flags: BoolArray, xs: IntArray, ys: IntArray, starts: IntArray, label: int
) -> float:
    """Give those of a packed layer's first polylines another label whose loops hold a flagged segment; their length."""
    at = 2
    length = 0.0
    for c in range(starts.shape[0] - 1):
        a, b = starts[c], starts[c + 1]
        if flags[a:b].any():
            words[at + 1] = label
            p = b - 1
            for q in range(a, b):
                dx, dy = float(xs[q] - xs[p]), float(ys[q] - ys[p])
                length += math.sqrt(dx * dx + dy * dy)
                p = q
        at += 4 + 2 * int(words[at + 3])
    return length


@kernel
def total_length(lines: IntArray) -> float:
    """Sum of the lengths of lines (N, 4)."""
    total = 0.0
    for n in range(lines.shape[0]):
        dx, dy = float(lines[n, 2] - lines[n, 0]), float(lines[n, 3] - lines[n, 1])
        total += math.sqrt(dx * dx + dy * dy)
    return total


@kernel
def with_lines(
    words: Words, lines: tuple[IntArray, IntArray, IntArray, IntArray], labels: tuple[int, int, int, int]
) -> tuple[Words, FloatArray]:
    """A packed layer with blocks of hatches behind it that hold these lines (N, 4), and each kind's length.

    Coordinates must fit 16 bits.
    """
    size = words.shape[0]
    for k in range(4):
        count = lines[k].shape[0]
        size += 4 * count - 3 * (-count // MOST_ITEMS)
    out = np.empty(size, np.uint16)
    out[: words.shape[0]] = words
    n = words.shape[0]
    lengths = np.empty(4)
    for k in range(4):
        kind = lines[k]
        lengths[k] = total_length(kind)
        count = kind.shape[0]
        for h in range(count):
            if h % MOST_ITEMS == 0:
                out[n], out[n + 1], out[n + 2] = HATCHES_SHORT, labels[k], min(count - h, MOST_ITEMS)
                n += 3
            for e in range(4):
                out[n] = kind[h, e]
                n += 1
    return out, lengths
