"""Compiled: where the layers of a binary CLI file begin, and the share of each voxel that their outlines fill."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Words = NDArray[np.uint16]


@kernel
def _int32(words: Words, at: int) -> int:
    value = np.int64(words[at]) | np.int64(words[at + 1]) << 16
    return int(value - (1 << 32) if value >= 1 << 31 else value)


@kernel
def _length(words: Words, at: int) -> int:
    """Words of the command at ``at``; 0 when it is none of CLI 2.0 or its head is cut off."""
    command, left = words[at], words.shape[0] - at
    if command == 127 and left >= 3:
        return 3
    if command == 128 and left >= 2:
        return 2
    if command == 129 and left >= 4:
        return 4 + 2 * int(words[at + 3])
    if command == 130 and left >= 7:
        return 7 + 4 * _int32(words, at + 5)
    if command == 131 and left >= 3:
        return 3 + 4 * int(words[at + 2])
    if command == 132 and left >= 5:
        return 5 + 8 * _int32(words, at + 3)
    return 0


@kernel
def layers_of(words: Words) -> tuple[IntArray, FloatArray]:
    """First word of every layer (and the end), and the layers' heights in units; both empty for a damaged file."""
    starts = np.empty(1024, np.int64)
    heights = np.empty(1024)
    count, at, total = 0, 0, words.shape[0]
    while at < total:
        size = _length(words, at)
        if size <= 0 or at + size > total:
            return np.empty(0, np.int64), np.empty(0)
        if words[at] == 127 or words[at] == 128:
            if count + 1 >= starts.shape[0]:
                starts = np.concatenate((starts, np.empty_like(starts)))
                heights = np.concatenate((heights, np.empty_like(heights)))
            starts[count] = at
            heights[count] = words[at + 1]
            if words[at] == 127:
                heights[count] = words[at + 1 : at + 3].copy().view(np.float32)[0]
            count += 1
        at += size
    starts[count] = total
    return starts[: count + 1].copy(), heights[:count].copy()


@kernel
def _outlines(words: Words, first: int, last: int) -> tuple[FloatArray, IntArray]:
    """Points (N, 2) in units of all outlines between two words, and where each outline begins."""
    points, loops, at = 0, 0, first
    while at < last:
        if words[at] == 129:
            points += int(words[at + 3])
            loops += 1
        elif words[at] == 130:
            points += _int32(words, at + 5)
            loops += 1
        at += _length(words, at)
    out = np.empty((points, 2))
    starts = np.zeros(loops + 1, np.int64)
    points, loops, at = 0, 0, first
    while at < last:
        if words[at] == 129:
            count = int(words[at + 3])
            for p in range(count):
                out[points + p, 0] = words[at + 4 + 2 * p]
                out[points + p, 1] = words[at + 5 + 2 * p]
            points += count
            loops += 1
            starts[loops] = points
        elif words[at] == 130:
            count = _int32(words, at + 5)
            values = words[at + 7 : at + 7 + 4 * count].copy().view(np.float32)
            for p in range(count):
                out[points + p, 0] = values[2 * p]
                out[points + p, 1] = values[2 * p + 1]
            points += count
            loops += 1
            starts[loops] = points
        at += _length(words, at)
    return out, starts


@kernel
def _crossings(points: FloatArray, starts: IntArray, rows: int, offset: float, begin: IntArray) -> FloatArray:
    """Where the outlines cross the lines y = offset + r, sorted along each line; ``begin`` (rows + 1) is filled."""
    begin[:] = 0
    where = np.empty(0)
    for sweep in range(2):
        for loop in range(starts.shape[0] - 1):
            first, last = starts[loop], starts[loop + 1]
            for p in range(first, last):
                q = p + 1 if p + 1 < last else first
                ya, yb = points[p, 1] - offset, points[q, 1] - offset
                if ya == yb:
                    continue
                low, high = min(ya, yb), max(ya, yb)
                r = max(int(np.ceil(low)), 0)
                while r < high and r < rows:
                    if sweep == 0:
                        begin[r + 1] += 1
                    else:
                        t = (r - ya) / (yb - ya)
                        where[begin[r]] = points[p, 0] + t * (points[q, 0] - points[p, 0])
                        begin[r] += 1
                    r += 1
        if sweep == 0:
            for r in range(rows):
                begin[r + 1] += begin[r]
            where = np.empty(begin[rows])
    for r in range(rows, 0, -1):
        begin[r] = begin[r - 1]
    begin[0] = 0
    for r in range(rows):
        for m in range(begin[r] + 1, begin[r + 1]):
            x = where[m]
            k = m
            while k > begin[r] and where[k - 1] > x:
                where[k] = where[k - 1]
                k -= 1
            where[k] = x
    return where


@kernel
def _fill(line: NDArray[np.float32], a: float, b: float, weight: float) -> None:
    """Add ``weight`` to the voxels of a line between a and b (voxel edges at whole numbers), shared out at the ends."""
    i, j = int(a), int(b)
    if i == j:
        line[i] += weight * (b - a)
        return
    line[i] += weight * (i + 1 - a)
    for m in range(i + 1, j):
        line[m] += weight
    if b > j:
        line[j] += weight * (b - j)


@kernel
def fill_slab(
    words: Words,
    starts: IntArray,
    first_layer: int,
    last_layer: int,
    per_slab: int,
    origin_units: FloatArray,
    voxel_units: float,
    rows_per_voxel: int,
    out: NDArray[np.uint8],
) -> None:
    """Share of every voxel of one slice ``out`` (J, I) that some layers fill, 0 to 255.

    Even-odd along lines parallel to x, exact in x, at ``rows_per_voxel`` places in y that move from layer to layer.
    """
    share = np.zeros(out.shape, np.float32)
    rows = out.shape[0] * rows_per_voxel
    begin = np.empty(rows + 1, np.int64)
    weight = 1.0 / (per_slab * rows_per_voxel)
    for layer in range(first_layer, last_layer):
        points, loops = _outlines(words, starts[layer], starts[layer + 1])
        for p in range(points.shape[0]):
            points[p, 0] = (points[p, 0] - origin_units[0]) / voxel_units
            points[p, 1] = (points[p, 1] - origin_units[1]) / voxel_units * rows_per_voxel
        # The golden ratio spreads the places evenly over a voxel whatever the number of layers.
        where = _crossings(points, loops, rows, (layer * 0.6180339887498949) % 1.0, begin)
        for r in range(rows):
            for m in range(begin[r], begin[r + 1] - 1, 2):
                _fill(share[r // rows_per_voxel], where[m], where[m + 1], weight)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[j, i] = np.uint8(min(share[j, i], 1.0) * 255.0 + 0.5)
