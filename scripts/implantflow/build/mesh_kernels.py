"""Compiled kernels of mesh slicing: neighbours over edges, triangles per layer, closed contours per layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]

#: Corners above the plane (bit e: corner e) -> the edge that leads down through it, the corner it leads to, and the
#: edge that leads up; two bits for each of the cases 1 to 6, since which of them comes next is anybody's guess.
_DOWN = 0 << 2 | 1 << 4 | 1 << 6 | 2 << 8 | 0 << 10 | 2 << 12
_DOWN_TO = 1 << 2 | 2 << 4 | 2 << 6 | 0 << 8 | 1 << 10 | 0 << 12
_UP = 2 << 2 | 0 << 4 | 2 << 6 | 1 << 8 | 1 << 10 | 0 << 12


@kernel
def neighbours(faces: Int32Array, across: Int32Array) -> tuple[int, int]:
    """Neighbour of each triangle over each of its edges (edge e runs from corner e to corner e+1).

    Half-edges are listed by the lower number of their end points, a few for each vertex. Returns the number of edges
    without a partner and the number of edges that more than two triangles, or two of the same direction, share.
    """
    count = faces.shape[0]
    begin = np.zeros(faces.max() + 2, np.int32)
    for t in range(count):
        for e in range(3):
            begin[min(faces[t, e], faces[t, (e + 1) % 3]) + 1] += 1
    for v in range(begin.shape[0] - 1):
        begin[v + 1] += begin[v]
    end = begin.copy()
    # Of each listed half-edge its place 3 * t + e and its higher end point, negative where it runs to the lower one.
    held = np.empty(3 * count, np.int32)
    towards = np.empty(3 * count, np.int32)
    unmatched = 0
    clashing = 0
    for t in range(count):
        for e in range(3):
            u, v = faces[t, e], faces[t, (e + 1) % 3]
            low = min(u, v)
            own = v if u < v else -u
            across[t, e] = -1
            for m in range(begin[low], end[low]):
                if towards[m] == -own:
                    a, b = held[m] // 3, held[m] % 3
                    if across[a, b] < 0:
                        across[a, b] = t
                        across[t, e] = a
                        unmatched -= 1
                        break
                    clashing += 1
                elif towards[m] == own:
                    clashing += 1
            else:
                held[end[low]] = 3 * t + e
                towards[end[low]] = own
                end[low] += 1
                unmatched += 1
    return unmatched, clashing


@kernel
def bucket_triangles(
    heights: FloatArray, faces: Int32Array, first_z: float, step: float, layers: int
) -> tuple[IntArray, Int32Array]:
    """Triangles that planes first_z + l*step cut: ``starts`` (layers + 1) and their ids, layer by layer."""
    count = faces.shape[0]
    low = np.empty(count, np.int64)
    high = np.empty(count, np.int64)
    starts = np.zeros(layers + 1, np.int64)
    begins = np.zeros(layers + 1, np.int64)
    for t in range(count):
        a, b, c = heights[faces[t, 0]], heights[faces[t, 1]], heights[faces[t, 2]]
        # One plane too many on either side costs little; a missing one would open a contour.
        low[t] = max(int(np.floor((min(a, b, c) - first_z) / step)), 0)
        high[t] = min(int(np.ceil((max(a, b, c) - first_z) / step)), layers - 1)
        if low[t] <= high[t]:  # above or below all planes otherwise
            begins[low[t]] += 1
            begins[high[t] + 1] -= 1
    open_ones = 0
    for layer in range(layers):
        open_ones += begins[layer]
        starts[layer + 1] = starts[layer] + open_ones
    members = np.empty(starts[layers], np.int32)
    place = starts[:-1].copy()
    for t in range(count):
        for layer in range(low[t], high[t] + 1):
            members[place[layer]] = t
            place[layer] += 1
    return starts, members


@kernel
def cut_layer(
    vertices: FloatArray,
    faces: Int32Array,
    across: Int32Array,
    members: Int32Array,
    z: float,
    slot: Int32Array,
) -> tuple[FloatArray, IntArray, int]:
    """Contours of the mesh at height ``z``, metal on the left.

    A vertex on the plane counts as above it, so every cut triangle has one edge that leads down through the
    plane, where the contour enters it, and one that leads up, where it leaves into the neighbour: contours
    close by construction. ``slot`` (triangles) is scratch.

    Returns
    -------
    points (P, 2), starts (L + 1), number of contours that did not close.
    """
    count = members.shape[0]
    entry = np.empty((count, 2))
    follow = np.empty(count, np.int32)
    cut = 0
    for m in range(count):
        t = members[m]
        above = (vertices[faces[t, 0], 2] >= z) | (vertices[faces[t, 1], 2] >= z) << 1
        above |= (vertices[faces[t, 2], 2] >= z) << 2
        if (above == 0) | (above == 7):
            slot[t] = -1
            continue
        p = faces[t, _DOWN >> 2 * above & 3]
        q = faces[t, _DOWN_TO >> 2 * above & 3]
        u, v = min(p, q), max(p, q)
        w = (z - vertices[u, 2]) / (vertices[v, 2] - vertices[u, 2])
        entry[cut, 0] = vertices[u, 0] + w * (vertices[v, 0] - vertices[u, 0])
        entry[cut, 1] = vertices[u, 1] + w * (vertices[v, 1] - vertices[u, 1])
        slot[t] = cut
        follow[cut] = across[t, _UP >> 2 * above & 3]
        cut += 1
    points = np.empty((cut, 2))
    starts = np.empty(cut + 1, np.int64)
    loops = 0
    filled = 0
    broken = 0
    for first in range(cut):
        if follow[first] < -1:
            continue
        starts[loops] = filled
        here = first
        while True:
            points[filled, 0] = entry[here, 0]
            points[filled, 1] = entry[here, 1]
            filled += 1
            triangle = follow[here]
            follow[here] = -2
            here = slot[triangle] if triangle >= 0 else -1
            if here < 0 or (follow[here] < -1 and here != first):
                broken += 1
                break
            if here == first:
                break
        loops += 1
    starts[loops] = filled
    return points[:filled], starts[: loops + 1], broken


@kernel
def quantise_loops(
    points: FloatArray, starts: IntArray, unit: float, area2_min: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Round contours to whole units, drop repeated points and contours below ``area2_min`` (2 x area, units^2).

    Returns x (P,), y (P,), starts (L + 1).
    """
    xs = np.empty(points.shape[0], np.int64)
    ys = np.empty(points.shape[0], np.int64)
    out = np.empty(starts.shape[0], np.int64)
    filled = 0
    loops = 0
    out[0] = 0
    for c in range(starts.shape[0] - 1):
        begin = filled
        for a in range(starts[c], starts[c + 1]):
            x = int(np.floor(points[a, 0] / unit + 0.5))
            y = int(np.floor(points[a, 1] / unit + 0.5))
            if filled > begin and xs[filled - 1] == x and ys[filled - 1] == y:
                continue
            xs[filled] = x
            ys[filled] = y
            filled += 1
        while filled > begin + 1 and xs[filled - 1] == xs[begin] and ys[filled - 1] == ys[begin]:
            filled -= 1
        if filled - begin < 3 or abs(double_area(xs, ys, begin, filled)) < area2_min:
            filled = begin
            continue
        loops += 1
        out[loops] = filled
    return xs[:filled], ys[:filled], out[: loops + 1]


@kernel
def double_area(xs: IntArray, ys: IntArray, begin: int, end: int) -> int:
    """Twice the signed area of the loop of points begin..end-1 (units^2), positive counter-clockwise."""
    total = 0
    before = end - 1
    for a in range(begin, end):
        total += xs[before] * ys[a] - xs[a] * ys[before]
        before = a
    return total


@kernel
def weld(corners: NDArray[np.float32], faces: Int32Array) -> IntArray:
    """Corners (N, 3) with the same coordinates become one vertex, numbered by first appearance.

    Writes the vertex of every corner to ``faces`` (N / 3, 3) and returns which corner each vertex comes from.
    """
    count = corners.shape[0]
    capacity = 1
    while capacity < 2 * count:
        capacity *= 2
    mask = capacity - 1
    table = np.full(capacity, -1, np.int32)
    first = np.empty(count, np.int64)
    bits = corners.view(np.uint32)
    found = 0
    for n in range(count):
        key = np.uint64(bits[n, 0]) * np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ np.uint64(bits[n, 1])) * np.uint64(0xC2B2AE3D27D4EB4F)
        key = (key ^ np.uint64(bits[n, 2])) * np.uint64(0x165667B19E3779F9)
        slot = np.int64(key >> np.uint64(32)) & mask
        while True:
            held = table[slot]
            if held < 0:
                table[slot] = found
                first[found] = n
                held = np.int32(found)
                found += 1
                break
            m = first[held]
            if bits[m, 0] == bits[n, 0] and bits[m, 1] == bits[n, 1] and bits[m, 2] == bits[n, 2]:
                break
            slot = (slot + 1) & mask
        faces[n // 3, n % 3] = held
    return first[:found]
