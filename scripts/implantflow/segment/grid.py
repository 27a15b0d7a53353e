"""The volume turned so that its axes run nearest to patient LPS, and copies of it on simple grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.volumes import Volume

#: Cosine of the largest angle between a voxel axis and its patient axis that is taken as known orientation.
MIN_AXIS_COSINE = 0.7


@dataclass(frozen=True)
class Box:
    """Index ranges [start, stop) along k, j, i of a crop."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """For indexing a (K, J, I) array."""
        a, b, c = (slice(s, e) for s, e in zip(self.start, self.stop, strict=True))
        return a, b, c


def canonical(volume: Volume) -> tuple[Volume, tuple[int, ...], tuple[bool, ...]]:
    """View of ``volume`` whose i, j, k axes point nearest to patient left, posterior and cranial.

    Returns
    -------
    view : Volume
        Same voxels, transposed and flipped.
    order, flips : of the (K, J, I) axes, for :func:`restore`.

    Raises
    ------
    GeometryError
        An axis is more than 45 degrees off every patient axis: the orientation is not usable.
    """
    direction = volume.affine_lps[:3, :3] / volume.spacing_mm
    source = np.abs(direction).argmax(axis=1)  # voxel axis that runs along each patient axis
    if sorted(source.tolist()) != [0, 1, 2] or np.abs(direction).max(axis=1).min() < MIN_AXIS_COSINE:
        raise GeometryError(
            "the image axes do not follow the patient's axes closely enough to know left from right",
            where=f"direction cosines {np.round(direction, 3).tolist()}",
            fix="resample the series onto axial slices at ingest (resample: true)",
        )
    affine = volume.affine_lps.copy()
    affine[:3, :3] = affine[:3, source]
    order = tuple(2 - int(source[2 - axis]) for axis in range(3))
    array = volume.array.transpose(order)
    flips = []
    for axis in range(3):  # of the (K, J, I) array; patient axis 2 - axis
        column = 2 - axis
        flip = bool(affine[column, column] < 0)
        if flip:
            affine[:3, 3] = affine[:3, 3] + affine[:3, column] * (array.shape[axis] - 1)
            affine[:3, column] = -affine[:3, column]
            array = np.flip(array, axis)
        flips.append(flip)
    return Volume(array, affine), order, tuple(flips)


def restore(array: NDArray[Any], order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray[Any]:
    """Undo :func:`canonical` for an array on the canonical grid."""
    for axis, flip in enumerate(flips):
        if flip:
            array = np.flip(array, axis)
    return np.ascontiguousarray(array.transpose(np.argsort(order)))


def crop(volume: Volume, box: Box) -> Volume:
    """The voxels of ``box`` with their place in the patient."""
    affine = volume.affine_lps.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(box.start[::-1], dtype=np.float64)
    return Volume(volume.array[box.slices], affine)


def box_around(volume: Volume, points_lps_mm: FloatArray, margin_mm: float) -> Box:
    """Smallest box of voxels that holds ``points_lps_mm`` (N, 3) and a margin, clipped to the volume."""
    index = volume.lps_to_index(points_lps_mm)
    margin = margin_mm / volume.spacing_mm
    low = np.floor(index.min(axis=0) - margin).astype(int)[::-1]
    high = np.ceil(index.max(axis=0) + margin).astype(int)[::-1] + 1
    shape = np.array(volume.array.shape)
    low, high = np.clip(low, 0, shape), np.clip(high, 0, shape)
    if (high <= low).any():
        raise GeometryError("the bones looked for lie outside the scan")
    return Box(tuple(int(v) for v in low), tuple(int(v) for v in high))  # type: ignore[arg-type]


def isotropic_lps(volume: Volume, spacing_mm: float, sigma_mm: float) -> Volume:
    """Smoothed copy of ``volume`` (HU) on an isotropic grid along patient LPS that covers all of it.

    Parameters
    ----------
    volume : Volume
        Orthogonal axes.
    spacing_mm, sigma_mm : float
        New voxel size; standard deviation of the Gaussian applied first (0 for none).

    Returns
    -------
    Volume of float32; -1024 HU outside the scan.
    """
    from implantflow.segment.filters import gaussian, resampled

    smooth = volume.like(gaussian(volume, sigma_mm)) if sigma_mm > 0 else volume
    size = np.array(volume.array.shape[::-1])
    corners = np.array(
        [[i, j, k] for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)]
    )
    lps = volume.index_to_lps(corners)
    low, high = lps.min(axis=0), lps.max(axis=0)
    counts = tuple(int(n) for n in np.floor((high - low) / spacing_mm + 1e-6).astype(int)[::-1] + 1)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = low
    return resampled(smooth, counts, affine, -1024.0)
