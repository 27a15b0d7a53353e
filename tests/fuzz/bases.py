"""The good series that are damaged: small, of every kind the reader takes, made here with pydicom."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

ROWS, COLUMNS, SLICES = 36, 40, 6
SPACING = (0.8, 0.7)
STEP_MM = 1.5
UID = "1.2.826.0.1.3680043.8.498.77"
SERIES_UID = f"{UID}.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.98480775, 0.17364818, 0.0, -0.15038373, 0.85286853, 0.5)

COMPRESSED = frozenset({RLELossless, JPEG2000Lossless, JPEGLSLossless})


@dataclass(frozen=True)
class Base:
    """One series as files.

    Attributes
    ----------
    files : name -> bytes
    syntax : transfer syntax UID of all files
    """

    name: str
    files: dict[str, bytes]
    syntax: str

    @property
    def compressed(self) -> bool:
        """Whether the pixel data are a compressed stream."""
        return self.syntax in COMPRESSED


def _values(number: int) -> np.ndarray:
    """Stored 12-bit values of one plane: a gradient, a bright square, noise that makes every voxel its own."""
    rng = np.random.default_rng(1000 + number)
    j, i = np.mgrid[:ROWS, :COLUMNS]
    plane = 900 + 6 * i + 4 * j + 20 * number + rng.integers(0, 40, (ROWS, COLUMNS))
    plane[6:12, 8:15] += 700
    plane[:, :2] = 24
    return np.asarray(plane, dtype=np.uint16)


def _position(number: int, orientation: tuple[float, ...]) -> list[str]:
    normal = np.cross(orientation[:3], orientation[3:])
    place = np.array([-93.7, -121.4, 408.25]) + number * STEP_MM * normal
    return [f"{v:.6f}" for v in place]


def _plane(number: int, *, modality: str, orientation: tuple[float, ...], signed: bool) -> Dataset:
    ds: Any = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    ds.SOPInstanceUID = f"{SERIES_UID}.{number + 1}"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    ds.StudyDate = ds.SeriesDate = "20240517"
    ds.Modality, ds.Manufacturer = modality, "fuzz"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "F^Z", "FZ1", "19610203", "F"
    ds.SliceThickness, ds.SpacingBetweenSlices = STEP_MM, STEP_MM
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{UID}.9", SERIES_UID
    ds.FrameOfReferenceUID = f"{UID}.8"
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 3, 1, number + 1
    ds.ImagePositionPatient = _position(number, orientation)
    ds.ImageOrientationPatient = [f"{v:.8f}" for v in orientation]
    ds.SliceLocation = f"{number * STEP_MM:.3f}"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.PixelSpacing = ROWS, COLUMNS, list(SPACING)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    values = _values(number)
    if modality == "CT":
        ds.KVP, ds.ConvolutionKernel, ds.ReconstructionDiameter = 120, "B40s", 28.0
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
        ds.PixelPaddingValue = 24
    else:
        ds.RepetitionTime, ds.EchoTime = 600, 12
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "2.5", "US"
    if signed:
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 15, 1
        ds.RescaleIntercept = "0"
        ds.PixelPaddingValue = -1000
        values = (values.astype(np.int32) - 1024).astype(np.int16)
    ds.PixelData = values.tobytes()
    return ds


def _enhanced(planes: list[Dataset]) -> Dataset:
    """One multi-frame CT, frames not in the order of their places."""
    order = [3, 0, 5, 1, 4, 2]
    ds: Any = Dataset()
    ds.update(planes[0])
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID = EnhancedCTImageStorage
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ds.PixelSpacing, STEP_MM
    measures.SpacingBetweenSlices = STEP_MM
    orientation.ImageOrientationPatient = ds.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for index in order:
        position, content, value, item = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = planes[index].ImagePositionPatient
        content.FrameAcquisitionNumber, content.DimensionIndexValues = 1, [1, index + 1]
        value.RescaleIntercept, value.RescaleSlope, value.RescaleType = "-1024", "1", "HU"
        item.FrameContentSequence, item.PlanePositionSequence = [content], [position]
        item.PixelValueTransformationSequence = [value]
        groups.append(item)
    ds.PerFrameFunctionalGroupsSequence = groups
    for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleIntercept", "RescaleSlope",
        "RescaleType", "SliceLocation", "SpacingBetweenSlices", "SliceThickness",
    ):  # fmt: skip
        delattr(ds, keyword)
    ds.NumberOfFrames = len(order)
    ds.PixelData = b"".join(bytes(planes[index].PixelData) for index in order)
    return ds


def _bytes(ds: Any, syntax: str) -> bytes:
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = syntax if syntax not in COMPRESSED else ExplicitVRLittleEndian
    if syntax in COMPRESSED:
        ds.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


#: Name -> (transfer syntax, modality, orientation, signed, multi-frame).
KINDS: dict[str, tuple[str, str, tuple[float, ...], bool, bool]] = {
    "ct_explicit": (ExplicitVRLittleEndian, "CT", AXIAL, False, False),
    "ct_oblique": (ExplicitVRLittleEndian, "CT", OBLIQUE, False, False),
    "ct_implicit_signed": (ImplicitVRLittleEndian, "CT", AXIAL, True, False),
    "ct_big_endian": (ExplicitVRBigEndian, "CT", AXIAL, False, False),
    "ct_deflated": (DeflatedExplicitVRLittleEndian, "CT", AXIAL, False, False),
    "ct_rle": (RLELossless, "CT", AXIAL, False, False),
    "ct_jpeg2000": (JPEG2000Lossless, "CT", AXIAL, False, False),
    "ct_jpegls": (JPEGLSLossless, "CT", AXIAL, False, False),
    "mr_slope": (ExplicitVRLittleEndian, "MR", OBLIQUE, False, False),
    "enhanced_ct": (ExplicitVRLittleEndian, "CT", OBLIQUE, False, True),
    "enhanced_ct_rle": (RLELossless, "CT", AXIAL, False, True),
}


@functools.cache
def base(name: str) -> Base:
    """One good series; the same bytes every time."""
    syntax, modality, orientation, signed, multi_frame = KINDS[name]
    planes = [_plane(n, modality=modality, orientation=orientation, signed=signed) for n in range(SLICES)]
    datasets = [_enhanced(planes)] if multi_frame else planes
    files = {f"image{n:02d}.dcm": _bytes(ds, syntax) for n, ds in enumerate(datasets)}
    return Base(name, files, str(syntax))
