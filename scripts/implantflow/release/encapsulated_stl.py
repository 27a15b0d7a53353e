"""The implant's STL inside a DICOM object, so that an image archive keeps it beside the scans.

Source: DICOM PS3.3, Encapsulated STL IOD (A.85.1), Encapsulated Document module (C.24.2), Manufacturing 3D
Model module (C.35.1). UIDs are made from content, dates come from the case: the same case, the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from implantflow.errors import InputError

ENCAPSULATED_STL_STORAGE = "1.2.840.10008.5.1.4.1.1.104.3"
_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCED_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2.1"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
FROM_CT = "planning CT"
MADE_UP = "made from the planning CT's series UID"
_SOFTWARE = "implantflow"
_DESCRIPTION = "Outer solid, patient LPS mm; the lattice is in the build file"
#: Beyond the series numbers a scanner gives, so that the object stands last in the study.
_SERIES_NUMBER = 9001


@dataclass(frozen=True)
class Encapsulation:
    """What the object says about the STL in it.

    Attributes
    ----------
    stl : bytes
        The file as it is, patient LPS mm.
    case, label, title : str
        The patient's neutral name; a short name of the series (64 characters at most); the document's title,
        which also says what must not be overlooked (not for clinical use, simulated).
    side : ``left`` or ``right``
        Where the implant is meant to be placed, the patient's side.
    day : date
        Date of the release.
    simulated : bool
        Whether the patient is a phantom.
    series : mapping
        Manifest of the planning CT, in whose space the STL lies.
    """

    stl: bytes
    case: str
    label: str
    title: str
    side: str
    day: date
    simulated: bool
    series: Mapping[str, Any]


def content_uid(*parts: str | bytes) -> str:
    """A UID below 2.25 (DICOM PS3.5 B.2) made of the SHA-256 of ``parts``."""
    digest = hashlib.sha256(b"implantflow-release-uid-1")
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"


def write_encapsulated_stl(path: Path, content: Encapsulation) -> dict[str, str]:
    """Write the DICOM object.

    Returns
    -------
    dict
        Its UIDs, and where the study's comes from.
    """
    from pydicom.dataset import Dataset

    ds: Any = Dataset()
    facts = _uids(content)
    _patient_and_study(ds, content, facts)
    _series_and_equipment(ds, content, facts)
    _document(ds, content, facts)
    _references(ds, content)
    _save(path, ds)
    return facts


def read_stl(path: Path) -> bytes:
    """The STL that a DICOM object encapsulates, to the byte.

    Raises
    ------
    InputError
        The object holds something else.
    """
    import pydicom

    ds: Any = pydicom.dcmread(path)
    if ds.file_meta.MediaStorageSOPClassUID != ENCAPSULATED_STL_STORAGE:
        raise InputError("not an Encapsulated STL object", where=str(path))
    return bytes(ds.EncapsulatedDocument)[: int(ds.EncapsulatedDocumentLength)]


def _uids(content: Encapsulation) -> dict[str, str]:
    series = str(content.series["series_uid"])
    study = content.series.get("study_uid")
    frame = content.series.get("frame_of_reference_uid")
    digest = hashlib.sha256(content.stl).hexdigest()
    said = (
        _version(),
        content.case,
        content.title,
        content.label,
        content.side,
        content.day.isoformat(),
    )
    return {
        "sop_class_uid": ENCAPSULATED_STL_STORAGE,
        "sop_instance_uid": content_uid("instance", digest, series, *said),
        "series_instance_uid": content_uid("series", digest, series, content.case),
        "study_instance_uid": str(study) if study else content_uid("study", series),
        "study_uid_source": FROM_CT if study else MADE_UP,
        "frame_of_reference_uid": str(frame) if frame else content_uid("frame", series),
        "frame_of_reference_source": FROM_CT if frame else MADE_UP,
    }


def _patient_and_study(ds: Any, content: Encapsulation, facts: Mapping[str, str]) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = ENCAPSULATED_STL_STORAGE
    ds.SOPInstanceUID = facts["sop_instance_uid"]
    ds.PatientName = f"SIMULATED^{content.case}" if content.simulated else f"CASE^{content.case}"
    ds.PatientID = content.case
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "only listed fields kept; UIDs remapped"
    ds.StudyInstanceUID = facts["study_instance_uid"]
    # The object joins the study of the planning CT where that is known; its date is then not ours to state.
    own = facts["study_uid_source"] != FROM_CT
    ds.StudyDate = content.day.strftime("%Y%m%d") if own else ""
    ds.StudyTime = ds.ReferringPhysicianName = ds.StudyID = ds.AccessionNumber = ""


def _series_and_equipment(ds: Any, content: Encapsulation, facts: Mapping[str, str]) -> None:
    ds.Modality = "M3D"
    ds.SeriesInstanceUID = facts["series_instance_uid"]
    ds.SeriesNumber = _SERIES_NUMBER
    ds.SeriesDate = content.day.strftime("%Y%m%d")
    ds.SeriesDescription = content.label
    ds.FrameOfReferenceUID = facts["frame_of_reference_uid"]
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = _SOFTWARE
    ds.ManufacturerModelName = _SOFTWARE
    # Type 1 in Enhanced General Equipment; software has no serial number of its own.
    ds.DeviceSerialNumber = "none"
    ds.SoftwareVersions = _version()


def _version() -> str:
    from importlib.metadata import version

    return version(_SOFTWARE)


def _document(ds: Any, content: Encapsulation, facts: Mapping[str, str]) -> None:
    ds.InstanceNumber = 1
    ds.ContentDate = content.day.strftime("%Y%m%d")
    ds.ContentTime = ds.AcquisitionDateTime = ""
    ds.ImageLaterality = {"left": "L", "right": "R"}[content.side]
    ds.BurnedInAnnotation = "NO"
    ds.DocumentTitle = content.title
    ds.ContentDescription = _DESCRIPTION
    ds.ConceptNameCodeSequence = []
    ds.MIMETypeOfEncapsulatedDocument = "model/stl"
    ds.EncapsulatedDocument = content.stl + b"\0" * (len(content.stl) % 2)
    ds.EncapsulatedDocumentLength = len(content.stl)
    ds.MeasurementUnitsCodeSequence = [_code("mm", "UCUM", "mm")]
    # The implant follows the resected anatomy, but holes, passages and clearances were put in.
    ds.ModelModification, ds.ModelMirroring = "YES", "NO"


def _references(ds: Any, content: Encapsulation) -> None:
    """The slices of the planning CT, once as the source and once by series."""
    from pydicom.dataset import Dataset

    images = _images(content.series["sop_instance_uids"])
    ds.SourceInstanceSequence = [_reference(sop_class, uid) for sop_class, uid in images]
    entry: Any = Dataset()
    entry.SeriesInstanceUID = str(content.series["series_uid"])
    entry.ReferencedInstanceSequence = [_reference(sop_class, uid) for sop_class, uid in images]
    ds.ReferencedSeriesSequence = [entry]


def _images(uids: Sequence[str]) -> list[tuple[str, str]]:
    # A manifest has one UID per plane: planes that share one are frames of an enhanced object.
    distinct = list(dict.fromkeys(uids))
    sop_class = _CT_STORAGE if len(distinct) == len(uids) else _ENHANCED_CT_STORAGE
    return [(sop_class, uid) for uid in distinct]


def _reference(sop_class: str, uid: str) -> Any:
    from pydicom.dataset import Dataset

    item: Any = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def _code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item: Any = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _save(path: Path, ds: Any) -> None:
    import pydicom
    from pydicom.dataset import FileMetaDataset

    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = _EXPLICIT_LITTLE_ENDIAN
    # Own names: pydicom's would change the bytes with its version.
    meta.ImplementationClassUID = content_uid("implementation")
    meta.ImplementationVersionName = _SOFTWARE.upper()
    ds.file_meta = meta
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
