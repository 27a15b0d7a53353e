"""Compiled kernels that bring a triangle mesh onto grids: distances in a band, crossings of vertical lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]


@kernel
def segment_distance2(
    px: float, py: float, pz: float, ax: float, ay: float, az: float, bx: float, by: float, bz: float
) -> float:
    """Squared distance of point p to the segment ab."""
    ux, uy, uz = bx - ax, by - ay, bz - az
    length2 = ux * ux + uy * uy + uz * uz
    t = 0.0
    if length2 > 0.0:
        t = ((px - ax) * ux + (py - ay) * uy + (pz - az) * uz) / length2
        t = min(max(t, 0.0), 1.0)
    dx, dy, dz = px - ax - t * ux, py - ay - t * uy, pz - az - t * uz
    return dx * dx + dy * dy + dz * dz


@kernel
def triangle_distance_band(
    vertices: FloatArray,
    triangles: IntArray,
    origin: FloatArray,
    spacing: float,
    band: float,
    out: Float32Array,
) -> None:
    """Lower ``out`` (K, J, I) to the distance of each node to the nearest triangle, where below ``band``.

    The nearest point of a triangle is the foot on its plane when that falls inside, else it is on an edge.
    """
    nk, nj, ni = out.shape
    for t in range(triangles.shape[0]):
        a = vertices[triangles[t, 0]]
        b = vertices[triangles[t, 1]]
        c = vertices[triangles[t, 2]]
        i0 = max(math.ceil((min(a[0], b[0], c[0]) - band - origin[0]) / spacing), 0)
        i1 = min(math.floor((max(a[0], b[0], c[0]) + band - origin[0]) / spacing), ni - 1)
        j0 = max(math.ceil((min(a[1], b[1], c[1]) - band - origin[1]) / spacing), 0)
        j1 = min(math.floor((max(a[1], b[1], c[1]) + band - origin[1]) / spacing), nj - 1)
        k0 = max(math.ceil((min(a[2], b[2], c[2]) - band - origin[2]) / spacing), 0)
        k1 = min(math.floor((max(a[2], b[2], c[2]) + band - origin[2]) / spacing), nk - 1)
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        area2 = nx * nx + ny * ny + nz * nz
        uu = ux * ux + uy * uy + uz * uz
        uv = ux * vx + uy * vy + uz * vz
        vv = vx * vx + vy * vy + vz * vz
        # A node further from the middle than the corners are, and by more than what is known, learns nothing here.
        mx, my, mz = (a[0] + b[0] + c[0]) / 3.0, (a[1] + b[1] + c[1]) / 3.0, (a[2] + b[2] + c[2]) / 3.0
        around = 0.0
        for p in (a, b, c):
            around = max(around, (p[0] - mx) ** 2 + (p[1] - my) ** 2 + (p[2] - mz) ** 2)
        around = math.sqrt(around) + 1e-9
        for k in range(k0, k1 + 1):
            pz = origin[2] + k * spacing
            for j in range(j0, j1 + 1):
                py = origin[1] + j * spacing
                for i in range(i0, i1 + 1):
                    px = origin[0] + i * spacing
                    limit = min(float(out[k, j, i]), band)
                    if (px - mx) ** 2 + (py - my) ** 2 + (pz - mz) ** 2 > (limit + around) ** 2:
                        continue
                    wx, wy, wz = px - a[0], py - a[1], pz - a[2]
                    height = wx * nx + wy * ny + wz * nz
                    if height * height > limit * limit * area2:
                        continue
                    wu = wx * ux + wy * uy + wz * uz
                    wv = wx * vx + wy * vy + wz * vz
                    s = wu * vv - wv * uv
                    r = wv * uu - wu * uv
                    if area2 > 0.0 and s >= 0.0 and r >= 0.0 and s + r <= area2:
                        d2 = height * height / area2
                    else:
                        d2 = segment_distance2(px, py, pz, a[0], a[1], a[2], b[0], b[1], b[2])
                        d2 = min(d2, segment_distance2(px, py, pz, b[0], b[1], b[2], c[0], c[1], c[2]))
                        d2 = min(d2, segment_distance2(px, py, pz, c[0], c[1], c[2], a[0], a[1], a[2]))
                    if d2 < limit * limit:
                        out[k, j, i] = math.sqrt(d2)


@kernel
def _edge_side(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> bool:
    """Is p left of the directed edge ab? Ties fall to one side only, the same for both triangles of an edge.

    The edge is always evaluated from its lexicographically lower end, so both triangles see the same number.
    """
    if bx < ax or (bx == ax and by < ay):
        return not _edge_side_ordered(bx, by, ax, ay, px, py)
    return _edge_side_ordered(ax, ay, bx, by, px, py)


@kernel
def _edge_side_ordered(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> bool:
    return (bx - ax) * (py - ay) - (by - ay) * (px - ax) >= 0.0


@kernel
def column_crossings(
    vertices: FloatArray,
    triangles: IntArray,
    origin: FloatArray,
    step: float,
    shape: tuple[int, int],
    starts: IntArray,
    heights: FloatArray,
    fill: bool,
) -> None:
    """Heights at which vertical lines over a regular (J, I) grid of places cross the mesh.

    Called twice: with ``fill`` false it counts into ``starts`` (J*I + 1), with ``fill`` true it writes the
    heights of line (j, i) to ``heights[starts[j*I + i]:...]``, unsorted, and advances ``starts``.
    """
    nj, ni = shape
    for t in range(triangles.shape[0]):
        a = vertices[triangles[t, 0]]
        b = vertices[triangles[t, 1]]
        c = vertices[triangles[t, 2]]
        i0 = max(math.ceil((min(a[0], b[0], c[0]) - origin[0]) / step), 0)
        i1 = min(math.floor((max(a[0], b[0], c[0]) - origin[0]) / step), ni - 1)
        j0 = max(math.ceil((min(a[1], b[1], c[1]) - origin[1]) / step), 0)
        j1 = min(math.floor((max(a[1], b[1], c[1]) - origin[1]) / step), nj - 1)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0.0:
            continue
        for j in range(j0, j1 + 1):
            py = origin[1] + j * step
            for i in range(i0, i1 + 1):
                px = origin[0] + i * step
                ab = _edge_side(a[0], a[1], b[0], b[1], px, py)
                bc = _edge_side(b[0], b[1], c[0], c[1], px, py)
                ca = _edge_side(c[0], c[1], a[0], a[1], px, py)
                if ab != bc or bc != ca:
                    continue
                line = j * ni + i
                if fill:
                    wb = ((px - a[0]) * (c[1] - a[1]) - (py - a[1]) * (c[0] - a[0])) / area
                    wc = ((b[0] - a[0]) * (py - a[1]) - (b[1] - a[1]) * (px - a[0])) / area
                    heights[starts[line]] = a[2] + wb * (b[2] - a[2]) + wc * (c[2] - a[2])
                    starts[line] += 1
                else:
                    starts[line + 1] += 1


@kernel
def sort_columns(starts: IntArray, heights: FloatArray) -> int:
    """Sort the heights of each line in place; returns how many lines have an odd number of crossings."""
    odd = 0
    for line in range(starts.shape[0] - 1):
        first, last = starts[line], starts[line + 1]
        if (last - first) % 2 == 1:
            odd += 1
        for m in range(first + 1, last):
            value = heights[m]
            n = m
            while n > first and heights[n - 1] > value:
                heights[n] = heights[n - 1]
                n -= 1
            heights[n] = value
    return odd


@kernel
def fill_inside(
    starts: IntArray, heights: FloatArray, bottom: float, step: float, inside: NDArray[np.bool_]
) -> None:
    """Mark the nodes of ``inside`` (K, J, I), at height bottom + k*step, that lie between paired crossings."""
    nk, nj, ni = inside.shape
    for j in range(nj):
        for i in range(ni):
            line = j * ni + i
            m = starts[line]
            while m + 1 < starts[line + 1]:
                k0 = max(math.ceil((heights[m] - bottom) / step), 0)
                k1 = min(math.ceil((heights[m + 1] - bottom) / step) - 1, nk - 1)
                for k in range(k0, k1 + 1):
                    inside[k, j, i] = True
                m += 2


@kernel
def trilinear(
    grid: NDArray[np.int16],
    origin: FloatArray,
    spacing: float,
    scale: float,
    points: FloatArray,
    out: FloatArray,
) -> None:
    """Trilinear value at (N, 3) points of a (K, J, I) int16 grid times ``scale``; clamped at its border."""
    nk, nj, ni = grid.shape
    for n in range(points.shape[0]):
        x = min(max((points[n, 0] - origin[0]) / spacing, 0.0), ni - 1.000001)
        y = min(max((points[n, 1] - origin[1]) / spacing, 0.0), nj - 1.000001)
        z = min(max((points[n, 2] - origin[2]) / spacing, 0.0), nk - 1.000001)
        i, j, k = int(x), int(y), int(z)
        u, v, w = x - i, y - j, z - k
        low = (grid[k, j, i] * (1.0 - u) + grid[k, j, i + 1] * u) * (1.0 - v)
        low += (grid[k, j + 1, i] * (1.0 - u) + grid[k, j + 1, i + 1] * u) * v
        high = (grid[k + 1, j, i] * (1.0 - u) + grid[k + 1, j, i + 1] * u) * (1.0 - v)
        high += (grid[k + 1, j + 1, i] * (1.0 - u) + grid[k + 1, j + 1, i + 1] * u) * v
        out[n] = (low * (1.0 - w) + high * w) * scale
