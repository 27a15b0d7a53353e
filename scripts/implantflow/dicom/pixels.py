"""Stored values of one image plane, and the rescaled values they stand for."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.dicom.headers import PixelFormat, Slice
from implantflow.dicom.quiet import quietly
from implantflow.dicom.rle import refuse_ragged
from implantflow.errors import InputError

#: What "no data" becomes: air on CT (HU), no signal on MR.
PADDED_VALUE = {"CT": -1024, "MR": 0}

#: Reading and rescaling wait for memory more than they compute; more threads than this gain nothing.
_THREADS = 2

#: Compressed planes may claim this many bytes in any case, and more than that up to the ratio to their files.
_CLAIMED_MIN = 64 << 20
_CLAIMED_RATIO = 100

#: Rescaled values that had to be rounded and span less than this are no image: a slice of a person spans hundreds.
_FEWEST_LEVELS = 50

#: What tissue, bone and the metal of implants measure on CT (HU); padding means nothing there.
_TISSUE_HU = (-200.0, 3000.0)

_RLE = "1.2.840.10008.1.2.5"

Words = NDArray[np.uint16]


@dataclass(frozen=True)
class Planes:
    """Rescaled planes.

    Attributes
    ----------
    values : (N, rows, columns) int16
    value_range : (lowest, highest) of them, padding included
    rounding : largest rounding that int16 cost, in rescaled units (0 for whole slopes and intercepts)
    """

    values: NDArray[np.int16]
    value_range: tuple[int, int]
    rounding: float


def check_format(image: Slice) -> None:
    """Refuse pixel formats whose values would have to be guessed.

    Raises
    ------
    InputError
        Colour, inverted or 32-bit data, a modality look-up table, CT without rescale or not in HU, a slope of 0, a
        rescale that is no number.
    """
    pixels = image.pixels
    problems = []
    if pixels.samples != 1 or pixels.photometric != "MONOCHROME2":
        problems.append(f"photometric interpretation '{pixels.photometric}' is not MONOCHROME2")
    if pixels.bits_allocated not in (8, 16):
        problems.append(f"{pixels.bits_allocated} bits a pixel; 8 or 16 are read")
    elif not 1 <= pixels.bits_stored <= pixels.high_bit + 1 <= pixels.bits_allocated:
        problems.append(
            f"{pixels.bits_stored} bits stored with high bit {pixels.high_bit} in {pixels.bits_allocated}"
        )
    if image.has_modality_lut:
        problems.append("values go through a modality look-up table")
    if image.modality == "CT":
        if image.slope is None or image.intercept is None:
            problems.append("CT without rescale slope and intercept: Hounsfield units cannot be known")
        if image.rescale_type not in ("", "HU"):
            problems.append(f"CT rescaled to '{image.rescale_type}', not to HU")
    if image.slope == 0:
        problems.append("the rescale slope is 0")
    if not all(math.isfinite(value or 0.0) for value in (image.slope, image.intercept)):
        problems.append("the rescale slope or intercept is no finite number")
    if problems:
        raise InputError("; ".join(problems), where=image.name, fix="export the original series again")


def read_planes(slices: Sequence[Slice]) -> Planes:
    """Rescaled values of planes that share a size, in their order.

    Raises
    ------
    InputError
        The pixel data cannot be decoded, or a value does not fit 16 bits.
    """
    first = slices[0].pixels
    _refuse_bomb(slices)
    words = np.empty((len(slices), first.rows, first.columns), dtype=np.uint16)
    encoded = [n for n, image in enumerate(slices) if not _is_plain(image)]
    decoder = _Decoder()
    for n in encoded:
        decoder.read(slices[n], words[n])

    def finish(n: int) -> tuple[int, int, float]:
        if _is_plain(slices[n]):
            _read_plain(slices[n], words[n])
        return rescale(slices[n], words[n])

    # Each plane is written by one thread alone: the same bytes whatever their order.
    with ThreadPoolExecutor(_THREADS) as pool:
        low, high, rounding = zip(*pool.map(finish, range(len(slices))), strict=True)
    return Planes(words.view(np.int16), (min(low), max(high)), max(rounding))


def refuse_flattened(planes: Planes, slices: Sequence[Slice]) -> None:
    """Refuse planes whose values, once whole numbers, are so few that the image is lost (a slope far below 1).

    Raises
    ------
    InputError
        Values had to be rounded, and all of them lie within :data:`_FEWEST_LEVELS`.
    """
    low, high = planes.value_range
    if planes.rounding and high - low < _FEWEST_LEVELS:
        raise InputError(
            f"the rescaled values lie between {low} and {high}: as whole numbers they would be no image any more",
            where=slices[0].name,
            fix="export the series again with the scanner's own rescale slope and intercept",
        )


def _refuse_bomb(slices: Sequence[Slice]) -> None:
    """Refuse compressed planes that claim to grow far beyond what images do, before room is made for them."""
    claimed = sum(image.pixels.rows * image.pixels.columns * 2 for image in slices)
    if claimed <= _CLAIMED_MIN:
        return
    there = sum(path.stat().st_size for path in {image.path for image in slices})
    if claimed > _CLAIMED_RATIO * there:
        raise InputError(
            f"{claimed >> 20} MB of pixels claimed by {there >> 10} KB of files: no image is compressed so far",
            where=slices[0].name,
            fix="fetch the series again",
        )


def _is_plain(image: Slice) -> bool:
    return image.native_offset is not None and image.pixels.bits_allocated == 16


def _read_plain(image: Slice, out: Words) -> None:
    """Fill ``out`` (rows, columns) uint16 with stored words that lie in the file as they are."""
    assert image.native_offset is not None
    handle = os.open(image.path, os.O_RDONLY)
    try:
        got = os.preadv(handle, [out.reshape(-1).view(np.uint8).data], image.native_offset)
    finally:
        os.close(handle)
    if got != out.nbytes:
        raise InputError("the file is cut short inside its pixel data", where=image.name)


class _Decoder:
    """Decodes planes; of a file with several frames it keeps the data set, so that it is read once."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._dataset: Any = None

    def read(self, image: Slice, out: Words) -> None:
        """Fill ``out`` (rows, columns) uint16 with the stored words of ``image``, bits as they are."""
        decoded = self._decode(image)
        if decoded.shape != out.shape:
            raise InputError(f"decoded to {decoded.shape}, the header says {out.shape}", where=image.name)
        out[...] = decoded.astype(np.int32).astype(np.uint16)

    def _decode(self, image: Slice) -> NDArray[Any]:
        import pydicom
        from pydicom.pixels.utils import pixel_array

        try:
            with quietly():
                if image.path != self._path:
                    self._path, self._dataset = image.path, pydicom.dcmread(image.path)
                if image.pixels.transfer_syntax == _RLE:
                    self._refuse_ragged(image)
                decoded: NDArray[Any] = pixel_array(self._dataset, raw=True, index=image.frame or 0)
        except (KeyboardInterrupt, SystemExit):
            raise
        except InputError as error:
            error.where = image.name
            raise
        except BaseException as error:  # each decoder has errors of its own, one even outside of Exception
            raise InputError(
                f"the pixel data cannot be decoded ({type(error).__name__})",
                where=image.name,
                fix="export the series again, uncompressed if the transfer syntax is unusual",
            ) from error
        return decoded

    def _refuse_ragged(self, image: Slice) -> None:
        from pydicom.encaps import get_frame

        pixels, dataset = image.pixels, self._dataset
        count = int(dataset.get("NumberOfFrames") or 1)
        frame = get_frame(dataset.PixelData, image.frame or 0, number_of_frames=count)
        refuse_ragged(frame, pixels.rows * pixels.columns, pixels.bits_allocated // 8)


def rescale(image: Slice, words: Words) -> tuple[int, int, float]:
    """Turn stored words into rescaled int16 values, in place.

    Parameters
    ----------
    image : Slice
        Says which bits count, what is padding, and slope and intercept of this very plane.
    words : (rows, columns) uint16
        As stored; afterwards its bytes are the int16 result (view it as int16).

    Returns
    -------
    lowest, highest, rounding : as :class:`Planes` has them, of this plane

    Raises
    ------
    InputError
        A rescaled value does not fit 16 bits, or padding has a value that tissue has.
    """
    pixels = image.pixels
    padded = _padding_mask(image, words.view(np.int16) if pixels.signed else words, outside=True)
    _keep_stored_bits(pixels, words)
    values: NDArray[Any] = words.view(np.int16) if pixels.signed else words
    if padded is None:
        padded = _padding_mask(image, values, outside=False)
        if padded is not None:
            _refuse_padding_of_tissue(image)
    if padded is not None:
        values[padded] = 0  # not to be counted in the range check; overwritten below
    slope = 1.0 if image.slope is None else image.slope
    intercept = 0.0 if image.intercept is None else image.intercept
    ends = sorted(float(v) * slope + intercept for v in (values.min(), values.max()))
    if ends[0] < -32768 or ends[1] > 32767:
        raise InputError(
            f"rescaled values from {ends[0]:.6g} to {ends[1]:.6g} do not fit 16 bits",
            where=image.name,
            fix="export the series again with the scanner's own rescale slope and intercept",
        )
    result = words.view(np.int16)
    rounding = 0.0
    if slope == 1 and intercept == round(intercept):
        # 16-bit words wrap around, and the range check above has shown that the sum itself fits.
        np.add(words, np.uint16(int(intercept) & 0xFFFF), out=words)
    else:
        exact = values * slope + intercept
        rounded = np.rint(exact)
        rounding = float(np.abs(exact - rounded).max())
        result[...] = rounded.astype(np.int16)
    if padded is not None:
        result[padded] = PADDED_VALUE.get(image.modality, 0)
        return int(result.min()), int(result.max()), rounding
    return round(ends[0]), round(ends[1]), rounding


def _keep_stored_bits(pixels: PixelFormat, words: Words) -> None:
    """Drop what lies outside the stored bits (overlays, garbage) and extend the sign, in place."""
    shift = pixels.high_bit + 1 - pixels.bits_stored
    if shift:
        np.right_shift(words, np.uint16(shift), out=words)
    if pixels.bits_stored < 16:
        np.bitwise_and(words, np.uint16((1 << pixels.bits_stored) - 1), out=words)
        if pixels.signed:
            sign = np.uint16(1 << (pixels.bits_stored - 1))
            np.bitwise_xor(words, sign, out=words)
            np.subtract(words, sign, out=words)


def _refuse_padding_of_tissue(image: Slice) -> None:
    """Refuse CT whose padding has Hounsfield units of tissue: a voxel of that value may be either.

    Only padding that occurs counts, and only values that the stored bits can hold: others are never measured.
    """
    if image.modality != "CT" or image.padding is None:
        return
    assert image.slope is not None and image.intercept is not None
    low, high = sorted(value * image.slope + image.intercept for value in image.padding)
    if low < _TISSUE_HU[1] and high > _TISSUE_HU[0]:
        shown = f"{low:g} HU" if low == high else f"{low:g} to {high:g} HU"
        raise InputError(
            f"the header calls voxels of {shown} padding, and there are some: tissue has such values too, which would "
            "become air",
            where=image.name,
            fix="export the series again, or correct PixelPaddingValue at its source",
        )


def _padding_mask(image: Slice, values: NDArray[Any], *, outside: bool) -> NDArray[np.bool_] | None:
    """Where ``values`` are padding; None when there is none.

    A padding value that the stored bits cannot hold (-2000 beside 12-bit data, say) is sought in the whole
    word (``outside``), any other in the stored bits alone.
    """
    if image.padding is None:
        return None
    low, high = image.padding
    bits = image.pixels.bits_stored
    floor = -(1 << (bits - 1)) if image.pixels.signed else 0
    fits = floor <= low and high < floor + (1 << bits)
    if fits == outside:
        return None
    mask: NDArray[np.bool_] = (values >= low) & (values <= high)
    return mask if mask.any() else None
