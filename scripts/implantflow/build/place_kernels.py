"""Compiled stamping: one phase of the lattice laid over a layer, island by island."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cross_kernels import SOLID
from implantflow.compiled import kernel

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]


@kernel
def place_lattice(
    bx: IntArray,
    by: IntArray,
    after: IntArray,
    kinds: IntArray,
    box: IntArray,
    cell: int,
    phase: int,
    loop_phase: IntArray,
    loop_start: IntArray,
    loop_x: IntArray,
    loop_y: IntArray,
    line_phase: IntArray,
    line_start: IntArray,
    line_shift: IntArray,
    line_x: IntArray,
    line_y: IntArray,
) -> tuple[IntArray, IntArray, IntArray, BoolArray, IntArray]:
    """Stamp one phase over ``box`` (x0, y0, x1, y1).

    Islands that no border comes near are whole or absent and are returned as places; the others, and all
    endless curves, are returned for merging.

    Returns
    -------
    x, y, starts, closed : curves that need merging.
    whole : (W, 3) closed curve, column and row of the tile of every whole island.
    """
    first, last = loop_phase[phase], loop_phase[phase + 1]
    capacity = 0
    pieces = 0
    most = 0
    tiles = np.empty((last - first, 4), np.int64)
    for s in range(first, last):
        left, low, right, high = bounds(loop_x, loop_y, loop_start[s], loop_start[s + 1])
        i0, i1 = -((right - box[0]) // cell), (box[2] - left) // cell
        j0, j1 = -((high - box[1]) // cell), (box[3] - low) // cell
        tiles[s - first, 0] = i0
        tiles[s - first, 1] = i1
        tiles[s - first, 2] = j0
        tiles[s - first, 3] = j1
        count = max(i1 - i0 + 1, 0) * max(j1 - j0 + 1, 0)
        capacity += count * (loop_start[s + 1] - loop_start[s])
        pieces += count
        most += count
    for s in range(line_phase[phase], line_phase[phase + 1]):
        left, low, right, high = bounds(line_x, line_y, line_start[s], line_start[s + 1])
        left, right = min(left, left + line_shift[s, 0] * cell), max(right, right + line_shift[s, 0] * cell)
        low, high = min(low, low + line_shift[s, 1] * cell), max(high, high + line_shift[s, 1] * cell)
        count = ((box[2] - box[0] + right - left) // cell + 3) * ((box[3] - box[1] + high - low) // cell + 3)
        capacity += count * (line_start[s + 1] - line_start[s] + 1)
        pieces += count
    xs = np.empty(capacity, np.int64)
    ys = np.empty(capacity, np.int64)
    begin = np.zeros(pieces + 1, np.int64)
    closed = np.empty(pieces, np.bool_)
    whole = np.empty((most, 3), np.int64)
    n = 0
    curves = 0
    wholes = 0
    for s in range(first, last):
        a, b = loop_start[s], loop_start[s + 1]
        i0, i1, j0, j1 = tiles[s - first]
        if i1 < i0 or j1 < j0:
            continue
        touched, flips = borders_over_tiles(
            bx, by, after, kinds, tiles[s - first], cell, loop_x, loop_y, a, b
        )
        for j in range(j0, j1 + 1):
            in_solid = False
            in_dense = False
            for i in range(i0, i1 + 1):
                turn = flips[j - j0, i - i0]
                in_solid ^= (turn & 1) != 0
                in_dense ^= (turn & 2) != 0
                if touched[j - j0, i - i0]:
                    for p in range(a, b):
                        xs[n] = loop_x[p] + i * cell
                        ys[n] = loop_y[p] + j * cell
                        n += 1
                    closed[curves] = True
                    curves += 1
                    begin[curves] = n
                elif in_solid and not in_dense:
                    whole[wholes, 0] = s
                    whole[wholes, 1] = i
                    whole[wholes, 2] = j
                    wholes += 1
    for s in range(line_phase[phase], line_phase[phase + 1]):
        a, b = line_start[s], line_start[s + 1]
        sx, sy = line_shift[s, 0], line_shift[s, 1]
        left, low, right, high = bounds(line_x, line_y, a, b)
        left, right = min(left, line_x[a] + sx * cell), max(right, line_x[a] + sx * cell)
        low, high = min(low, line_y[a] + sy * cell), max(high, line_y[a] + sy * cell)
        i0, i1 = -((right - box[0]) // cell), (box[2] - left) // cell
        j0, j1 = -((high - box[1]) // cell), (box[3] - low) // cell
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                # A curve begins where the period before it would lie off the box, so its ends are outside S.
                if i0 <= i - sx <= i1 and j0 <= j - sy <= j1:
                    continue
                u, v = i, j
                while i0 <= u <= i1 and j0 <= v <= j1:
                    for p in range(a, b):
                        xs[n] = line_x[p] + u * cell
                        ys[n] = line_y[p] + v * cell
                        n += 1
                    u += sx
                    v += sy
                xs[n] = line_x[a] + u * cell
                ys[n] = line_y[a] + v * cell
                n += 1
                closed[curves] = False
                curves += 1
                begin[curves] = n
    return xs[:n], ys[:n], begin[: curves + 1], closed[:curves], whole[:wholes]


@kernel
def borders_over_tiles(
    bx: IntArray,
    by: IntArray,
    after: IntArray,
    kinds: IntArray,
    tiles: IntArray,
    cell: int,
    loop_x: IntArray,
    loop_y: IntArray,
    a: int,
    b: int,
) -> tuple[ByteArray, ByteArray]:
    """Which copies of a closed curve a border comes near, and where rows of its copies change sides.

    ``flips`` has bit 0 set where the curve's first point passes over a border of S going right from the tile
    before, bit 1 for D. Only where no border comes near is that side the whole curve's.
    """
    i0, i1, j0, j1 = tiles
    left, low, right, high = bounds(loop_x, loop_y, a, b)
    px, py = loop_x[a], loop_y[a]
    touched = np.zeros((j1 - j0 + 1, i1 - i0 + 1), np.uint8)
    flips = np.zeros((j1 - j0 + 1, i1 - i0 + 1), np.uint8)
    # Times one over the cell, a few times faster than divisions; the tiny share makes a touch more of them, never less.
    per = 1.0 / cell
    for p in range(bx.shape[0]):
        q = after[p]
        x0, x1 = min(bx[p], bx[q]), max(bx[p], bx[q])
        y0, y1 = min(by[p], by[q]), max(by[p], by[q])
        ia, ib = max(math.ceil((x0 - right) * per - 1e-9), i0), min(math.floor((x1 - left) * per + 1e-9), i1)
        ja, jb = max(math.ceil((y0 - high) * per - 1e-9), j0), min(math.floor((y1 - low) * per + 1e-9), j1)
        for j in range(ja, jb + 1):
            for i in range(ia, ib + 1):
                touched[j - j0, i - i0] = 1
        # Half-open, so that a row through a corner passes one of the two segments that meet there.
        for j in range(max(math.floor((y0 - py) * per) + 1, j0), min(math.floor((y1 - py) * per), j1) + 1):
            if by[p] == by[q]:
                break
            y = py + j * cell
            x = bx[p] + (y - by[p]) * (bx[q] - bx[p]) / (by[q] - by[p])
            i = max(math.floor((x - px) * per) + 1, i0)
            if i <= i1:
                flips[j - j0, i - i0] ^= 1 if kinds[p] == SOLID else 2
    return touched, flips


@kernel
def expand(
    whole: IntArray, cell: int, loop_start: IntArray, loop_x: IntArray, loop_y: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Points of whole islands (W, 3: curve, column, row): x, y, starts."""
    starts = np.zeros(whole.shape[0] + 1, np.int64)
    for w in range(whole.shape[0]):
        starts[w + 1] = starts[w] + loop_start[whole[w, 0] + 1] - loop_start[whole[w, 0]]
    xs = np.empty(starts[whole.shape[0]], np.int64)
    ys = np.empty(starts[whole.shape[0]], np.int64)
    n = 0
    for w in range(whole.shape[0]):
        dx, dy = whole[w, 1] * cell, whole[w, 2] * cell
        for p in range(loop_start[whole[w, 0]], loop_start[whole[w, 0] + 1]):
            xs[n] = loop_x[p] + dx
            ys[n] = loop_y[p] + dy
            n += 1
    return xs, ys, starts


@kernel
def bounds(xs: IntArray, ys: IntArray, begin: int, end: int) -> tuple[int, int, int, int]:
    """Left, low, right, high of the points begin..end-1."""
    left, right = xs[begin], xs[begin]
    low, high = ys[begin], ys[begin]
    for p in range(begin + 1, end):
        left = min(left, xs[p])
        right = max(right, xs[p])
        low = min(low, ys[p])
        high = max(high, ys[p])
    return left, low, right, high
