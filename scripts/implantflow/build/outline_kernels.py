"""Compiled outline of the solid in one layer: one call from its triangles to loops in units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.body_kernels import wrongly_nested
from implantflow.build.mesh_kernels import cut_layer, double_area, quantise_loops
from implantflow.build.search_kernels import has_self_crossing
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]


@kernel
def solid_outline(
    vertices: FloatArray,
    faces: Int32Array,
    across: Int32Array,
    members: Int32Array,
    begin: int,
    end: int,
    z: float,
    slot: Int32Array,
    unit: float,
    area2_min: int,
) -> tuple[IntArray, IntArray, IntArray, float, int, bool]:
    """Loops of the mesh at height ``z`` in units (see :func:`cut_layer`, :func:`quantise_loops`).

    ``members`` begin..end-1 : the triangles to look at. ``slot`` (triangles) is scratch.

    Returns
    -------
    x, y, starts, area (units^2), contours that did not close, and whether loops cross themselves or each other, or lie
    in each other in a wrong way.
    """
    points, starts, broken = cut_layer(vertices, faces, across, members[begin:end], z, slot)
    xs, ys, loops = quantise_loops(points, starts, unit, area2_min)
    if xs.shape[0] == 0:
        return xs, ys, loops, 0.0, broken, False
    twice = 0
    for c in range(loops.shape[0] - 1):
        twice += double_area(xs, ys, loops[c], loops[c + 1])
    crosses = has_self_crossing(xs, ys, loops) or wrongly_nested(xs, ys, loops)
    return xs, ys, loops, 0.5 * twice, broken, crosses
