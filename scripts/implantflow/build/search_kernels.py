"""Compiled search for the crossings of integer curves: segments meet in squares of a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cross_kernels import (
    OVERLAPPING,
    SOLID,
    bin_segments,
    boxes_of,
    cross_pair,
    is_left,
    squares_of,
)
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Int32Array = NDArray[np.int32]

#: Segments look for each other in squares of 2^7 units, 0.64 mm: a shift is ten times faster than a division.
BIN_BITS = 7
#: Segments of a run at most when curves are searched for crossings of themselves: longer ones have large boxes.
_CHAIN = 24
#: Where pieces of the lattice look for each other as well, in 2^6: there are more of them.
JOINED_BITS = 6


@kernel
def link_after(starts: IntArray) -> IntArray:
    """Index of the point after each point of closed loops given by ``starts`` (L + 1)."""
    after = np.empty(starts[starts.shape[0] - 1], np.int64)
    for c in range(starts.shape[0] - 1):
        for p in range(starts[c], starts[c + 1]):
            after[p] = p + 1
        if starts[c + 1] > starts[c]:
            after[starts[c + 1] - 1] = starts[c]
    return after


@kernel
def make_grid(
    xs: IntArray, ys: IntArray, after: IntArray, bits: int
) -> tuple[IntArray, IntArray, int, int, int, int, int]:
    """Bins of 2^bits units over all segments: (starts, members, x0, y0, bits, nx, ny)."""
    x0, y0 = xs.min(), ys.min()
    nx = ((xs.max() - x0) >> bits) + 1
    ny = ((ys.max() - y0) >> bits) + 1
    starts, members = bin_segments(xs, ys, after, x0, y0, bits, nx, ny)
    return starts, members, x0, y0, bits, nx, ny


@kernel
def _only_kinds(starts: IntArray, members: IntArray, kinds: IntArray) -> IntArray:
    """(bins,) the kind of all segments of a bin, -1 where there are none or several."""
    only = np.full(starts.shape[0] - 1, -1, np.int64)
    for b in range(starts.shape[0] - 1):
        for m in range(starts[b], starts[b + 1]):
            if m > starts[b] and kinds[members[m]] != only[b]:
                only[b] = -1
                break
            only[b] = kinds[members[m]]
    return only


@kernel
def find_crossings(
    xs: IntArray,
    ys: IntArray,
    after: IntArray,
    kinds: IntArray,
    grid: tuple[IntArray, IntArray, int, int, int, int, int],
    joined: BoolArray,
    capacity: int,
) -> tuple[int, IntArray, FloatArray, FloatArray]:
    """All crossings between curves of different kinds; the bins hold S and D, and of the lattice what is joined.

    ``joined`` (P,) : points whose curves of the lattice may cross others of it; none (0,) where no curves of it do.

    Returns
    -------
    count (-1 when ``capacity`` was too small), segment ids (2*count), position along each with its two
    tie-breakers (2*count, 3), place and direction (count, 3): x, y, 1.0 when the
    even record's curve enters the odd one's set.
    """
    starts, members, x0, y0, bits, nx, ny = grid
    segment = np.empty(2 * capacity, np.int64)
    along = np.empty((2 * capacity, 3))
    place = np.empty((capacity, 3))
    found = np.empty(9)
    count = 0
    boxes = boxes_of(xs, ys, after, members)
    square = squares_of(xs, ys, x0, y0, bits, nx, ny)
    several = joined.shape[0] > 0
    only = _only_kinds(starts, members, kinds) if several else starts
    for p in range(xs.shape[0]):
        q = after[p]
        if q < 0 or kinds[p] == SOLID:
            continue
        # Most segments lie in one bin, alone or with others of their set.
        b = square[p]
        if b >= 0 and square[q] == b and (starts[b] == starts[b + 1] or (several and only[b] == kinds[p])):
            continue
        left, right = min(xs[p], xs[q]), max(xs[p], xs[q])
        low, high = min(ys[p], ys[q]), max(ys[p], ys[q])
        i0, i1 = max((left - x0) >> bits, 0), min((right - x0) >> bits, nx - 1)
        j0, j1 = max((low - y0) >> bits, 0), min((high - y0) >> bits, ny - 1)
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                b = j * nx + i
                for m in range(starts[b], starts[b + 1]):
                    rl, rb = boxes[m, 0], boxes[m, 1]
                    # One branch: most of them lie apart, but on which side is anybody's guess.
                    if (rl > right) | (boxes[m, 2] < left) | (rb > high) | (boxes[m, 3] < low):
                        continue
                    r = members[m]
                    # Each pair once: D meets S only, L meets S and D, and sets of L meet those before them.
                    if kinds[r] == kinds[p]:
                        continue
                    if kinds[r] >= OVERLAPPING and (kinds[r] > kinds[p] or not joined[p]):
                        continue
                    s = after[r]
                    # Two segments can share several bins: they meet in the one of their common box's corner.
                    if max((max(left, rl) - x0) >> bits, 0) != i or max((max(low, rb) - y0) >> bits, 0) != j:
                        continue
                    if not cross_pair(p, q, r, s, xs, ys, xs, ys, kinds[r] > kinds[p], found):
                        continue
                    if count == capacity:
                        return -1, segment, along, place
                    segment[2 * count] = p
                    segment[2 * count + 1] = r
                    along[2 * count, 0] = found[0]
                    along[2 * count + 1, 0] = found[1]
                    along[2 * count, 1:] = found[5:7]
                    along[2 * count + 1, 1:] = found[7:9]
                    place[count, 0] = found[2]
                    place[count, 1] = found[3]
                    place[count, 2] = found[4]
                    count += 1
    return count, segment[: 2 * count], along[: 2 * count], place[:count]


@kernel
def _chains(xs: IntArray, ys: IntArray, after: IntArray) -> tuple[IntArray, Int32Array]:
    """Segments in runs that turn back in neither direction, so that no two of a run cross.

    Returns the first segment of each run (C + 1) and the runs' boxes (C, 4): left, low, right, high.
    """
    count = xs.shape[0]
    firsts = np.empty(count + 1, np.int64)
    boxes = np.empty((count, 4), np.int32)
    chains = 0
    end = -1
    ways = length = 0
    for p in range(count):
        q = after[p]
        dx, dy = xs[q] - xs[p], ys[q] - ys[p]
        way = (dx > 0) | (dx < 0) << 1 | (dy > 0) << 2 | (dy < 0) << 3
        ways |= way
        if (p != end) | (length == _CHAIN) | ((ways & 3) == 3) | ((ways & 12) == 12):
            firsts[chains] = p
            chains += 1
            ways = way
            length = 0
        length += 1
        end = q
    firsts[chains] = count
    for c in range(chains):
        p, q = firsts[c], after[firsts[c + 1] - 1]
        boxes[c, 0], boxes[c, 2] = min(xs[p], xs[q]), max(xs[p], xs[q])
        boxes[c, 1], boxes[c, 3] = min(ys[p], ys[q]), max(ys[p], ys[q])
    return firsts[: chains + 1], boxes[:chains]


@kernel
def has_self_crossing(xs: IntArray, ys: IntArray, loop_starts: IntArray) -> bool:
    """Does any segment of these loops cross another, not its neighbour? Touching from one side does not count.

    Runs of segments are compared by their boxes, from left to right; segments where two boxes overlap.
    """
    after = link_after(loop_starts)
    firsts, boxes = _chains(xs, ys, after)
    order = np.argsort(boxes[:, 0])
    near = np.empty(_CHAIN, np.int64)
    for m in range(order.shape[0]):
        a = order[m]
        for n in range(m + 1, order.shape[0]):
            b = order[n]
            if boxes[b, 0] > boxes[a, 2]:
                break
            if (boxes[b, 1] > boxes[a, 3]) | (boxes[b, 3] < boxes[a, 1]):
                continue
            # What the boxes have in common, which the segments that meet reach as well.
            left, right = boxes[b, 0], min(boxes[a, 2], boxes[b, 2])
            low, high = max(boxes[a, 1], boxes[b, 1]), min(boxes[a, 3], boxes[b, 3])
            # A segment is looked at as if those after it were shifted: the earlier run comes first.
            first, second = min(a, b), max(a, b)
            # Most boxes share no more than the point where one run goes over into the other.
            one_point = (left == right) & (low == high)
            follows = (after[firsts[first + 1] - 1] == firsts[second]) | (
                after[firsts[second + 1] - 1] == firsts[first]
            )
            if one_point & follows:
                continue
            count = 0
            for p in range(firsts[first], firsts[first + 1]):
                q = after[p]
                apart = (max(xs[p], xs[q]) < left) | (min(xs[p], xs[q]) > right)
                if not (apart | (max(ys[p], ys[q]) < low) | (min(ys[p], ys[q]) > high)):
                    near[count] = p
                    count += 1
            if count == 0:
                continue
            for r in range(firsts[second], firsts[second + 1]):
                s = after[r]
                apart = (max(xs[r], xs[s]) < left) | (min(xs[r], xs[s]) > right)
                if apart | (max(ys[r], ys[s]) < low) | (min(ys[r], ys[s]) > high):
                    continue
                for k in range(count):
                    p = near[k]
                    q = after[p]
                    if q == r or s == p:
                        continue
                    one = is_left(xs[p], ys[p], xs[q], ys[q], xs[r], ys[r], True)
                    if one == is_left(xs[p], ys[p], xs[q], ys[q], xs[s], ys[s], True):
                        continue
                    one = is_left(xs[r], ys[r], xs[s], ys[s], xs[p], ys[p], False)
                    if one != is_left(xs[r], ys[r], xs[s], ys[s], xs[q], ys[q], False):
                        return True
    return False
