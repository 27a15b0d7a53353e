"""Volumes as smooth functions of a place in the patient: cubic splines with gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.volumes import Volume

#: Room around a crop so that the spline's end conditions do not reach what is read, voxels.
_RIM_VOXELS = 6


@dataclass(frozen=True)
class Smooth:
    """A volume as a cubic spline.

    Attributes
    ----------
    coefficients : (K, J, I) float32 array
        Of the cubic B-spline.
    index_from_place : (4, 4) array
        Maps a place in mm to the index (i, j, k).
    outside : float
        Value beyond the grid.
    """

    coefficients: NDArray[np.float32]
    index_from_place: FloatArray
    outside: float = np.nan

    def values(self, places_mm: FloatArray) -> FloatArray:
        """(N,) values at (N, 3) places."""
        from implantflow.followup import kernels

        out = np.empty(len(places_mm))
        kernels.spline_values(self.coefficients, self._index(places_mm), self.outside, out)
        return out

    def gradients(self, places_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N,) values and (N, 3) gradients per mm at (N, 3) places."""
        from implantflow.followup import kernels

        value, slope = np.empty(len(places_mm)), np.empty((len(places_mm), 3))
        kernels.spline_gradients(self.coefficients, self._index(places_mm), self.outside, value, slope)
        return value, slope @ self.index_from_place[:3, :3]

    def _index(self, places_mm: FloatArray) -> FloatArray:
        return np.ascontiguousarray(transform_points(self.index_from_place, places_mm))


def smooth(volume: Volume) -> Smooth:
    """``volume`` as a spline that passes through its voxels."""
    from scipy import ndimage

    array = volume.array.astype(np.float32)
    coefficients = ndimage.spline_filter(array, order=3, output=np.float32, mode="mirror")
    return Smooth(coefficients, np.asarray(np.linalg.inv(volume.affine_lps), dtype=np.float64))


def crop_around(volume: Volume, places_lps: FloatArray, margin_mm: float) -> Volume:
    """The part of ``volume`` that holds ``places_lps`` (N, 3) and ``margin_mm`` around them.

    Raises
    ------
    GeometryError
        None of it lies inside the volume.
    """
    index = volume.lps_to_index(places_lps)
    margin = margin_mm / volume.spacing_mm + _RIM_VOXELS
    low = np.maximum(np.floor(index.min(0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(index.max(0) + margin) + 1, volume.array.shape[::-1]).astype(int)
    if (high - low < 4).any():
        raise GeometryError(
            "the region to be read lies outside the scan",
            where="patient LPS of the scan",
            fix="use a scan that shows the implant and the bones around it",
        )
    affine = volume.affine_lps.copy()
    affine[:3, 3] = volume.index_to_lps(low[None].astype(np.float64))[0]
    part = volume.array[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    return Volume(np.ascontiguousarray(part), affine)


def block_mean(array: NDArray[np.float32], size: NDArray[np.int64]) -> NDArray[np.float32]:
    """Means over whole blocks; what is left over at the far sides is dropped."""
    if (size == 1).all():
        return array
    nk, nj, ni = (n // s for n, s in zip(array.shape, size, strict=True))
    sk, sj, si = (int(s) for s in size)
    cut = array[: nk * sk, : nj * sj, : ni * si]
    return np.asarray(cut.reshape(nk, sk, nj, sj, ni, si).mean(axis=(1, 3, 5), dtype=np.float32))
