"""Compiled z-buffer: the shaded pictures of the review sheet, without a graphics card and always the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel


@kernel
def draw(
    corners: NDArray[np.float64],
    shade: NDArray[np.float64],
    image: NDArray[np.float64],
    depth: NDArray[np.float64],
) -> None:
    """Fill ``image`` (H, W, 3) with the nearest triangle of each pixel.

    ``corners`` (M, 3, 3) hold pixel x, pixel y and depth (smaller is nearer); ``shade`` (M, 3) the colours.
    ``depth`` (H, W) is the z-buffer, updated in place.
    """
    height, width = depth.shape
    for t in range(len(corners)):
        ax, ay, az = corners[t, 0, 0], corners[t, 0, 1], corners[t, 0, 2]
        bx, by, bz = corners[t, 1, 0], corners[t, 1, 1], corners[t, 1, 2]
        cx, cy, cz = corners[t, 2, 0], corners[t, 2, 1], corners[t, 2, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        x0, x1 = max(0, int(np.ceil(min(ax, bx, cx)))), min(width - 1, int(np.floor(max(ax, bx, cx))))
        y0, y1 = max(0, int(np.ceil(min(ay, by, cy)))), min(height - 1, int(np.floor(max(ay, by, cy))))
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                z = u * az + v * bz + w * cz
                if z < depth[y, x]:
                    depth[y, x] = z
                    image[y, x, 0], image[y, x, 1], image[y, x, 2] = shade[t, 0], shade[t, 1], shade[t, 2]
