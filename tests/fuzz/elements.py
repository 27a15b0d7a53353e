"""Where the elements of a file lie, found by their tags' bytes: no parser that the damage could confuse."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

#: What places, scales, decodes or groups an image: damage here is the damage that matters.
KEYWORDS = (
    "TransferSyntaxUID", "MediaStorageSOPClassUID", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "Modality", "ImageType", "PatientID", "AcquisitionNumber", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "SliceLocation", "Rows", "Columns", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue", "NumberOfFrames",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PlanePositionSequence",
    "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence", "PixelData",
)  # fmt: skip
_LONG = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"})


@dataclass(frozen=True)
class Element:
    """Byte ranges of one element; the file meta group is always explicit little endian."""

    keyword: str
    start: int
    vr: int | None
    length_at: int
    length_size: int
    value: int
    end: int


def syntax_of(data: bytes) -> str:
    """Transfer syntax UID as written in the file meta group ("" when it cannot be found)."""
    at = data.find(b"\x02\x00\x10\x00UI", 128, 2000)
    if at < 0:
        return ""
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    return data[at + 8 : at + 8 + length].rstrip(b"\0 ").decode("latin-1")


def dataset_start(data: bytes) -> int:
    """Offset of the first element after the file meta group."""
    return 144 + int.from_bytes(data[140:144], "little")


def inflate(data: bytes) -> bytes:
    """A deflated file with its data set in the clear; other files as they are."""
    if syntax_of(data) != DeflatedExplicitVRLittleEndian:
        return data
    start = dataset_start(data)
    try:
        return data[:start] + zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], 1 << 24)
    except zlib.error:
        return data


def deflate(data: bytes) -> bytes:
    """Back to a deflated file."""
    start = dataset_start(data)
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(data[start:]) + packer.flush()
    return data[:start] + packed + b"\0" * (len(packed) % 2)


def find(data: bytes, keyword: str) -> list[Element]:
    """Every place where ``keyword`` stands, nested ones too, in a file whose data set is not deflated."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    syntax = syntax_of(data)
    meta = tag >> 16 == 2
    order = "big" if syntax == ExplicitVRBigEndian and not meta else "little"
    implicit = syntax == ImplicitVRLittleEndian and not meta
    pattern = (tag >> 16).to_bytes(2, order) + (tag & 0xFFFF).to_bytes(2, order)
    found, at = [], data.find(pattern, 132)
    # The same bytes may stand in the pixels by chance.
    end = len(data) if keyword == "PixelData" else _pixels_from(data)
    while 0 <= at < end:
        element = _element(data, keyword, at, implicit, order)
        if element is not None:
            found.append(element)
        at = data.find(pattern, at + 4)
    return found


def _pixels_from(data: bytes) -> int:
    element = pixel_element(data)
    return element.start if element else len(data)


def _element(data: bytes, keyword: str, at: int, implicit: bool, order: str) -> Element | None:
    vr = None if implicit else data[at + 4 : at + 6]
    if vr is not None and not (vr.isalpha() and vr.isupper()):
        return None
    if vr is None:
        length_at, size = at + 4, 4
    elif vr in _LONG:
        length_at, size = at + 8, 4
    else:
        length_at, size = at + 6, 2
    length = int.from_bytes(data[length_at : length_at + size], order)  # type: ignore[arg-type]
    value = length_at + size
    end = len(data) if length == 0xFFFFFFFF else min(len(data), value + length)
    return Element(keyword, at, None if vr is None else at + 4, length_at, size, value, end)


def pixel_element(data: bytes) -> Element | None:
    """The last pixel data element of a file."""
    found = find(data, "PixelData")
    return found[-1] if found else None
