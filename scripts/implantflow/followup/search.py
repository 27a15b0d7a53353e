"""First guess of where the pelvis lies in another scan: the best of all shifts at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.followup.sampling import block_mean
from implantflow.geometry import FloatArray
from implantflow.volumes import Volume

_STEP_MM = 5.0
#: Bone against soft tissue; metal counts as bone, so that a screw does not outweigh a pelvis.
_WINDOW_HU = (50.0, 500.0)
_MARGIN_MM = 10.0
#: At least this share of the bone has to lie inside the scan for a shift to be considered.
_MIN_INSIDE = 0.35


def best_shift(planning: Volume, bone: NDArray[np.bool_], scan: Volume) -> FloatArray:
    """The 4x4 shift from ``planning`` to ``scan`` with the highest masked normalised correlation.

    Parameters
    ----------
    planning, scan : Volume, HU.
    bone : (K, J, I) bool array on the grid of ``planning``
        What must be found; voxels within 10 mm of it are compared.

    Raises
    ------
    GeometryError
        No shift brings a third of the bone into the scan.
    """
    from scipy import fft, ndimage

    fixed, origin_fixed = _coarse(planning)
    near, _ = _coarse(planning.like((bone * 1000).astype(np.int16)), window=(0.0, 1000.0))
    mask = ndimage.distance_transform_edt(near < 0.2, sampling=_STEP_MM) <= _MARGIN_MM
    moving, origin_moving = _coarse(scan)
    shape = [fft.next_fast_len(a + b, real=True) for a, b in zip(fixed.shape, moving.shape, strict=True)]

    def correlate(a: NDArray[np.float64], b: NDArray[np.float64]) -> FloatArray:
        spectrum = np.conj(fft.rfftn(a, shape)) * fft.rfftn(b, shape)
        return np.asarray(fft.irfftn(spectrum, shape))

    weight = mask.astype(np.float64)
    inside = np.ones(moving.shape)
    count = np.maximum(correlate(weight, inside), 1e-6)
    mean_f, mean_m = correlate(weight * fixed, inside) / count, correlate(weight, moving) / count
    power_f = correlate(weight * fixed**2, inside) / count - mean_f**2
    power_m = correlate(weight, moving**2) / count - mean_m**2
    both = correlate(weight * fixed, moving) / count - mean_f * mean_m
    score = both / np.sqrt(np.maximum(power_f * power_m, 1e-9))
    score[count < _MIN_INSIDE * weight.sum()] = -np.inf
    if not np.isfinite(score).any():
        raise GeometryError(
            "the scan is too small to hold the unoperated half of the pelvis",
            where="follow-up scan",
            fix="use a scan that shows the whole sacrum and the other hip bone",
        )
    peak = np.array(np.unravel_index(int(np.argmax(score)), score.shape))
    peak = np.where(peak >= np.array(moving.shape), peak - np.array(shape), peak)
    matrix = np.eye(4)
    matrix[:3, 3] = origin_moving - origin_fixed + peak[::-1] * _STEP_MM
    return matrix


def _coarse(volume: Volume, window: tuple[float, float] = _WINDOW_HU) -> tuple[FloatArray, FloatArray]:
    """Windowed copy on an upright grid of :data:`_STEP_MM`, and the place of its first node."""
    from scipy import ndimage

    corners = volume.index_to_lps(
        [
            [i, j, k]
            for i in (0, volume.array.shape[2] - 1)
            for j in (0, volume.array.shape[1] - 1)
            for k in (0, volume.array.shape[0] - 1)
        ]
    )
    low, high = corners.min(0), corners.max(0)
    count = np.maximum(np.floor((high - low) / _STEP_MM).astype(int) + 1, 1)
    size = np.maximum((0.5 * _STEP_MM / volume.spacing_mm[::-1]).astype(np.int64), 1)
    binned = block_mean(np.clip(volume.array, *window).astype(np.float32), size)
    array = ndimage.gaussian_filter(binned, 0.4 * _STEP_MM / (volume.spacing_mm[::-1] * size), mode="nearest")
    axes = [low[a] + _STEP_MM * np.arange(count[a]) for a in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    index = volume.lps_to_index(np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1))
    index = (index[:, ::-1] - (size - 1) / 2.0) / size
    value = ndimage.map_coordinates(array, index.T, order=1, mode="nearest")
    return value.reshape(z.shape).astype(np.float64) - window[0], low
