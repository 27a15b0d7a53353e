"""Compiled vertical columns through a mesh: where each is crossed, for what hangs free and what stands below it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def crossings(
    vertices: FloatArray, faces: IntArray, low_x: float, low_y: float, step: float, nx: int, ny: int
) -> tuple[IntArray, FloatArray, IntArray]:
    """Crossings of the columns x = low_x + i * step, y = low_y + j * step with the triangles, column by column.

    Half-open edges (as in scan conversion): a column through a common edge meets one of its two triangles.

    Returns
    -------
    begin (nx * ny + 1,), height (N,) ascending within each column j * nx + i, face (N,).
    """
    begin = np.zeros(nx * ny + 1, np.int64)
    height = np.empty(0)
    face = np.empty(0, np.int64)
    for sweep in range(2):
        for f in range(faces.shape[0]):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay = (vertices[a, 0] - low_x) / step, (vertices[a, 1] - low_y) / step
            bx, by = (vertices[b, 0] - low_x) / step, (vertices[b, 1] - low_y) / step
            cx, cy = (vertices[c, 0] - low_x) / step, (vertices[c, 1] - low_y) / step
            twice = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if twice == 0.0:
                continue
            for j in range(
                max(int(np.ceil(min(ay, by, cy))), 0), min(int(np.floor(max(ay, by, cy))), ny - 1) + 1
            ):
                for i in range(
                    max(int(np.ceil(min(ax, bx, cx))), 0), min(int(np.floor(max(ax, bx, cx))), nx - 1) + 1
                ):
                    if not (_parity(ax, ay, bx, by, cx, cy, i, j)):
                        continue
                    if sweep == 0:
                        begin[j * nx + i + 1] += 1
                        continue
                    u = ((bx - i) * (cy - j) - (by - j) * (cx - i)) / twice
                    v = ((cx - i) * (ay - j) - (cy - j) * (ax - i)) / twice
                    z = u * vertices[a, 2] + v * vertices[b, 2] + (1.0 - u - v) * vertices[c, 2]
                    n = begin[j * nx + i]
                    height[n] = z
                    face[n] = f
                    begin[j * nx + i] += 1
        if sweep == 0:
            for n in range(nx * ny):
                begin[n + 1] += begin[n]
            height = np.empty(begin[nx * ny])
            face = np.empty(begin[nx * ny], np.int64)
    for n in range(nx * ny, 0, -1):
        begin[n] = begin[n - 1]
    begin[0] = 0
    for n in range(nx * ny):
        for m in range(begin[n] + 1, begin[n + 1]):
            z, f, k = height[m], face[m], m
            while k > begin[n] and height[k - 1] > z:
                height[k], face[k] = height[k - 1], face[k - 1]
                k -= 1
            height[k], face[k] = z, f
    return begin, height, face


@kernel
def _parity(ax: float, ay: float, bx: float, by: float, cx: float, cy: float, x: int, y: int) -> bool:
    """Is (x, y) inside the triangle by the rule that counts edges to its right, lower end included."""
    inside = False
    if (ay <= y) != (by <= y) and _right_of(ax, ay, bx, by, x, y):
        inside = not inside
    if (by <= y) != (cy <= y) and _right_of(bx, by, cx, cy, x, y):
        inside = not inside
    if (cy <= y) != (ay <= y) and _right_of(cx, cy, ax, ay, x, y):
        inside = not inside
    return inside


@kernel
def _right_of(ax: float, ay: float, bx: float, by: float, x: int, y: int) -> bool:
    """Does the edge cross the row y to the right of x; the same answer for both directions of the edge."""
    if ay > by:
        ax, ay, bx, by = bx, by, ax, ay
    return ax + (y - ay) * (bx - ax) / (by - ay) > x
