"""Compiled examination of one layer as it was read back: loops, nesting, hatches, pieces of metal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def loop_figures(
    points: FloatArray, starts: IntArray, direction: IntArray
) -> tuple[int, int, FloatArray, FloatArray]:
    """Open loops, loops whose ``dir`` contradicts their area, and per loop its area and length (units)."""
    loops = starts.shape[0] - 1
    area = np.zeros(loops)
    length = np.zeros(loops)
    open_ = 0
    wrong = 0
    for c in range(loops):
        a, b = starts[c], starts[c + 1]
        closed = b - a >= 4 and points[a, 0] == points[b - 1, 0] and points[a, 1] == points[b - 1, 1]
        if direction[c] == 2 or not closed:
            open_ += 1
            continue
        # About the loop's first point: keeps the digits of small loops far from the origin.
        for p in range(a, b - 1):
            ux, uy = points[p, 0] - points[a, 0], points[p, 1] - points[a, 1]
            vx, vy = points[p + 1, 0] - points[a, 0], points[p + 1, 1] - points[a, 1]
            area[c] += 0.5 * (ux * vy - vx * uy)
            dx, dy = points[p + 1, 0] - points[p, 0], points[p + 1, 1] - points[p, 1]
            # Coordinates of a few hundred: no need for hypot, several times slower.
            length[c] += np.sqrt(dx * dx + dy * dy)
        if (area[c] > 0.0) != (direction[c] == 1):
            wrong += 1
    return open_, wrong, area, length


@kernel
def row_crossings(
    points: FloatArray, starts: IntArray, axis: int, rows: FloatArray
) -> tuple[IntArray, FloatArray, IntArray, IntArray]:
    """Where closed loops cross the lines coordinate[axis] = rows (sorted), each line sorted along itself.

    Returns
    -------
    begin (rows + 1), position, turn (+1 where metal begins on a line along +x for axis 1), loop id.
    """
    n = rows.shape[0]
    other = 1 - axis
    first = _first_rows(points, axis, rows)
    count = 0
    for c in range(starts.shape[0] - 1):
        for p in range(starts[c], starts[c + 1] - 1):
            count += abs(first[p + 1] - first[p])
    begin = np.zeros(n + 1, np.int64)
    where, turn, owner = np.empty(count), np.empty(count, np.int64), np.empty(count, np.int64)
    if count == 0:
        return begin, where, turn, owner
    # Crossings as they come, counted by row and by bucket along it: about one in each.
    left = points[:, other].min()
    columns = min(count // n + 1, 512)
    per = (columns - 1e-6) / max(points[:, other].max() - left, 1e-6)
    bucket = np.zeros(n * columns + 1, np.int32)
    found, key = np.empty(count), np.empty(count, np.int32)
    m = 0
    for c in range(starts.shape[0] - 1):
        for p in range(starts[c], starts[c + 1] - 1):
            a, b = points[p, axis], points[p + 1, axis]
            for r in range(min(first[p], first[p + 1]), max(first[p], first[p + 1])):
                t = (rows[r] - a) / (b - a)
                found[m] = points[p, other] + t * (points[p + 1, other] - points[p, other])
                key[m] = r * columns + min(max(int((found[m] - left) * per), 0), columns - 1)
                bucket[key[m] + 1] += 1
                m += 1
    for k in range(n * columns):
        bucket[k + 1] += bucket[k]
    for r in range(n + 1):
        begin[r] = bucket[r * columns]
    m = 0
    for c in range(starts.shape[0] - 1):
        for p in range(starts[c], starts[c + 1] - 1):
            # Metal lies left of the path: on a line along +x it begins where the path goes down.
            falling = first[p + 1] < first[p]
            for _ in range(abs(first[p + 1] - first[p])):
                slot = bucket[key[m]]
                bucket[key[m]] += 1
                where[slot], turn[slot], owner[slot] = found[m], 1 if falling == (axis == 1) else -1, c
                m += 1
    _sort_rows(begin, where, turn, owner)
    return begin, where, turn, owner


@kernel
def _first_rows(points: FloatArray, axis: int, rows: FloatArray) -> NDArray[np.int32]:
    """First of the sorted rows at or above each point (P,)."""
    first = np.zeros(points.shape[0], np.int32)
    if points.shape[0] == 0:
        return first
    # First row at or above every whole coordinate: finding a point's row is then a look-up.
    lowest = int(np.floor(points[:, axis].min()))
    table = np.empty(int(points[:, axis].max()) - lowest + 2, np.int32)
    r = 0
    for k in range(table.shape[0]):
        while r < rows.shape[0] and rows[r] < lowest + k:
            r += 1
        table[k] = r
    for p in range(points.shape[0]):
        r = table[int(np.floor(points[p, axis])) - lowest]
        while r < rows.shape[0] and rows[r] < points[p, axis]:
            r += 1
        first[p] = r
    return first


@kernel
def _sort_rows(begin: IntArray, where: FloatArray, turn: IntArray, owner: IntArray) -> None:
    """Sort the crossings of each row, which nearly are; where two coincide, metal ends before it begins."""
    for r in range(begin.shape[0] - 1):
        a, b = begin[r], begin[r + 1]
        for m in range(a + 1, b):
            x, t, o = where[m], turn[m], owner[m]
            k = m
            while k > a and (where[k - 1] > x or (where[k - 1] == x and turn[k - 1] > t)):
                where[k], turn[k], owner[k] = where[k - 1], turn[k - 1], owner[k - 1]
                k -= 1
            where[k], turn[k], owner[k] = x, t, o


@kernel
def nesting(
    begin: IntArray, where: FloatArray, turn: IntArray, owner: IntArray, loops: int, slack: float
) -> tuple[IntArray, int]:
    """Loops that sit wrongly: votes (loops,) of rows for and against, and rows with overlapping metal.

    Along a row the winding number must alternate 0, 1, 0. Stretches shorter than ``slack`` (rounding of the
    file's units) do not count.
    """
    votes = np.zeros(loops, np.int64)
    overlaps = 0
    for r in range(begin.shape[0] - 1):
        winding = 0
        bad = False
        for m in range(begin[r], begin[r + 1]):
            before = winding
            winding += turn[m]
            fine = (before == 0 and winding == 1) or (before == 1 and winding == 0)
            votes[owner[m]] += 1 if fine else -1
            if m + 1 < begin[r + 1] and (winding < 0 or winding > 1) and where[m + 1] - where[m] > slack:
                bad = True
        if bad or winding != 0:
            overlaps += 1
    return votes, overlaps


@kernel
def stray_hatches(hatches: FloatArray, points: FloatArray, starts: IntArray, slack: float) -> IntArray:
    """Indices of hatches that are not straight along x or y, or do not lie inside the metal."""
    n = hatches.shape[0]
    stray = np.zeros(n, np.bool_)
    for axis in range(2):
        mine = np.empty(n, np.int64)
        count = 0
        for h in range(n):
            along_x = hatches[h, 1] == hatches[h, 3]
            along_y = hatches[h, 0] == hatches[h, 2]
            if (along_x and axis == 1 and not (along_y and axis == 0)) or (
                along_y and axis == 0 and not along_x
            ):
                mine[count] = h
                count += 1
            elif axis == 0 and not along_x and not along_y:
                stray[h] = True
        if count == 0:
            continue
        level = np.empty(count)
        for k in range(count):
            level[k] = hatches[mine[k], axis]
        rows = np.unique(level)
        begin, where, _turn, _owner = row_crossings(points, starts, axis, rows)
        for k in range(count):
            h = mine[k]
            r = np.searchsorted(rows, hatches[h, axis])
            u = min(hatches[h, 1 - axis], hatches[h, 3 - axis])
            v = max(hatches[h, 1 - axis], hatches[h, 3 - axis])
            a, b = begin[r], begin[r + 1]
            m = a + np.searchsorted(where[a:b], u + slack, side="right")
            # The stretch that holds the hatch's start must be metal and reach to its end.
            if (m - a) % 2 == 0 or m >= b or where[m] < v - slack:
                stray[h] = True
    return np.nonzero(stray)[0]


@kernel
def pieces(
    points: FloatArray,
    starts: IntArray,
    area: FloatArray,
    begin: IntArray,
    where: FloatArray,
    owner: IntArray,
) -> tuple[int, IntArray, FloatArray, FloatArray]:
    """Connected pieces of metal of a layer: loops that bound one run of a row belong together.

    Returns
    -------
    number of pieces, piece of each loop, area of each piece (units^2), first point of each (2).
    """
    loops = starts.shape[0] - 1
    parent = np.arange(loops)
    for r in range(begin.shape[0] - 1):
        for m in range(begin[r], begin[r + 1] - 1, 2):
            a, b = _root(parent, owner[m]), _root(parent, owner[m + 1])
            if a != b:
                parent[max(a, b)] = min(a, b)
    number = np.full(loops, -1, np.int64)
    piece = np.empty(loops, np.int64)
    count = 0
    for c in range(loops):
        root = _root(parent, c)
        if number[root] < 0:
            number[root] = count
            count += 1
        piece[c] = number[root]
    total = np.zeros(count)
    place = np.zeros((count, 2))
    for c in range(loops - 1, -1, -1):
        total[piece[c]] += area[c]
        if area[c] > 0.0:
            place[piece[c], 0] = points[starts[c], 0]
            place[piece[c], 1] = points[starts[c], 1]
    return count, piece, total, place


@kernel
def _root(parent: IntArray, a: int) -> int:
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    return a


@kernel
def contacts(
    low_begin: IntArray,
    low_where: FloatArray,
    low_owner: IntArray,
    low_piece: IntArray,
    high_begin: IntArray,
    high_where: FloatArray,
    high_owner: IntArray,
    high_piece: IntArray,
) -> IntArray:
    """Pairs (N, 2) of pieces (lower layer, upper layer) whose runs on the same rows overlap."""
    rows = low_begin.shape[0] - 1
    pairs = np.empty((low_where.shape[0] + high_where.shape[0] + 1, 2), np.int64)
    n = 0
    # Most pairs come again in the next row: those of the last rows are remembered.
    last = np.full(high_piece.shape[0] + 1, -1, np.int64)
    for r in range(rows):
        a, a_end = low_begin[r], low_begin[r + 1]
        b, b_end = high_begin[r], high_begin[r + 1]
        while a + 1 < a_end and b + 1 < b_end:
            if low_where[a] < high_where[b + 1] and high_where[b] < low_where[a + 1]:
                u, v = low_piece[low_owner[a]], high_piece[high_owner[b]]
                if last[v] != u:
                    last[v] = u
                    pairs[n, 0] = u
                    pairs[n, 1] = v
                    n += 1
            if low_where[a + 1] < high_where[b + 1]:
                a += 2
            else:
                b += 2
    return pairs[:n]


@kernel
def void_rows(
    begin: IntArray, where: FloatArray, owner: IntArray, outside: int
) -> tuple[IntArray, FloatArray, IntArray]:
    """The gaps of rows as if they were runs: begin, position, loop id; ``outside`` owns both far ends of each row."""
    rows = begin.shape[0] - 1
    begins = begin + 2 * np.arange(rows + 1)
    position = np.empty(begins[rows])
    loop = np.empty(begins[rows], np.int64)
    for r in range(rows):
        n = begins[r]
        position[n] = -np.inf
        loop[n] = outside
        for m in range(begin[r], begin[r + 1]):
            n += 1
            position[n] = where[m]
            loop[n] = owner[m]
        position[n + 1] = np.inf
        loop[n + 1] = outside
    return begins, position, loop
