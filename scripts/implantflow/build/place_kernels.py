"""Compiled stamping: one phase of the lattice laid over a layer, island by island."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cross_kernels import DENSE, LATTICE, SOLID, inside
from implantflow.compiled import kernel

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@kernel
def place_lattice(
    bx: IntArray,
    by: IntArray,
    after: IntArray,
    kinds: IntArray,
    grid: tuple[IntArray, IntArray, int, int, int, int, int],
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
) -> tuple[IntArray, IntArray, IntArray, BoolArray, IntArray, IntArray, IntArray]:
    """Stamp one phase over ``box`` (x0, y0, x1, y1).

    Islands that no border comes near are whole or absent and are returned as finished loops; the others, and
    all endless curves, are returned for merging.

    Returns
    -------
    x, y, starts, closed : curves that need merging.
    whole_x, whole_y, whole_starts : finished loops.
    """
    starts, members, x0, y0, size, nx, ny = grid
    first, last = loop_phase[phase], loop_phase[phase + 1]
    capacity = 0
    pieces = 0
    tiles = np.empty((last - first, 4), np.int64)
    for s in range(first, last):
        left, low, right, high = _bounds(loop_x, loop_y, loop_start[s], loop_start[s + 1])
        i0, i1 = -((right - box[0]) // cell), (box[2] - left) // cell
        j0, j1 = -((high - box[1]) // cell), (box[3] - low) // cell
        tiles[s - first, 0] = i0
        tiles[s - first, 1] = i1
        tiles[s - first, 2] = j0
        tiles[s - first, 3] = j1
        count = max(i1 - i0 + 1, 0) * max(j1 - j0 + 1, 0)
        capacity += count * (loop_start[s + 1] - loop_start[s])
        pieces += count
    for s in range(line_phase[phase], line_phase[phase + 1]):
        left, low, right, high = _bounds(line_x, line_y, line_start[s], line_start[s + 1])
        left, right = min(left, left + line_shift[s, 0] * cell), max(right, right + line_shift[s, 0] * cell)
        low, high = min(low, low + line_shift[s, 1] * cell), max(high, high + line_shift[s, 1] * cell)
        count = ((box[2] - box[0] + right - left) // cell + 3) * ((box[3] - box[1] + high - low) // cell + 3)
        capacity += count * (line_start[s + 1] - line_start[s] + 1)
        pieces += count
    xs = np.empty(capacity, np.int64)
    ys = np.empty(capacity, np.int64)
    begin = np.zeros(pieces + 1, np.int64)
    closed = np.empty(pieces, np.bool_)
    wx = np.empty(capacity, np.int64)
    wy = np.empty(capacity, np.int64)
    wbegin = np.zeros(pieces + 1, np.int64)
    n = 0
    curves = 0
    w = 0
    wholes = 0
    for s in range(first, last):
        a, b = loop_start[s], loop_start[s + 1]
        i0, i1, j0, j1 = tiles[s - first]
        if i1 < i0 or j1 < j0:
            continue
        left, low, right, high = _bounds(loop_x, loop_y, a, b)
        touched = np.zeros((j1 - j0 + 1, i1 - i0 + 1), np.bool_)
        for p in range(bx.shape[0]):
            q = after[p]
            ia = max(-((right - min(bx[p], bx[q])) // cell), i0)
            ib = min((max(bx[p], bx[q]) - left) // cell, i1)
            ja = max(-((high - min(by[p], by[q])) // cell), j0)
            jb = min((max(by[p], by[q]) - low) // cell, j1)
            for j in range(ja, jb + 1):
                for i in range(ia, ib + 1):
                    touched[j - j0, i - i0] = True
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                if touched[j - j0, i - i0]:
                    for p in range(a, b):
                        xs[n] = loop_x[p] + i * cell
                        ys[n] = loop_y[p] + j * cell
                        n += 1
                    closed[curves] = True
                    curves += 1
                    begin[curves] = n
                    continue
                px, py = loop_x[a] + i * cell, loop_y[a] + j * cell
                if not inside(
                    bx, by, after, kinds, starts, members, x0, y0, size, nx, ny, px, py, LATTICE, SOLID
                ):
                    continue
                if inside(
                    bx, by, after, kinds, starts, members, x0, y0, size, nx, ny, px, py, LATTICE, DENSE
                ):
                    continue
                for p in range(a, b):
                    wx[w] = loop_x[p] + i * cell
                    wy[w] = loop_y[p] + j * cell
                    w += 1
                wholes += 1
                wbegin[wholes] = w
    for s in range(line_phase[phase], line_phase[phase + 1]):
        a, b = line_start[s], line_start[s + 1]
        sx, sy = line_shift[s, 0], line_shift[s, 1]
        left, low, right, high = _bounds(line_x, line_y, a, b)
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
    return xs[:n], ys[:n], begin[: curves + 1], closed[:curves], wx[:w], wy[:w], wbegin[: wholes + 1]


@kernel
def _bounds(xs: IntArray, ys: IntArray, begin: int, end: int) -> tuple[int, int, int, int]:
    left, right = xs[begin], xs[begin]
    low, high = ys[begin], ys[begin]
    for p in range(begin + 1, end):
        left = min(left, xs[p])
        right = max(right, xs[p])
        low = min(low, ys[p])
        high = max(high, ys[p])
    return left, low, right, high
