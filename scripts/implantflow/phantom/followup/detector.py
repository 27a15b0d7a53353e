"""From signal shares to line integrals: scatter, photon noise, logarithm, beam hardening."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel
from implantflow.geometry import FloatArray

Float32Array = NDArray[np.float32]

#: Scattered signal per mean of ``-I ln I`` over its surroundings. Chosen so that behind the middle of a pelvis there is
#: 0.1 (front to back) to 0.7 (side to side) of scatter for each primary photon, the order of a wide cone with an
#: anti-scatter grid; behind metal more. Assumed, not measured.
SCATTER_PER_SOURCE = 0.02
#: Reach of scatter: standard deviation along the detector (mm) and over views, and the coarser grid it is made on.
_REACH_MM, _REACH_VIEWS, _CELLS = 60.0, 6.0, 8
#: Noise of the electronics in photons, and the least that is counted.
_ELECTRONIC_PHOTONS, _LEAST_PHOTONS = 8.0, 1.0


def scatter(shares: Float32Array, cell_mm: float) -> Float32Array:
    """Scattered signal (V, N) of signal shares (V, N, R): made where radiation is absorbed, smeared out."""
    from scipy.ndimage import gaussian_filter1d

    mean = shares.mean(axis=2)
    n = -(-mean.shape[1] // _CELLS)
    padded = np.pad(mean, ((0, 0), (0, n * _CELLS - mean.shape[1])), mode="edge")
    coarse = padded.reshape(len(mean), n, _CELLS).mean(axis=2)
    source = -coarse * np.log(np.maximum(coarse, 1e-7))
    smeared = gaussian_filter1d(source, _REACH_MM / (cell_mm * _CELLS), axis=1, mode="constant")
    smeared = gaussian_filter1d(smeared, _REACH_VIEWS, axis=0, mode="nearest")
    place = np.clip((np.arange(mean.shape[1]) + 0.5) / _CELLS - 0.5, 0, n - 1.001)
    left = place.astype(int)
    part = (place - left).astype(np.float32)
    between = smeared[:, left] * (1 - part) + smeared[:, np.minimum(left + 1, n - 1)] * part
    return np.ascontiguousarray(SCATTER_PER_SOURCE * between, dtype=np.float32)


def noise(key: tuple[int, ...], shape: tuple[int, ...]) -> Float32Array:
    """Standard normal numbers that depend on ``key`` alone."""
    return np.random.Generator(np.random.SFC64(list(key))).standard_normal(shape, dtype=np.float32)


@kernel
def line_integrals(
    shares: Float32Array,
    scattered: Float32Array,
    noise: Float32Array,
    photons: float,
    residual: float,
    hardening: FloatArray,
    rows_per_slice: int,
    out: Float32Array,
) -> None:
    """Corrected line integrals ``out`` (V, N, S) of S slices from shares (V, N, S * rows_per_slice).

    Scatter adds photons and their noise; all but ``residual`` of its expectation is subtracted again. The rows of a
    slice are averaged after the logarithm, then corrected for beam hardening in water.
    """
    for v in range(out.shape[0]):
        for k in range(out.shape[1]):
            extra = scattered[v, k] * photons
            for n in range(out.shape[2]):
                total = 0.0
                for row in range(n * rows_per_slice, (n + 1) * rows_per_slice):
                    mean = shares[v, k, row] * photons + extra
                    spread = math.sqrt(mean + _ELECTRONIC_PHOTONS * _ELECTRONIC_PHOTONS)
                    count = mean + spread * noise[v, k, row] - (1.0 - residual) * extra
                    total -= math.log(max(count, _LEAST_PHOTONS) / photons)
                value, power = 0.0, 1.0
                for c in range(hardening.size):
                    value += hardening[c] * power
                    power *= total / rows_per_slice
                out[v, k, n] = value
