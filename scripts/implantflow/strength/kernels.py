"""Compiled inner loops of the solver.

Every sum has one order whatever the number of threads: elements are worked through slab by slab, slabs that
touch never at the same time, so writes are disjoint and in a fixed order; dot products are summed over chunks of
fixed length. Each parallel loop ends in a barrier, so there are as few loops an iteration as possible.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from implantflow.compiled import kernel, parallel
from implantflow.geometry import FloatArray

#: Numbers in one partial sum of a dot product.
CHUNK = 16384


@parallel
def add_stiffness(
    u: FloatArray,
    y: FloatArray,
    nodes: NDArray[np.int32],
    slab_start: NDArray[np.int64],
    scales: FloatArray,
    matrices: FloatArray,
) -> None:
    """``y += K u`` for K = sum over elements e and materials m of ``scales[m, e] * matrices[m]``.

    Parameters
    ----------
    u, y : (3 N,) float arrays
    nodes : (E, 8) int32 array, elements sorted by slab.
    slab_start : (S + 1,) int array
        First element of each slab; slab s may touch s - 1 and s + 1 only (and the first the last, when S is
        even).
    scales : (M, E) float array.
    matrices : (M, 24, 24) symmetric float array.
    """
    slabs = len(slab_start) - 1
    for parity in range(2):
        for half in prange((slabs + 1 - parity) // 2):
            slab = 2 * half + parity
            ue = np.empty(24)
            ye = np.empty(24)
            for e in range(slab_start[slab], slab_start[slab + 1]):
                for c in range(8):
                    n = 3 * nodes[e, c]
                    ue[3 * c] = u[n]
                    ue[3 * c + 1] = u[n + 1]
                    ue[3 * c + 2] = u[n + 2]
                ye[:] = 0.0
                for m in range(scales.shape[0]):
                    s = scales[m, e]
                    if s == 0.0:
                        continue
                    # Four columns at a time: ye is then loaded and stored six times, not twenty-four.
                    for j in range(0, 24, 4):
                        a, b, c4, d = s * ue[j], s * ue[j + 1], s * ue[j + 2], s * ue[j + 3]
                        k = matrices[m, j : j + 4]
                        for i in range(24):
                            ye[i] += (k[0, i] * a + k[1, i] * b) + (k[2, i] * c4 + k[3, i] * d)
                for c in range(8):
                    n = 3 * nodes[e, c]
                    y[n] += ye[3 * c]
                    y[n + 1] += ye[3 * c + 1]
                    y[n + 2] += ye[3 * c + 2]


@parallel
def dot(a: FloatArray, b: FloatArray) -> float:
    """Scalar product of two vectors, summed in chunks of fixed length."""
    count = (len(a) + CHUNK - 1) // CHUNK
    parts = np.zeros(count)
    for c in prange(count):
        total = 0.0
        for i in range(c * CHUNK, min((c + 1) * CHUNK, len(a))):
            total += a[i] * b[i]
        parts[c] = total
    result = 0.0
    for c in range(count):
        result += parts[c]
    return result


@parallel
def step(x: FloatArray, r: FloatArray, p: FloatArray, kp: FloatArray, alpha: float) -> None:
    """``x += alpha p`` and ``r -= alpha kp`` in place."""
    for i in prange(len(x)):
        x[i] += alpha * p[i]
        r[i] -= alpha * kp[i]


@parallel
def turn(p: FloatArray, kp: FloatArray, z: FloatArray, springs: FloatArray, beta: float) -> None:
    """``p = z + beta p`` and ``kp = springs * p`` in place."""
    for i in prange(len(p)):
        p[i] = z[i] + beta * p[i]
        kp[i] = springs[i] * p[i]


@kernel
def assemble_diagonal(
    diagonal: FloatArray, nodes: NDArray[np.int32], scales: FloatArray, matrices: FloatArray
) -> None:
    """Add the diagonal of the stiffness matrix to ``diagonal`` (3 N,)."""
    for e in range(nodes.shape[0]):
        for m in range(scales.shape[0]):
            s = scales[m, e]
            if s != 0.0:
                for c in range(8):
                    for a in range(3):
                        diagonal[3 * nodes[e, c] + a] += s * matrices[m, 3 * c + a, 3 * c + a]


@kernel
def fill_columns(
    starts: NDArray[np.int64], heights: FloatArray, bottom: float, voxel: float, samples: int, out: FloatArray
) -> None:
    """Add to ``out`` (K, J, I) the share of each voxel that vertical lines say is inside.

    ``starts`` and ``heights`` are those of :class:`implantflow.field.columns.Columns` with ``samples`` lines
    along each edge of a voxel.
    """
    nk, _, ni = out.shape
    for line in range(len(starts) - 1):
        j = line // (ni * samples) // samples
        i = line % (ni * samples) // samples
        for pair in range(starts[line], starts[line + 1], 2):
            low = (heights[pair] - bottom) / voxel
            high = (heights[pair + 1] - bottom) / voxel
            for k in range(max(int(np.floor(low)), 0), min(int(np.ceil(high)), nk)):
                out[k, j, i] += max(min(high, k + 1.0) - max(low, float(k)), 0.0) / (samples * samples)
