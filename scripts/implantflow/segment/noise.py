"""Noise of a scan, and the least smoothing that makes it bearable for thresholds and half-maxima.

A threshold takes every voxel by itself: at 80 HU of noise one soft-tissue voxel in ten is bright enough for bone, and
the surface follows the grain. A scan with ordinary noise is left as it is, bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.segment.filters import NARROW, gaussian, gaussian_taps
from implantflow.volumes import Volume

#: Noise (HU, standard deviation) that is left alone, and to which more is brought down. Smoothing blurs thin cortex:
#: of 18 to 65 HU this kept a sacrum under 80 HU of noise nearest to the one without.
BORNE_HU = 45.0
#: Means (HU) of seven neighbours that count as soft tissue, where only noise makes neighbours differ.
SOFT_HU = (-150.0, 120.0)
#: Every so many voxels along each axis one is looked at; fewer of soft tissue than this tell nothing.
STRIDE, LEAST_VOXELS = 3, 1000
#: Widest smoothing (voxels, along the coarsest axis).
WIDEST_VOXELS = 0.8


def noise_hu(volume: Volume) -> float:
    """Standard deviation (HU) of the noise that neighbours do not share, from second differences in soft tissue.

    The least of the three axes: along a coarse one anatomy changes from voxel to voxel. 0 where there is too little
    soft tissue to tell.
    """
    array = volume.array
    if min(array.shape) < STRIDE:
        return 0.0
    middle = _shifted(array, (0, 0, 0))
    pairs = []
    for axis in range(3):
        step = tuple(int(n == axis) for n in range(3))
        pairs.append(_shifted(array, step) + _shifted(array, tuple(-s for s in step)))
    mean = (middle + pairs[0] + pairs[1] + pairs[2]) / np.float32(7.0)
    soft = (mean > SOFT_HU[0]) & (mean < SOFT_HU[1])
    if int(soft.sum()) < LEAST_VOXELS:
        return 0.0
    bends = [(pair - 2.0 * middle)[soft] for pair in pairs]
    # 1.4826 median is the standard deviation of a normal distribution, sqrt(6) that of a second difference.
    return min(1.4826 * float(np.median(np.abs(bend))) / float(np.sqrt(6.0)) for bend in bends)


def _shifted(array: NDArray[Any], step: tuple[int, ...]) -> NDArray[np.float32]:
    """Every STRIDE-th voxel that has neighbours on all sides, moved by ``step``."""
    picks = tuple(slice(1 + s, n - 1 + s, STRIDE) for s, n in zip(step, array.shape, strict=True))
    return array[picks].astype(np.float32)


def remaining_share(sigma_mm: float, volume: Volume) -> float:
    """Share of the standard deviation of independent noise that :func:`filters.gaussian` leaves."""
    left = 1.0
    for spacing in volume.spacing_mm:
        sigma = sigma_mm / float(spacing)
        if sigma > NARROW:
            left *= float(np.linalg.norm(gaussian_taps(sigma)))
    return left


def calmed(volume: Volume) -> tuple[Volume, dict[str, float]]:
    """The scan (HU) with no more noise than BORNE_HU, and what was measured and done to it."""
    noise = noise_hu(volume)
    sigma_mm = 0.0
    if noise > BORNE_HU:
        low, high = 0.0, WIDEST_VOXELS * float(volume.spacing_mm.max())
        for _ in range(20):
            sigma_mm = 0.5 * (low + high)
            low, high = (
                (sigma_mm, high) if noise * remaining_share(sigma_mm, volume) > BORNE_HU else (low, sigma_mm)
            )
        volume = volume.like(gaussian(volume, sigma_mm))
    return volume, {"noise_hu": noise, "smoothed_sigma_mm": sigma_mm}
