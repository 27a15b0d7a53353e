"""Compiled merging of a layer's curves: S AND (D OR L) from integer curves, exact in topology.

Every crossing of two curves is a node with one way in and one way out. Walking along each curve, the state
"inside the other two sets" changes at its crossings only, so each arc between crossings is known to belong to
the material's border or not, and the arcs that do link up into closed loops.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cross_kernels import (
    DENSE,
    LATTICE,
    OVERLAPPING,
    SOLID,
    inside,
    inside_any,
    inside_sets,
    is_lattice,
)
from implantflow.build.mesh_kernels import double_area
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@kernel
def _kept(kind: int, in_solid: bool, in_dense: bool, in_lattice: bool) -> bool:
    """Is an arc of a curve of ``kind`` on the border of S AND (D OR L)? In the lattice means in another set of it."""
    if kind == SOLID:
        return in_dense or in_lattice
    if kind == DENSE:
        return in_solid and not in_lattice
    return in_solid and not in_dense and not in_lattice


@kernel
def _comes_after(along: FloatArray, first: int, second: int) -> bool:
    """Does record ``first`` lie further along their common segment than ``second``?"""
    for k in range(3):
        if along[first, k] != along[second, k]:
            return bool(along[first, k] > along[second, k])
    return False


@kernel
def _entering(record: int, place: FloatArray) -> bool:
    """Does the record's own curve enter the other curve's set at this crossing?"""
    enters = place[record >> 1, 2] > 0.5
    return enters if record & 1 == 0 else not enters


@kernel
def _lattice_at(table: NDArray[np.float32], x: int, y: int, cell: int) -> float:
    """Bilinear value of the coarse periodic table at a point in units."""
    n = table.shape[0]
    u = (x % cell) * n / cell
    v = (y % cell) * n / cell
    i, j = int(u), int(v)
    u -= i
    v -= j
    i1, j1 = (i + 1) % n, (j + 1) % n
    i, j = i % n, j % n
    low = table[j, i] * (1.0 - u) + table[j, i1] * u
    high = table[j1, i] * (1.0 - u) + table[j1, i1] * u
    return float(low * (1.0 - v) + high * v)


@kernel
def merge(
    xs: IntArray,
    ys: IntArray,
    after: IntArray,
    kinds: IntArray,
    curve_start: IntArray,
    grid: tuple[IntArray, IntArray, int, int, int, int, int],
    table: NDArray[np.float32],
    cell: int,
    crossing: tuple[int, IntArray, FloatArray, FloatArray],
    sides: IntArray,
    area2_min: int,
) -> tuple[IntArray, IntArray, IntArray, int]:
    """Link the arcs that border the material into loops.

    ``table`` tells where the lattice is metal; without nodes, its curves do, which must all be closed then. Where there
    are several sets of the lattice, the grid must hold all curves, and no piece lies wholly inside another.
    ``sides`` (C,) : 1 for a curve of the lattice known to lie in S and out of D, else 0.

    Returns
    -------
    x, y, starts of the loops (units, metal on the left), and the number of crossings whose arcs do not match
    (0 unless several curves meet in one point closer than a double can order).
    """
    starts, members, x0, y0, bits, nx, ny = grid
    count, segment, along, place = crossing
    sets = max(kinds.max() + 1, OVERLAPPING)
    dense_there = (kinds == DENSE).any()
    state = np.zeros(sets, np.bool_)
    known = np.zeros(sets, np.bool_)
    odd = np.zeros(sets, np.bool_)
    records = 2 * count
    head = np.full(xs.shape[0], -1, np.int64)
    chain = np.full(records, -1, np.int64)
    for r in range(records):
        chain[r] = head[segment[r]]
        head[segment[r]] = r
    follow = np.full(records, -1, np.int64)
    out_kept = np.zeros(records, np.bool_)
    in_kept = np.zeros(records, np.bool_)
    wraps = np.zeros(records, np.bool_)
    row = np.empty(records + 1, np.int64)
    ox = np.empty(xs.shape[0] + records + 16, np.int64)
    oy = np.empty(xs.shape[0] + records + 16, np.int64)
    ostart = np.zeros(curve_start.shape[0] + records + 1, np.int64)
    filled = 0
    loops = 0
    for c in range(curve_start.shape[0] - 1):
        a, b = curve_start[c], curve_start[c + 1]
        if a == b:
            continue
        kind = kinds[a]
        n = 0
        for p in range(a, b):
            r = head[p]
            base = n
            while r >= 0:
                k = n
                while k > base and _comes_after(along, row[k - 1], r):
                    row[k] = row[k - 1]
                    k -= 1
                row[k] = r
                n += 1
                r = chain[r]
        # State before the first crossing: the opposite of what the first crossing with each set says.
        state[:] = False
        known[:] = False
        known[kind] = True
        known[DENSE] = known[DENSE] or not dense_there
        for k in range(n):
            other = kinds[segment[row[k] ^ 1]]
            if not known[other]:
                known[other] = True
                state[other] = not _entering(row[k], place)
        if sides[c] == 1:
            state[SOLID] = state[SOLID] or not known[SOLID]
            known[SOLID] = known[DENSE] = True
        if not known[SOLID]:
            state[SOLID] = after[b - 1] >= 0 and inside(
                xs, ys, after, kinds, starts, members, x0, y0, bits, nx, ny, xs[a], ys[a], kind, SOLID
            )
        if not known[DENSE]:
            state[DENSE] = inside(
                xs, ys, after, kinds, starts, members, x0, y0, bits, nx, ny, xs[a], ys[a], kind, DENSE
            )
        if sets > OVERLAPPING:
            # Pieces do not hold each other, but a small loop of a border may lie inside one.
            if not is_lattice(kind):
                inside_sets(xs, ys, after, kinds, grid, xs[a], ys[a], kind, odd)
                for other in range(OVERLAPPING, sets):
                    if not known[other]:
                        state[other] = odd[other]
        elif not known[LATTICE] and table.shape[0] > 0:
            best = 0.0
            for p in range(a, b):
                value = _lattice_at(table, xs[p], ys[p], cell)
                if abs(value) > abs(best):
                    best = value
            state[LATTICE] = best < 0.0
        elif not known[LATTICE]:
            state[LATTICE] = inside_any(xs, ys, after, kinds, xs[a], ys[a], kind, LATTICE)
        held = 0
        for other in range(sets):
            if state[other] and is_lattice(other):
                held += 1
        if n == 0:
            if after[b - 1] >= 0 and _kept(kind, state[SOLID], state[DENSE], held > 0):
                for p in range(a, b):
                    ox[filled] = xs[p]
                    oy[filled] = ys[p]
                    filled += 1
                loops += 1
                ostart[loops] = filled
            continue
        in_kept[row[0]] = _kept(kind, state[SOLID], state[DENSE], held > 0)
        for k in range(n):
            r = row[k]
            other = kinds[segment[r ^ 1]]
            entering = _entering(r, place)
            if is_lattice(other) and entering != state[other]:
                held += 1 if entering else -1
            state[other] = entering
            kept = _kept(kind, state[SOLID], state[DENSE], held > 0)
            out_kept[r] = kept
            if k + 1 < n:
                follow[r] = row[k + 1]
                in_kept[row[k + 1]] = kept
            elif after[b - 1] >= 0:
                follow[r] = row[0]
                wraps[r] = True
                in_kept[row[0]] = kept
            else:
                out_kept[r] = False
    wrong = 0
    for c in range(count):
        ins = (1 if in_kept[2 * c] else 0) + (1 if in_kept[2 * c + 1] else 0)
        outs = (1 if out_kept[2 * c] else 0) + (1 if out_kept[2 * c + 1] else 0)
        if ins != outs or ins > 1:
            wrong += 1
    if wrong:
        return ox[:0], oy[:0], ostart[:1], wrong
    for first in range(records):
        if not out_kept[first]:
            continue
        begin = filled
        r = first
        while out_kept[r]:
            out_kept[r] = False
            if not in_kept[r]:
                # Here the border turns from one curve to another: the crossing is a corner.
                filled = _push(
                    ox,
                    oy,
                    begin,
                    filled,
                    int(np.floor(place[r >> 1, 0] + 0.5)),
                    int(np.floor(place[r >> 1, 1] + 0.5)),
                )
            end = follow[r]
            p = segment[r]
            stop = segment[end]
            if p != stop or wraps[r]:
                p = after[p]
                filled = _push(ox, oy, begin, filled, xs[p], ys[p])
                while p != stop:
                    p = after[p]
                    filled = _push(ox, oy, begin, filled, xs[p], ys[p])
            r = end if out_kept[end] else end ^ 1
        while filled > begin + 1 and ox[filled - 1] == ox[begin] and oy[filled - 1] == oy[begin]:
            filled -= 1
        if filled - begin < 3 or abs(double_area(ox, oy, begin, filled)) < area2_min:
            filled = begin
            continue
        loops += 1
        ostart[loops] = filled
    return ox[:filled], oy[:filled], ostart[: loops + 1], 0


@kernel
def _push(ox: IntArray, oy: IntArray, begin: int, filled: int, x: int, y: int) -> int:
    """Append a point unless it repeats the one before; returns the new length."""
    if filled > begin and ox[filled - 1] == x and oy[filled - 1] == y:
        return filled
    ox[filled] = x
    oy[filled] = y
    return filled + 1
