"""Compiled classes and sums over the field along lines through the solid."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inlined, kernel
from implantflow.field.cell_kernels import (
    SHEET,
    STRUTS,
    LatticeArrays,
    base_value,
    grid_value,
    lattice_value,
    level_at,
)
from implantflow.field.material_kernels import (
    DENSE_METAL,
    FAR_MM,
    LATTICE_METAL,
    VOID,
    MaterialArrays,
    combined,
    dense_row,
    joined,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def enclosed(vertices: FloatArray, faces: NDArray[np.int32], middle: FloatArray) -> float:
    """Signed volume (mm3) of a closed mesh: the tetrahedra from each triangle to ``middle``."""
    six = 0.0
    for t in range(faces.shape[0]):
        a, b, c = faces[t]
        ax, ay, az = vertices[a, 0] - middle[0], vertices[a, 1] - middle[1], vertices[a, 2] - middle[2]
        bx, by, bz = vertices[b, 0] - middle[0], vertices[b, 1] - middle[1], vertices[b, 2] - middle[2]
        cx, cy, cz = vertices[c, 0] - middle[0], vertices[c, 1] - middle[1], vertices[c, 2] - middle[2]
        six += ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return six / 6.0


@kernel
def row_spans(
    starts: IntArray, heights: FloatArray, first_row: int, x0: float, step: float, out: IntArray
) -> None:
    """First node and node after the last (J, 2) that the solid's spans of each row, from ``first_row`` on, reach."""
    for j in range(out.shape[0]):
        first, last = starts[first_row + j], starts[first_row + j + 1]
        out[j] = 0
        if first < last:
            out[j, 0] = max(math.ceil((heights[first] - x0) / step), 0)
            out[j, 1] = max(math.ceil((heights[last - 1] - x0) / step), out[j, 0])


@kernel
def label_plane(
    starts: IntArray,
    heights: FloatArray,
    first_row: int,
    origin: FloatArray,
    step: float,
    z: float,
    spans: IntArray,
    lattice: FloatArray,
    labels: NDArray[np.uint8],
    room: NDArray[np.bool_],
    clearance: float,
    material: MaterialArrays,
) -> None:
    """Write the class of a plane's nodes (J, I) inside the rows' solid spans, and where metal is ``clearance`` away.

    ``lattice`` (J, I) : value of the bare lattice within ``spans``.
    """
    nj, ni = labels.shape
    dense = np.empty(ni)
    for j in range(nj):
        if spans[j, 1] <= spans[j, 0]:
            continue
        y = origin[1] + j * step
        dense_row(material, origin[0], y, z, step, spans[j, 0], min(spans[j, 1], ni), dense)
        m = starts[first_row + j]
        while m + 1 < starts[first_row + j + 1]:
            i0 = max(math.ceil((heights[m] - origin[0]) / step), 0)
            i1 = min(math.ceil((heights[m + 1] - origin[0]) / step) - 1, ni - 1)
            for i in range(i0, i1 + 1):
                value, kind = joined(material, dense[i], lattice[j, i], origin[0] + i * step, y, z)
                labels[j, i] = kind
                room[j, i] = kind == 0 or (kind == 1 and value >= clearance)
            m += 2


@inlined
def side(kind: int, base: float, spread: float, level: float) -> int:
    """-1 where the lattice is metal whatever its base value within ``spread`` of ``base``, 1 where void, else 0."""
    if kind == STRUTS:
        low, high = base - spread - level, base + spread - level
    elif kind == SHEET:
        low, high = abs(base) - spread - level, abs(base) + spread - level
    else:
        low, high = level - base - spread, level - base + spread
    return -1 if high < 0.0 else (1 if low > 0.0 else 0)


@kernel
def box_bases(lattice: LatticeArrays, out: FloatArray) -> float:
    """Base values in the middles of n^3 boxes of the cell, to ``out`` (z, y, x); returns how far its points are off.

    A distance changes by no more than the way gone, G by no more than sqrt 6 a radian (each part of its gradient is at
    most sqrt 2).
    """
    n = out.shape[0]
    size = lattice.period / n
    for k in range(n):
        for j in range(n):
            for i in range(n):
                out[k, j, i] = base_value(lattice, (i + 0.5) * size, (j + 0.5) * size, (k + 0.5) * size)[0]
    reach = 0.5 * math.sqrt(3.0) * size * (1.0 + 1e-9)
    radian = 1.0 if lattice.kind == STRUTS else math.sqrt(6.0) * 2.0 * math.pi / lattice.period
    return float(reach * radian)


@kernel
def count_columns(
    starts: IntArray,
    heights: FloatArray,
    shape: tuple[int, int],
    origin: FloatArray,
    step: float,
    cosine: float,
    sine: float,
    counts: IntArray,
    lattice: LatticeArrays,
    material: MaterialArrays,
    boxes: FloatArray,
    spread: float,
) -> None:
    """Count the classes of samples along columns of a turned frame, each column with its own offset in z.

    Where corners are sharp and surfaces smooth, a class follows from signs; :func:`box_bases` (``boxes``, ``spread``;
    no boxes = not to be used) tell most of them without the lattice's exact value.

    A point (u, v) of the turned frame is (cosine u + sine v, cosine v - sine u) in build_xyz.
    """
    nj, ni = shape
    n = boxes.shape[0]
    per = 1.0 / lattice.period if n > 0 else 0.0
    for j in range(nj):
        v = origin[1] + j * step
        for i in range(ni):
            u = origin[0] + i * step
            x, y = cosine * u + sine * v, cosine * v - sine * u
            line = j * ni + i
            # Multiples of the golden ratio spread the offsets evenly over the columns.
            offset = (line * 0.6180339887498949) % 1.0
            m = starts[line]
            while m + 1 < starts[line + 1]:
                k0 = math.ceil(heights[m] / step - offset)
                k1 = math.ceil(heights[m + 1] / step - offset) - 1
                for k in range(k0, k1 + 1):
                    z = (k + offset) * step
                    known = 0
                    if n > 0:
                        dense = FAR_MM
                        if material.dense.shape[0] > 0:
                            dense = grid_value(material.dense, material.origin, material.spacing, x, y, z)
                        if dense < 0.0:
                            counts[DENSE_METAL] += 1
                            continue
                        a = min(int((x * per - math.floor(x * per)) * n), n - 1)
                        b = min(int((y * per - math.floor(y * per)) * n), n - 1)
                        c = min(int((z * per - math.floor(z * per)) * n), n - 1)
                        known = side(lattice.kind, boxes[c, b, a], spread, level_at(lattice, x, y, z))
                    if known == 0:
                        counts[combined(material, lattice_value(lattice, x, y, z), x, y, z)[1]] += 1
                    else:
                        counts[VOID if known > 0 else LATTICE_METAL] += 1
                m += 2
