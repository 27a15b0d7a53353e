"""Headers of DICOM images: one :class:`Slice` per image plane, only listed fields, no pixels.

Nothing of a patient's identity leaves this package except through :class:`Identity`, which compares but does
not print.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implantflow.dicom.frames import frame_datasets, frames_of
from implantflow.dicom.quiet import quietly
from implantflow.errors import InputError

#: Suffixes of files that lie beside DICOM exports and are no images; anything else must be readable as DICOM.
# fmt: off
OTHER_SUFFIXES = frozenset({
    ".bin", ".bmp", ".cfg", ".css", ".csv", ".db", ".dll", ".doc", ".docx", ".exe", ".gif", ".gz", ".htm",
    ".html", ".inf", ".ini", ".jpeg", ".jpg", ".js", ".json", ".log", ".md", ".nii", ".nrrd", ".pdf", ".png",
    ".py", ".rtf", ".sha256", ".stl", ".tif", ".tiff", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml",
    ".zip",
})

#: Everything that is read of an image's header to place it and to decode it.
IMAGE_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType",
    "PatientID", "PatientBirthDate", "PatientSex", "AcquisitionNumber", "TemporalPositionIdentifier",
    "EchoTime", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows",
    "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "NumberOfFrames", "ModalityLUTSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "LossyImageCompression",
]
# fmt: on


@dataclass(frozen=True)
class Identity:
    """Who an image belongs to; shows nothing of it when printed."""

    patient_id: str = field(repr=False)
    birth_date: str = field(repr=False)
    sex: str = field(repr=False)

    def differences(self, other: Identity) -> list[str]:
        """DICOM keywords in which two identities contradict each other (an empty value never does)."""
        pairs = (
            ("PatientID", self.patient_id, other.patient_id),
            ("PatientBirthDate", self.birth_date, other.birth_date),
            ("PatientSex", self.sex, other.sex),
        )
        return [name for name, a, b in pairs if a and b and a != b]


@dataclass(frozen=True)
class PixelFormat:
    """How the stored values of a plane are laid out (DICOM PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    samples: int
    photometric: str
    transfer_syntax: str

    @property
    def bytes_per_plane(self) -> int:
        """Bytes of one uncompressed plane."""
        return self.rows * self.columns * self.samples * (self.bits_allocated // 8)


@dataclass(frozen=True)
class Slice:
    """One image plane: a file, or one frame of a multi-frame file.

    Attributes
    ----------
    path : Path
        Where it lies; only :attr:`name` may be shown.
    frame : int or None
        Zero-based frame number in a multi-frame file.
    position_mm : (x, y, z) or None
        Centre of the first pixel, patient LPS.
    orientation : six direction cosines or None
        Along a row (increasing column index), then along a column.
    spacing_mm : (between rows, between columns) or None
    padding : (low, high) or None
        Stored values that mean "no data", both ends included.
    native_offset : int or None
        Where the plane's bytes begin in the file when they are neither compressed nor swapped.
    """

    path: Path
    frame: int | None
    identity: Identity
    sop_class: str
    sop_uid: str
    series_uid: str
    frame_of_reference: str
    modality: str
    image_type: tuple[str, ...]
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    acquisition_number: str
    temporal_position: str
    echo_time: str
    instance_number: int | None
    pixels: PixelFormat
    slope: float | None
    intercept: float | None
    rescale_type: str
    padding: tuple[int, int] | None
    lossy: bool
    has_modality_lut: bool
    native_offset: int | None

    @property
    def name(self) -> str:
        """What an error may call this plane: the file's base name, with the frame where there are several."""
        return self.path.name if self.frame is None else f"{self.path.name} (frame {self.frame + 1})"


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds: image planes, damaged files with the reason, the number of other files."""

    slices: list[Slice]
    damaged: list[tuple[str, str]]
    other_files: int


def read_folder(folder: Path) -> FolderContents:
    """Read every header below ``folder``, in sorted order of paths; links to folders are not followed.

    Raises
    ------
    InputError
        The folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(
            "the DICOM folder does not exist", where=folder.name, fix="check ingest.series.*.dicom"
        )
    slices: list[Slice] = []
    damaged: list[tuple[str, str]] = []
    other = 0
    with quietly():
        for path in _files(folder):
            if path.suffix.lower() in OTHER_SUFFIXES or path.name.startswith("."):
                other += 1
                continue
            try:
                found = read_slices(path)
            except InputError as error:
                damaged.append((path.name, error.what))
                continue
            other += not found
            slices.extend(found)
    return FolderContents(slices, damaged, other)


def first_image(folder: Path, wanted: Callable[[Slice], bool]) -> Slice | None:
    """The first image below ``folder`` that ``wanted`` accepts; unreadable files are passed over."""
    with quietly():
        for path in _files(folder):
            try:
                images = read_slices(path)
            except InputError:
                continue
            for image in images:
                if wanted(image):
                    return image
    return None


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file():
                yield path


def read_slices(path: Path) -> list[Slice]:
    """The image planes of one file; empty for a DICOM object without an image (DICOMDIR, report, plan).

    Raises
    ------
    InputError
        Not DICOM, cut short, or with header values that make no sense.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as handle:
            dataset = pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=list(IMAGE_TAGS))
            syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
            extent = _pixel_extent(handle, path.stat().st_size, syntax) if "Rows" in dataset else None
    except InvalidDicomError as error:
        raise InputError("not a DICOM file", where=path.name) from error
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file provokes in the parser
        raise InputError(f"the header cannot be read ({type(error).__name__})", where=path.name) from error
    if "Rows" not in dataset:
        _refuse_cut_image(dataset, path)
        return []
    try:
        pixels = _pixel_format(dataset, syntax)
        offset = None if extent is None else _checked_offset(pixels, frames_of(dataset), extent, path)
        identity = Identity(*(_text(dataset.get(k)) for k in ("PatientID", "PatientBirthDate", "PatientSex")))
        return [
            _slice(path, identity, pixels, frame, dataset, plane, offset)
            for frame, plane in frame_datasets(dataset)
        ]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"a header value makes no sense ({type(error).__name__})", where=path.name
        ) from error


def _refuse_cut_image(dataset: Any, path: Path) -> None:
    """A file without image size is some other DICOM object, or an image cut short before its size."""
    stated = dataset.file_meta.get("MediaStorageSOPClassUID")
    found = dataset.get("SOPClassUID")
    directory = stated is not None and stated.name == "Media Storage Directory Storage"
    if stated is None or (stated != found and not directory) or "Image Storage" in stated.name:
        raise InputError("the file is cut short: its header ends too early", where=path.name)


def _pixel_extent(handle: Any, size: int, syntax: str) -> tuple[int, int] | None:
    """(offset, length) of native pixel data, None when it must be decoded; checks that it is complete.

    ``handle`` stands at the pixel data element, where pydicom stopped.
    """
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

    if syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        return None  # the decoder checks their length: zlib's own end mark, pydicom's comparison
    start = handle.tell()
    head = handle.read(12)
    if head[:4] != b"\xe0\x7f\x10\x00":
        raise InputError("the file is cut short: no pixel data", where=Path(handle.name).name)
    implicit = syntax == ImplicitVRLittleEndian
    length = int.from_bytes(head[4:8] if implicit else head[8:12], "little")
    offset = int(start) + (8 if implicit else 12)
    if length == 0xFFFFFFFF:
        _walk_fragments(handle, size, offset)
        return None
    if offset + length > size:
        raise InputError(
            f"the file is cut short: pixel data of {length} bytes announced, {max(size - offset, 0)} there",
            where=Path(handle.name).name,
        )
    return offset, length


def _walk_fragments(handle: Any, size: int, offset: int) -> None:
    """Follow the items of compressed pixel data to their end mark: decoders accept a cut stream silently."""
    while offset + 8 <= size:
        handle.seek(offset)
        head = handle.read(8)
        if head[:4] == b"\xfe\xff\xdd\xe0":
            return
        if head[:4] != b"\xfe\xff\x00\xe0":
            break
        offset += 8 + int.from_bytes(head[4:8], "little")
    raise InputError("the file is cut short inside its compressed pixel data", where=Path(handle.name).name)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, None when the tag is absent or empty."""
    if value is None or value == "":
        return None
    numbers = tuple(float(v) for v in value)
    if len(numbers) != count or not all(abs(v) < 1e7 for v in numbers):
        raise ValueError("unexpected number of values")
    return numbers


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _padding(dataset: Any) -> tuple[int, int] | None:
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [_word(v, bool(dataset.PixelRepresentation)) for v in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _word(value: Any, signed: bool) -> int:
    """A 16-bit value as the image's own signedness sees it (writers often store it with the other one)."""
    number = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value)
    if not -0x8000 <= number <= 0xFFFF:
        return number
    number &= 0xFFFF
    return number - 0x10000 if signed and number > 0x7FFF else number


def _pixel_format(dataset: Any, syntax: str) -> PixelFormat:
    return PixelFormat(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        bits_allocated=int(dataset.BitsAllocated),
        bits_stored=int(dataset.BitsStored),
        high_bit=int(dataset.HighBit),
        signed=bool(dataset.PixelRepresentation),
        samples=int(dataset.get("SamplesPerPixel", 1)),
        photometric=_text(dataset.get("PhotometricInterpretation")),
        transfer_syntax=syntax,
    )


def _checked_offset(pixels: PixelFormat, frames: int, extent: tuple[int, int], path: Path) -> int:
    offset, length = extent
    expected = pixels.bytes_per_plane * frames
    if length not in (expected, expected + expected % 2):
        raise InputError(
            f"damaged: {length} bytes of pixel data where rows, columns and bits make {expected}",
            where=path.name,
        )
    return offset


def _slice(
    path: Path,
    identity: Identity,
    pixels: PixelFormat,
    frame: int | None,
    dataset: Any,
    plane: Any,
    offset: int | None,
) -> Slice:
    slope, intercept = plane.get("RescaleSlope"), plane.get("RescaleIntercept")
    instance = dataset.get("InstanceNumber")
    return Slice(
        path=path,
        frame=frame,
        identity=identity,
        sop_class=_text(dataset.get("SOPClassUID")),
        sop_uid=_text(dataset.get("SOPInstanceUID")),
        series_uid=_text(dataset.get("SeriesInstanceUID")),
        frame_of_reference=_text(dataset.get("FrameOfReferenceUID")),
        modality=_text(dataset.get("Modality")),
        image_type=_image_type(plane.get("FrameType") or dataset.get("ImageType")),
        position_mm=_numbers(plane.get("ImagePositionPatient"), 3),
        orientation=_numbers(plane.get("ImageOrientationPatient"), 6),
        spacing_mm=_numbers(plane.get("PixelSpacing"), 2),
        acquisition_number=_text(plane.get("AcquisitionNumber")),
        temporal_position=_text(plane.get("TemporalPositionIdentifier")),
        echo_time=_text(plane.get("EchoTime")),
        instance_number=None if instance in (None, "") else int(instance),
        pixels=pixels,
        slope=None if slope in (None, "") else float(slope),
        intercept=None if intercept in (None, "") else float(intercept),
        rescale_type=_text(plane.get("RescaleType")),
        padding=_padding(dataset),
        lossy=_text(dataset.get("LossyImageCompression")) == "01",
        has_modality_lut="ModalityLUTSequence" in dataset,
        native_offset=None if offset is None else offset + (frame or 0) * pixels.bytes_per_plane,
    )


def _image_type(value: Any) -> tuple[str, ...]:
    if value in (None, ""):
        return ()
    return (value.upper(),) if isinstance(value, str) else tuple(str(v).upper() for v in value)
