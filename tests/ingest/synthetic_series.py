"""DICOM series with spheres at known places: written here with pydicom, sharing nothing with the reader."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)
from scipy.special import erfc

#: Centre (patient LPS mm), radius mm, HU.
SPHERES = (
    ((-12.0, -8.0, 14.0), 7.0, 300),
    ((14.0, 9.0, 30.0), 6.0, 1000),
    ((4.0, -10.0, 44.0), 6.5, -200),
)
BACKGROUND_HU = 40
#: The edge of the balls is the integral of a bell curve this wide: what a scanner makes of a sharp one.
EDGE_SIGMA_MM = 1.5
ROWS, COLUMNS, SLICES = 36, 44, 30
SPACING = (1.5, 1.4)
STEP_MM = 2.0
UID = "1.2.826.0.1.3680043.8.498"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def hu_at(points: np.ndarray) -> np.ndarray:
    """HU of the object at (..., 3) patient LPS mm: balls with a soft edge, half-way at their radius."""
    hu = np.full(points.shape[:-1], float(BACKGROUND_HU))
    for centre, radius, value in SPHERES:
        distance = np.linalg.norm(points - np.array(centre), axis=-1)
        hu += (value - BACKGROUND_HU) * 0.5 * erfc((distance - radius) / (np.sqrt(2) * EDGE_SIGMA_MM))
    return hu


@lru_cache(maxsize=2000)
def plane_hu(position: tuple[float, ...], orientation: tuple[float, ...]) -> np.ndarray:
    """Whole HU of one plane (rows, columns); kept, since most series of the tests have the same planes."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    j, i = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    points = np.array(position) + i[..., None] * row * SPACING[1] + j[..., None] * column * SPACING[0]
    return np.rint(hu_at(points)).astype(np.int64)


def make_slices(
    *,
    orientation: Sequence[float] = AXIAL,
    count: int = SLICES,
    step_mm: float = STEP_MM,
    positions: np.ndarray | None = None,
    slope: float = 1.0,
    intercept: float = -1024.0,
    signed: bool = False,
    bits_stored: int = 16,
    modality: str = "CT",
    series: int = 1,
    patient: str = "SECRET-ID-7731",
) -> list[Dataset]:
    """One series as datasets, in the order of their positions, centred on the spheres."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    if positions is None:
        middle = np.array([2.0, -2.0, 29.0])
        corner = (
            middle
            - row * SPACING[1] * (COLUMNS - 1) / 2
            - column * SPACING[0] * (ROWS - 1) / 2
            - normal * step_mm * (count - 1) / 2
        )
        positions = corner + normal * step_mm * np.arange(count)[:, None]
    return [
        _dataset(
            position, orientation, number, slope, intercept, signed, bits_stored, modality, series, patient
        )
        for number, position in enumerate(positions, 1)
    ]


def _dataset(position, orientation, number, slope, intercept, signed, bits, modality, series, patient):
    # Whole HU first, so that every slope below can hold them exactly.
    hu = plane_hu(tuple(float(v) for v in position), tuple(float(v) for v in orientation))
    stored = np.rint((hu - intercept) / slope).astype(np.int64)
    dtype = np.int16 if signed else np.uint16
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    ds.SOPInstanceUID = f"{UID}.{series}.{number}.{abs(hash((tuple(position), slope))) % 10**9}"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.SeriesInstanceUID = f"{UID}.{series}"
    ds.StudyInstanceUID = f"{UID}.9"
    ds.FrameOfReferenceUID = f"{UID}.8"
    ds.Modality = modality
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientName = "SECRET^NAME"
    ds.PatientID = patient
    ds.PatientBirthDate = "19610203"
    ds.PatientSex = "F"
    ds.SeriesDescription = "SECRET-DESCRIPTION"
    ds.AcquisitionDate = "20190405"
    ds.InstanceNumber = number
    ds.AcquisitionNumber = 1
    ds.ImagePositionPatient = [float(f"{v:.6f}") for v in position]
    ds.ImageOrientationPatient = [float(f"{v:.9f}") for v in orientation]
    ds.PixelSpacing = list(SPACING)
    ds.SliceThickness = STEP_MM
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PixelRepresentation = int(signed)
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    if modality == "CT":
        ds.RescaleType = "HU"
        ds.KVP = 120
        ds.ConvolutionKernel = "B40s"
    else:
        ds.RescaleType = "US"
    ds.PixelData = stored.astype(dtype).tobytes()
    return ds


def words_of(ds: Dataset) -> np.ndarray:
    """The stored 16-bit words of a dataset, writable copy."""
    return np.frombuffer(ds.PixelData, np.uint16).reshape(ds.Rows, ds.Columns).copy()


def save(datasets: Sequence[Dataset], folder: Path, name: str = "image{:03d}.dcm") -> Path:
    """Write datasets as files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, ds in enumerate(datasets):
        ds.save_as(folder / name.format(number), enforce_file_format=True)
    return folder


def enhanced(datasets: Sequence[Dataset]) -> Dataset:
    """One enhanced CT or MR of the given planes, frames in the given order, per-frame functional groups."""
    first = datasets[0]
    ds = Dataset()
    ds.update(first)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = EnhancedCTImageStorage if first.Modality == "CT" else EnhancedMRImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = first.PixelSpacing
    measures.SliceThickness = STEP_MM
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for plane in datasets:
        item, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = plane.ImagePositionPatient
        content = Dataset()
        content.FrameAcquisitionNumber = plane.AcquisitionNumber
        if "TemporalPositionIdentifier" in plane:
            content.TemporalPositionIndex = plane.TemporalPositionIdentifier
        if "StackID" in plane:
            content.StackID = plane.StackID
        item.FrameContentSequence = [content]
        values.RescaleSlope, values.RescaleIntercept = plane.RescaleSlope, plane.RescaleIntercept
        values.RescaleType = plane.RescaleType
        item.PlanePositionSequence = [position]
        item.PixelValueTransformationSequence = [values]
        frames.append(item)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.NumberOfFrames = len(datasets)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
    ):
        delattr(ds, keyword)
    ds.PixelData = b"".join(plane.PixelData for plane in datasets)
    return ds


def reread(path: Path) -> Dataset:
    """A file as pydicom sees it."""
    return pydicom.dcmread(path)
