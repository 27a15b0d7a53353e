"""Tumour masks that are given: outlined in another program, or a virtual ellipsoid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from implantflow.config.tumour import EllipsoidTimepoint, MaskTimepoint
from implantflow.errors import GeometryError, InputError
from implantflow.foreign.read import labels_on, read_foreign
from implantflow.tumour.orientation import refuse_turned
from implantflow.volumes import Volume

#: Grid of a virtual ellipsoid.
_ELLIPSOID_GRID_MM = 0.5


def read_mask(settings: MaskTimepoint, image: Volume) -> tuple[Volume, dict[str, Any]]:
    """The outlined tumour, on the grid of its series.

    Raises
    ------
    InputError
        The file is missing, or the label is not in it.
    GeometryError
        The label map is on another grid than the series (mirrored, shifted, resampled), or a mirrored or permuted
        copy of it follows the image's edges clearly better.
    """
    where = f"tumour.timepoints.{settings.name}.file"
    try:
        foreign = read_foreign(Path(settings.file))
        labels, how = labels_on(foreign, image, resample=False)
    except (InputError, GeometryError) as error:
        raise type(error)(
            f"the tumour mask cannot be used: {error.what}", where=where, fix=error.fix
        ) from error
    mask = labels == settings.label
    if not mask.any():
        raise InputError(f"label {settings.label} is not in the tumour mask", where=where)
    # On the file's own grid: a program that flips voxels flips them there.
    drawn = foreign.volume.like(foreign.volume.array == settings.label)
    fit = refuse_turned(drawn, image, where)
    return image.like(mask), {"components": _components(mask), "placed": how, "orientation": fit.as_json()}


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
