"""Parallel rays through slabs of planes, a whole slab's channels at once, and what the detector reads of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel
from implantflow.geometry import FloatArray
from implantflow.phantom.followup.simd import CHANNELS, lerp_add
from implantflow.phantom.followup.spectrum import (
    TITANIUM_FIRST_CM,
    TITANIUM_STEP_CM,
    WATER_FIRST_CM,
    WATER_STEP_CM,
)

Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

#: Rays per detector cell and sub-slices per detector row. Fewer of either is wrong by tens of HU in a lattice.
RAYS, SUB_SLICES = 3, 2
#: Detector rows per slab, and of these how many share one plane of the anatomy.
ROWS, ROWS_PER_PLANE = 4, 2


@kernel
def spans(image: Float32Array, first: IntArray, last: IntArray) -> None:
    """First and one past the last column of each row of ``image`` (J, I, C) that holds anything but zero."""
    for j in range(image.shape[0]):
        first[j], last[j] = image.shape[1], 0
        for i in range(image.shape[1]):
            for q in range(CHANNELS):
                if image[j, i, q] != 0.0:
                    first[j] = min(first[j], i)
                    last[j] = i + 1
                    break


@inner
def _march_row(
    row: Float32Array, low: int, high: int, start: float, step: float, length: float, out: Float32Array
) -> None:
    """Add one row of the image to all rays that cross it; ray n meets the row at column ``start + n * step``.

    Linear between columns (Joseph's method); ``length`` is the way of a ray between two rows.
    """
    a, b = max(low - 1.0, 0.0), min(high * 1.0, row.shape[0] - 1.001)
    if step > 0.0:
        k0, k1 = math.ceil((a - start) / step), math.floor((b - start) / step)
    else:
        k0, k1 = math.ceil((b - start) / step), math.floor((a - start) / step)
    k0, k1 = max(k0, 0), min(k1, out.shape[0] - 1)
    for k in range(k0, k1 + 1):
        place = start + k * step
        i = int(place)
        w1 = np.float32((place - i) * length)
        lerp_add(out, k, row, i, np.float32(length) - w1, w1)


@kernel
def project(
    image: Float32Array,
    turned: Float32Array,
    row_spans: IntArray,
    column_spans: IntArray,
    corner_mm: FloatArray,
    spacing_mm: float,
    angles: FloatArray,
    t_first_mm: FloatArray,
    t_step_mm: float,
    out: Float32Array,
) -> None:
    """Add the line integrals (density x cm) of a slab to ``out`` (V, N, C) for the V views of ``angles``.

    Parameters
    ----------
    image, turned : (J, I, C) and (I, J, C) float32, the slab and its transpose.
    row_spans, column_spans : (2, J) and (2, I), see :func:`spans`.
    corner_mm : (2,) x and y of the first place of ``image``, from the axis of rotation.
    angles : (V,) direction of the detector in radians; a ray is ``x cos + y sin = t``.
    t_first_mm, t_step_mm : (V,) place of ray 0 and the distance of rays.
    """
    for by_rows in (True, False):
        grid = image if by_rows else turned
        ends = row_spans if by_rows else column_spans
        along, across = (corner_mm[0], corner_mm[1]) if by_rows else (corner_mm[1], corner_mm[0])
        for j in range(grid.shape[0]):
            if ends[1, j] <= ends[0, j]:
                continue
            # All views of the block pass while the row is in the cache.
            for v in range(angles.size):
                c, s = math.cos(angles[v]), math.sin(angles[v])
                if (abs(c) >= abs(s)) != by_rows:
                    continue
                if not by_rows:
                    c, s = s, c
                start = ((t_first_mm[v] - s * (across + spacing_mm * j)) / c - along) / spacing_mm
                step = t_step_mm / (c * spacing_mm)
                length = 0.1 * spacing_mm / abs(c)
                _march_row(grid[j], ends[0, j], ends[1, j], start, step, length, out[v])


@inner
def _chord_cm(cylinder: FloatArray, x: float, y: float, z: float, ux: float, uy: float) -> float:
    """Length of the ray from (x, y, z) along (ux, uy, 0) inside a capped cylinder, cm."""
    px, py, pz = x - cylinder[0], y - cylinder[1], z - cylinder[2]
    ax, ay, az = cylinder[3], cylinder[4], cylinder[5]
    along_u, along_p = ux * ax + uy * ay, px * ax + py * ay + pz * az
    wx, wy, wz = px - along_p * ax, py - along_p * ay, pz - along_p * az
    square = max(1.0 - along_u * along_u, 1e-9)
    half = wx * ux + wy * uy - along_u * (wx * ax + wy * ay + wz * az)
    room = half * half - square * (wx * wx + wy * wy + wz * wz - cylinder[7] ** 2)
    if room <= 0.0:
        return 0.0
    root = math.sqrt(room)
    low, high = (-half - root) / square, (-half + root) / square
    if abs(along_u) > 1e-9:
        a, b = -along_p / along_u, (cylinder[6] - along_p) / along_u
        low, high = max(low, min(a, b)), min(high, max(a, b))
    elif along_p < 0.0 or along_p > cylinder[6]:
        return 0.0
    return float(max(high - low, 0.0) * 0.1)


@kernel
def add_cylinders(
    cylinders: FloatArray,
    z_mm: FloatArray,
    angles: FloatArray,
    t_first_mm: FloatArray,
    t_step_mm: float,
    out: Float32Array,
) -> None:
    """Add the titanium of solid cylinders to ``out`` (V, N, C), exactly, ray by ray.

    ``cylinders`` (M, 8): start, unit axis, length, radius (mm, from the axis of rotation); ``z_mm`` the height of each
    sub-slice.
    """
    for m in range(cylinders.shape[0]):
        cylinder = cylinders[m]
        x0, y0, z0, r = cylinder[0], cylinder[1], cylinder[2], cylinder[7]
        length = cylinder[6]
        x1, y1, z1 = x0 + length * cylinder[3], y0 + length * cylinder[4], z0 + length * cylinder[5]
        for v in range(angles.size):
            c, s = math.cos(angles[v]), math.sin(angles[v])
            t0, t1 = x0 * c + y0 * s, x1 * c + y1 * s
            k0 = max(int((min(t0, t1) - r - t_first_mm[v]) / t_step_mm), 0)
            k1 = min(int((max(t0, t1) + r - t_first_mm[v]) / t_step_mm) + 1, out.shape[1] - 1)
            for n in range(z_mm.size):
                if z_mm[n] < min(z0, z1) - r or z_mm[n] > max(z0, z1) + r:
                    continue
                for k in range(k0, k1 + 1):
                    t = t_first_mm[v] + k * t_step_mm
                    out[v, k, 2 * n + 1] += _chord_cm(cylinder, t * c, t * s, z_mm[n], -s, c)


@inner
def _share(table: Float32Array, water_cm: float, titanium_cm: float) -> float:
    """Share of the signal left behind the two path lengths, bilinear in the table."""
    x = (water_cm - WATER_FIRST_CM) / WATER_STEP_CM
    y = (titanium_cm - TITANIUM_FIRST_CM) / TITANIUM_STEP_CM
    x = min(max(x, 0.0), table.shape[0] - 1.001)
    y = min(max(y, 0.0), table.shape[1] - 1.001)
    i, j = int(x), int(y)
    u, v = x - i, y - j
    low = table[i, j] * (1.0 - v) + table[i, j + 1] * v
    return float(low * (1.0 - u) + (table[i + 1, j] * (1.0 - v) + table[i + 1, j + 1] * v) * u)


@kernel
def detect(
    body: Float32Array,
    plane: int,
    fine: Float32Array,
    first_cell: IntArray,
    table: Float32Array,
    out: Float32Array,
) -> None:
    """Signal shares ``out`` (V, N, ROWS) of a slab: mean transmission over the rays and sub-slices of each cell.

    Parameters
    ----------
    body : (V, N, C) path lengths at cell centres, linear between them; channels from plane ``plane`` on.
    fine : (V, M * RAYS, C) what implant and screws add, for the M cells from ``first_cell`` (V,) on; M may be 0.
    table : see Physics.transmission.
    """
    n_fine = fine.shape[1] // RAYS
    weight = 1.0 / (RAYS * SUB_SLICES)
    for v in range(out.shape[0]):
        for k in range(out.shape[1]):
            m = k - first_cell[v]
            for row in range(ROWS):
                channel = 2 * (plane + row // ROWS_PER_PLANE)
                water, titanium = body[v, k, channel], body[v, k, channel + 1]
                if m < 0 or m >= n_fine:
                    out[v, k, row] = _share(table, water, titanium)
                    continue
                total = 0.0
                for ray in range(RAYS):
                    place = (ray + 0.5) / RAYS - 0.5
                    beside = min(max(k + 1 if place > 0.0 else k - 1, 0), out.shape[1] - 1)
                    w = water + (body[v, beside, channel] - water) * abs(place)
                    t = titanium + (body[v, beside, channel + 1] - titanium) * abs(place)
                    for n in range(SUB_SLICES):
                        q = 2 * (row * SUB_SLICES + n)
                        total += _share(
                            table, w + fine[v, m * RAYS + ray, q], t + fine[v, m * RAYS + ray, q + 1]
                        )
                out[v, k, row] = total * weight


@kernel
def backproject(
    filtered: Float32Array,
    angles: FloatArray,
    t_first_mm: float,
    t_step_mm: float,
    corner_mm: FloatArray,
    spacing_mm: float,
    out: Float32Array,
    first: int,
    last: int,
) -> None:
    """Sum the filtered views (V, N, C) into rows ``first`` to ``last`` of ``out`` (J, I, C), pixel by pixel."""
    n_cells = filtered.shape[1]
    for v in range(angles.size):
        c, s = math.cos(angles[v]), math.sin(angles[v])
        view = filtered[v]
        for j in range(first, last):
            start = (corner_mm[0] * c + (corner_mm[1] + spacing_mm * j) * s - t_first_mm) / t_step_mm
            step = spacing_mm * c / t_step_mm
            row = out[j]
            for i in range(row.shape[0]):
                place = min(max(start + step * i, 0.0), n_cells - 1.001)
                k = int(place)
                w1 = np.float32(place - k)
                lerp_add(row, i, view, k, np.float32(1.0) - w1, w1)
