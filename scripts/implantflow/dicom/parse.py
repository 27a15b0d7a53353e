"""The listed elements of one image file: from its first bytes where it is plain, else by the parser.

A plain file is what most scanners and archives write: little endian, uncompressed, elements in order and of stated
length up to the pixel data, which end the file. pydicom takes ten times as long for it and finds the same
(tests/ingest/test_plain_headers.py); whatever is not plain is left to pydicom, so that both mean the same.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from implantflow.dicom.extent import opened, pixel_extent
from implantflow.dicom.values import converted, encodings, header_values, keyword_of
from implantflow.errors import InputError

# fmt: off
#: Everything that is read of an image's header to place it and to decode it.
IMAGE_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType",
    "PatientID", "PatientBirthDate", "PatientSex", "AcquisitionNumber", "TemporalPositionIdentifier",
    "EchoTime", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows",
    "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "NumberOfFrames", "ModalityLUTSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "LossyImageCompression", "ConvolutionKernel", "ConcatenationUID",
    "InConcatenationTotalNumber",
]
# fmt: on

_DIRECTORY = "Media Storage Directory Storage"

#: Plain headers are shorter than this.
_HEAD = 32 << 10
_PIXELS = 0x7FE00010
_FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
_CHARSET = 0x00080005
_STATED_CLASS = 0x00020002
_STATED_SYNTAX = 0x00020010
#: Transfer syntaxes of plain files as the meta group writes them, and whether they leave out representations.
_PLAIN: dict[tuple[str | None, bytes], tuple[str, bool]] = {
    ("UI", b"1.2.840.10008.1.2\0"): ("1.2.840.10008.1.2", True),
    ("UI", b"1.2.840.10008.1.2.1\0"): ("1.2.840.10008.1.2.1", False),
}


@dataclass(frozen=True)
class Header:
    """What was read of an image file.

    Attributes
    ----------
    values : DICOM keyword -> value, of the elements of :data:`IMAGE_TAGS` that are there
    stated_class : what the meta group says the object is
    syntax : UID of the transfer syntax
    extent : (offset, length) of the pixel data, None when they are compressed
    in_place : the pixel data lie in the file as they are in memory, at ``extent``
    """

    values: Mapping[str, Any]
    stated_class: str
    syntax: str
    extent: tuple[int, int] | None
    in_place: bool


def read_header(path: Path) -> Header | None:
    """The header of one image; None for a DICOM object without an image (DICOMDIR, report, plan).

    Raises
    ------
    InputError
        Not DICOM, or cut short.
    """
    return plain_header(path) or _parsed(path)


def plain_header(path: Path) -> Header | None:
    """The header of a plain file, None when anything about it is otherwise."""
    try:
        with path.open("rb", buffering=0) as handle:
            head = handle.read(_HEAD)
            size = os.fstat(handle.fileno()).st_size
        return _walked(head, size) if head[128:132] == b"DICM" else None
    except Exception:  # a header that ends too early, a value that makes no sense: the parser says which
        return None


def _walked(head: bytes, size: int) -> Header | None:
    short, long = _representations()
    wanted, sequences = _image_tags()
    found: dict[int, tuple[str | None, bytes]] = {}
    syntax, implicit = "", False
    at, last = 132, 0
    while True:
        group, element, code, length = _EXPLICIT(head, at)
        tag = group << 16 | element
        if tag <= last or group == 0xFFFE:
            return None
        if group != 2 and not syntax:
            syntax, implicit = _PLAIN[found.pop(_STATED_SYNTAX)]
            if implicit and code.isalpha() and code.isupper():
                return None  # it looks explicit after all
        last = tag
        if implicit and group != 2:
            vr, length, start = None, _LENGTH(head, at + 4)[0], at + 8
        elif code in short:
            vr, start = short[code], at + 8
        else:
            vr, length, start = long[code], _LENGTH(head, at + 8)[0], at + 12
        if tag == _PIXELS:
            break
        at = start + length
        if at > len(head) or tag in _FLOAT_PIXELS:
            return None
        if tag in wanted:
            if vr == "SQ" or tag in sequences:
                return None
            found[tag] = (vr, head[start:at])
    # An odd length is left to the parser's checks, as is whatever follows the pixel data.
    if not syntax or start + length != size or (vr is not None and vr not in ("OB", "OW")):
        return None
    charset = encodings(*found.pop(_CHARSET, (None, None)), implicit)
    stated = found.pop(_STATED_CLASS, None)
    values = {
        keyword_of(tag): converted(tag, vr, value, implicit, True, charset)
        for tag, (vr, value) in found.items()
    }
    if "Rows" not in values:
        return None
    stated_class = "" if stated is None else converted(_STATED_CLASS, *stated, False, True, ())
    return Header(values, str(stated_class), syntax, (start, length), in_place=True)


_EXPLICIT = struct.Struct("<HH2sH").unpack_from
_LENGTH = struct.Struct("<L").unpack_from


@cache
def _representations() -> tuple[dict[bytes, str], dict[bytes, str]]:
    """Value representations with lengths of two and of four bytes."""
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

    found = [
        {str(vr).encode(): str(vr) for vr in group}
        for group in (EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32)
    ]
    return found[0], found[1]


@cache
def _image_tags() -> tuple[frozenset[int], frozenset[int]]:
    """Tags that :func:`_walked` keeps, and those of them that are sequences."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    listed = [int(tag) for keyword in IMAGE_TAGS if (tag := tag_for_keyword(keyword)) is not None]
    sequences = frozenset(tag for tag in listed if dictionary_VR(tag) == "SQ")
    return frozenset([*listed, _CHARSET, _STATED_CLASS, _STATED_SYNTAX]), sequences


def _parsed(path: Path) -> Header | None:
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ExplicitVRBigEndian

    try:
        handle, size, inflated = opened(path)
        with handle:
            dataset = pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=_listed())
            syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
            extent = pixel_extent(handle, size, syntax) if "Rows" in dataset else None
    except InvalidDicomError as error:
        raise InputError("not a DICOM file") from error
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file provokes in the parser
        raise InputError(f"the header cannot be read ({type(error).__name__})") from error
    if "Rows" not in dataset:
        _refuse_cut_image(dataset)
        return None
    stated = str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    in_place = not inflated and syntax != ExplicitVRBigEndian
    return Header(header_values(dataset), stated, syntax, extent, in_place)


@cache
def _listed() -> list[Any]:
    """:data:`IMAGE_TAGS` as numbers: looking the names up again for every file takes longer than reading it."""
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in IMAGE_TAGS]


def _refuse_cut_image(dataset: Any) -> None:
    """A file without image size is some other DICOM object, or an image cut short before its size."""
    from pydicom.uid import UID

    try:
        stated = str(getattr(dataset.file_meta, "MediaStorageSOPClassUID", ""))
        found = str(getattr(dataset, "SOPClassUID", ""))
    except Exception:  # a damaged element; what the file is cannot be told
        stated = found = ""
    kind = UID(stated).name
    if not stated or (stated != found and kind != _DIRECTORY) or "Image Storage" in kind:
        raise InputError("the file is cut short: its header ends too early")
