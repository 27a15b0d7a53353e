"""Compiled inner loops: closest point on a triangle mesh through a tree of boxes.

In a module of their own so that numba's cache is keyed to little code. Plain loops without a common sum: the
same bytes on any machine and any number of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@inner
def _dot(ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> float:
    return ax * bx + ay * by + az * bz


@kernel
def closest_on_triangle(px: float, py: float, pz: float, t: Floats) -> tuple[float, float, float, int]:
    """The point of triangle ``t`` (3, 3) nearest to p, and what it lies on.

    0, 1, 2: corner a, b, c; 3, 4, 5: edge ab, bc, ca; 6: the face. Regions after Ericson, Real-Time Collision
    Detection, 5.1.5. Scalars only: small arrays would be allocated on every call.
    """
    ax, ay, az = t[0, 0], t[0, 1], t[0, 2]
    bx, by, bz = t[1, 0], t[1, 1], t[1, 2]
    cx, cy, cz = t[2, 0], t[2, 1], t[2, 2]
    abx, aby, abz = bx - ax, by - ay, bz - az
    acx, acy, acz = cx - ax, cy - ay, cz - az
    d1 = _dot(abx, aby, abz, px - ax, py - ay, pz - az)
    d2 = _dot(acx, acy, acz, px - ax, py - ay, pz - az)
    if d1 <= 0.0 and d2 <= 0.0:
        return ax, ay, az, 0
    d3 = _dot(abx, aby, abz, px - bx, py - by, pz - bz)
    d4 = _dot(acx, acy, acz, px - bx, py - by, pz - bz)
    if d3 >= 0.0 and d4 <= d3:
        return bx, by, bz, 1
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        w = d1 / (d1 - d3) if d1 != d3 else 0.0
        return ax + w * abx, ay + w * aby, az + w * abz, 3
    d5 = _dot(abx, aby, abz, px - cx, py - cy, pz - cz)
    d6 = _dot(acx, acy, acz, px - cx, py - cy, pz - cz)
    if d6 >= 0.0 and d5 <= d6:
        return cx, cy, cz, 2
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        w = d2 / (d2 - d6) if d2 != d6 else 0.0
        return ax + w * acx, ay + w * acy, az + w * acz, 5
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        span = (d4 - d3) + (d5 - d6)
        w = (d4 - d3) / span if span != 0.0 else 0.0
        return bx + w * (cx - bx), by + w * (cy - by), bz + w * (cz - bz), 4
    total = va + vb + vc
    v, w = vb / total, vc / total
    return ax + v * abx + w * acx, ay + v * aby + w * acy, az + v * abz + w * acz, 6


@kernel
def _box_distance2(px: float, py: float, pz: float, box: Floats) -> float:
    """Squared distance from p to a box (6,): low corner, high corner."""
    x = max(box[0] - px, 0.0, px - box[3])
    y = max(box[1] - py, 0.0, py - box[4])
    z = max(box[2] - pz, 0.0, pz - box[5])
    return float(x * x + y * y + z * z)


@kernel
def nearest(
    points: Floats, corners: Floats, order: Ints, boxes: Floats, leaf_size: int, limit_mm: float
) -> tuple[Floats, Ints, Ints, Floats]:
    """Distance, triangle, feature and foot point for each of ``points`` (N, 3).

    ``order`` (M,) lists the triangles of ``corners`` (M, 3, 3) leaf by leaf; ``boxes`` (2 L, 6) is a heap: node 1
    is the root, children of n are 2n and 2n + 1, the last L nodes are the leaves. Features are those of
    :func:`closest_on_triangle`. Of triangles at the same distance the lowest number is reported, so the answer
    does not depend on the order of the search. Beyond ``limit_mm`` the distance is the limit, the triangle -1.
    """
    n = len(points)
    distance = np.full(n, limit_mm)
    triangle = np.full(n, -1, np.int64)
    feature = np.full(n, -1, np.int64)
    foot = np.zeros((n, 3))
    leaves = len(boxes) // 2
    stack = np.empty(128, np.int64)
    hint = -1
    for q in range(n):
        px, py, pz = points[q, 0], points[q, 1], points[q, 2]
        best2 = limit_mm * limit_mm
        found = -1
        if hint >= 0:
            # Neighbouring questions have neighbouring answers: begin with the last one.
            x, y, z, code = closest_on_triangle(px, py, pz, corners[hint])
            d2 = (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2
            if d2 < best2:
                best2, found = d2, hint
                feature[q] = code
                foot[q, 0], foot[q, 1], foot[q, 2] = x, y, z
        stack[0] = 1
        top = 1
        while top > 0:
            top -= 1
            node = stack[top]
            if _box_distance2(px, py, pz, boxes[node]) > best2:
                continue
            if node < leaves:
                left = _box_distance2(px, py, pz, boxes[2 * node])
                right = _box_distance2(px, py, pz, boxes[2 * node + 1])
                near, far = (2 * node, 2 * node + 1) if left <= right else (2 * node + 1, 2 * node)
                if max(left, right) <= best2:
                    stack[top] = far
                    top += 1
                if min(left, right) <= best2:
                    stack[top] = near
                    top += 1
                continue
            first = (node - leaves) * leaf_size
            for m in range(first, min(first + leaf_size, len(order))):
                t = order[m]
                x, y, z, code = closest_on_triangle(px, py, pz, corners[t])
                d2 = (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2
                if d2 < best2 or (d2 == best2 and found > t):
                    best2, found = d2, t
                    feature[q] = code
                    foot[q, 0], foot[q, 1], foot[q, 2] = x, y, z
        if found >= 0:
            triangle[q] = found
            distance[q] = np.sqrt(best2)
            hint = found
    return distance, triangle, feature, foot


@kernel
def toggle_crossings(corners: Floats, low: Floats, grid_mm: float, toggles: Bytes) -> None:
    """Flip ``toggles`` (I + 1, J, K) at the first node behind each crossing of a row along x with a triangle.

    Rows pass through the nodes ``low + grid_mm * (., j, k)``; ``low`` must not put a row exactly through a corner.
    """
    ni, nj, nk = toggles.shape
    for t in range(len(corners)):
        ay, az = (corners[t, 0, 1] - low[1]) / grid_mm, (corners[t, 0, 2] - low[2]) / grid_mm
        by, bz = (corners[t, 1, 1] - low[1]) / grid_mm, (corners[t, 1, 2] - low[2]) / grid_mm
        cy, cz = (corners[t, 2, 1] - low[1]) / grid_mm, (corners[t, 2, 2] - low[2]) / grid_mm
        area = (by - ay) * (cz - az) - (bz - az) * (cy - ay)
        if area == 0.0:
            continue
        j0, j1 = max(0, int(np.ceil(min(ay, by, cy)))), min(nj - 1, int(np.floor(max(ay, by, cy))))
        k0, k1 = max(0, int(np.ceil(min(az, bz, cz)))), min(nk - 1, int(np.floor(max(az, bz, cz))))
        for j in range(j0, j1 + 1):
            for k in range(k0, k1 + 1):
                u = ((by - j) * (cz - k) - (bz - k) * (cy - j)) / area
                v = ((cy - j) * (az - k) - (cz - k) * (ay - j)) / area
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                x = u * corners[t, 0, 0] + v * corners[t, 1, 0] + w * corners[t, 2, 0]
                i = int(np.ceil((x - low[0]) / grid_mm))
                toggles[min(max(i, 0), ni - 1), j, k] ^= 1


@kernel
def winding_numbers(points: Floats, corners: Floats) -> Floats:
    """Sum of the solid angles of all triangles (M, 3, 3) seen from each of ``points`` (N, 3), over 4 pi."""
    out = np.empty(len(points))
    for q in range(len(points)):
        px, py, pz = points[q, 0], points[q, 1], points[q, 2]
        total = 0.0
        for t in range(len(corners)):
            ax, ay, az = corners[t, 0, 0] - px, corners[t, 0, 1] - py, corners[t, 0, 2] - pz
            bx, by, bz = corners[t, 1, 0] - px, corners[t, 1, 1] - py, corners[t, 1, 2] - pz
            cx, cy, cz = corners[t, 2, 0] - px, corners[t, 2, 1] - py, corners[t, 2, 2] - pz
            la = np.sqrt(_dot(ax, ay, az, ax, ay, az))
            lb = np.sqrt(_dot(bx, by, bz, bx, by, bz))
            lc = np.sqrt(_dot(cx, cy, cz, cx, cy, cz))
            triple = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            below = (
                la * lb * lc
                + _dot(ax, ay, az, bx, by, bz) * lc
                + _dot(bx, by, bz, cx, cy, cz) * la
                + _dot(cx, cy, cz, ax, ay, az) * lb
            )
            total += np.arctan2(triple, below)
        out[q] = total / (2.0 * np.pi)
    return out
