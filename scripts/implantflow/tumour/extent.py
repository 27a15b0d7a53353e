"""Tumour masks that are given: outlined in another program, or a virtual ellipsoid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from implantflow.config.tumour import EllipsoidTimepoint, MaskTimepoint
from implantflow.errors import GeometryError, InputError
from implantflow.volumes import Volume, read_volume

#: Affines of a mask and its image may differ by this at any voxel, mm: rounding of file headers.
_SAME_GRID_MM = 0.02

#: Grid of a virtual ellipsoid.
_ELLIPSOID_GRID_MM = 0.5


def read_mask(settings: MaskTimepoint, image: Volume) -> tuple[Volume, dict[str, Any]]:
    """The outlined tumour, on the grid of its series.

    Raises
    ------
    InputError
        The file is missing, or the label is not in it.
    GeometryError
        The label map is on another grid than the series (mirrored, shifted, resampled).
    """
    where = f"tumour.timepoints.{settings.name}.file"
    labels = read_volume(Path(settings.file))
    far = np.array([[0, 0, 0], [n - 1 for n in image.array.shape[::-1]]], dtype=np.float64)
    if labels.array.shape != image.array.shape or not np.allclose(
        labels.index_to_lps(far), image.index_to_lps(far), atol=_SAME_GRID_MM
    ):
        raise GeometryError(
            f"the tumour mask is not on the grid of series {settings.series}: {labels.array.shape[::-1]} "
            f"voxels against {image.array.shape[::-1]}, or another position or direction",
            where=where,
            fix="export the mask on the grid of the series it was drawn on, without flipping or resampling",
        )
    mask = labels.array == settings.label
    if not mask.any():
        raise InputError(f"label {settings.label} is not in the tumour mask", where=where)
    return image.like(mask), {"components": _components(mask)}


def _components(mask: Any) -> int:
    from scipy import ndimage

    return int(ndimage.label(mask)[1])


def ellipsoid_mask(settings: EllipsoidTimepoint) -> Volume:
    """The virtual ellipsoid on its own grid along patient LPS of the planning CT."""
    centre = np.asarray(settings.centre_lps_mm, dtype=np.float64)
    semi = np.asarray(settings.axes_mm, dtype=np.float64) / 2
    half = np.ceil(semi / _ELLIPSOID_GRID_MM).astype(int) + 2
    axes = [np.arange(-h, h + 1) * _ELLIPSOID_GRID_MM / s for h, s in zip(half, semi, strict=True)]
    x, y, z = axes
    inside = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 <= 1.0
    affine = np.diag([_ELLIPSOID_GRID_MM] * 3 + [1.0])
    affine[:3, 3] = centre - half * _ELLIPSOID_GRID_MM
    return Volume(inside, affine)
