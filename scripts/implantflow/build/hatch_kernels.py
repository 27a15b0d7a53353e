"""Compiled filling lines: where scan lines lie in the material, and in or out of the dense region."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Crossings are sorted roughly into buckets of 2^7 units, 0.64 mm, along their line, or longer ones where they are few.
_BUCKET_BITS = 7


@kernel
def crossings(
    across: IntArray, along: IntArray, starts: IntArray, pitch: int, first: int, lines: int
) -> tuple[IntArray, FloatArray]:
    """Sorted positions at which closed loops cross the lines across = (first + l) * pitch."""
    begin = np.zeros(lines + 1, np.int64)
    if lines <= 0 or across.shape[0] == 0:
        return begin, np.empty(0)
    # First line at or beyond each point. Times one over the pitch is several times faster than a division, and no
    # fraction that a whole number leaves is as small as the slack.
    per = 1.0 / pitch
    line_of = np.empty(across.shape[0], np.int32)
    for p in range(across.shape[0]):
        line_of[p] = min(max(math.ceil(across[p] * per - 1e-9) - first, 0), lines)
    count = 0
    for c in range(starts.shape[0] - 1):
        if starts[c] < starts[c + 1]:
            before = line_of[starts[c + 1] - 1]
            for q in range(starts[c], starts[c + 1]):
                count += abs(line_of[q] - before)
                before = line_of[q]
    # Crossings as they come, counted by line and by bucket along it.
    left, bits = along.min(), _BUCKET_BITS
    columns = ((along.max() - left) >> bits) + 1
    while columns > 1 and lines * columns > 2 * count:
        bits += 1
        columns = ((along.max() - left) >> bits) + 1
    bucket = np.zeros(lines * columns + 1, np.int32)
    found = np.empty(count)
    key = np.empty(count, np.int32)
    n = 0
    for c in range(starts.shape[0] - 1):
        if starts[c] == starts[c + 1]:
            continue
        p = starts[c + 1] - 1
        for q in range(starts[c], starts[c + 1]):
            # Half-open: a line through a vertex meets exactly one of the two segments that continue.
            for line in range(min(line_of[p], line_of[q]), max(line_of[p], line_of[q])):
                t = ((first + line) * pitch - across[p]) / (across[q] - across[p])
                found[n] = along[p] + t * (along[q] - along[p])
                k = line * columns + ((int(found[n]) - left) >> bits)
                key[n] = k
                bucket[k + 1] += 1
                n += 1
            p = q
    total = 0
    for k in range(lines * columns + 1):
        total += bucket[k]
        bucket[k] = total
    for line in range(lines + 1):
        begin[line] = bucket[line * columns]
    where = np.empty(count)
    for n in range(count):
        k = key[n]
        where[bucket[k]] = found[n]
        bucket[k] += 1
    for line in range(lines):
        # All but sorted: what is out of order is in one bucket.
        a = begin[line]
        for m in range(a + 1, begin[line + 1]):
            value = where[m]
            n = m
            while n > a and where[n - 1] > value:
                where[n] = where[n - 1]
                n -= 1
            where[n] = value
    return begin, where


@kernel
def hatch(
    xs: IntArray,
    ys: IntArray,
    starts: IntArray,
    dx: IntArray,
    dy: IntArray,
    dstart: IntArray,
    vertical: bool,
    pitch: int,
    shortest: int,
) -> tuple[IntArray, int, IntArray, int]:
    """Scan lines inside the loops, those inside the dense loops apart from those outside them.

    Ends are rounded inwards to whole units and lines shorter than ``shortest`` are left out. Neighbouring
    lines run in opposite directions, so that the beam does not jump back.

    Returns
    -------
    lines in dense metal (N, 4) int64: x0, y0, x1, y1, and their total length; the same for the rest; units.
    """
    if vertical:
        across, along, dacross, dalong = xs, ys, dx, dy
    else:
        across, along, dacross, dalong = ys, xs, dy, dx
    if across.shape[0] == 0:
        return np.empty((0, 4), np.int64), 0, np.empty((0, 4), np.int64), 0
    first = -(-across.min() // pitch)
    lines = max(across.max() // pitch - first + 1, 0)
    begin, where = crossings(across, along, starts, pitch, first, lines)
    dbegin, dwhere = crossings(dacross, dalong, dstart, pitch, first, lines)
    most = where.shape[0] + dwhere.shape[0] + 1
    # Row 0: outside the dense region, row 1: inside.
    out = np.empty((2, most, 4), np.int64)
    count = np.zeros(2, np.int64)
    total = np.zeros(2, np.int64)
    mark = np.zeros(2, np.int64)
    for line in range(lines):
        position = (first + line) * pitch
        mark[:] = count
        d = dbegin[line]
        for m in range(begin[line], begin[line + 1] - 1, 2):
            left, right = where[m], where[m + 1]
            while d < dbegin[line + 1] and dwhere[d] <= left:
                d += 1
            e = d
            kind = (e - dbegin[line]) % 2
            while left < right:
                stop = right
                if e < dbegin[line + 1] and dwhere[e] < right:
                    stop = dwhere[e]
                u = int(np.ceil(left))
                v = int(np.floor(stop))
                if v - u >= shortest:
                    n = count[kind]
                    if vertical:
                        out[kind, n, 0], out[kind, n, 1] = position, u
                        out[kind, n, 2], out[kind, n, 3] = position, v
                    else:
                        out[kind, n, 0], out[kind, n, 1] = u, position
                        out[kind, n, 2], out[kind, n, 3] = v, position
                    count[kind] += 1
                    total[kind] += v - u
                left = stop
                kind = 1 - kind
                e += 1
        if (first + line) % 2 == 1:
            _turn_round(out[0], mark[0], count[0])
            _turn_round(out[1], mark[1], count[1])
    return out[1, : count[1]].copy(), total[1], out[0, : count[0]].copy(), total[0]


@kernel
def _turn_round(out: IntArray, a: int, b: int) -> None:
    """Reverse the order and the direction of lines a..b-1."""
    while a < b:
        b -= 1
        for k in range(2):
            out[a, k], out[b, k + 2] = out[b, k + 2], out[a, k]
            if a != b:
                out[a, k + 2], out[b, k] = out[b, k], out[a, k + 2]
        a += 1


@kernel
def outline_figures(xs: IntArray, ys: IntArray, starts: IntArray) -> tuple[float, float]:
    """Area (units^2, holes negative) and length (units) of closed loops."""
    area = 0
    length = 0.0
    for c in range(starts.shape[0] - 1):
        if starts[c + 1] == starts[c]:
            continue
        px, py = xs[starts[c + 1] - 1], ys[starts[c + 1] - 1]
        for q in range(starts[c], starts[c + 1]):
            qx, qy = xs[q], ys[q]
            area += px * qy - qx * py
            # Whole numbers below 2^17: squares are exact, and a root is several times faster than hypot.
            length += math.sqrt(float((qx - px) * (qx - px) + (qy - py) * (qy - py)))
            px, py = qx, qy
    return 0.5 * area, length
