"""Numba kernels that turn triangles into pixels: no GL, one thread, the same bytes on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

Float = NDArray[np.float64]


#: How ``colours`` of :func:`fill_nearest` is meant: one row for all, one per vertex, one per face.
ONE, PER_VERTEX, PER_FACE = 0, 1, 2


@kernel
def fill_nearest(
    points: Any,
    faces: Any,
    vertex_normals: Any,
    colours: Any,
    meaning: int,
    crease_cosine: float,
    depth: Any,
    normal_image: Any,
    colour_image: Any,
) -> None:
    """Draw triangles into a depth buffer, keeping normal and colour of the surface nearest to the viewer.

    Parameters
    ----------
    points : (N, 3) float64
        Vertices: column and row in pixels, depth in pixels too (larger is farther).
    faces : (M, 3) int64
    vertex_normals : (N, 3) float32
        Unit normals in camera axes. Where a face turns away from its corner's normal by more than
        ``crease_cosine``, the face's own normal is used: flat cuts stay flat.
    colours : (1, 3), (N, 3) or (M, 3) float32
        RGB 0-1, as ``meaning`` says.
    depth : (H, W) float64
        Depth buffer, changed in place; start with infinity.
    normal_image, colour_image : (H, W, 3) float32
        Changed in place where a triangle is nearer than what was there.
    """
    height, width = depth.shape
    corner = np.zeros((3, 3), np.float64)
    for t in range(faces.shape[0]):
        x0, y0, z0 = points[faces[t, 0]]
        x1, y1, z1 = points[faces[t, 1]]
        x2, y2, z2 = points[faces[t, 2]]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        left = max(0, int(np.ceil(min(x0, x1, x2))))
        right = min(width - 1, int(np.floor(max(x0, x1, x2))))
        top = max(0, int(np.ceil(min(y0, y1, y2))))
        bottom = min(height - 1, int(np.floor(max(y0, y1, y2))))
        if left > right or top > bottom:
            continue
        nx = (y1 - y0) * (z2 - z0) - (z1 - z0) * (y2 - y0)
        ny = (z1 - z0) * (x2 - x0) - (x1 - x0) * (z2 - z0)
        length = np.sqrt(nx * nx + ny * ny + area * area)
        for c in range(3):
            v = faces[t, c]
            along = vertex_normals[v, 0] * nx + vertex_normals[v, 1] * ny + vertex_normals[v, 2] * area
            if along < crease_cosine * length:
                corner[c, 0], corner[c, 1], corner[c, 2] = nx / length, ny / length, area / length
            else:
                for axis in range(3):
                    corner[c, axis] = vertex_normals[v, axis]
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                w1 = ((column - x0) * (y2 - y0) - (x2 - x0) * (row - y0)) / area
                w2 = ((x1 - x0) * (row - y0) - (column - x0) * (y1 - y0)) / area
                w0 = 1.0 - w1 - w2
                if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                    continue
                z = w0 * z0 + w1 * z1 + w2 * z2
                if z >= depth[row, column]:
                    continue
                depth[row, column] = z
                for axis in range(3):
                    normal_image[row, column, axis] = (
                        w0 * corner[0, axis] + w1 * corner[1, axis] + w2 * corner[2, axis]
                    )
                    if meaning == PER_VERTEX:
                        colour_image[row, column, axis] = (
                            w0 * colours[faces[t, 0], axis]
                            + w1 * colours[faces[t, 1], axis]
                            + w2 * colours[faces[t, 2], axis]
                        )
                    else:
                        colour_image[row, column, axis] = colours[t if meaning == PER_FACE else 0, axis]


@kernel
def add_thickness(corners: Any, thickness: Any) -> None:
    """Add the path length in mm of parallel rays through a closed surface to ``thickness`` (H, W).

    Every triangle adds its depth where it faces away from the viewer and subtracts it where it faces the viewer;
    over a closed surface that sums to the length inside. ``corners`` as in :func:`fill_nearest`.
    """
    height, width = thickness.shape
    for t in range(corners.shape[0]):
        x0, y0, z0 = corners[t, 0]
        x1, y1, z1 = corners[t, 1]
        x2, y2, z2 = corners[t, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        sign = 1.0 if area > 0.0 else -1.0
        left = max(0, int(np.ceil(min(x0, x1, x2))))
        right = min(width - 1, int(np.floor(max(x0, x1, x2))))
        top = max(0, int(np.ceil(min(y0, y1, y2))))
        bottom = min(height - 1, int(np.floor(max(y0, y1, y2))))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                w1 = ((column - x0) * (y2 - y0) - (x2 - x0) * (row - y0)) / area
                w2 = ((x1 - x0) * (row - y0) - (column - x0) * (y1 - y0)) / area
                w0 = 1.0 - w1 - w2
                if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                    continue
                thickness[row, column] += sign * (w0 * z0 + w1 * z1 + w2 * z2)


@kernel
def fill_even_odd(segments: Any, inside: Any) -> None:
    """Mark the pixels enclosed by closed loops given as loose segments (even-odd rule, pixel centres).

    Parameters
    ----------
    segments : (S, 4) float64
        Start column, start row, end column, end row, in pixels.
    inside : (H, W) uint8
        Set to 1 in place where a pixel centre is enclosed.
    """
    height, width = inside.shape
    count = np.zeros(height + 1, np.int64)
    for s in range(segments.shape[0]):
        low = max(0, int(np.ceil(min(segments[s, 1], segments[s, 3]))))
        high = min(height - 1, int(np.ceil(max(segments[s, 1], segments[s, 3]))) - 1)
        for row in range(low, high + 1):
            count[row + 1] += 1
    for row in range(height):
        count[row + 1] += count[row]
    crossing = np.empty(count[height], np.float64)
    used = count[:height].copy()
    for s in range(segments.shape[0]):
        x0, y0, x1, y1 = segments[s]
        low = max(0, int(np.ceil(min(y0, y1))))
        high = min(height - 1, int(np.ceil(max(y0, y1))) - 1)
        for row in range(low, high + 1):
            crossing[used[row]] = x0 + (row - y0) / (y1 - y0) * (x1 - x0)
            used[row] += 1
    for row in range(height):
        line = np.sort(crossing[count[row] : count[row + 1]])
        for pair in range(line.shape[0] // 2):
            left = max(0, int(np.ceil(line[2 * pair])))
            right = min(width - 1, int(np.ceil(line[2 * pair + 1])) - 1)
            for column in range(left, right + 1):
                inside[row, column] = 1
