"""An STL inside a DICOM object, so that an image archive keeps a model beside the scans.

Source: DICOM PS3.3, Encapsulated STL IOD (A.85.1), Encapsulated Document module (C.24.2), Manufacturing 3D
Model module (C.35.1).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implantflow.dicom.export.context import (
    Case,
    Source,
    code_item,
    content_uid,
    describe,
    reference,
    referenced_series,
    save,
    version,
)
from implantflow.errors import InputError

ENCAPSULATED_STL_STORAGE = "1.2.840.10008.5.1.4.1.1.104.3"


@dataclass(frozen=True)
class Model:
    """What the object says about the STL in it.

    Attributes
    ----------
    stl : bytes
        The file as it is, patient LPS mm.
    name : str
        Short name, for the series description.
    title : str
        The document's title; also says what must not be overlooked (not for clinical use, simulated).
    description : str
        What the surface is (64 characters at most).
    side : ``left``, ``right`` or None
        Where it lies or is meant to be placed, the patient's side; None when it is not of one side.
    modified : bool
        Whether the shape was designed (holes, clearances put in) rather than taken from the scan as it is.
    number : int
        Place of its series among our own.
    """

    stl: bytes
    name: str
    title: str
    description: str
    side: str | None
    modified: bool
    number: int


def write_stl_object(path: Path, case: Case, source: Source, model: Model) -> dict[str, str]:
    """Write the DICOM object of one model that lies in the space of ``source``.

    Returns
    -------
    dict
        Its UIDs.
    """
    from pydicom.dataset import Dataset

    ds: Any = Dataset()
    facts = _uids(case, source, model)
    describe(ds, case, source, number=model.number, text=model.name)
    ds.SOPClassUID, ds.SOPInstanceUID = facts["sop_class_uid"], facts["sop_instance_uid"]
    ds.Modality, ds.SeriesInstanceUID = "M3D", facts["series_instance_uid"]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = facts["frame_of_reference_uid"], ""
    _document(ds, model)
    ds.SourceInstanceSequence = [reference(*image) for image in source.images]
    ds.ReferencedSeriesSequence = [referenced_series(source)]
    save(path, ds)
    return facts


def read_stl_object(path: Path) -> bytes:
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


def _uids(case: Case, source: Source, model: Model) -> dict[str, str]:
    digest = hashlib.sha256(model.stl).hexdigest()
    said = (version(), case.name, model.title, model.name, str(model.side), case.day.isoformat())
    return {
        "sop_class_uid": ENCAPSULATED_STL_STORAGE,
        "sop_instance_uid": content_uid("instance", digest, source.series_uid, *said),
        "series_instance_uid": content_uid("series", digest, source.series_uid, case.name, model.name),
        "study_instance_uid": source.study_uid,
        "frame_of_reference_uid": source.frame_uid,
    }


def _document(ds: Any, model: Model) -> None:
    ds.InstanceNumber = 1
    ds.AcquisitionDateTime = ""
    if model.side is not None:
        ds.ImageLaterality = {"left": "L", "right": "R"}[model.side]
    ds.BurnedInAnnotation = "NO"
    ds.DocumentTitle = model.title
    ds.ContentDescription = model.description
    ds.ConceptNameCodeSequence = []
    ds.MIMETypeOfEncapsulatedDocument = "model/stl"
    ds.EncapsulatedDocument = model.stl + b"\0" * (len(model.stl) % 2)
    ds.EncapsulatedDocumentLength = len(model.stl)
    ds.MeasurementUnitsCodeSequence = [code_item("mm", "UCUM", "mm")]
    ds.ModelModification, ds.ModelMirroring = ("YES" if model.modified else "NO"), "NO"
