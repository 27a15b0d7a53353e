"""Whether a run-length coded frame is whole: decoders fill or drop what a damaged length shifted."""

from __future__ import annotations

import struct

import numpy as np

from implantflow.errors import InputError

_HEADER = 64
#: Segments are padded to an even length, and some writers end them with a code that does nothing (128).
_PADDING = (0, 128)


def refuse_ragged(frame: bytes, pixels: int, bytes_per_pixel: int) -> None:
    """Refuse a frame whose segments do not decode to one byte of every pixel each, to their ends.

    Parameters
    ----------
    frame : as in the file, with its header of 64 bytes
    pixels : rows times columns
    bytes_per_pixel : 1 or 2; each has a segment of its own

    Raises
    ------
    InputError
        Another number of segments, too few or too many bytes in one, or something left over.
    """
    from implantflow.dicom.rle_kernels import walk

    if len(frame) < _HEADER:
        raise InputError("its run-length coded pixel data are cut short")
    count, *offsets = struct.unpack("<16I", frame[:_HEADER])
    if count != bytes_per_pixel:
        raise InputError(f"its run-length coded pixel data have {count} segments, not {bytes_per_pixel}")
    data = np.frombuffer(frame, dtype=np.uint8)
    ends = [*offsets[1:count], len(frame)]
    for start, end in zip(offsets[:count], ends, strict=True):
        segment = data[start:end]
        made, used = walk(segment, pixels)
        if made != pixels or used > len(segment) or not np.isin(segment[used:], _PADDING).all():
            raise InputError(
                "its run-length coded pixel data do not fill the image exactly: a length is damaged"
            )
