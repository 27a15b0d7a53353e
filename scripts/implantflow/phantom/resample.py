"""Sampling a rendered volume on another, turned grid with thick slices."""

from __future__ import annotations

import numpy as np

from implantflow.compiled import kernel
from implantflow.geometry import FloatArray
from implantflow.phantom.grids import Field
from implantflow.phantom.slabs import over_slabs

#: Samples through the thickness of a slice: a nearly rectangular slice profile.
_SUBSLICES = 5


def thick_slices(volume: Field, matrix: FloatArray, shape: tuple[int, int, int], threads: int = 1) -> Field:
    """Mean over the slice thickness of ``volume`` (K, J, I); ``matrix`` (4, 4) maps target to source indices.

    What lies outside the source is 0.
    """
    out = np.empty(shape, np.float32)
    rows = np.ascontiguousarray(matrix[:3])
    over_slabs(lambda a, b: _sample(volume, rows, out, _SUBSLICES, a, b), shape[0], threads)
    return out


@kernel
def _sample(volume: Field, matrix: FloatArray, out: Field, subslices: int, first: int, last: int) -> None:
    n_k, n_j, n_i = volume.shape
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                total = 0.0
                for n in range(subslices):
                    kk = k + (n + 0.5) / subslices - 0.5
                    x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * kk + matrix[0, 3]
                    y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * kk + matrix[1, 3]
                    z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * kk + matrix[2, 3]
                    if not (0 <= x < n_i - 1 and 0 <= y < n_j - 1 and 0 <= z < n_k - 1):
                        continue
                    a, b, c = int(x), int(y), int(z)
                    u, v, w = x - a, y - b, z - c
                    low = (volume[c, b, a] * (1 - u) + volume[c, b, a + 1] * u) * (1 - v)
                    low += (volume[c, b + 1, a] * (1 - u) + volume[c, b + 1, a + 1] * u) * v
                    high = (volume[c + 1, b, a] * (1 - u) + volume[c + 1, b, a + 1] * u) * (1 - v)
                    high += (volume[c + 1, b + 1, a] * (1 - u) + volume[c + 1, b + 1, a + 1] * u) * v
                    total += low * (1 - w) + high * w
                out[k, j, i] = total / subslices
