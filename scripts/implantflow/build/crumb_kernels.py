"""Compiled rows of a layer as it is sliced: where its loops, and the whole islands, cross equally spaced rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.build.mesh_kernels import double_area
from implantflow.build.place_kernels import expand
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]


@kernel
def cut_rows(
    xs: IntArray,
    ys: IntArray,
    starts: IntArray,
    whole: IntArray,
    cell: int,
    loop_start: IntArray,
    loop_x: IntArray,
    loop_y: IntArray,
    pitch: int,
    rows: int,
) -> tuple[FloatArray, IntArray, FloatArray, IntArray, FloatArray, IntArray]:
    """Loops of a layer, its whole islands last, cut by the rows y = pitch * r + 1/2, r below ``rows``; units.

    Returns
    -------
    points (P, 2), starts (L + 1), area (L,) of the loops; first crossing of each row (rows + 1,), its place along the
    row, where each row is sorted (where two coincide, metal ends before it begins), and the loop that crosses there.
    """
    more_x, more_y, more = expand(whole, cell, loop_start, loop_x, loop_y)
    xs, ys = np.concatenate((xs, more_x)), np.concatenate((ys, more_y))
    starts = np.concatenate((starts, more[1:] + starts[starts.shape[0] - 1]))
    loops = starts.shape[0] - 1
    points = np.empty((xs.shape[0], 2))
    area = np.empty(loops)
    for p in range(xs.shape[0]):
        points[p, 0], points[p, 1] = xs[p], ys[p]
    for c in range(loops):
        area[c] = 0.5 * double_area(xs, ys, starts[c], starts[c + 1])
    begin, where, owner = _crossings(xs, ys, starts, pitch, rows)
    return points, starts, area, begin, where, owner


@kernel
def _crossings(
    xs: IntArray, ys: IntArray, starts: IntArray, pitch: int, rows: int
) -> tuple[IntArray, FloatArray, IntArray]:
    """Crossings of the rows, sorted along each (see :func:`cut_rows`)."""
    first = np.empty(xs.shape[0], np.int32)
    # Times one over the pitch is several times faster than a division, and no fraction is as small as the slack.
    per = 1.0 / pitch
    for p in range(xs.shape[0]):
        first[p] = min(max(math.floor((ys[p] - 1) * per + 1e-9) + 1, 0), rows)
    count = 0
    for c in range(starts.shape[0] - 1):
        before = first[starts[c + 1] - 1]
        for q in range(starts[c], starts[c + 1]):
            count += abs(first[q] - before)
            before = first[q]
    begin = np.zeros(rows + 1, np.int64)
    where, owner = np.empty(count), np.empty(count, np.int64)
    if count == 0:
        return begin, where, owner
    # Crossings as they come, counted by row and by bucket along it: about one in each.
    left, right = xs.min(), xs.max()
    columns = min(count // rows + 1, 512)
    per = (columns - 1e-6) / max(right - left, 1)
    bucket = np.zeros(rows * columns + 1, np.int32)
    found, key, mark = np.empty(count), np.empty(count, np.int32), np.empty(count, np.int32)
    m = 0
    for c in range(starts.shape[0] - 1):
        p = starts[c + 1] - 1
        for q in range(starts[c], starts[c + 1]):
            if first[q] != first[p]:
                slope = (xs[q] - xs[p]) / (ys[q] - ys[p])
                # Metal lies left of the path: along a row it begins where the path goes down.
                down = 1 if first[q] < first[p] else 0
                for r in range(min(first[p], first[q]), max(first[p], first[q])):
                    found[m] = xs[p] + (r * pitch + 0.5 - ys[p]) * slope
                    key[m] = r * columns + min(max(int((found[m] - left) * per), 0), columns - 1)
                    mark[m] = 2 * c + down
                    bucket[key[m] + 1] += 1
                    m += 1
            p = q
    for k in range(rows * columns):
        bucket[k + 1] += bucket[k]
    for r in range(rows + 1):
        begin[r] = bucket[r * columns]
    for m in range(count):
        slot = bucket[key[m]]
        bucket[key[m]] += 1
        where[slot], owner[slot] = found[m], mark[m]
    _sort_rows(begin, where, owner)
    return begin, where, owner


@kernel
def _sort_rows(begin: IntArray, where: FloatArray, owner: IntArray) -> None:
    """Sort the crossings of each row, which nearly are, by place; ``owner`` is 2 * loop + 1 where metal begins.

    Leaves the loop in ``owner``.
    """
    for r in range(begin.shape[0] - 1):
        a, b = begin[r], begin[r + 1]
        for m in range(a + 1, b):
            x, o = where[m], owner[m]
            k = m
            while k > a and (where[k - 1] > x or (where[k - 1] == x and owner[k - 1] & 1 > o & 1)):
                where[k], owner[k] = where[k - 1], owner[k - 1]
                k -= 1
            where[k], owner[k] = x, o
    for m in range(owner.shape[0]):
        owner[m] >>= 1
