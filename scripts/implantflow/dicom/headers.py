"""Headers of DICOM images: one :class:`Slice` per image plane, only listed fields, no pixels.

Nothing of a patient's identity leaves this package except through :class:`Identity`, which compares but does
not print.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implantflow.dicom import vocabulary
from implantflow.dicom.frames import frame_datasets, frames_of
from implantflow.dicom.parse import read_header
from implantflow.dicom.shown import shown_name
from implantflow.errors import InputError

#: Transfer syntaxes that always lose something (JPEG baseline and extended, JPEG-LS near-lossless), and those that may
#: (JPEG 2000, JPEG 2000 part 2, high-throughput JPEG 2000, JPEG XL).
_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81))
MAY_LOSE = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (91, 93, 112, 203))


@dataclass(frozen=True)
class Identity:
    """Who an image belongs to; shows nothing of it when printed."""

    patient_id: str = field(repr=False)
    birth_date: str = field(repr=False)
    sex: str = field(repr=False)

    def differences(self, other: Identity) -> list[str]:
        """DICOM keywords in which two identities contradict each other (an empty value never does)."""
        return [name for name, a, b in self._pairs(other) if a and b and a != b]

    def in_common(self, other: Identity) -> list[str]:
        """DICOM keywords of which both state the same."""
        return [name for name, a, b in self._pairs(other) if a and a == b]

    def _pairs(self, other: Identity) -> tuple[tuple[str, str, str], ...]:
        return (
            ("PatientID", self.patient_id, other.patient_id),
            ("PatientBirthDate", self.birth_date, other.birth_date),
            ("PatientSex", self.sex, other.sex),
        )

    def filled_by(self, other: Identity) -> Identity:
        """This identity, with what it leaves empty taken from ``other``.

        Compared with a chain of these, a third patient cannot hide behind a first image that names nobody.
        """
        return Identity(
            self.patient_id or other.patient_id, self.birth_date or other.birth_date, self.sex or other.sex
        )


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
    concatenation, concatenation_total : UID of the object that this file is one piece of, and its number of pieces;
        "" and 0 for a file that is whole (PS3.3 C.7.6.16.2.2.4).
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
    stack_id: str
    kernel: str
    concatenation: str
    concatenation_total: int
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
        name = shown_name(self.path)
        return name if self.frame is None else f"{name} (frame {self.frame + 1})"


def read_slices(path: Path) -> list[Slice]:
    """The image planes of one file; empty for a DICOM object without an image (DICOMDIR, report, plan).

    Raises
    ------
    InputError
        Not DICOM, cut short, or with header values that make no sense.
    """
    try:
        header = read_header(path)
        if header is None:
            return []
        values = header.values
        _refuse_two_classes(header.stated_class, values)
        pixels = _pixel_format(values, header.syntax)
        offset = None
        if header.extent is not None:
            offset = _checked_offset(pixels, frames_of(values), header.extent)
        offset = offset if header.in_place else None
        identity = Identity(*(_text(values.get(k)) for k in ("PatientID", "PatientBirthDate", "PatientSex")))
        return [
            _slice(path, identity, pixels, frame, values, plane, offset)
            for frame, plane in frame_datasets(values)
        ]
    except InputError as error:
        error.where = shown_name(path)
        raise
    except Exception as error:
        raise InputError(
            f"a header value makes no sense ({type(error).__name__})", where=shown_name(path)
        ) from error


def _refuse_two_classes(stated: str, values: Mapping[str, Any]) -> None:
    """The file's meta group and its data set must say the same of what it is (PS3.10 7.1)."""
    found = _text(values.get("SOPClassUID"))
    if stated and stated != found:
        raise InputError("damaged: its two statements of what kind of object it is differ")


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


def _padding(dataset: Mapping[str, Any]) -> tuple[int, int] | None:
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    signed = bool(dataset["PixelRepresentation"])
    ends = [_word(v, signed) for v in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _word(value: Any, signed: bool) -> int:
    """A 16-bit value as the image's own signedness sees it (writers often store it with the other one)."""
    number = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value)
    if not -0x8000 <= number <= 0xFFFF:
        return number
    number &= 0xFFFF
    return number - 0x10000 if signed and number > 0x7FFF else number


def _pixel_format(dataset: Mapping[str, Any], syntax: str) -> PixelFormat:
    return PixelFormat(
        rows=int(dataset["Rows"]),
        columns=int(dataset["Columns"]),
        bits_allocated=int(dataset["BitsAllocated"]),
        bits_stored=int(dataset["BitsStored"]),
        high_bit=int(dataset["HighBit"]),
        signed=bool(dataset["PixelRepresentation"]),
        samples=int(dataset.get("SamplesPerPixel", 1)),
        photometric=vocabulary.photometric(_text(dataset.get("PhotometricInterpretation"))),
        transfer_syntax=syntax,
    )


def _checked_offset(pixels: PixelFormat, frames: int, extent: tuple[int, int]) -> int:
    offset, length = extent
    expected = pixels.bytes_per_plane * frames
    if length not in (expected, expected + expected % 2):
        raise InputError(
            f"damaged: {length} bytes of pixel data where rows, columns and bits make {expected}"
        )
    return offset


def _slice(
    path: Path,
    identity: Identity,
    pixels: PixelFormat,
    frame: int | None,
    dataset: Mapping[str, Any],
    plane: Mapping[str, Any],
    offset: int | None,
) -> Slice:
    slope, intercept = plane.get("RescaleSlope"), plane.get("RescaleIntercept")
    kernel = plane.get("ConvolutionKernel")
    instance = dataset.get("InstanceNumber")
    return Slice(
        path=path,
        frame=frame,
        identity=identity,
        sop_class=_text(dataset.get("SOPClassUID")),
        sop_uid=_text(dataset.get("SOPInstanceUID")),
        series_uid=_text(dataset.get("SeriesInstanceUID")),
        frame_of_reference=_text(dataset.get("FrameOfReferenceUID")),
        modality=vocabulary.modality(_text(dataset.get("Modality"))),
        image_type=vocabulary.image_type(_image_type(plane.get("FrameType") or dataset.get("ImageType"))),
        position_mm=_numbers(plane.get("ImagePositionPatient"), 3),
        orientation=_numbers(plane.get("ImageOrientationPatient"), 6),
        spacing_mm=_numbers(plane.get("PixelSpacing"), 2),
        acquisition_number=vocabulary.number(_text(plane.get("AcquisitionNumber"))),
        temporal_position=vocabulary.number(_text(plane.get("TemporalPositionIdentifier"))),
        echo_time=vocabulary.number(_text(plane.get("EchoTime"))),
        stack_id=vocabulary.number(_text(plane.get("StackID"))),
        kernel=vocabulary.kernel(
            _text(kernel if kernel is None or isinstance(kernel, str) else "\\".join(kernel))
        ),
        concatenation=_text(dataset.get("ConcatenationUID")),
        concatenation_total=int(dataset.get("InConcatenationTotalNumber") or 0),
        instance_number=None if instance in (None, "") else int(instance),
        pixels=pixels,
        slope=None if slope in (None, "") else float(slope),
        intercept=None if intercept in (None, "") else float(intercept),
        rescale_type=vocabulary.rescale_type(_text(plane.get("RescaleType"))),
        padding=_padding(dataset),
        lossy=_text(dataset.get("LossyImageCompression")) == "01" or pixels.transfer_syntax in _LOSSY,
        has_modality_lut="ModalityLUTSequence" in dataset,
        native_offset=None if offset is None else offset + (frame or 0) * pixels.bytes_per_plane,
    )


def _image_type(value: Any) -> tuple[str, ...]:
    if value in (None, ""):
        return ()
    return (value.upper(),) if isinstance(value, str) else tuple(str(v).upper() for v in value)
