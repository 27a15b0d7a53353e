"""From chosen planes to one volume in patient space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from implantflow.dicom.consistency import refuse_exceptions, refuse_missing_pieces, refuse_other_class
from implantflow.dicom.headers import Slice
from implantflow.dicom.pixels import PADDED_VALUE, check_format, read_planes, refuse_flattened
from implantflow.dicom.resample import Resampled, onto_regular_grid
from implantflow.dicom.sort import refuse_mixed_grids
from implantflow.dicom.stack import Stack, arrange
from implantflow.volumes import Volume


@dataclass(frozen=True)
class Assembled:
    """A volume with the stack it was made of.

    Attributes
    ----------
    volume : Volume
        (K, J, I) int16, HU on CT, rescaled intensity on MR; patient LPS.
    stack : Stack
    resampled : Resampled or None
        How the volume was made of an irregular stack, with the mask of what was not measured.
    value_range : (lowest, highest) voxel
    rounding : float
        Largest difference between a rescaled value and its int16 voxel.
    lossy : bool
        A plane was once compressed with loss.
    """

    volume: Volume
    stack: Stack
    resampled: Resampled | None
    value_range: tuple[int, int]
    rounding: float
    lossy: bool


def assemble(slices: Sequence[Slice], *, resample: bool = False) -> Assembled:
    """Arrange planes of one series and read their pixels.

    Parameters
    ----------
    resample : bring a tilted or unevenly spaced stack onto a regular grid instead of refusing it

    Raises
    ------
    GeometryError, InputError
        Whatever :mod:`implantflow.dicom.stack` and :mod:`implantflow.dicom.pixels` refuse.
    """
    for image in slices:
        check_format(image)
    refuse_mixed_grids(slices)
    refuse_other_class(slices)
    refuse_missing_pieces(slices)
    stack = arrange(slices, same_values, resample=resample)
    refuse_exceptions(stack.slices)
    planes = read_planes(stack.slices)
    refuse_flattened(planes, stack.slices)
    lossy = any(image.lossy for image in stack.slices)
    if stack.regular:
        volume = Volume(planes.values, stack.affine_lps)
        return Assembled(volume, stack, None, planes.value_range, planes.rounding, lossy)
    outside = PADDED_VALUE.get(stack.slices[0].modality, 0)
    resampled = onto_regular_grid(planes.values, stack, outside)
    values = resampled.volume.array
    return Assembled(
        resampled.volume, stack, resampled, (int(values.min()), int(values.max())), planes.rounding, lossy
    )


def same_values(first: Slice, second: Slice) -> bool:
    """True when two planes hold the same rescaled values."""
    return bool(np.array_equal(read_planes([first]).values, read_planes([second]).values))
