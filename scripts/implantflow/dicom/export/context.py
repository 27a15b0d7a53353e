"""What every object of a case says about patient, study, series and maker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from implantflow.errors import ProvenanceError

SOFTWARE = "implantflow"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
#: Series numbers of our own objects begin here, beyond those a scanner gives: they stand last in the study.
FIRST_SERIES_NUMBER = 9001
#: How the sources were de-identified (PS3.16 CID 7050).
_DEIDENTIFIED = (
    ("113100", "DCM", "Basic Application Confidentiality Profile"),
    ("113107", "DCM", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
#: Longest text that the value representation LO holds.
_LO_MAX = 64


@dataclass(frozen=True)
class Case:
    """The case that the objects belong to.

    Attributes
    ----------
    name : the patient's neutral name
    day : date of the content, from the case
    patient_simulated : whether the patient is a phantom
    marks : what no reader may overlook ("NOT FOR CLINICAL USE", "simulated ..."), stated in every description
    """

    name: str
    day: date
    patient_simulated: bool
    marks: tuple[str, ...]

    def description(self, text: str) -> str:
        """``text`` for a series description: marks first, cut to the 64 characters that DICOM allows."""
        return ", ".join([*self.marks, text])[:_LO_MAX]


@dataclass(frozen=True)
class Source:
    """A series that an object was made from, by its manifest; UIDs are remapped ones.

    Attributes
    ----------
    images : (SOP class, SOP instance) of each file, in stack order
    frame_uid : frame of reference; made from the series UID where the series has none
    has_frame : whether the series states a frame of reference
    """

    modality: str
    series_uid: str
    study_uid: str
    frame_uid: str
    has_frame: bool
    images: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Source:
        """From ``manifest.json`` of the series.

        Raises
        ------
        ProvenanceError
            The manifest is of an older version, without study or SOP class.
        """
        try:
            series, frame = str(manifest["series_uid"]), str(manifest["frame_of_reference_uid"])
            study, sop_class = str(manifest["study_uid"]), str(manifest["sop_class_uid"])
            uids = dict.fromkeys(str(uid) for uid in manifest["sop_instance_uids"])
            modality = str(manifest["modality"])
        except KeyError as error:
            raise ProvenanceError(
                f"the manifest of a series lacks {error}",
                where="ingest/*/manifest.json",
                fix="run the ingest of this case again",
            ) from error
        return cls(
            modality=modality,
            series_uid=series,
            # A series without study or frame of reference is its own: nothing else can lie in it.
            study_uid=study or content_uid("study", series),
            frame_uid=frame or content_uid("frame", series),
            has_frame=bool(frame),
            images=tuple((sop_class, uid) for uid in uids),
        )


def content_uid(*parts: str | bytes) -> str:
    """A UID below 2.25 (DICOM PS3.5 B.2) made of the SHA-256 of ``parts``."""
    digest = hashlib.sha256(b"implantflow-release-uid-1")
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"


def version() -> str:
    """Version of this software."""
    from importlib.metadata import version as installed

    return installed(SOFTWARE)


def dicom_date(day: date) -> str:
    """``day`` as the value representation DA."""
    return day.strftime("%Y%m%d")


def describe(ds: Any, case: Case, source: Source, *, number: int, text: str) -> None:
    """Patient, study, series and equipment of ``ds``; the study is that of ``source``.

    Parameters
    ----------
    number : place of the series among our own, from 0
    text : what the series is, for its description
    """
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = f"SIMULATED^{case.name}" if case.patient_simulated else f"CASE^{case.name}"
    ds.PatientID = case.name
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "only listed fields kept; UIDs remapped"
    ds.DeidentificationMethodCodeSequence = [code_item(*code) for code in _DEIDENTIFIED]
    ds.StudyInstanceUID = source.study_uid
    # The object joins the study of its source, whose date is not ours to state.
    ds.StudyDate = ds.StudyTime = ds.ReferringPhysicianName = ds.StudyID = ds.AccessionNumber = ""
    ds.SeriesNumber = FIRST_SERIES_NUMBER + number
    ds.SeriesDescription = case.description(text)
    ds.SeriesDate = dicom_date(case.day)
    ds.SeriesTime = "000000"
    ds.Manufacturer = ds.ManufacturerModelName = SOFTWARE
    # Type 1 in Enhanced General Equipment; software has no serial number of its own.
    ds.DeviceSerialNumber = "none"
    ds.SoftwareVersions = version()
    ds.ContentDate, ds.ContentTime = dicom_date(case.day), "000000"


def reference(sop_class: str, sop_instance: str) -> Any:
    """An item that names one object."""
    from pydicom.dataset import Dataset

    item: Any = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def referenced_series(source: Source) -> Any:
    """An item that names a series and all its images."""
    from pydicom.dataset import Dataset

    item: Any = Dataset()
    item.SeriesInstanceUID = source.series_uid
    item.ReferencedInstanceSequence = [reference(*image) for image in source.images]
    return item


def code_item(value: str, scheme: str, meaning: str) -> Any:
    """An item of a code sequence."""
    from pydicom.dataset import Dataset

    item: Any = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def other_studies(sources: Sequence[Source], own: Source) -> list[Any]:
    """Items of Studies Containing Other Referenced Instances: what lies outside the object's own study."""
    from pydicom.dataset import Dataset

    items = []
    for study in dict.fromkeys(s.study_uid for s in sources if s.study_uid != own.study_uid):
        item: Any = Dataset()
        item.StudyInstanceUID = study
        item.ReferencedSeriesSequence = [referenced_series(s) for s in sources if s.study_uid == study]
        items.append(item)
    return items


def forget_the_moment(ds: Any) -> None:
    """Take out the dates and times at which a library made ``ds``: the same content has the same bytes."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in ds:
            delattr(ds, keyword)
    for item in ds.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime


def save(path: Path, ds: Any) -> None:
    """Write ``ds`` in explicit little endian, with a meta group that depends on nothing but its content."""
    import pydicom
    from pydicom.dataset import FileMetaDataset

    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    # Own names: pydicom's would change the bytes with its version.
    meta.ImplementationClassUID = content_uid("implementation")
    meta.ImplementationVersionName = SOFTWARE.upper()
    ds.file_meta = meta
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
