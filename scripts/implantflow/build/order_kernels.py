"""Compiled ordering of a layer's lines so that the beam jumps less: tile by tile, rows of tiles to and fro."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

IntArray = NDArray[np.int64]


@kernel
def jumps(lines: IntArray) -> float:
    """Length in units of all ways from the end of a line (N, 4) to the start of the next."""
    total = 0.0
    for n in range(1, lines.shape[0]):
        total += np.hypot(float(lines[n, 0] - lines[n - 1, 2]), float(lines[n, 1] - lines[n - 1, 3]))
    return total


@kernel
def by_tiles(lines: IntArray, tile: int) -> IntArray:
    """The same lines in another order: runs of joined lines by the tile in which they begin, or lines by their middle.

    A run of joined lines (an outline) stays together, in its direction. A line by itself may be turned round.
    """
    count = lines.shape[0]
    if count < 3:
        return lines
    run = np.empty(count, np.int64)
    runs = 0
    for n in range(count):
        if n > 0 and lines[n, 0] == lines[n - 1, 2] and lines[n, 1] == lines[n - 1, 3]:
            continue
        run[runs] = n
        runs += 1
    column, row = np.empty(runs, np.int64), np.empty(runs, np.int64)
    for r in range(runs):
        n = run[r]
        last = run[r + 1] if r + 1 < runs else count
        if last - n == 1:
            column[r] = (lines[n, 0] + lines[n, 2]) // (2 * tile)
            row[r] = (lines[n, 1] + lines[n, 3]) // (2 * tile)
        else:
            column[r] = lines[n, 0] // tile
            row[r] = lines[n, 1] // tile
    left, low = column.min(), row.min()
    columns, rows = column.max() - left + 1, row.max() - low + 1
    begin = np.zeros(columns * rows + 1, np.int64)
    key = np.empty(runs, np.int64)
    for r in range(runs):
        j = row[r] - low
        i = column[r] - left
        key[r] = j * columns + (i if j % 2 == 0 else columns - 1 - i)
        begin[key[r] + 1] += 1
    for k in range(columns * rows):
        begin[k + 1] += begin[k]
    order = np.empty(runs, np.int64)
    for r in range(runs):
        order[begin[key[r]]] = r
        begin[key[r]] += 1
    out = np.empty_like(lines)
    m = 0
    for k in range(runs):
        r = order[k]
        n = run[r]
        last = run[r + 1] if r + 1 < runs else count
        single = last - n == 1
        for p in range(n, last):
            turned = False
            if single and m > 0:
                x, y = out[m - 1, 2], out[m - 1, 3]
                there = (lines[p, 0] - x) ** 2 + (lines[p, 1] - y) ** 2
                turned = (lines[p, 2] - x) ** 2 + (lines[p, 3] - y) ** 2 < there
            for c in range(4):
                out[m, c] = lines[p, (c + 2) % 4] if turned else lines[p, c]
            m += 1
    return out
