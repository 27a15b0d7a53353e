"""Compiled ordering of a layer's lines so that the beam jumps less: by tiles, to and fro, or by nearness."""

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
def runs_of(lines: IntArray) -> IntArray:
    """First line of each run of joined lines, and the number of lines behind them."""
    count = lines.shape[0]
    run = np.empty(count + 1, np.int64)
    runs = 0
    for n in range(count):
        if n > 0 and lines[n, 0] == lines[n - 1, 2] and lines[n, 1] == lines[n - 1, 3]:
            continue
        run[runs] = n
        runs += 1
    run[runs] = count
    return run[: runs + 1].copy()


@kernel
def by_tiles(lines: IntArray, tile: int, may_turn: bool) -> IntArray:
    """The same lines in another order: runs of joined lines by the tile in which they begin, or lines by their middle.

    A run of joined lines (an outline) stays together, in its direction. A line by itself is turned round where that is
    nearer and it ``may_turn``.
    """
    count = lines.shape[0]
    if count < 3:
        return lines
    run = runs_of(lines)
    runs = run.shape[0] - 1
    column, row = np.empty(runs, np.int64), np.empty(runs, np.int64)
    for r in range(runs):
        n = run[r]
        last = run[r + 1]
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
        last = run[r + 1]
        single = last - n == 1
        for p in range(n, last):
            turned = False
            if may_turn and single and m > 0:
                x, y = out[m - 1, 2], out[m - 1, 3]
                there = (lines[p, 0] - x) ** 2 + (lines[p, 1] - y) ** 2
                turned = (lines[p, 2] - x) ** 2 + (lines[p, 3] - y) ** 2 < there
            for c in range(4):
                out[m, c] = lines[p, (c + 2) % 4] if turned else lines[p, c]
            m += 1
    return out


@kernel
def _places(lines: IntArray, run: IntArray, may_turn: bool) -> tuple[IntArray, IntArray]:
    """Where each run can be begun: points (N, 2) and lines, any of a closed run; -1 - line for a line's far end."""
    count = lines.shape[0]
    at = np.empty((2 * count, 2), np.int64)
    of = np.empty(2 * count, np.int64)
    n = 0
    for r in range(run.shape[0] - 1):
        a, b = run[r], run[r + 1]
        closed = b - a > 2 and lines[a, 0] == lines[b - 1, 2] and lines[a, 1] == lines[b - 1, 3]
        for p in range(a, b if closed else a + 1):
            at[n, 0], at[n, 1], of[n] = lines[p, 0], lines[p, 1], p
            n += 1
        if may_turn and b - a == 1:
            at[n, 0], at[n, 1], of[n] = lines[a, 2], lines[a, 3], -1 - a
            n += 1
    return at[:n], of[:n]


@kernel
def by_nearness(lines: IntArray, may_turn: bool) -> IntArray:
    """The same lines, each run of joined ones followed by the run that can be begun nearest to its end.

    A closed run may be begun at any of its corners, and keeps its direction; a line by itself may be run backwards
    where it ``may_turn``. The first run stays the first.
    """
    count = lines.shape[0]
    if count < 3:
        return lines
    run = runs_of(lines)
    at, of = _places(lines, run, may_turn)
    total = at.shape[0]
    owner = np.empty(count, np.int64)
    for r in range(run.shape[0] - 1):
        owner[run[r] : run[r + 1]] = r
    # Squares with about two places each; places of a square are kept together, and those used up are swapped out.
    x0, y0 = at[:, 0].min(), at[:, 1].min()
    wide, high = at[:, 0].max() - x0 + 1, at[:, 1].max() - y0 + 1
    side = max(int(np.sqrt(2.0 * float(wide) * float(high) / total)), 16)
    columns, rows = wide // side + 1, high // side + 1
    while columns * rows > 4 * total + 64:
        side *= 2
        columns, rows = wide // side + 1, high // side + 1
    begin = np.zeros(columns * rows + 1, np.int64)
    cell = np.empty(total, np.int64)
    for n in range(total):
        cell[n] = (at[n, 1] - y0) // side * columns + (at[n, 0] - x0) // side
        begin[cell[n] + 1] += 1
    for k in range(columns * rows):
        begin[k + 1] += begin[k]
    end = begin[:-1].copy()
    held = np.empty(total, np.int64)
    for n in range(total):
        held[end[cell[n]]] = n
        end[cell[n]] += 1
    used = np.zeros(run.shape[0] - 1, np.bool_)
    out = np.empty_like(lines)
    m = 0
    start = 0
    for _ in range(run.shape[0] - 1):
        line = start if start >= 0 else -1 - start
        r = owner[line]
        used[r] = True
        a, b = run[r], run[r + 1]
        for p in range(b - a):
            q = line + p if line + p < b else line + p - (b - a)
            for k in range(4):
                out[m, k] = lines[q, k] if start >= 0 else lines[q, (k + 2) % 4]
            m += 1
        if m < count:
            start = of[
                _nearest(
                    out[m - 1, 2],
                    out[m - 1, 3],
                    at,
                    of,
                    owner,
                    used,
                    begin,
                    end,
                    held,
                    x0,
                    y0,
                    side,
                    columns,
                    rows,
                )
            ]
    return out


@kernel
def _nearest(
    x: int,
    y: int,
    at: IntArray,
    of: IntArray,
    owner: IntArray,
    used: NDArray[np.bool_],
    begin: IntArray,
    end: IntArray,
    held: IntArray,
    x0: int,
    y0: int,
    side: int,
    columns: int,
    rows: int,
) -> int:
    """The place nearest to a point of a run not used yet: ring by ring of squares; drops places of used runs."""
    i = min(max((x - x0) // side, 0), columns - 1)
    j = min(max((y - y0) // side, 0), rows - 1)
    best, found = np.int64(1) << 60, -1
    for ring in range(columns + rows):
        if found >= 0 and best <= (side * (ring - 1)) ** 2:
            break
        for jj in range(max(j - ring, 0), min(j + ring, rows - 1) + 1):
            edge = jj == j - ring or jj == j + ring
            ii = i - ring
            while ii <= i + ring:
                if 0 <= ii < columns:
                    k = jj * columns + ii
                    n = begin[k]
                    while n < end[k]:
                        p = held[n]
                        line = of[p] if of[p] >= 0 else -1 - of[p]
                        if used[owner[line]]:
                            end[k] -= 1
                            held[n] = held[end[k]]
                            continue
                        away = (at[p, 0] - x) ** 2 + (at[p, 1] - y) ** 2
                        if away < best or (away == best and p < found):
                            best, found = away, p
                        n += 1
                ii += 1 if edge else max(2 * ring, 1)
    return found
