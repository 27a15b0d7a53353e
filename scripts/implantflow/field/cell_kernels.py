"""Compiled evaluation of the lattice cells. Import inside functions: it costs numba's start-up."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def strut_distance2(
    segments: FloatArray, starts: IntArray, members: IntArray, bins: int, x: float, y: float, z: float
) -> float:
    """Squared distance of a point in units of the cell to the nearest strut axis of a periodic cell.

    ``segments`` (S, 7): start, direction, 1/length^2. ``starts``/``members`` list, per bin of the cell, the
    struts that can be nearest there.
    """
    x -= math.floor(x)
    y -= math.floor(y)
    z -= math.floor(z)
    i = min(int(x * bins), bins - 1)
    j = min(int(y * bins), bins - 1)
    k = min(int(z * bins), bins - 1)
    b = (k * bins + j) * bins + i
    best = 1e30
    for m in range(starts[b], starts[b + 1]):
        s = segments[members[m]]
        px = x - s[0]
        py = y - s[1]
        pz = z - s[2]
        t = (px * s[3] + py * s[4] + pz * s[5]) * s[6]
        t = min(max(t, 0.0), 1.0)
        dx = px - t * s[3]
        dy = py - t * s[4]
        dz = pz - t * s[5]
        best = min(best, dx * dx + dy * dy + dz * dz)
    return best


@kernel
def strut_values(
    segments: FloatArray,
    starts: IntArray,
    members: IntArray,
    bins: int,
    cell_mm: float,
    radius_mm: float,
    points: FloatArray,
    out: FloatArray,
) -> None:
    """Signed distance in mm, negative inside the struts, of (N, 3) ``points`` in mm."""
    scale = 1.0 / cell_mm
    for n in range(points.shape[0]):
        d2 = strut_distance2(
            segments,
            starts,
            members,
            bins,
            points[n, 0] * scale,
            points[n, 1] * scale,
            points[n, 2] * scale,
        )
        out[n] = math.sqrt(d2) * cell_mm - radius_mm


@kernel
def gyroid_value(
    sheet: bool, cell_mm: float, iso: float, floor: float, x: float, y: float, z: float
) -> float:
    """First-order distance in mm to the gyroid's surface, negative inside the metal.

    With G = sin x cos y + sin y cos z + sin z cos x, metal is where G exceeds ``iso`` (skeletal) or where |G| is below
    it (``sheet``). G is divided by the length of
    its gradient, kept above ``floor`` so that the value stays smooth where the gradient vanishes.
    """
    w = 2.0 * math.pi / cell_mm
    sx, cx = math.sin(w * x), math.cos(w * x)
    sy, cy = math.sin(w * y), math.cos(w * y)
    sz, cz = math.sin(w * z), math.cos(w * z)
    g = sx * cy + sy * cz + sz * cx
    gx = cx * cy - sz * sx
    gy = cy * cz - sx * sy
    gz = cz * cx - sy * sz
    slope = math.sqrt(gx * gx + gy * gy + gz * gz)
    inside = iso - abs(g) if sheet else g - iso
    return -inside / (w * max(slope, floor))


@kernel
def gyroid_values(
    sheet: bool, cell_mm: float, iso: float, floor: float, points: FloatArray, out: FloatArray
) -> None:
    """:func:`gyroid_value` of (N, 3) ``points`` in mm."""
    for n in range(points.shape[0]):
        out[n] = gyroid_value(sheet, cell_mm, iso, floor, points[n, 0], points[n, 1], points[n, 2])
