"""Compiled: what a direction sees of a surface, and material looked up at the voxels of a scanner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]


@kernel
def seen(
    vertices: Float32Array,
    normals: Float32Array,
    frame: FloatArray,
    pixel_mm: float,
    slack_mm: float,
    cosine_min: float,
) -> NDArray[np.bool_]:
    """(N,) vertices that a parallel view sees: facing it, and nothing much nearer around their pixel.

    ``frame`` (3, 3): rows are right, up and towards the scanner.
    """
    n = vertices.shape[0]
    u0, v0 = 1e30, 1e30
    u1, v1 = -1e30, -1e30
    for p in range(n):
        u = frame[0, 0] * vertices[p, 0] + frame[0, 1] * vertices[p, 1] + frame[0, 2] * vertices[p, 2]
        v = frame[1, 0] * vertices[p, 0] + frame[1, 1] * vertices[p, 1] + frame[1, 2] * vertices[p, 2]
        u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
    wide, high = int((u1 - u0) / pixel_mm) + 3, int((v1 - v0) / pixel_mm) + 3
    depth = np.full((high, wide), np.float32(-1e30))
    for p in range(n):
        x, y, z = vertices[p, 0], vertices[p, 1], vertices[p, 2]
        i = int((frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z - u0) / pixel_mm) + 1
        j = int((frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z - v0) / pixel_mm) + 1
        near = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z
        depth[j, i] = max(depth[j, i], np.float32(near))
    out = np.zeros(n, np.bool_)
    for p in range(n):
        cosine = frame[2, 0] * normals[p, 0] + frame[2, 1] * normals[p, 1] + frame[2, 2] * normals[p, 2]
        if cosine < cosine_min:
            continue
        x, y, z = vertices[p, 0], vertices[p, 1], vertices[p, 2]
        i = int((frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z - u0) / pixel_mm) + 1
        j = int((frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z - v0) / pixel_mm) + 1
        near = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z
        clear = True
        for b in range(j - 1, j + 2):
            for a in range(i - 1, i + 2):
                if depth[b, a] > near + slack_mm:
                    clear = False
        out[p] = clear
    return out


@kernel
def look_up(
    share: NDArray[np.uint8],
    origin: FloatArray,
    voxel_mm: float,
    cold_from_index: FloatArray,
    factors: FloatArray,
    centre: FloatArray,
    bow_mm: float,
    half_mm: float,
    first: int,
    out: Float32Array,
) -> None:
    """Share of metal (0 to 1) at the voxels of some CT slices ``out`` (K, J, I), the first of number ``first``.

    Each voxel's centre is carried to the cold part (``cold_from_index``, 4x4), back to its place in the file
    (shrinkage and bow undone) and read there, linear between the material's voxels.
    """
    nk, nj, ni = share.shape
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                m = cold_from_index
                x = m[0, 0] * i + m[0, 1] * j + m[0, 2] * (first + k) + m[0, 3] - centre[0]
                y = m[1, 0] * i + m[1, 1] * j + m[1, 2] * (first + k) + m[1, 3] - centre[1]
                z = m[2, 0] * i + m[2, 1] * j + m[2, 2] * (first + k) + m[2, 3] - centre[2]
                z /= factors[2]
                y /= factors[1]
                x = (x - bow_mm * (1.0 - (z / half_mm) ** 2)) / factors[0]
                u = (x + centre[0] - origin[0]) / voxel_mm
                v = (y + centre[1] - origin[1]) / voxel_mm
                w = (z + centre[2] - origin[2]) / voxel_mm
                if u < 0.0 or v < 0.0 or w < 0.0 or u >= ni - 1 or v >= nj - 1 or w >= nk - 1:
                    continue
                a, b, c = int(u), int(v), int(w)
                u -= a
                v -= b
                w -= c
                low = (share[c, b, a] * (1.0 - u) + share[c, b, a + 1] * u) * (1.0 - v)
                low += (share[c, b + 1, a] * (1.0 - u) + share[c, b + 1, a + 1] * u) * v
                top = (share[c + 1, b, a] * (1.0 - u) + share[c + 1, b, a + 1] * u) * (1.0 - v)
                top += (share[c + 1, b + 1, a] * (1.0 - u) + share[c + 1, b + 1, a + 1] * u) * v
                out[k, j, i] = (low * (1.0 - w) + top * w) / 255.0
