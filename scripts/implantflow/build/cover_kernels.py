"""Compiled search for metal that the beam's paths leave bare."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.build.hatch_kernels import crossings
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def _covered(
    level: float,
    a0: float,
    b0: float,
    a1: float,
    b1: float,
    radius: float,
    length: float,
    ua: float,
    ub: float,
) -> tuple[float, float]:
    """Stretch of the line a = ``level`` within ``radius`` of the segment (a0, b0)-(a1, b1); high < low: none.

    ``length``, ``ua``, ``ub`` : of the segment, and its direction; ``ua`` is 0 where it runs along the line.
    """
    low, high = np.inf, -np.inf
    room = radius * radius - (level - a0) * (level - a0)
    if room >= 0.0:
        half = math.sqrt(room)
        low, high = b0 - half, b0 + half
    room = radius * radius - (level - a1) * (level - a1)
    if room >= 0.0:
        half = math.sqrt(room)
        low, high = min(low, b1 - half), max(high, b1 + half)
    if ua != 0.0:
        s = (level - a0 - radius * ub) / ua
        if 0.0 <= s <= length:
            b = b0 + s * ub - radius * ua
            low, high = min(low, b), max(high, b)
        s = (level - a0 + radius * ub) / ua
        if 0.0 <= s <= length:
            b = b0 + s * ub + radius * ua
            low, high = min(low, b), max(high, b)
    return low, high


@kernel
def _tracks(
    lines: IntArray, vertical: bool, radius: float, pitch: int, first: int, count: int
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Stretches of the scan lines that tracks of ``lines`` cover: begin, low, high, by scan line, sorted by low.

    Lines that follow each other mostly overlap: their stretches are joined as they come, the rest is sorted.
    """
    a, b = (0, 1) if vertical else (1, 0)
    spans = _spans(lines, a, radius, pitch, first, count)
    most = count
    for n in range(lines.shape[0]):
        most += max(spans[n, 1] - spans[n, 0] + 1, 0)
    low_of, high_of = np.full(count, np.inf), np.full(count, -np.inf)
    held_line = np.empty(most, np.int32)
    held = np.empty((most, 2))
    begin = np.zeros(count + 1, np.int64)
    total = 0
    for n in range(lines.shape[0]):
        a0, b0 = float(lines[n, a]), float(lines[n, b])
        a1, b1 = float(lines[n, a + 2]), float(lines[n, b + 2])
        da, db = a1 - a0, b1 - b0
        crossed = da != 0.0 and db == 0.0
        inner_low, inner_high = min(a0, a1), max(a0, a1)
        length = math.sqrt(da * da + db * db)
        ua, ub = (da / length, db / length) if da != 0.0 else (0.0, 0.0)
        for line in range(spans[n, 0], spans[n, 1] + 1):
            level = float((first + line) * pitch)
            if crossed and inner_low <= level <= inner_high:
                low, high = b0 - radius, b0 + radius
            else:
                low, high = _covered(level, a0, b0, a1, b1, radius, length, ua, ub)
            if low > high:
                continue
            if low <= high_of[line] and high >= low_of[line]:
                low_of[line], high_of[line] = min(low, low_of[line]), max(high, high_of[line])
                continue
            if low_of[line] <= high_of[line]:
                held_line[total], held[total, 0], held[total, 1] = line, low_of[line], high_of[line]
                begin[line + 1] += 1
                total += 1
            low_of[line], high_of[line] = low, high
    for line in range(count):
        if low_of[line] <= high_of[line]:
            held_line[total], held[total, 0], held[total, 1] = line, low_of[line], high_of[line]
            begin[line + 1] += 1
            total += 1
    return _by_line(begin, held_line[:total], held)


@kernel
def _spans(lines: IntArray, a: int, radius: float, pitch: int, first: int, count: int) -> NDArray[np.int32]:
    """First and last scan line that each line's track meets (N, 2), none where the last is before the first."""
    spans = np.empty((lines.shape[0], 2), np.int32)
    per = 1.0 / pitch
    for n in range(lines.shape[0]):
        low, high = min(lines[n, a], lines[n, a + 2]), max(lines[n, a], lines[n, a + 2])
        # A line that the track only touches may be in or out.
        spans[n, 0] = max(int(np.ceil((low - radius) * per)) - first, 0)
        spans[n, 1] = min(int(np.floor((high + radius) * per)) - first, count - 1)
    return spans


@kernel
def _by_line(
    begin: IntArray, line_of: NDArray[np.int32], held: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Stretches (N, 2) sorted by their scan line and their low end; ``begin`` holds how many each line has, one on."""
    count = begin.shape[0] - 1
    for line in range(count):
        begin[line + 1] += begin[line]
    lows, highs = np.empty(line_of.shape[0]), np.empty(line_of.shape[0])
    for n in range(line_of.shape[0]):
        at = begin[line_of[n]]
        lows[at], highs[at] = held[n, 0], held[n, 1]
        begin[line_of[n]] += 1
    for line in range(count, 0, -1):
        begin[line] = begin[line - 1]
    begin[0] = 0
    for line in range(count):
        _sort_pairs(lows, highs, begin[line], begin[line + 1])
    return begin, lows, highs


@kernel
def _sort_pairs(lows: FloatArray, highs: FloatArray, first: int, last: int) -> None:
    """Sort both arrays from ``first`` to ``last`` by the first one."""
    if last - first > 48:
        order = np.argsort(lows[first:last])
        lows[first:last] = lows[first:last][order]
        highs[first:last] = highs[first:last][order]
        return
    for m in range(first + 1, last):
        low, high = lows[m], highs[m]
        n = m
        while n > first and lows[n - 1] > low:
            lows[n], highs[n] = lows[n - 1], highs[n - 1]
            n -= 1
        lows[n], highs[n] = low, high


@kernel
def bare_lines(
    xs: IntArray,
    ys: IntArray,
    starts: IntArray,
    lines: IntArray,
    radius: float,
    pitch: int,
    vertical: bool,
    shortest: int,
) -> IntArray:
    """Stretches of scan lines inside the loops that lie further than ``radius`` from every line: (N, 4), units.

    Ends are rounded inwards to whole units, and stretches shorter than ``shortest`` are left out.
    """
    across, along = (xs, ys) if vertical else (ys, xs)
    out = np.empty((0, 4), np.int64)
    if across.shape[0] == 0:
        return out
    first = -(-across.min() // pitch)
    count = max(across.max() // pitch - first + 1, 0)
    begin, where = crossings(across, along, starts, pitch, first, count)
    cover, lows, highs = _tracks(lines, vertical, radius, pitch, first, count)
    out = np.empty((where.shape[0] // 2 + lows.shape[0], 4), np.int64)
    found = 0
    for line in range(count):
        level = (first + line) * pitch
        s = cover[line]
        reached = -np.inf
        for m in range(begin[line], begin[line + 1] - 1, 2):
            at, end = max(where[m], reached), where[m + 1]
            while at < end:
                while s < cover[line + 1] and lows[s] <= at:
                    reached = max(reached, highs[s])
                    s += 1
                if reached > at:
                    at = reached
                    continue
                stop = min(end, lows[s]) if s < cover[line + 1] else end
                u, v = int(np.ceil(at)), int(np.floor(stop))
                if v - u >= shortest:
                    out[found, 0], out[found, 1] = (level, u) if vertical else (u, level)
                    out[found, 2], out[found, 3] = (level, v) if vertical else (v, level)
                    found += 1
                at = stop
    return out[:found].copy()


@kernel
def bare_both_ways(
    xs: IntArray,
    ys: IntArray,
    starts: IntArray,
    lines: IntArray,
    radius: float,
    pitch: int,
    vertical_first: bool,
    shortest: int,
) -> IntArray:
    """:func:`bare_lines` along one axis, then along the other: lines along a thin wall may all miss it, and those
    across it leave gaps where it runs aslant.
    """
    one = bare_lines(xs, ys, starts, lines, radius, pitch, vertical_first, shortest)
    two = bare_lines(xs, ys, starts, lines, radius, pitch, not vertical_first, shortest)
    return np.concatenate((one, two))
