"""Compiled contours of pieces of a strut cell in one plane: a few struts' sections that hang together, by radius.

A strut is a row (7,): start, direction, 1/length^2, in mm. Its distance is convex, so the radius at which two struts
meet in a plane is the one minimum of the larger of their two distances.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.build.stamp_kernels import (
    all_cells,
    equal_area,
    next_crossing,
    simplify,
    swept_area,
    trace_periodic,
)
from implantflow.compiled import kernel
from implantflow.field.cell_kernels import segment_distance2

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Rounds of halving (roughly) the interval that holds a minimum: 1 mm becomes 0.1 um.
_ROUNDS = 24
_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)
#: Least slope of the distance along the plane: where a strut is nearly tangent to it, contours run away.
_LEAST_SLOPE = 0.4


@kernel
def _larger(
    a: FloatArray, b: FloatArray, move_x: float, move_y: float, x: float, y: float, z: float
) -> float:
    """Larger of the squared distances to strut a (1, 7) and to strut b (1, 7) moved along the plane."""
    return max(segment_distance2(a, 0, x, y, z), segment_distance2(b, 0, x - move_x, y - move_y, z))


@kernel
def _least_in_y(
    a: FloatArray, b: FloatArray, mx: float, my: float, x: float, z: float, low: float, high: float
) -> float:
    """Minimum of :func:`_larger` along y between ``low`` and ``high``."""
    u, v = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fu, fv = _larger(a, b, mx, my, x, u, z), _larger(a, b, mx, my, x, v, z)
    for _ in range(_ROUNDS):
        if fu < fv:
            high, v, fv = v, u, fu
            u = high - _GOLDEN * (high - low)
            fu = _larger(a, b, mx, my, x, u, z)
        else:
            low, u, fu = u, v, fv
            v = low + _GOLDEN * (high - low)
            fv = _larger(a, b, mx, my, x, v, z)
    return float(min(fu, fv))


@kernel
def meeting_radius(a: FloatArray, b: FloatArray, mx: float, my: float, z: float, box: FloatArray) -> float:
    """Least radius at which strut a and strut b, moved by (mx, my), meet in the plane within a box (x0, y0, x1, y1)."""
    low, high = box[0], box[2]
    u, v = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fu = _least_in_y(a, b, mx, my, u, z, box[1], box[3])
    fv = _least_in_y(a, b, mx, my, v, z, box[1], box[3])
    for _ in range(_ROUNDS):
        if fu < fv:
            high, v, fv = v, u, fu
            u = high - _GOLDEN * (high - low)
            fu = _least_in_y(a, b, mx, my, u, z, box[1], box[3])
        else:
            low, u, fu = u, v, fv
            v = low + _GOLDEN * (high - low)
            fv = _least_in_y(a, b, mx, my, v, z, box[1], box[3])
    return float(math.sqrt(min(fu, fv)))


@kernel
def meetings(
    struts: FloatArray, places: FloatArray, cell: float, z: float, most: float, reach: float
) -> tuple[IntArray, FloatArray]:
    """Pairs of struts (S, 7) of one period that meet in the plane below the radius ``most``.

    ``places`` (S, 2): where each strut is in the plane; it reaches no further than ``reach`` from there.

    Returns
    -------
    pairs (P, 4): strut, other strut, and by how many periods along x and y the other one is moved; each pair once.
    radius (P,) at which they meet, sorted.
    """
    count = struts.shape[0]
    pairs = np.empty((9 * count * count, 4), np.int64)
    radius = np.empty(9 * count * count)
    found = 0
    box = np.empty(4)
    for a in range(count):
        for b in range(a, count):
            for i in range(-1, 2):
                for j in range(-1, 2):
                    if a == b and (i < 0 or (i == 0 and j <= 0)):
                        continue
                    mx, my = i * cell, j * cell
                    x, y = places[b, 0] + mx, places[b, 1] + my
                    if math.hypot(x - places[a, 0], y - places[a, 1]) > 2.0 * reach:
                        continue
                    box[0], box[2] = min(x, places[a, 0]) - reach, max(x, places[a, 0]) + reach
                    box[1], box[3] = min(y, places[a, 1]) - reach, max(y, places[a, 1]) + reach
                    meet = meeting_radius(struts[a : a + 1], struts[b : b + 1], mx, my, z, box)
                    if meet < most:
                        pairs[found, 0], pairs[found, 1], pairs[found, 2], pairs[found, 3] = a, b, i, j
                        radius[found] = meet
                        found += 1
    order = np.argsort(radius[:found], kind="mergesort")
    return pairs[:found][order], radius[:found][order]


@kernel
def least_distance(struts: FloatArray, x: float, y: float, z: float) -> float:
    """Distance to the nearest of some struts."""
    best = np.inf
    for s in range(struts.shape[0]):
        best = min(best, segment_distance2(struts, s, x, y, z))
    return float(math.sqrt(best))


@kernel
def _moves(struts: FloatArray, points: FloatArray, z: float) -> FloatArray:
    """(N, 2) how a point of a contour moves with the radius: along the slope of its strut's distance."""
    out = np.empty_like(points)
    for n in range(points.shape[0]):
        x, y = points[n, 0], points[n, 1]
        best, gx, gy = np.inf, 0.0, 0.0
        for m in range(struts.shape[0]):
            s = struts[m]
            t = ((x - s[0]) * s[3] + (y - s[1]) * s[4] + (z - s[2]) * s[5]) * s[6]
            t = min(max(t, 0.0), 1.0)
            dx, dy, dz = x - s[0] - t * s[3], y - s[1] - t * s[4], z - s[2] - t * s[5]
            d2 = dx * dx + dy * dy + dz * dz
            if d2 < best:
                best, gx, gy = d2, dx, dy
        length = math.sqrt(best)
        gx, gy = gx / length, gy / length
        slope = max(math.sqrt(gx * gx + gy * gy), 1e-9)
        per = 1.0 / (slope * max(slope, _LEAST_SLOPE))
        out[n, 0], out[n, 1] = gx * per, gy * per
    return out


@kernel
def piece_contours(
    struts: FloatArray,
    z: float,
    box: FloatArray,
    step: float,
    radii: FloatArray,
    chord: float,
    shortest: float,
    area_min: float,
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Contours of the union of ``struts`` (M, 7) in the plane at ``z`` at each of some radii; metal on the left.

    ``box`` (x0, y0, x1, y1) holds them all with a node to spare; ``step``: distance of the nodes they are found on.
    Dropped points lie within ``chord`` of theirs, the area is kept, no edge is shorter than ``shortest``; all mm.

    Returns
    -------
    first (R + 1): first curve of each radius. start (C + 1): first point of each curve. points (P, 2) in mm.
    moves (P, 2): how many mm each point moves for each mm of radius.
    """
    ni = math.ceil((box[2] - box[0]) / step) + 1
    nj = math.ceil((box[3] - box[1]) / step) + 1
    distance = np.empty((nj, ni))
    for j in range(nj):
        for i in range(ni):
            distance[j, i] = least_distance(struts, box[0] + i * step, box[1] + j * step, z)
    follow = np.full(2 * nj * ni, -1, np.int64)
    cells = all_cells(distance)
    cells[nj - 1] = 0
    cells[:, 1] -= 1
    first = np.zeros(radii.shape[0] + 1, np.int64)
    start = [0]
    points = np.empty((1024, 2))
    filled = 0
    for r in range(radii.shape[0]):
        values = distance - radii[r]
        heads = next_crossing(values, cells, follow)
        traced, starts, _ = trace_periodic(values, follow, heads, step)
        still = np.zeros(2)
        for c in range(starts.shape[0] - 1):
            curve = traced[starts[c] : starts[c + 1]]
            area = swept_area(curve, still)
            if abs(area) < area_min:
                continue
            few = _spaced(curve[simplify(curve, still, chord)], shortest)
            if few.shape[0] < 3:
                continue
            equal_area(few, still, area, 6)
            while filled + few.shape[0] > points.shape[0]:
                points = np.concatenate((points, np.empty_like(points)))
            for n in range(few.shape[0]):
                points[filled, 0], points[filled, 1] = few[n, 0] + box[0], few[n, 1] + box[1]
                filled += 1
            start.append(filled)
        first[r + 1] = len(start) - 1
    return first, np.array(start), points[:filled].copy(), _moves(struts, points[:filled], z)


@kernel
def _spaced(points: FloatArray, shortest: float) -> FloatArray:
    """A closed curve without the points that follow another one closer than ``shortest``."""
    out = np.empty_like(points)
    n = 0
    for p in range(points.shape[0]):
        if n > 0 and math.hypot(points[p, 0] - out[n - 1, 0], points[p, 1] - out[n - 1, 1]) < shortest:
            continue
        out[n] = points[p]
        n += 1
    if n > 1 and math.hypot(out[n - 1, 0] - out[0, 0], out[n - 1, 1] - out[0, 1]) < shortest:
        n -= 1
    return out[:n]
