"""Compiled drawing of triangles with a depth buffer; one thread, the same picture everywhere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]


@kernel
def draw(
    points: FloatArray,
    faces: NDArray[np.int64],
    colours: FloatArray,
    shade_floor: float,
    image: FloatArray,
    depth: FloatArray,
) -> None:
    """Paint triangles into ``image`` (H, W, 3) where they lie in front of ``depth`` (H, W).

    ``points`` (N, 3): column, row, distance from the eye. ``colours`` (N, 3) of the corners, mixed inside; each
    triangle is shaded by how squarely it is seen, down to ``shade_floor``. Both sides are painted.
    """
    height, width = depth.shape
    for f in range(faces.shape[0]):
        a, b, c = points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0.0:
            continue
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        shade = shade_floor + (1.0 - shade_floor) * abs(nz) / math.sqrt(nx * nx + ny * ny + nz * nz)
        i0 = max(math.ceil(min(a[0], b[0], c[0])), 0)
        i1 = min(math.floor(max(a[0], b[0], c[0])), width - 1)
        j0 = max(math.ceil(min(a[1], b[1], c[1])), 0)
        j1 = min(math.floor(max(a[1], b[1], c[1])), height - 1)
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                wb = ((i - a[0]) * (c[1] - a[1]) - (j - a[1]) * (c[0] - a[0])) / area
                wc = ((b[0] - a[0]) * (j - a[1]) - (b[1] - a[1]) * (i - a[0])) / area
                wa = 1.0 - wb - wc
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                z = wa * a[2] + wb * b[2] + wc * c[2]
                if z < depth[j, i]:
                    depth[j, i] = z
                    for k in range(3):
                        mixed = (
                            wa * colours[faces[f, 0], k]
                            + wb * colours[faces[f, 1], k]
                            + wc * colours[faces[f, 2], k]
                        )
                        image[j, i, k] = shade * mixed
