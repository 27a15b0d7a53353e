"""Filtered back-projection of many slices at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray
from implantflow.phantom.followup.projector_kernels import backproject
from implantflow.phantom.followup.simd import CHANNELS
from implantflow.phantom.slabs import over_slabs

Float32Array = NDArray[np.float32]


def ramp(n: int, cell_cm: float, kernel: str) -> Float32Array:
    """Frequency response (n // 2 + 1,) of the band-limited ramp with the kernel's window, for cells of ``cell_cm``.

    ``soft`` has a Hann window, ``sharp`` the Shepp-Logan one. The ramp is made from its exact samples in space, so
    that the mean is not lost (Kak and Slaney 1988, chapter 3).
    """
    taps = np.zeros(n)
    odd = np.arange(1, n // 2 + 1, 2)
    taps[0] = 0.25 / cell_cm
    taps[odd] = taps[-odd] = -1.0 / (np.pi**2 * odd**2 * cell_cm)
    response = np.fft.rfft(taps).real
    share = np.linspace(0.0, 1.0, len(response))
    window = 0.5 + 0.5 * np.cos(np.pi * share) if kernel == "soft" else np.sinc(share / 2)
    return np.asarray(response * window, dtype=np.float32)


def reconstruct(
    integrals: Float32Array,
    cell_mm: float,
    kernel: str,
    reference_per_cm: float,
    corner_mm: FloatArray,
    pixel_mm: float,
    shape: tuple[int, int],
    threads: int,
) -> NDArray[np.int16]:
    """HU (S, J, I) int16, clipped to -1024..3071, of line integrals (S, V, N) over half a turn.

    Parameters
    ----------
    integrals : line integrals of water-like attenuation; view v looks along ``(v + 0.5) pi / V``; the detector is
        centred on the axis of rotation.
    corner_mm, pixel_mm, shape : (2,) place of the first pixel from the axis, pixel size, (J, I).
    """
    from scipy import fft

    n_slices, n_views, n_cells = integrals.shape
    n = fft.next_fast_len(2 * n_cells, True)
    response = ramp(n, cell_mm / 10, kernel)
    angles = (np.arange(n_views) + 0.5) * np.pi / n_views
    out = np.empty((n_slices, *shape), np.int16)
    for first in range(0, n_slices, CHANNELS):
        part = integrals[first : first + CHANNELS]
        filtered = np.zeros((n_views, n_cells, CHANNELS), np.float32)
        for s, views in enumerate(part):
            spectrum = fft.rfft(views, n, axis=1, workers=threads) * response
            filtered[:, :, s] = fft.irfft(spectrum, n, axis=1, workers=threads)[:, :n_cells]
        image = np.zeros((*shape, CHANNELS), np.float32)
        over_slabs(
            lambda a, b, f=filtered, g=image: backproject(  # type: ignore[misc]
                f, angles, -(n_cells - 1) / 2 * cell_mm, cell_mm, corner_mm, pixel_mm, g, a, b
            ),
            shape[0],
            threads,
        )
        per_hu = np.float32(1000.0 * np.pi / n_views / reference_per_cm)
        hu = np.clip(np.rint(image * per_hu - np.float32(1000.0)), -1024, 3071).astype(np.int16)
        out[first : first + len(part)] = np.moveaxis(hu, 2, 0)[: len(part)]
    return out
