"""Compiled inner loops. Parallel loops write disjoint results only, so that threads cannot change a bit."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from implantflow.compiled import inlined, kernel, parallel

prange: Any = numba.prange


@parallel
def pose_costs(
    near_mm: Any,
    origin: Any,
    spacing_mm: float,
    shapes: Any,
    shifts: Any,
    cap_mm: float,
    outside_mm: float,
    min_inside: float,
) -> Any:
    """Mean capped distance to the nearest bone edge of every shape at every shift.

    Parameters
    ----------
    near_mm : (K, J, I) float32, distance to the nearest edge, on an isotropic LPS grid.
    origin : (3,) LPS mm of voxel 0; spacing_mm : its voxel size.
    shapes : (S, N, 3) points in mm about the origin, already rotated and scaled.
    shifts : (T, 3) mm.
    cap_mm, outside_mm : cost of a far point, and of a point outside the grid.
    min_inside : poses with a smaller share of points inside the grid cost infinity.

    Returns
    -------
    (S, T) float64 costs in mm.
    """
    n_shapes, n_points = shapes.shape[0], shapes.shape[1]
    nk, nj, ni = near_mm.shape
    costs = np.empty((n_shapes, shifts.shape[0]))
    for t in prange(shifts.shape[0]):
        bx = (shifts[t, 0] - origin[0]) / spacing_mm + 0.5
        by = (shifts[t, 1] - origin[1]) / spacing_mm + 0.5
        bz = (shifts[t, 2] - origin[2]) / spacing_mm + 0.5
        for s in range(n_shapes):
            total, inside = 0.0, 0
            for p in range(n_points):
                i = int(np.floor(shapes[s, p, 0] / spacing_mm + bx))
                j = int(np.floor(shapes[s, p, 1] / spacing_mm + by))
                k = int(np.floor(shapes[s, p, 2] / spacing_mm + bz))
                if 0 <= i < ni and 0 <= j < nj and 0 <= k < nk:
                    inside += 1
                    d = near_mm[k, j, i]
                    total += d if d < cap_mm else cap_mm
                else:
                    total += outside_mm
            costs[s, t] = total / n_points if inside >= min_inside * n_points else np.inf
    return costs


@inlined
def _linear(array: Any, x: float, y: float, z: float, fill: Any) -> Any:
    """Trilinear value at one continuous index; ``fill`` more than half a voxel beyond the outermost centres."""
    nk, nj, ni = array.shape
    if x < -0.5 or y < -0.5 or z < -0.5 or x > ni - 0.5 or y > nj - 0.5 or z > nk - 0.5:
        return np.float32(fill)
    x, y, z = min(max(x, 0.0), ni - 1.0), min(max(y, 0.0), nj - 1.0), min(max(z, 0.0), nk - 1.0)
    i, j, k = int(x), int(y), int(z)
    i1, j1, k1 = min(i + 1, ni - 1), min(j + 1, nj - 1), min(k + 1, nk - 1)
    u, v, w = x - i, y - j, z - k
    c00 = array[k, j, i] * (1 - u) + array[k, j, i1] * u
    c01 = array[k, j1, i] * (1 - u) + array[k, j1, i1] * u
    c10 = array[k1, j, i] * (1 - u) + array[k1, j, i1] * u
    c11 = array[k1, j1, i] * (1 - u) + array[k1, j1, i1] * u
    return np.float32((c00 * (1 - v) + c01 * v) * (1 - w) + (c10 * (1 - v) + c11 * v) * w)


@parallel
def sample_linear(array: Any, index_ijk: Any, fill: Any) -> Any:
    """Trilinear values (N,) float32 of a (K, J, I) array at continuous indices (N, 3) (i, j, k).

    Points beyond the outermost voxel centres by more than half a voxel get ``fill``; between, the border
    value is continued.
    """
    out = np.empty(index_ijk.shape[0], dtype=np.float32)
    for n in prange(index_ijk.shape[0]):
        out[n] = _linear(array, index_ijk[n, 0], index_ijk[n, 1], index_ijk[n, 2], fill)
    return out


@parallel
def sample_lines(array: Any, start_ijk: Any, along_ijk: Any, steps: Any, fill: Any) -> Any:
    """Values (N, S) float32 as of :func:`sample_linear` at ``start + step * along`` (both (N, 3)) for S steps."""
    out = np.empty((start_ijk.shape[0], steps.shape[0]), dtype=np.float32)
    for n in prange(start_ijk.shape[0]):
        for s in range(steps.shape[0]):
            x = start_ijk[n, 0] + along_ijk[n, 0] * steps[s]
            y = start_ijk[n, 1] + along_ijk[n, 1] * steps[s]
            z = start_ijk[n, 2] + along_ijk[n, 2] * steps[s]
            out[n, s] = _linear(array, x, y, z, fill)
    return out


@kernel
def half_erf_of_twice(p: Any) -> Any:
    """erf(2 x) / 2 (N,) of the x >= 0 whose erf is ``p`` (N,), 0 <= p < 1."""
    out = np.empty(p.shape[0])
    for n in range(p.shape[0]):
        # Halley's steps from Winitzki's approximation, which is good to 0.002 x.
        log = math.log(1.0 - p[n] * p[n])
        half = 2.0 / (math.pi * 0.147) + 0.5 * log
        x = math.sqrt(math.sqrt(half * half - log / 0.147) - half)
        for _ in range(3):
            step = (math.erf(x) - p[n]) * math.exp(x * x) * 0.5 * math.sqrt(math.pi)
            x -= step / (1.0 + x * step)
        out[n] = 0.5 * math.erf(2.0 * x)
    return out


@kernel
def _squared_distance(p: Any, a: Any, b: Any, c: Any) -> float:
    """Squared distance from a point to a triangle, written in scalars because small arrays are slow here.

    The seven regions of the closest point are those of Ericson, Real-Time Collision Detection, 5.1.5.
    """
    abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    apx, apy, apz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    bpx, bpy, bpz = apx - abx, apy - aby, apz - abz
    d3 = abx * bpx + aby * bpy + abz * bpz
    d4 = acx * bpx + acy * bpy + acz * bpz
    cpx, cpy, cpz = apx - acx, apy - acy, apz - acz
    d5 = abx * cpx + aby * cpy + abz * cpz
    d6 = acx * cpx + acy * cpy + acz * cpz
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    s, t = 0.0, 0.0  # closest point = a + s ab + t ac
    if d1 <= 0.0 and d2 <= 0.0:
        pass
    elif d3 >= 0.0 and d4 <= d3:
        s = 1.0
    elif d6 >= 0.0 and d5 <= d6:
        t = 1.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        s = d1 / (d1 - d3)
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        t = d2 / (d2 - d6)
    elif va <= 0.0 and d4 >= d3 and d5 >= d6:
        t = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        s = 1.0 - t
    else:
        total = va + vb + vc
        if total > 0.0:
            s, t = vb / total, vc / total
    x, y, z = apx - s * abx - t * acx, apy - s * aby - t * acy, apz - s * abz - t * acz
    squared: float = x * x + y * y + z * z
    return squared


@parallel
def nearest_triangle_mm(points: Any, candidates: Any, start: Any, fan: Any, vertices: Any, faces: Any) -> Any:
    """Distance (N,) from points (N, 3) to the triangles around their candidate vertices (N, C).

    ``fan[start[v]:start[v + 1]]`` lists the triangles at vertex v.
    """
    out = np.empty(points.shape[0], dtype=np.float32)
    for n in prange(points.shape[0]):
        best = 1e30
        for q in range(candidates.shape[1]):
            v = candidates[n, q]
            for f in range(start[v], start[v + 1]):
                t = faces[fan[f]]
                d = _squared_distance(points[n], vertices[t[0]], vertices[t[1]], vertices[t[2]])
                if d < best:
                    best = d
        out[n] = np.sqrt(best)
    return out


@kernel
def fill_inside(vertices_ijk: Any, faces: Any, inside: Any) -> None:
    """Set ``inside`` (K, J, I) uint8 to 1 at voxel centres within a closed mesh, by parity along i.

    ``vertices_ijk`` are in voxel units. Rays run at a tiny fixed offset from the voxel centres so that they
    never meet a vertex or an edge exactly.
    """
    nk, nj, ni = inside.shape
    dj, dk = 1.1e-4, 2.3e-4
    for f in range(faces.shape[0]):
        a, b, c = vertices_ijk[faces[f, 0]], vertices_ijk[faces[f, 1]], vertices_ijk[faces[f, 2]]
        area = (b[1] - a[1]) * (c[2] - a[2]) - (b[2] - a[2]) * (c[1] - a[1])
        if area == 0.0:
            continue
        j0 = max(int(np.ceil(min(a[1], b[1], c[1]) - dj)), 0)
        j1 = min(int(np.floor(max(a[1], b[1], c[1]) - dj)), nj - 1)
        k0 = max(int(np.ceil(min(a[2], b[2], c[2]) - dk)), 0)
        k1 = min(int(np.floor(max(a[2], b[2], c[2]) - dk)), nk - 1)
        for k in range(k0, k1 + 1):
            for j in range(j0, j1 + 1):
                y, z = j + dj, k + dk
                wb = ((y - a[1]) * (c[2] - a[2]) - (z - a[2]) * (c[1] - a[1])) / area
                wc = ((b[1] - a[1]) * (z - a[2]) - (b[2] - a[2]) * (y - a[1])) / area
                if wb < 0.0 or wc < 0.0 or wb + wc > 1.0:
                    continue
                x = a[0] + wb * (b[0] - a[0]) + wc * (c[0] - a[0])
                first = max(int(np.ceil(x)), 0)
                if first < ni:
                    inside[k, j, first] ^= 1
    for k in range(nk):
        for j in range(nj):
            state = 0
            for i in range(ni):
                state ^= inside[k, j, i]
                inside[k, j, i] = state


@parallel
def valley_hu(smooth: Any, voxels: Any, spacing: Any, scale_mm: float) -> Any:
    """Strength (N,) of a dark sheet through each voxel: largest Hessian eigenvalue less half the middle one.

    Parameters
    ----------
    smooth : (K, J, I) float32 HU, smoothed at ``scale_mm``.
    voxels : (N, 3) int indices k, j, i.
    spacing : (3,) mm along k, j, i.
    """
    n0, n1, n2 = smooth.shape
    out = np.empty(voxels.shape[0], dtype=np.float32)
    for n in prange(voxels.shape[0]):
        k = min(max(voxels[n, 0], 1), n0 - 2)
        j = min(max(voxels[n, 1], 1), n1 - 2)
        i = min(max(voxels[n, 2], 1), n2 - 2)
        s2 = scale_mm * scale_mm
        c = 2.0 * smooth[k, j, i]
        a = (smooth[k + 1, j, i] + smooth[k - 1, j, i] - c) * s2 / (spacing[0] * spacing[0])
        b = (smooth[k, j + 1, i] + smooth[k, j - 1, i] - c) * s2 / (spacing[1] * spacing[1])
        d = (smooth[k, j, i + 1] + smooth[k, j, i - 1] - c) * s2 / (spacing[2] * spacing[2])
        e = (
            smooth[k + 1, j + 1, i]
            - smooth[k + 1, j - 1, i]
            - smooth[k - 1, j + 1, i]
            + smooth[k - 1, j - 1, i]
        )
        f = (
            smooth[k + 1, j, i + 1]
            - smooth[k + 1, j, i - 1]
            - smooth[k - 1, j, i + 1]
            + smooth[k - 1, j, i - 1]
        )
        g = (
            smooth[k, j + 1, i + 1]
            - smooth[k, j + 1, i - 1]
            - smooth[k, j - 1, i + 1]
            + smooth[k, j - 1, i - 1]
        )
        e *= s2 / (4.0 * spacing[0] * spacing[1])
        f *= s2 / (4.0 * spacing[0] * spacing[2])
        g *= s2 / (4.0 * spacing[1] * spacing[2])
        # Eigenvalues of the symmetric matrix [[a, e, f], [e, b, g], [f, g, d]] in closed form.
        mean = (a + b + d) / 3.0
        off = e * e + f * f + g * g
        p2 = (a - mean) ** 2 + (b - mean) ** 2 + (d - mean) ** 2 + 2.0 * off
        if p2 <= 1e-12:
            out[n] = max(mean - 0.5 * abs(mean), 0.0)
            continue
        p = np.sqrt(p2 / 6.0)
        aa, bb, dd = (a - mean) / p, (b - mean) / p, (d - mean) / p
        ee, ff, gg = e / p, f / p, g / p
        det = aa * (bb * dd - gg * gg) - ee * (ee * dd - gg * ff) + ff * (ee * gg - bb * ff)
        phi = np.arccos(min(max(det / 2.0, -1.0), 1.0)) / 3.0
        largest = mean + 2.0 * p * np.cos(phi)
        smallest = mean + 2.0 * p * np.cos(phi + 2.0 * np.pi / 3.0)
        middle = 3.0 * mean - largest - smallest
        out[n] = max(largest - 0.5 * abs(middle), 0.0)
    return out
