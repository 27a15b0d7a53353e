"""Simulated series as DICOM files: explicit little endian, UIDs from content, dates from the case, no real person."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray

_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_CT_INTERCEPT = -1024


@dataclass(frozen=True)
class Series:
    """One series to write.

    Attributes
    ----------
    modality : ``CT`` or ``MR``.
    array : (K, J, I) int16 HU (CT) or uint16 signal (MR).
    affine_lps : (4, 4) from (i, j, k) to this series' own patient LPS, mm.
    frame : any text that names the frame of reference; series of one frame share it.
    number, description, taken : series number, description and date.
    extra : further attributes by DICOM keyword.
    """

    modality: str
    array: NDArray[Any]
    affine_lps: FloatArray
    frame: str
    number: int
    description: str
    taken: date
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Person:
    """Whose a simulated series is; the name must begin with SIMULATED. Without a birth date the field is empty."""

    name: str
    patient_id: str
    birth_date: date | None
    sex: str


def content_uid(*parts: str | bytes) -> str:
    """A UID below 2.25 made of the SHA-256 of ``parts``: the same content has the same UID."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"2.25.{int.from_bytes(digest.digest()[:15], 'big')}"


def write_series(folder: Path, person: Person, series: Series) -> None:
    """Write one file per slice, ``0001.dcm`` upwards, into ``folder`` (made if absent)."""
    from pydicom.dataset import Dataset

    folder.mkdir(parents=True, exist_ok=True)
    stored = _stored_values(series)
    pixels = hashlib.sha256(stored.tobytes()).hexdigest()
    series_uid = content_uid(person.patient_id, series.description, pixels)
    common: Any = Dataset()
    _describe(common, person, series, series_uid)
    for k, plane in enumerate(stored):
        _write_slice(folder / f"{k + 1:04d}.dcm", common, series, series_uid, k, plane)


def _stored_values(series: Series) -> NDArray[np.uint16]:
    if series.modality == "CT":
        return (series.array.astype(np.int32) - _CT_INTERCEPT).astype("<u2")
    return series.array.astype("<u2")


def _describe(ds: Any, person: Person, series: Series, series_uid: str) -> None:
    """Attributes that all slices of a series share."""
    taken = series.taken.strftime("%Y%m%d")
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = (
        ["ORIGINAL", "PRIMARY", "AXIAL"] if series.modality == "CT" else ["ORIGINAL", "PRIMARY", "M"]
    )
    ds.SOPClassUID = _CT_STORAGE if series.modality == "CT" else _MR_STORAGE
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = taken
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "120000"
    ds.AccessionNumber = ""
    ds.Modality = series.modality
    ds.Manufacturer = "implantflow"
    ds.ManufacturerModelName = "SIMULATED scanner"
    ds.InstitutionName = "SIMULATED"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = f"SIMULATED {series.modality} pelvis"
    ds.SeriesDescription = series.description
    ds.PatientName = person.name
    ds.PatientID = person.patient_id
    ds.PatientBirthDate = person.birth_date.strftime("%Y%m%d") if person.birth_date else ""
    ds.PatientSex = person.sex
    ds.PatientPosition = "HFS"
    ds.BodyPartExamined = "PELVIS"
    ds.StudyInstanceUID = content_uid(person.patient_id, "study", taken, series.modality)
    ds.SeriesInstanceUID = series_uid
    ds.FrameOfReferenceUID = content_uid(person.patient_id, "frame", series.frame, series_uid)
    ds.PositionReferenceIndicator = ""
    ds.StudyID = f"SIM{series.number}"
    ds.SeriesNumber = series.number
    ds.AcquisitionNumber = 1
    _geometry(ds, series)
    _encoding(ds, series)
    for keyword, value in series.extra.items():
        setattr(ds, keyword, value)


def _geometry(ds: Any, series: Series) -> None:
    spacing = np.linalg.norm(series.affine_lps[:3, :3], axis=0)
    row, column = series.affine_lps[:3, 0] / spacing[0], series.affine_lps[:3, 1] / spacing[1]
    ds.ImageOrientationPatient = [f"{v:.10f}" for v in (*row, *column)]
    ds.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
    ds.SliceThickness = f"{spacing[2]:.6f}"
    ds.SpacingBetweenSlices = f"{spacing[2]:.6f}"


def _encoding(ds: Any, series: Series) -> None:
    ds.Rows, ds.Columns = series.array.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.PixelRepresentation = 16, 0
    ds.BitsStored, ds.HighBit = 12, 11
    if series.modality == "CT":
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_CT_INTERCEPT), "1", "HU"
        ds.WindowCenter, ds.WindowWidth = "300", "1500"
    ds.BurnedInAnnotation = "NO"


def _write_slice(
    path: Path, common: Any, series: Series, series_uid: str, k: int, plane: NDArray[np.uint16]
) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    ds = common.copy()
    data = plane.tobytes()
    ds.SOPInstanceUID = content_uid(series_uid, str(k), data)
    ds.InstanceNumber = k + 1
    position = series.affine_lps[:3, 3] + k * series.affine_lps[:3, 2]
    ds.ImagePositionPatient = [f"{v:.6f}" for v in position]
    normal = series.affine_lps[:3, 2] / np.linalg.norm(series.affine_lps[:3, 2])
    ds.SliceLocation = f"{float(position @ normal):.6f}"
    ds.PixelData = data
    ds["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(_EXPLICIT_LITTLE_ENDIAN)
    meta.ImplementationClassUID = UID(content_uid("implantflow", "implementation"))
    meta.ImplementationVersionName = "IMPLANTFLOW"
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True, little_endian=True, implicit_vr=False)
