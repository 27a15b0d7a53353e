"""Compiled sampling of spline volumes: value and gradient at scattered points."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]


@kernel
def _basis(t: float, weight: FloatArray, slope: FloatArray) -> None:
    """Weights (4,) of the cubic B-spline at fraction ``t`` of a cell, and their derivatives by ``t``."""
    u = 1.0 - t
    weight[0] = u * u * u / 6.0
    weight[1] = 2.0 / 3.0 - t * t * (2.0 - t) / 2.0
    weight[2] = 2.0 / 3.0 - u * u * (2.0 - u) / 2.0
    weight[3] = t * t * t / 6.0
    slope[0] = -u * u / 2.0
    slope[1] = t * (1.5 * t - 2.0)
    slope[2] = u * (2.0 - 1.5 * u)
    slope[3] = t * t / 2.0


@kernel
def spline_values(
    coefficients: Float32Array, index_ijk: FloatArray, outside: float, value: FloatArray
) -> None:
    """Cubic spline with (K, J, I) ``coefficients`` at (N, 3) indices (i, j, k); ``outside`` beyond the grid."""
    nk, nj, ni = coefficients.shape
    wi, wj, wk, dummy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    for n in range(index_ijk.shape[0]):
        i = math.floor(index_ijk[n, 0])
        j = math.floor(index_ijk[n, 1])
        k = math.floor(index_ijk[n, 2])
        if i < 1 or j < 1 or k < 1 or i > ni - 3 or j > nj - 3 or k > nk - 3:
            value[n] = outside
            continue
        _basis(index_ijk[n, 0] - i, wi, dummy)
        _basis(index_ijk[n, 1] - j, wj, dummy)
        _basis(index_ijk[n, 2] - k, wk, dummy)
        total = 0.0
        for c in range(4):
            for b in range(4):
                line = 0.0
                for a in range(4):
                    line += wi[a] * coefficients[k - 1 + c, j - 1 + b, i - 1 + a]
                total += line * wj[b] * wk[c]
        value[n] = total


@kernel
def spline_gradients(
    coefficients: Float32Array, index_ijk: FloatArray, outside: float, value: FloatArray, gradient: FloatArray
) -> None:
    """As :func:`spline_values`, and the (N, 3) gradient by the index (i, j, k); zero beyond the grid."""
    nk, nj, ni = coefficients.shape
    wi, wj, wk = np.empty(4), np.empty(4), np.empty(4)
    si, sj, sk = np.empty(4), np.empty(4), np.empty(4)
    for n in range(index_ijk.shape[0]):
        i = math.floor(index_ijk[n, 0])
        j = math.floor(index_ijk[n, 1])
        k = math.floor(index_ijk[n, 2])
        gradient[n, 0] = gradient[n, 1] = gradient[n, 2] = 0.0
        if i < 1 or j < 1 or k < 1 or i > ni - 3 or j > nj - 3 or k > nk - 3:
            value[n] = outside
            continue
        _basis(index_ijk[n, 0] - i, wi, si)
        _basis(index_ijk[n, 1] - j, wj, sj)
        _basis(index_ijk[n, 2] - k, wk, sk)
        total = 0.0
        for c in range(4):
            for b in range(4):
                line = 0.0
                slope = 0.0
                for a in range(4):
                    node = coefficients[k - 1 + c, j - 1 + b, i - 1 + a]
                    line += wi[a] * node
                    slope += si[a] * node
                total += line * wj[b] * wk[c]
                gradient[n, 0] += slope * wj[b] * wk[c]
                gradient[n, 1] += line * sj[b] * wk[c]
                gradient[n, 2] += line * wj[b] * sk[c]
        value[n] = total
