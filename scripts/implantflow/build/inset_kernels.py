"""Compiled offset of a layer's loops inwards: the raw offset curve, its crossings, and what of it has winding 1.

Every edge is moved inwards, with an arc round each corner that points into the metal. At other corners neighbours are
cut where they meet, or, where an edge is too short for that, led through the corner itself. Each place nearer to the
border than the depth then lies in a strip of the raw curve that takes one from its winding number, so that the offset's
border is what has 1 to its left. Points are whole numbers of fine units: tests are exact. What they cannot order (three
curves in one point, a corner on an edge, as right angles make them) is tried again with every corner moved by about a
micrometre at most, and then told and left to somebody else.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.build.border_kernels import as_lines, thinned
from implantflow.build.cross_kernels import boxes_of
from implantflow.build.search_kernels import link_after, make_grid
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Offsets are made in units so much finer; an arc may lie this far from its chords (units).
FINE, _ARC_UNITS = 64, 0.25
#: Segments look for each other in squares of 2^12 fine units, 0.32 mm.
_NEAR_BITS = 12
#: Corners that turn by less than this get no arc (cosine).
_STRAIGHT = 0.999
#: Those that turn back get one all round, whether they point into the metal or out of it: the tip of a needle without
#: width does either.
_BACK = -0.9
#: Where curves touch, corners are moved by up to so much more at every trial (units).
_MOVED_UNITS, _TRIALS = 0.07, 4


@kernel
def _moved(xs: IntArray, ys: IntArray, most: float) -> tuple[FloatArray, FloatArray]:
    """Points moved by up to ``most`` along both axes, equal ones alike, in no direction in particular."""
    fx, fy = xs.astype(np.float64), ys.astype(np.float64)
    for n in range(xs.shape[0]):
        mixed = ((xs[n] * 73856093) ^ (ys[n] * 19349663)) * 2654435761
        fx[n] += most * (((mixed >> 13) & 1023) / 511.5 - 1.0)
        fy[n] += most * (((mixed >> 29) & 1023) / 511.5 - 1.0)
    return fx, fy


@kernel
def _raw(
    xs: FloatArray, ys: FloatArray, starts: IntArray, depth: float
) -> tuple[IntArray, IntArray, IntArray]:
    """Raw offset curves in fine units; metal left of the loops. No start at all where a point repeats."""
    per_radian = 0.5 / math.acos(1.0 - min(_ARC_UNITS / depth, 1.0))
    most = xs.shape[0] * (5 + math.ceil(2.0 * per_radian * math.pi))
    rx, ry = np.empty(most, np.int64), np.empty(most, np.int64)
    rstart = np.zeros(starts.shape[0], np.int64)
    filled = 0
    loops = 0
    for c in range(starts.shape[0] - 1):
        a, b = starts[c], starts[c + 1]
        begin = filled
        for n in range(a, b):
            p, r = n - 1 if n > a else b - 1, n + 1 if n + 1 < b else a
            ux, uy, vx, vy = xs[n] - xs[p], ys[n] - ys[p], xs[r] - xs[n], ys[r] - ys[n]
            one, two = math.sqrt(ux * ux + uy * uy), math.sqrt(vx * vx + vy * vy)
            if one == 0.0 or two == 0.0:
                return rx[:0], ry[:0], rstart[:0]
            ux, uy, vx, vy = ux / one, uy / one, vx / two, vy / two
            x, y = xs[n], ys[n]
            turn, cosine = ux * vy - uy * vx, ux * vx + uy * vy
            share = depth / (1.0 + cosine) if cosine > -0.999 else np.inf
            if share * turn <= 0.5 * min(one, two) if turn > 0.0 else cosine > _STRAIGHT:
                filled = _put(rx, ry, begin, filled, x - share * (uy + vy), y + share * (ux + vx))
                continue
            if turn > 0.0 and cosine > _BACK:
                filled = _put(rx, ry, begin, filled, x - depth * uy, y + depth * ux)
                filled = _put(rx, ry, begin, filled, x, y)
                filled = _put(rx, ry, begin, filled, x - depth * vy, y + depth * vx)
                if (
                    filled > begin + 2
                    and rx[filled - 3] == rx[filled - 1]
                    and ry[filled - 3] == ry[filled - 1]
                ):
                    filled -= 2
                continue
            angle = math.atan2(turn, cosine)
            if angle > 0.0:
                angle -= 2.0 * math.pi
            steps = max(math.ceil(per_radian * -angle), 1)
            for k in range(steps + 1):
                c1, s1 = math.cos(angle * k / steps), math.sin(angle * k / steps)
                wx, wy = c1 * ux - s1 * uy, s1 * ux + c1 * uy
                filled = _put(rx, ry, begin, filled, x - depth * wy, y + depth * wx)
        while filled > begin + 1 and rx[filled - 1] == rx[begin] and ry[filled - 1] == ry[begin]:
            filled -= 1
        if filled - begin < 3:
            filled = begin
            continue
        loops += 1
        rstart[loops] = filled
    return rx[:filled], ry[:filled], rstart[: loops + 1]


@kernel
def _put(rx: IntArray, ry: IntArray, begin: int, filled: int, x: float, y: float) -> int:
    """Append a point in fine units unless it repeats the one before; returns the new length."""
    fx, fy = int(np.floor(x * FINE + 0.5)), int(np.floor(y * FINE + 0.5))
    if filled > begin and rx[filled - 1] == fx and ry[filled - 1] == fy:
        return filled
    rx[filled], ry[filled] = fx, fy
    return filled + 1


@kernel
def _side(ax: int, ay: int, bx: int, by: int, px: int, py: int) -> int:
    """Positive where p lies left of a -> b, 0 on its line."""
    return (bx - ax) * (py - ay) - (by - ay) * (px - ax)


@kernel
def _crossings(
    xs: IntArray,
    ys: IntArray,
    after: IntArray,
    grid: tuple[IntArray, IntArray, int, int, int, int, int],
    capacity: int,
) -> tuple[int, IntArray, FloatArray, IntArray]:
    """All places where the curves cross themselves or each other.

    Returns
    -------
    count (-1: ``capacity`` was too small; -2: curves touch, and cannot be ordered), segments (2 * count), position
    along each, and the step (2 * count) of the winding number on the left of each segment's curve.
    """
    starts, members, x0, y0, bits, nx, ny = grid
    segment = np.empty(2 * capacity, np.int64)
    along = np.empty(2 * capacity)
    step = np.empty(2 * capacity, np.int64)
    boxes = boxes_of(xs, ys, after, members)
    count = 0
    for cell in range(nx * ny):
        for m in range(starts[cell], starts[cell + 1]):
            p = members[m]
            q = after[p]
            left, low, right, high = boxes[m]
            for n in range(m + 1, starts[cell + 1]):
                rl, rb = boxes[n, 0], boxes[n, 1]
                if rl > right or boxes[n, 2] < left or rb > high or boxes[n, 3] < low:
                    continue
                r = members[n]
                s = after[r]
                # Two segments can share several squares: they meet in the one of their common box's corner.
                if ((max(low, rb) - y0) >> bits) * nx + ((max(left, rl) - x0) >> bits) != cell:
                    continue
                if q == r or s == p:
                    if _folded(xs, ys, p, q, r, s):
                        return -2, segment, along, step
                    continue
                one = _side(xs[p], ys[p], xs[q], ys[q], xs[r], ys[r])
                two = _side(xs[p], ys[p], xs[q], ys[q], xs[s], ys[s])
                if (one > 0 and two > 0) or (one < 0 and two < 0):
                    continue
                three = _side(xs[r], ys[r], xs[s], ys[s], xs[p], ys[p])
                four = _side(xs[r], ys[r], xs[s], ys[s], xs[q], ys[q])
                if (three > 0 and four > 0) or (three < 0 and four < 0):
                    continue
                if one == 0 or two == 0 or three == 0 or four == 0:
                    return -2, segment, along, step
                if count == capacity:
                    return -1, segment, along, step
                segment[2 * count], segment[2 * count + 1] = p, r
                along[2 * count] = float(three) / float(three - four)
                along[2 * count + 1] = float(one) / float(one - two)
                # From the right of r-s to its left the winding number grows.
                step[2 * count] = 1 if three < 0 else -1
                step[2 * count + 1] = -step[2 * count]
                count += 1
    return count, segment[: 2 * count], along[: 2 * count], step[: 2 * count]


@kernel
def _folded(xs: IntArray, ys: IntArray, p: int, q: int, r: int, s: int) -> bool:
    """Do two segments with a common end lie upon each other?"""
    if q == s or p == r or (q == r and s == p):
        return True
    ax, ay, bx, by = xs[q] - xs[p], ys[q] - ys[p], xs[s] - xs[r], ys[s] - ys[r]
    return bool(ax * by == ay * bx and ax * bx + ay * by < 0)


@kernel
def _winding_left(
    xs: IntArray,
    ys: IntArray,
    after: IntArray,
    grid: tuple[IntArray, IntArray, int, int, int, int, int],
    a: int,
    share: float,
) -> int:
    """Winding number just left of the point at ``share`` of segment ``a``: what a ray towards -x crosses."""
    starts, members, x0, y0, bits, nx, ny = grid
    dx, dy = xs[after[a]] - xs[a], ys[after[a]] - ys[a]
    x, y = xs[a] + share * dx, ys[a] + share * dy
    row = min((int(np.floor(y)) - y0) >> bits, ny - 1)
    column = min((int(np.floor(x)) - x0) >> bits, nx - 1)
    around = 1 if dy < 0 or (dy == 0 and dx < 0) else 0
    for i in range(column + 1):
        for m in range(starts[row * nx + i], starts[row * nx + i + 1]):
            p = members[m]
            q = after[p]
            if p == a or (ys[p] > y) == (ys[q] > y) or (min(xs[p], xs[q]) - x0) >> bits != i:
                continue
            if xs[p] + (y - ys[p]) / (ys[q] - ys[p]) * (xs[q] - xs[p]) < x:
                around += 1 if ys[q] < ys[p] else -1
    return around


@kernel
def inset(xs: IntArray, ys: IntArray, starts: IntArray, depth: float) -> tuple[FloatArray, IntArray, bool]:
    """Loops moved inwards by ``depth`` (units), metal on their left: points (N, 2) in units, starts, and success.

    Without success, because curves touch in a way that cannot be ordered, there are no loops.
    """
    points, begins, done = np.empty((0, 2)), np.zeros(1, np.int64), False
    for trial in range(_TRIALS):
        fx, fy = _moved(xs, ys, trial * _MOVED_UNITS)
        points, begins, done = _inset(fx, fy, starts, depth)
        if done:
            break
    return points, begins, done


@kernel
def inset_lines(
    xs: IntArray, ys: IntArray, starts: IntArray, depth: float, chord: float
) -> tuple[IntArray, IntArray, IntArray, IntArray, bool]:
    """:func:`inset` without points within ``chord`` of a chord, in whole units: x, y, starts, lines, success."""
    points, begins, done = inset(xs, ys, starts, depth)
    x, y, few = thinned(points, begins, chord)
    return x, y, few, as_lines(x, y, few), done


@kernel
def _inset(
    xs: FloatArray, ys: FloatArray, starts: IntArray, depth: float
) -> tuple[FloatArray, IntArray, bool]:
    """:func:`inset` of points as they are."""
    rx, ry, rstart = _raw(xs, ys, starts, depth)
    nothing = np.empty((0, 2)), np.zeros(1, np.int64)
    if rx.shape[0] == 0:
        return nothing[0], nothing[1], rstart.shape[0] > 0
    after = link_after(rstart)
    grid = make_grid(rx, ry, after, _NEAR_BITS)
    capacity = 256 + rx.shape[0]
    crossing = _crossings(rx, ry, after, grid, capacity)
    while crossing[0] == -1:
        capacity *= 4
        crossing = _crossings(rx, ry, after, grid, capacity)
    count, segment, along, step = crossing
    if count < 0:
        return nothing[0], nothing[1], False
    follow, _, leaves, whole, ordered = _arcs(rx, ry, rstart, after, grid, segment, along, step)
    if not ordered:
        return nothing[0], nothing[1], False
    return _linked(rx, ry, rstart, after, segment, along, follow, leaves, whole)


@kernel
def _arcs(
    xs: IntArray,
    ys: IntArray,
    starts: IntArray,
    after: IntArray,
    grid: tuple[IntArray, IntArray, int, int, int, int, int],
    segment: IntArray,
    along: FloatArray,
    step: IntArray,
) -> tuple[IntArray, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], bool]:
    """Which arcs between crossings have winding 1 on their left.

    Returns
    -------
    for every record (two for each crossing): the next one along its curve, and whether the arc into it and the arc out
    of it are kept; curves (C,) without a crossing that are kept; and whether all of it agrees.
    """
    records = segment.shape[0]
    head, chain = np.full(xs.shape[0], -1, np.int64), np.full(records, -1, np.int64)
    for r in range(records):
        chain[r] = head[segment[r]]
        head[segment[r]] = r
    follow = np.empty(records, np.int64)
    enters, leaves = np.zeros(records, np.bool_), np.zeros(records, np.bool_)
    whole = np.zeros(starts.shape[0] - 1, np.bool_)
    row = np.empty(records, np.int64)
    for c in range(starts.shape[0] - 1):
        a = starts[c]
        n = 0
        for p in range(a, starts[c + 1]):
            base = n
            r = head[p]
            while r >= 0:
                k = n
                while k > base and along[row[k - 1]] > along[r]:
                    row[k] = row[k - 1]
                    k -= 1
                if k > base and along[row[k - 1]] == along[r]:
                    return follow, enters, leaves, whole, False
                row[k] = r
                n += 1
                r = chain[r]
        reach = along[row[0]] if n > 0 and segment[row[0]] == a else 1.0
        around = _winding_left(xs, ys, after, grid, a, 0.5 * reach)
        first = around
        whole[c] = n == 0 and around == 1
        for k in range(n):
            r = row[k]
            enters[r] = around == 1
            around += step[r]
            leaves[r] = around == 1
            follow[r] = row[(k + 1) % n]
        if around != first:
            return follow, enters, leaves, whole, False
    for r in range(0, records, 2):
        ins = (1 if enters[r] else 0) + (1 if enters[r + 1] else 0)
        outs = (1 if leaves[r] else 0) + (1 if leaves[r + 1] else 0)
        if ins != outs or ins > 1:
            return follow, enters, leaves, whole, False
    return follow, enters, leaves, whole, True


@kernel
def _linked(
    xs: IntArray,
    ys: IntArray,
    starts: IntArray,
    after: IntArray,
    segment: IntArray,
    along: FloatArray,
    follow: IntArray,
    leaves: NDArray[np.bool_],
    whole: NDArray[np.bool_],
) -> tuple[FloatArray, IntArray, bool]:
    """Kept arcs and curves as closed loops: points (N, 2) in units, starts, True."""
    records = segment.shape[0]
    points = np.empty((xs.shape[0] + records, 2))
    begins = np.zeros(starts.shape[0] + records, np.int64)
    loops = 0
    filled = 0
    for c in range(whole.shape[0]):
        if whole[c]:
            for p in range(starts[c], starts[c + 1]):
                points[filled, 0], points[filled, 1] = xs[p] / FINE, ys[p] / FINE
                filled += 1
            loops += 1
            begins[loops] = filled
    for first in range(records):
        r = first
        while leaves[r]:
            leaves[r] = False
            p = segment[r]
            q = after[p]
            points[filled, 0] = (xs[p] + along[r] * (xs[q] - xs[p])) / FINE
            points[filled, 1] = (ys[p] + along[r] * (ys[q] - ys[p])) / FINE
            filled += 1
            end = follow[r]
            stop = segment[end]
            # An arc may end on the segment where it began, before its beginning: then it runs all round.
            if p != stop or along[end] <= along[r]:
                p = q
                points[filled, 0], points[filled, 1] = xs[p] / FINE, ys[p] / FINE
                filled += 1
                while p != stop:
                    p = after[p]
                    points[filled, 0], points[filled, 1] = xs[p] / FINE, ys[p] / FINE
                    filled += 1
            r = end ^ 1
        if filled > begins[loops]:
            loops += 1
            begins[loops] = filled
    return points[:filled], begins[: loops + 1], True
