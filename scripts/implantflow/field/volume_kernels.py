"""Compiled sums over the field along vertical lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel
from implantflow.field.cell_kernels import LatticeArrays, lattice_value
from implantflow.field.material_kernels import MaterialArrays, combined

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def label_columns(
    starts: IntArray,
    heights: FloatArray,
    origin: FloatArray,
    step: float,
    labels: NDArray[np.uint8],
    room: NDArray[np.bool_],
    clearance: float,
    lattice: LatticeArrays,
    material: MaterialArrays,
) -> None:
    """Write the class of each node (K, J, I) inside the columns' solid spans, and where metal is ``clearance`` away."""
    nk, nj, ni = labels.shape
    for j in range(nj):
        y = origin[1] + j * step
        for i in range(ni):
            x = origin[0] + i * step
            line = j * ni + i
            m = starts[line]
            while m + 1 < starts[line + 1]:
                k0 = max(math.ceil((heights[m] - origin[2]) / step), 0)
                k1 = min(math.ceil((heights[m + 1] - origin[2]) / step) - 1, nk - 1)
                for k in range(k0, k1 + 1):
                    z = origin[2] + k * step
                    value, kind = combined(material, lattice_value(lattice, x, y, z), x, y, z)
                    labels[k, j, i] = kind
                    room[k, j, i] = kind == 0 or (kind == 1 and value >= clearance)
                m += 2


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
) -> None:
    """Count the classes of samples along columns of a turned frame, each column with its own offset in z.

    A point (u, v) of the turned frame is (cosine u + sine v, cosine v - sine u) in build_xyz.
    """
    nj, ni = shape
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
                    counts[combined(material, lattice_value(lattice, x, y, z), x, y, z)[1]] += 1
                m += 2
