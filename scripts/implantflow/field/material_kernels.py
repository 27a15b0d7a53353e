"""Compiled evaluation of what fills the solid: dense regions, lattice, fillets between them, rugged surfaces."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inlined, kernel
from implantflow.field.cell_kernels import (
    STEP_MM,
    LatticeArrays,
    grid_row,
    grid_value,
    lattice_layer,
    lattice_value,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VOID, LATTICE_METAL, DENSE_METAL = 1, 2, 3
#: Value where nothing is dense (mm): further than any distance that counts.
FAR_MM = 1e3


class MaterialArrays(NamedTuple):
    """What lies inside the solid, as the kernels take it; mm.

    Attributes
    ----------
    origin, spacing (3,) : node (0, 0, 0) of the grids and distance of their nodes along x, y, z.
    dense (K, J, I) int16 : distance to the dense region in STEP_MM; no nodes = nothing is dense.
    solid, rough (K, J, I) int16 : distance to the outer surface, share of the texture in STEP_MM; no nodes = smooth.
    waves (W, 4) : wave vectors (1/mm) and phases of the texture. amplitude : largest shift of a surface.
    fillet : radius between lattice and dense metal, 0 for a sharp corner.
    """

    origin: FloatArray
    spacing: FloatArray
    dense: NDArray[np.int16]
    solid: NDArray[np.int16]
    rough: NDArray[np.int16]
    waves: FloatArray
    amplitude: float
    fillet: float


@kernel
def texture(waves: FloatArray, x: float, y: float, z: float) -> float:
    """Height of the texture in [-1, 1]: plane waves of one length in many directions, cut off at two deviations."""
    total = 0.0
    for w in range(waves.shape[0]):
        total += math.cos(waves[w, 0] * x + waves[w, 1] * y + waves[w, 2] * z + waves[w, 3])
    return min(max(total / (2.0 * math.sqrt(0.5 * waves.shape[0])), -1.0), 1.0)


@inlined
def joined(
    material: MaterialArrays, dense: float, lattice: float, x: float, y: float, z: float
) -> tuple[float, int]:
    """Value in mm of what fills the solid and its class, at a point with these values of dense region and bare lattice.

    The class is VOID, LATTICE_METAL, DENSE_METAL, or 0 where the texture has taken the skin away. A fillet rounds the
    corner of two faces that meet at a right angle with its radius, and adds metal only within it of both.
    """
    cut = -FAR_MM
    if material.rough.shape[0] > 0:
        share = grid_value(material.rough, material.origin, material.spacing, x, y, z) * STEP_MM
        if share > 0.0:
            height = texture(material.waves, x, y, z)
            dense += material.amplitude * share * height
            skin = grid_value(material.solid, material.origin, material.spacing, x, y, z) * STEP_MM
            cut = skin + material.amplitude * share * 0.5 * (height + 1.0)
    radius = material.fillet
    value = min(dense, lattice)
    if radius > 0.0 and dense < radius and lattice < radius:
        u, v = radius - dense, radius - lattice
        value = max(radius, value) - math.sqrt(u * u + v * v)
    if cut >= 0.0:
        return max(value, cut), 0
    kind = VOID
    if dense < 0.0:
        kind = DENSE_METAL
    elif value < 0.0:
        kind = LATTICE_METAL
    return max(value, cut), kind


@inlined
def combined(material: MaterialArrays, lattice: float, x: float, y: float, z: float) -> tuple[float, int]:
    """:func:`joined` with the dense region's distance read at the point."""
    dense = FAR_MM
    if material.dense.shape[0] > 0:
        dense = grid_value(material.dense, material.origin, material.spacing, x, y, z) * STEP_MM
    return joined(material, dense, lattice, x, y, z)


@kernel
def dense_row(
    material: MaterialArrays,
    x0: float,
    y: float,
    z: float,
    step: float,
    first: int,
    last: int,
    out: FloatArray,
) -> None:
    """Distance in mm to the dense region at nodes first..last-1 (x0 + i*step) of one row."""
    if material.dense.shape[0] == 0:
        out[first:last] = FAR_MM
        return
    grid_row(material.dense, material.origin, material.spacing, x0, y, z, step, first, last, out)
    for i in range(first, last):
        out[i] *= STEP_MM


@kernel
def material_values(
    lattice: LatticeArrays, material: MaterialArrays, points: FloatArray, out: FloatArray
) -> None:
    """Value of what fills the solid at (N, 3) points."""
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        out[n] = combined(material, lattice_value(lattice, x, y, z), x, y, z)[0]


@kernel
def material_layer(
    lattice: LatticeArrays,
    material: MaterialArrays,
    order: IntArray,
    tops: FloatArray,
    x0: float,
    y0: float,
    step: float,
    z: float,
    spans: IntArray,
    out: FloatArray,
) -> None:
    """Value of what fills the solid on the nodes (J, I) of one plane, within ``spans`` (J, 2) of each row."""
    lattice_layer(lattice, order, tops, x0, y0, step, z, spans, out)
    dense = np.empty(out.shape[1])
    for j in range(out.shape[0]):
        y = y0 + j * step
        first, last = spans[j]
        if first < last:
            dense_row(material, x0, y, z, step, first, last, dense)
        for i in range(first, last):
            out[j, i] = joined(material, dense[i], out[j, i], x0 + i * step, y, z)[0]
