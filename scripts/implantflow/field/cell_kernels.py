"""Compiled evaluation of the lattice, periodic or not. Import inside functions: it costs numba's start-up."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inlined, kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STRUTS, GYROID, SHEET = 0, 1, 2
#: Steps of the stored int16 grids in mm.
STEP_MM = 1e-4
#: Most nodes after which a row of nodes may repeat the cell and be worth keeping.
MOST_NODES = 128


class LatticeArrays(NamedTuple):
    """A lattice as the kernels take it; mm.

    Attributes
    ----------
    kind : STRUTS, GYROID or SHEET. period : edge of the cell, 0 where nothing repeats.
    segments (S, 7) : struts as start, direction, 1/length^2.
    bin_origin (3,), bin_mm, bin_shape (3,) : boxes over the period (or over the part), x, y, z.
    starts, members : per box, x fastest, the struts that can be the nearest there.
    reach : distance given where a box has no strut.
    floor : least slope in the gyroid's first-order distance.
    level : strut radius or level of G; levels (N,), strut_low, strut_step : the level of a graded strut.
    grade (K, J, I) int16, grade_origin, grade_spacing (3,) : strut diameter in STEP_MM; no nodes = not graded.
    """

    kind: int
    period: float
    segments: FloatArray
    bin_origin: FloatArray
    bin_mm: float
    bin_shape: IntArray
    starts: IntArray
    members: IntArray
    reach: float
    floor: float
    level: float
    levels: FloatArray
    strut_low: float
    strut_step: float
    grade: NDArray[np.int16]
    grade_origin: FloatArray
    grade_spacing: FloatArray


@inlined
def grid_value(
    grid: NDArray[np.int16], origin: FloatArray, spacing: FloatArray, x: float, y: float, z: float
) -> float:
    """Trilinear value of a grid (spacing along x, y, z) at one point; clamped at the border of the grid."""
    nk, nj, ni = grid.shape
    fx = min(max((x - origin[0]) / spacing[0], 0.0), ni - 1.000001)
    fy = min(max((y - origin[1]) / spacing[1], 0.0), nj - 1.000001)
    fz = min(max((z - origin[2]) / spacing[2], 0.0), nk - 1.000001)
    i, j, k = int(fx), int(fy), int(fz)
    u, v, w = fx - i, fy - j, fz - k
    low = (grid[k, j, i] * (1.0 - u) + grid[k, j, i + 1] * u) * (1.0 - v)
    low += (grid[k, j + 1, i] * (1.0 - u) + grid[k, j + 1, i + 1] * u) * v
    high = (grid[k + 1, j, i] * (1.0 - u) + grid[k + 1, j, i + 1] * u) * (1.0 - v)
    high += (grid[k + 1, j + 1, i] * (1.0 - u) + grid[k + 1, j + 1, i + 1] * u) * v
    return float(low * (1.0 - w) + high * w)


@inlined
def segment_distance2(segments: FloatArray, s: int, x: float, y: float, z: float) -> float:
    """Squared distance of a point to one of ``segments`` (S, 7): start, direction, 1/length^2.

    The number of the segment is passed and no view of its row, which would cost more than the distance.
    """
    px = x - segments[s, 0]
    py = y - segments[s, 1]
    pz = z - segments[s, 2]
    t = (px * segments[s, 3] + py * segments[s, 4] + pz * segments[s, 5]) * segments[s, 6]
    t = min(max(t, 0.0), 1.0)
    dx = px - t * segments[s, 3]
    dy = py - t * segments[s, 4]
    dz = pz - t * segments[s, 5]
    return float(dx * dx + dy * dy + dz * dz)


@inlined
def axis_distance(lattice: LatticeArrays, x: float, y: float, z: float) -> float:
    """Distance in mm to the nearest strut axis, at most about ``reach`` where no strut is near."""
    if lattice.period > 0.0:
        x -= math.floor(x / lattice.period) * lattice.period
        y -= math.floor(y / lattice.period) * lattice.period
        z -= math.floor(z / lattice.period) * lattice.period
    o, h, n = lattice.bin_origin, lattice.bin_mm, lattice.bin_shape
    i = min(max(int((x - o[0]) / h), 0), n[0] - 1)
    j = min(max(int((y - o[1]) / h), 0), n[1] - 1)
    k = min(max(int((z - o[2]) / h), 0), n[2] - 1)
    b = (k * n[1] + j) * n[0] + i
    best = lattice.reach * lattice.reach
    segments, members = lattice.segments, lattice.members
    for m in range(lattice.starts[b], lattice.starts[b + 1]):
        best = min(best, segment_distance2(segments, members[m], x, y, z))
    return float(math.sqrt(best))


@kernel
def gyroid_slope(period: float, x: float, y: float, z: float) -> tuple[float, float]:
    """G = sin x cos y + sin y cos z + sin z cos x and the length of its gradient per radian."""
    w = 2.0 * math.pi / period
    sx, cx = math.sin(w * x), math.cos(w * x)
    sy, cy = math.sin(w * y), math.cos(w * y)
    sz, cz = math.sin(w * z), math.cos(w * z)
    gx = cx * cy - sz * sx
    gy = cy * cz - sx * sy
    gz = cz * cx - sy * sz
    return sx * cy + sy * cz + sz * cx, math.sqrt(gx * gx + gy * gy + gz * gz)


@inlined
def base_value(lattice: LatticeArrays, x: float, y: float, z: float) -> tuple[float, float]:
    """What of the lattice does not depend on its thickness: axis distance and 1, or G and its slope in 1/mm."""
    if lattice.kind == STRUTS:
        return axis_distance(lattice, x, y, z), 1.0
    g, slope = gyroid_slope(lattice.period, x, y, z)
    return g, 2.0 * math.pi / lattice.period * max(slope, lattice.floor)


@inlined
def level_at(lattice: LatticeArrays, x: float, y: float, z: float) -> float:
    """Strut radius, or level of G, that holds at a point."""
    if lattice.grade.shape[0] == 0:
        return lattice.level
    strut = grid_value(lattice.grade, lattice.grade_origin, lattice.grade_spacing, x, y, z) * STEP_MM
    if lattice.kind == STRUTS:
        return 0.5 * strut
    f = min(max((strut - lattice.strut_low) / lattice.strut_step, 0.0), lattice.levels.shape[0] - 1.000001)
    i = int(f)
    return float(lattice.levels[i] + (f - i) * (lattice.levels[i + 1] - lattice.levels[i]))


@kernel
def grid_row(
    grid: NDArray[np.int16],
    origin: FloatArray,
    spacing: FloatArray,
    x0: float,
    y: float,
    z: float,
    step: float,
    first: int,
    last: int,
    out: FloatArray,
) -> None:
    """:func:`grid_value` at nodes first..last-1 (x0 + i*step) of a row; between the grid's nodes it is linear in x."""
    nk, nj, ni = grid.shape
    fy = min(max((y - origin[1]) / spacing[1], 0.0), nj - 1.000001)
    fz = min(max((z - origin[2]) / spacing[2], 0.0), nk - 1.000001)
    j, k = int(fy), int(fz)
    v, w = fy - j, fz - k
    row = np.empty(ni)
    for i in range(ni):
        low = grid[k, j, i] * (1.0 - v) + grid[k, j + 1, i] * v
        high = grid[k + 1, j, i] * (1.0 - v) + grid[k + 1, j + 1, i] * v
        row[i] = low * (1.0 - w) + high * w
    start, per = (x0 - origin[0]) / spacing[0], step / spacing[0]
    for n in range(first, last):
        fx = min(max(start + n * per, 0.0), ni - 1.000001)
        i = int(fx)
        out[n] = row[i] + (fx - i) * (row[i + 1] - row[i])


@kernel
def level_row(
    lattice: LatticeArrays, x0: float, y: float, z: float, step: float, first: int, last: int, out: FloatArray
) -> None:
    """:func:`level_at` at nodes first..last-1 (x0 + i*step) of one row."""
    if lattice.grade.shape[0] == 0:
        out[first:last] = lattice.level
        return
    grid_row(lattice.grade, lattice.grade_origin, lattice.grade_spacing, x0, y, z, step, first, last, out)
    levels = lattice.levels
    strut_low, strut_step, most = lattice.strut_low, lattice.strut_step, levels.shape[0] - 1.000001
    for n in range(first, last):
        strut = out[n] * STEP_MM
        if lattice.kind == STRUTS:
            out[n] = 0.5 * strut
        else:
            f = min(max((strut - strut_low) / strut_step, 0.0), most)
            i = int(f)
            out[n] = levels[i] + (f - i) * (levels[i + 1] - levels[i])


@kernel
def signed(kind: int, base: float, slope: float, level: float) -> float:
    """Value in mm, negative inside metal, from :func:`base_value` and :func:`level_at`.

    G is divided by its slope, kept above ``floor`` so that the value stays smooth where the gradient vanishes.
    """
    if kind == STRUTS:
        return base - level
    inside = level - abs(base) if kind == SHEET else base - level
    return -inside / slope


@inlined
def lattice_value(lattice: LatticeArrays, x: float, y: float, z: float) -> float:
    """Value of the unclipped lattice at one point in mm, negative inside metal."""
    base, slope = base_value(lattice, x, y, z)
    return signed(lattice.kind, base, slope, level_at(lattice, x, y, z))


@kernel
def lattice_values(lattice: LatticeArrays, points: FloatArray, out: FloatArray) -> None:
    """:func:`lattice_value` of (N, 3) ``points``."""
    for n in range(points.shape[0]):
        out[n] = lattice_value(lattice, points[n, 0], points[n, 1], points[n, 2])


@kernel
def lattice_layer(
    lattice: LatticeArrays,
    order: IntArray,
    tops: FloatArray,
    x0: float,
    y0: float,
    step: float,
    z: float,
    spans: IntArray,
    out: FloatArray,
) -> None:
    """Value of the lattice on the nodes (J, I) of one plane; equals :func:`lattice_value` at every node near metal.

    A cell that repeats with the nodes (:func:`repeat_nodes`) is evaluated once a layer and repeated. Struts that repeat
    nowhere are laid on the plane one by one (``order``: struts by their lowest point; ``tops``: greatest height reached
    by the struts up to each, both with ``reach`` added); nodes further than ``reach`` from every axis get that
    distance.
    ``spans`` (J, 2): first node and node after the last of each row that is wanted; the others are left alone.
    """
    nj, ni = out.shape
    if lattice.period <= 0.0:
        level = np.empty(ni)
        for j in range(nj):
            for i in range(spans[j, 0], spans[j, 1]):
                out[j, i] = lattice.reach * lattice.reach
        _lay_struts(lattice, order, tops, x0, y0, step, z, spans, out)
        for j in range(nj):
            level_row(lattice, x0, y0 + j * step, z, step, spans[j, 0], spans[j, 1], level)
            for i in range(spans[j, 0], spans[j, 1]):
                out[j, i] = math.sqrt(out[j, i]) - level[i]
        return
    n = repeat_nodes(lattice.period, step)
    if n == 0 or n * n > nj * ni:
        for j in range(nj):
            for i in range(spans[j, 0], spans[j, 1]):
                out[j, i] = lattice_value(lattice, x0 + i * step, y0 + j * step, z)
        return
    base = np.empty((n, n))
    slope = np.empty((n, n))
    base_plane(lattice, x0, y0, step, z, base, slope)
    repeat_plane(lattice, base, slope, x0, y0, step, z, spans, out)


@kernel
def repeat_nodes(period: float, step: float) -> int:
    """After how many nodes a row of nodes and the cell repeat together; 0 where that takes more than ``MOST_NODES``."""
    for n in range(1, MOST_NODES + 1):
        cells = n * step / period
        if cells > 0.5 and abs(cells - round(cells)) < 1e-9:
            return n
    return 0


@kernel
def base_plane(
    lattice: LatticeArrays,
    x0: float,
    y0: float,
    step: float,
    z: float,
    base: FloatArray,
    slope: FloatArray,
) -> None:
    """:func:`base_value` of the nodes (n, n) of one plane, after which it repeats."""
    for j in range(base.shape[0]):
        for i in range(base.shape[1]):
            base[j, i], slope[j, i] = base_value(lattice, x0 + i * step, y0 + j * step, z)


@kernel
def repeat_plane(
    lattice: LatticeArrays,
    base: FloatArray,
    slope: FloatArray,
    x0: float,
    y0: float,
    step: float,
    z: float,
    spans: IntArray,
    out: FloatArray,
) -> None:
    """Values of the lattice on the nodes (J, I) of one plane from those of :func:`base_plane`."""
    n, kind = base.shape[0], lattice.kind
    level = np.empty(out.shape[1])
    for j in range(out.shape[0]):
        b, s = base[j % n], slope[j % n]
        first, last = spans[j]
        level_row(lattice, x0, y0 + j * step, z, step, first, last, level)
        m = first % n
        for i in range(first, last):
            out[j, i] = signed(kind, b[m], s[m], level[i])
            m = m + 1 if m + 1 < n else 0


@kernel
def _lay_struts(
    lattice: LatticeArrays,
    order: IntArray,
    tops: FloatArray,
    x0: float,
    y0: float,
    step: float,
    z: float,
    spans: IntArray,
    out: FloatArray,
) -> None:
    """Lower ``out`` to the squared axis distance of every strut within ``reach`` of the plane."""
    nj = out.shape[0]
    reach, segments = lattice.reach, lattice.segments
    # Struts before ``first`` all end below the plane, since ``tops`` never falls.
    first = np.searchsorted(tops, z)
    for m in range(first, order.shape[0]):
        s = segments[order[m]]
        if min(s[2], s[2] + s[5]) - reach > z:
            break
        if max(s[2], s[2] + s[5]) + reach < z:
            continue
        j0 = max(math.ceil((min(s[1], s[1] + s[4]) - reach - y0) / step), 0)
        j1 = min(math.floor((max(s[1], s[1] + s[4]) + reach - y0) / step), nj - 1)
        i0 = math.ceil((min(s[0], s[0] + s[3]) - reach - x0) / step)
        i1 = math.floor((max(s[0], s[0] + s[3]) + reach - x0) / step) + 1
        for j in range(j0, j1 + 1):
            y = y0 + j * step
            for i in range(max(i0, spans[j, 0]), min(i1, spans[j, 1])):
                d2 = segment_distance2(segments, order[m], x0 + i * step, y, z)
                out[j, i] = min(out[j, i], d2)
