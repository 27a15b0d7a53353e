"""Compiled predicates and search for crossings between three sets of integer curves.

The sets are the outer solid S, the dense region D and the lattice L; material is S AND (D OR L). All points
are whole numbers below 2^17, so orientation tests are exact in 64 bits. Ties (a point exactly on a segment)
are decided as if L were shifted by an infinitesimal (e, e^2) and D by a much larger infinitesimal (E, E^2):
a real shift, so all answers agree with each other and two curves only ever cross properly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Int32Array = NDArray[np.int32]

#: Kinds of curves; the number is also the rank of the infinitesimal shift. A lattice whose pieces may overlap is
#: several sets of curves, the further ones numbered from OVERLAPPING on; no two curves of one set overlap.
SOLID, LATTICE, DENSE, OVERLAPPING = 0, 1, 2, 3


@kernel
def is_lattice(kind: int) -> bool:
    """Is this the kind of the lattice's curves, or of one of its sets?"""
    return kind == LATTICE or kind >= OVERLAPPING


@kernel
def is_left(ax: int, ay: int, bx: int, by: int, px: int, py: int, shifted_up: bool) -> bool:
    """Does p lie left of a -> b? ``shifted_up``: the point's set has the larger shift of the two."""
    dx = bx - ax
    dy = by - ay
    value = dx * (py - ay) - dy * (px - ax)
    if value != 0:
        return value > 0
    turn = -dy if dy != 0 else dx
    return (turn > 0) == shifted_up


@kernel
def squares_of(xs: IntArray, ys: IntArray, x0: int, y0: int, bits: int, nx: int, ny: int) -> Int32Array:
    """(P,) number of the square of 2^bits units, row by row, that holds each point; -1 outside the grid."""
    square = np.empty(xs.shape[0], np.int32)
    for p in range(xs.shape[0]):
        i, j = (xs[p] - x0) >> bits, (ys[p] - y0) >> bits
        within = (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
        square[p] = j * nx + i if within else -1
    return square


@kernel
def boxes_of(xs: IntArray, ys: IntArray, after: IntArray, members: IntArray) -> Int32Array:
    """(M, 4) left, low, right, high of the segments that bins list, in their order: near in memory what is near."""
    boxes = np.empty((members.shape[0], 4), np.int32)
    for m in range(members.shape[0]):
        p = members[m]
        q = after[p]
        boxes[m, 0], boxes[m, 2] = min(xs[p], xs[q]), max(xs[p], xs[q])
        boxes[m, 1], boxes[m, 3] = min(ys[p], ys[q]), max(ys[p], ys[q])
    return boxes


@kernel
def bin_segments(
    xs: IntArray, ys: IntArray, after: IntArray, x0: int, y0: int, bits: int, nx: int, ny: int
) -> tuple[IntArray, IntArray]:
    """Segments per square of 2^bits units: ``starts`` (nx*ny + 1) and the ids (first points) of the segments.

    The grid must hold all points.
    """
    starts = np.zeros(nx * ny + 1, np.int64)
    members = np.empty(0, np.int64)
    square = squares_of(xs, ys, x0, y0, bits, nx, ny)
    for sweep in range(2):
        for p in range(xs.shape[0]):
            q = after[p]
            b = square[p]
            if square[q] == b:  # most segments
                if sweep == 0:
                    starts[b + 1] += 1
                else:
                    members[starts[b]] = p
                    starts[b] += 1
                continue
            i0 = (min(xs[p], xs[q]) - x0) >> bits
            i1 = (max(xs[p], xs[q]) - x0) >> bits
            j0 = (min(ys[p], ys[q]) - y0) >> bits
            j1 = (max(ys[p], ys[q]) - y0) >> bits
            for j in range(j0, j1 + 1):
                for i in range(i0, i1 + 1):
                    if sweep == 0:
                        starts[j * nx + i + 1] += 1
                    else:
                        members[starts[j * nx + i]] = p
                        starts[j * nx + i] += 1
        if sweep == 0:
            for b in range(nx * ny):
                starts[b + 1] += starts[b]
            members = np.empty(starts[nx * ny], np.int64)
    for b in range(nx * ny, 0, -1):
        starts[b] = starts[b - 1]
    starts[0] = 0
    return starts, members


@kernel
def inside(
    xs: IntArray,
    ys: IntArray,
    after: IntArray,
    kinds: IntArray,
    starts: IntArray,
    members: IntArray,
    x0: int,
    y0: int,
    bits: int,
    nx: int,
    ny: int,
    px: int,
    py: int,
    point_kind: int,
    kind: int,
) -> bool:
    """Is the point inside the set ``kind`` (even-odd, a ray to the left through the bins of its row)?"""
    row = (py - y0) >> bits
    column = (px - x0) >> bits
    if row < 0 or row >= ny or column < 0:
        return False
    up = point_kind > kind
    odd = False
    for i in range(min(column, nx - 1) + 1):
        b = row * nx + i
        for m in range(starts[b], starts[b + 1]):
            p = members[m]
            if kinds[p] != kind:
                continue
            q = after[p]
            if up:
                spans = (ys[p] > py) != (ys[q] > py)
                rising = ys[q] > py
            else:
                spans = (ys[p] >= py) != (ys[q] >= py)
                rising = ys[q] >= py
            if not spans:
                continue
            # A segment lies in several bins of a row: count it in its leftmost only.
            if max((min(xs[p], xs[q]) - x0) >> bits, 0) != i:
                continue
            if is_left(xs[p], ys[p], xs[q], ys[q], px, py, up) != rising:
                odd = not odd
    return odd


@kernel
def inside_sets(
    xs: IntArray,
    ys: IntArray,
    after: IntArray,
    kinds: IntArray,
    grid: tuple[IntArray, IntArray, int, int, int, int, int],
    px: int,
    py: int,
    point_kind: int,
    odd: BoolArray,
) -> None:
    """:func:`inside` for every set at once: ``odd`` (sets,) becomes true for those that hold the point."""
    starts, members, x0, y0, bits, nx, ny = grid
    odd[:] = False
    row = (py - y0) >> bits
    column = (px - x0) >> bits
    if row < 0 or row >= ny or column < 0:
        return
    for i in range(min(column, nx - 1) + 1):
        b = row * nx + i
        for m in range(starts[b], starts[b + 1]):
            p = members[m]
            q = after[p]
            up = point_kind > kinds[p]
            if up:
                spans = (ys[p] > py) != (ys[q] > py)
                rising = ys[q] > py
            else:
                spans = (ys[p] >= py) != (ys[q] >= py)
                rising = ys[q] >= py
            # A segment lies in several bins of a row: count it in its leftmost only.
            if not spans or max((min(xs[p], xs[q]) - x0) >> bits, 0) != i:
                continue
            if is_left(xs[p], ys[p], xs[q], ys[q], px, py, up) != rising:
                odd[kinds[p]] = not odd[kinds[p]]


@kernel
def inside_any(
    xs: IntArray,
    ys: IntArray,
    after: IntArray,
    kinds: IntArray,
    px: int,
    py: int,
    point_kind: int,
    kind: int,
) -> bool:
    """:func:`inside` for a set whose segments are in no bins: all of them are asked."""
    up = point_kind > kind
    odd = False
    for p in range(xs.shape[0]):
        if kinds[p] != kind:
            continue
        q = after[p]
        if up:
            spans = (ys[p] > py) != (ys[q] > py)
            rising = ys[q] > py
        else:
            spans = (ys[p] >= py) != (ys[q] >= py)
            rising = ys[q] >= py
        if spans and is_left(xs[p], ys[p], xs[q], ys[q], px, py, up) != rising:
            odd = not odd
    return odd


@kernel
def cross_pair(
    p: int,
    q: int,
    r: int,
    s: int,
    ax: IntArray,
    ay: IntArray,
    bx: IntArray,
    by: IntArray,
    b_up: bool,
    out: FloatArray,
) -> bool:
    """Do segment p-q of curves a and segment r-s of curves b cross properly?

    ``out`` (9,): position along p-q and r-s (0 to 1), x, y, 1.0 when a passes from right to left of b, then how
    the position along p-q moves with the infinitesimal and with its square, and the same for r-s. The latter
    order crossings that share one position, as where a corner of one curve lies exactly on the other.
    """
    left_r = is_left(ax[p], ay[p], ax[q], ay[q], bx[r], by[r], b_up)
    left_s = is_left(ax[p], ay[p], ax[q], ay[q], bx[s], by[s], b_up)
    if left_r == left_s:
        return False
    left_p = is_left(bx[r], by[r], bx[s], by[s], ax[p], ay[p], not b_up)
    left_q = is_left(bx[r], by[r], bx[s], by[s], ax[q], ay[q], not b_up)
    if left_p == left_q:
        return False
    dx, dy = bx[s] - bx[r], by[s] - by[r]
    c0 = dx * (ay[p] - by[r]) - dy * (ax[p] - bx[r])
    c1 = dx * (ay[q] - by[r]) - dy * (ax[q] - bx[r])
    ex, ey = ax[q] - ax[p], ay[q] - ay[p]
    d0 = ex * (by[r] - ay[p]) - ey * (bx[r] - ax[p])
    d1 = ex * (by[s] - ay[p]) - ey * (bx[s] - ax[p])
    t = c0 / (c0 - c1) if c0 != c1 else 0.5
    out[0] = t
    out[1] = d0 / (d0 - d1) if d0 != d1 else 0.5
    out[2] = ax[p] + t * ex
    out[3] = ay[p] + t * ey
    out[4] = 1.0 if left_q else 0.0
    turn = float(dx * ey - dy * ex)
    if b_up:
        turn = -turn
    out[5], out[6] = dy / turn, -dx / turn
    out[7], out[8] = ey / turn, -ex / turn
    return True
