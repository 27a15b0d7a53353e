"""From chosen planes to one volume in patient space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from implantflow.dicom.headers import Slice
from implantflow.dicom.pixels import check_format, read_words, rescale
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
    rounding : float
        Largest difference between a rescaled value and its int16 voxel.
    lossy : bool
        A plane was once compressed with loss.
    """

    volume: Volume
    stack: Stack
    rounding: float
    lossy: bool


def assemble(slices: Sequence[Slice]) -> Assembled:
    """Arrange planes of one series and read their pixels.

    Raises
    ------
    GeometryError, InputError
        Whatever :mod:`implantflow.dicom.stack` and :mod:`implantflow.dicom.pixels` refuse.
    """
    for image in slices:
        check_format(image)
    refuse_mixed_grids(slices)
    stack = arrange(slices, same_values)
    first = stack.slices[0].pixels
    words = np.empty((len(stack.slices), first.rows, first.columns), dtype=np.uint16)
    rounding = 0.0
    for plane, image in zip(words, stack.slices, strict=True):
        read_words(image, plane)
        rounding = max(rounding, rescale(image, plane))
    lossy = any(image.lossy for image in stack.slices)
    return Assembled(Volume(words.view(np.int16), stack.affine_lps), stack, rounding, lossy)


def same_values(first: Slice, second: Slice) -> bool:
    """True when two planes hold the same rescaled values."""
    planes = []
    for image in (first, second):
        words = np.empty((image.pixels.rows, image.pixels.columns), dtype=np.uint16)
        read_words(image, words)
        rescale(image, words)
        planes.append(words)
    return bool(np.array_equal(planes[0], planes[1]))
