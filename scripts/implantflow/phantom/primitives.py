"""Signed shapes per point (negative inside, mm-like) and tables of parts to build bones from.

All functions here are compiled and take scalars. A *part* is one row of a table made by :class:`Parts`:
a tapered capsule or a rounded plate that is added to a field or taken from it, with a smooth blend.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.compiled import inner

FloatArray = NDArray[np.float64]

#: Fields are only meant to be right this far from a surface; beyond it they are clipped.
REACH_MM = 6.0
#: Parts further away than this are not evaluated; above the reach by a block's radius (see `BLOCK`).
_PART_REACH_MM = 10.0
#: Fields are first sampled once per block of this many voxels a side; blocks far from the surface stay constant.
BLOCK = 4

CAPSULE, PLATE = 0.0, 1.0
ADD, SUBTRACT = 0.0, 1.0
_COLUMNS = 26


@inner
def clipped(value: float, limit: float) -> float:
    """``value`` between -limit and limit."""
    return min(max(value, -limit), limit)


@inner
def smooth_min(a: float, b: float, blend: float) -> float:
    """Union of two fields with a fillet of about ``blend`` mm (quadratic polynomial)."""
    h = max(blend - abs(a - b), 0.0)
    return min(a, b) - h * h * 0.25 / blend


@inner
def smooth_max(a: float, b: float, blend: float) -> float:
    """Intersection of two fields with an edge rounded over about ``blend`` mm."""
    h = max(blend - abs(a - b), 0.0)
    return max(a, b) + h * h * 0.25 / blend


@inner
def smooth_step(t: float) -> float:
    """0 below t = 0, 1 above t = 1, smooth between."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@inner
def lookup(table: FloatArray, t: float) -> float:
    """Linear interpolation in a 1-D ``table`` at index ``t``, held constant beyond its ends."""
    last = table.shape[0] - 1
    t = min(max(t, 0.0), last - 1e-9)
    i = int(t)
    return float(table[i] + (table[i + 1] - table[i]) * (t - i))


@inner
def lookup_2d(table: FloatArray, a: float, b: float) -> float:
    """Bilinear interpolation in a 2-D ``table`` at indices (a, b), held constant beyond its edges."""
    a = min(max(a, 0.0), table.shape[0] - 1 - 1e-9)
    b = min(max(b, 0.0), table.shape[1] - 1 - 1e-9)
    i, j = int(a), int(b)
    u, v = a - i, b - j
    front = table[i, j] + (table[i, j + 1] - table[i, j]) * v
    back = table[i + 1, j] + (table[i + 1, j + 1] - table[i + 1, j]) * v
    return float(front + (back - front) * u)


@inner
def noise_at(table: NDArray[np.float32], x: float, y: float, z: float, scale_mm: float) -> float:
    """Smooth noise of unit variance with features of about ``scale_mm``; see :func:`noise_table`."""
    n = table.shape[0]
    step = scale_mm / NOISE_CELLS
    a, b, c = x / step, y / step, z / step
    i, j, k = math.floor(a), math.floor(b), math.floor(c)
    u, v, w = a - i, b - j, c - k
    i0, j0, k0 = int(i) % n, int(j) % n, int(k) % n
    i1, j1, k1 = (i0 + 1) % n, (j0 + 1) % n, (k0 + 1) % n
    c00 = table[i0, j0, k0] * (1 - w) + table[i0, j0, k1] * w
    c01 = table[i0, j1, k0] * (1 - w) + table[i0, j1, k1] * w
    c10 = table[i1, j0, k0] * (1 - w) + table[i1, j0, k1] * w
    c11 = table[i1, j1, k0] * (1 - w) + table[i1, j1, k1] * w
    return float((c00 * (1 - v) + c01 * v) * (1 - u) + (c10 * (1 - v) + c11 * v) * u)


#: Standard deviation of the table's smoothing, in cells; a larger one would look less linear between nodes.
NOISE_CELLS = 2.5


def noise_table(seed: int, cells: int = 80) -> NDArray[np.float32]:
    """Periodic smooth noise, (cells, cells, cells) float32 with mean 0 and variance 1."""
    from scipy import ndimage

    white = np.random.default_rng(seed).standard_normal((cells, cells, cells))
    smooth = ndimage.gaussian_filter(white, NOISE_CELLS, mode="wrap")
    smooth -= smooth.mean()
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


@inner
def capsule(x: float, y: float, z: float, row: FloatArray) -> float:
    """Tapered capsule of a part's row; weights above 1 flatten it along that axis."""
    wx, wy, wz = row[15], row[16], row[17]
    px, py, pz = (x - row[7]) * wx, (y - row[8]) * wy, (z - row[9]) * wz
    dx, dy, dz = (row[10] - row[7]) * wx, (row[11] - row[8]) * wy, (row[12] - row[9]) * wz
    t = (px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz + 1e-12)
    t = min(max(t, 0.0), 1.0)
    px, py, pz = px - t * dx, py - t * dy, pz - t * dz
    radius = row[13] + (row[14] - row[13]) * t
    return float((math.sqrt(px * px + py * py + pz * pz) - radius) * 3.0 / (wx + wy + wz))


@inner
def plate(x: float, y: float, z: float, row: FloatArray) -> float:
    """Box with rounded edges of a part's row, turned into its own axes."""
    px, py, pz = x - row[7], y - row[8], z - row[9]
    rounding = row[22]
    qx = abs(px * row[10] + py * row[11] + pz * row[12]) - row[19] + rounding
    qy = abs(px * row[13] + py * row[14] + pz * row[15]) - row[20] + rounding
    qz = abs(px * row[16] + py * row[17] + pz * row[18]) - row[21] + rounding
    outside = math.sqrt(max(qx, 0.0) ** 2 + max(qy, 0.0) ** 2 + max(qz, 0.0) ** 2)
    return float(outside + min(max(qx, qy, qz), 0.0) - rounding)


@inner
def facet_side(x: float, y: float, z: float, facet: FloatArray) -> float:
    """Distance from a facet joint's curved middle surface, positive towards the upper vertebra's process."""
    px, py, pz = x - facet[0], y - facet[1], z - facet[2]
    across = px * facet[6] + py * facet[7] + pz * facet[8]
    return float(px * facet[3] + py * facet[4] + pz * facet[5] - facet[9] * across * across)


@inner
def with_parts(
    field: float, x: float, y: float, z: float, parts: FloatArray, facets: FloatArray, facet_gap_mm: float
) -> float:
    """Apply every row of ``parts`` to ``field`` at one point, in order.

    Parts further than their bounding sphere plus a reach are skipped: they could not change the
    field where it is right.
    """
    for n in range(parts.shape[0]):
        row = parts[n]
        bx, by, bz = x - row[3], y - row[4], z - row[5]
        if bx * bx + by * by + bz * bz > row[6] * row[6]:
            continue
        value = capsule(x, y, z, row) if row[0] == 0.0 else plate(x, y, z, row)
        if row[23] >= 0.0:
            side = facet_side(x, y, z, facets[int(row[23])]) * row[24]
            value = smooth_max(value, 0.5 * facet_gap_mm - side, 1.0)
        if row[1] == 0.0:
            field = smooth_min(field, value, row[2])
        else:
            field = smooth_max(field, -value, row[2])
    return field


class Parts:
    """Collects parts; :meth:`table` gives the (N, 26) array that compiled code reads."""

    def __init__(self) -> None:
        self._rows: list[FloatArray] = []

    def _row(self, kind: float, blend: float, operation: float) -> FloatArray:
        row = np.zeros(_COLUMNS)
        row[0], row[1], row[2], row[23] = kind, operation, blend, -1.0
        self._rows.append(row)
        return row

    def capsule(
        self,
        start: ArrayLike,
        end: ArrayLike,
        radius: float,
        end_radius: float | None = None,
        *,
        weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
        blend: float = 3.0,
        operation: float = ADD,
        facet: tuple[int, float] | None = None,
    ) -> None:
        """A tapered capsule; ``facet`` (index, side) keeps it on one side of a facet joint."""
        row = self._row(CAPSULE, blend, operation)
        a, b = np.asarray(start, float), np.asarray(end, float)
        tip = radius if end_radius is None else end_radius
        row[3:6] = (a + b) / 2
        widest = max(radius, tip) / min(weights)
        row[6] = float(np.linalg.norm(b - a)) / 2 + widest + blend + _PART_REACH_MM
        row[7:10], row[10:13], row[13], row[14], row[15:18] = a, b, radius, tip, weights
        if facet is not None:
            row[23:25] = facet

    def plate(
        self,
        centre: ArrayLike,
        along: ArrayLike,
        up: ArrayLike,
        half_sizes: tuple[float, float, float],
        *,
        rounding: float,
        blend: float = 3.0,
    ) -> None:
        """A rounded box: half sizes along ``along``, along ``up`` (made perpendicular) and across both."""
        row = self._row(PLATE, blend, ADD)
        a = np.asarray(along, float) / np.linalg.norm(along)
        b = np.asarray(up, float) - np.dot(up, a) * a
        b /= np.linalg.norm(b)
        row[3:6] = row[7:10] = centre
        row[6] = float(np.linalg.norm(half_sizes)) + blend + _PART_REACH_MM
        row[10:13], row[13:16], row[16:19] = a, b, np.cross(a, b)
        row[19:22], row[22] = half_sizes, rounding

    def table(self) -> FloatArray:
        """All rows, in the order in which they were added."""
        return np.array(self._rows) if self._rows else np.zeros((0, _COLUMNS))
