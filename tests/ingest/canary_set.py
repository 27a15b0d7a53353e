"""A patient-like set of DICOM files with strings planted wherever a patient's data can stand."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag

#: Root of the organisation that "made" the set; stands in every planted UID.
UID_ROOT = "1.2.826.0.1.3680043.77193046"
BORN, SEEN = "19031117", "20190405"
NUMBER = "771930468"

#: Keyword -> longest value that its VR takes. Text of every VR that can hold a word.
TEXTS = {
    "PatientName": 64, "PatientID": 64, "IssuerOfPatientID": 64, "PatientBirthName": 64,
    "PatientMotherBirthName": 64, "OtherPatientNames": 64, "PatientAddress": 64, "PatientTelephoneNumbers": 16,
    "MilitaryRank": 64, "BranchOfService": 64, "EthnicGroup": 16, "Occupation": 16, "PatientComments": 200,
    "AdditionalPatientHistory": 200, "MedicalRecordLocator": 64, "CountryOfResidence": 64,
    "RegionOfResidence": 64, "PatientReligiousPreference": 64, "MedicalAlerts": 64, "Allergies": 64,
    "SpecialNeeds": 64, "PatientState": 64, "CurrentPatientLocation": 64, "AdmissionID": 64,
    "AdmittingDiagnosesDescription": 64, "ReferringPhysicianName": 64, "ReferringPhysicianAddress": 200,
    "ReferringPhysicianTelephoneNumbers": 16, "PerformingPhysicianName": 64, "OperatorsName": 64,
    "PhysiciansOfRecord": 64, "NameOfPhysiciansReadingStudy": 64, "RequestingPhysician": 64,
    "RequestingService": 64, "InstitutionName": 64, "InstitutionAddress": 200,
    "InstitutionalDepartmentName": 64, "StationName": 16, "StudyDescription": 64, "SeriesDescription": 64,
    "ProtocolName": 64, "ImageComments": 200, "AccessionNumber": 16, "StudyID": 16,
    "RequestedProcedureDescription": 64, "RequestedProcedureID": 16, "PerformedProcedureStepDescription": 64,
    "PerformedProcedureStepID": 16, "ReasonForTheRequestedProcedure": 64, "StudyComments": 200,
    "DeviceSerialNumber": 64, "GantryID": 64, "DetectorID": 16, "SoftwareVersions": 64, "DeviceUID": 0,
    "AcquisitionComments": 200, "ContrastBolusAgent": 64, "DerivationDescription": 200, "FilterType": 16,
    "BodyPartExamined": 16, "Manufacturer": 64, "ManufacturerModelName": 64, "ConvolutionKernel": 16,
    "SecondaryCaptureDeviceID": 64, "RetrieveAETitle": 16, "TextValue": 200, "RetrieveURL": 200,
    "LongCodeValue": 200, "IrradiationEventUID": 0, "InstanceCreatorUID": 0, "PatientPosition": 16,
}  # fmt: skip


class Planted:
    """Makes strings, and remembers them with the place each was put."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def text(self, place: str, longest: int = 64) -> str:
        """A word of letters and digits that stands nowhere else, at most ``longest`` characters."""
        word = f"ZQKANARY{len(self.places):03d}V"
        self.places[word] = place
        return word if longest <= 16 else f"{word} of {place}"[:longest]

    def uid(self, place: str) -> str:
        """A UID below :data:`UID_ROOT`."""
        uid = f"{UID_ROOT}.{len(self.places) + 100}"
        self.places[uid] = place
        return uid

    @property
    def needles(self) -> list[str]:
        """What must not be found: every planted word, and the root, dates and number."""
        return [
            *self.places,
            UID_ROOT,
            BORN,
            "1903-11-17",
            SEEN,
            "2019-04-05",
            NUMBER,
        ]


def plant(datasets: Sequence[Dataset], planted: Planted, series: str) -> None:
    """Plant strings into every dataset of one series; all of them get the same ones, as a scanner would."""
    first = datasets[0]
    _plant_texts(first, planted)
    _plant_sequences(first, planted)
    _plant_private(first, planted)
    _plant_layers(first, planted)
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(first, keyword, SEEN)
    first.AcquisitionDateTime = f"{SEEN}101530"
    first.PatientBirthDate = BORN
    first.SeriesNumber = NUMBER
    first.PatientWeight = NUMBER
    first.KVP = NUMBER
    uids = {k: planted.uid(f"{series} {k}") for k in ("SeriesInstanceUID", "FrameOfReferenceUID")}
    shared = {element.tag: element for element in first if element.tag not in _own_tags()}
    for number, ds in enumerate(datasets, 1):
        for tag, element in shared.items():
            ds[tag] = element
        for keyword, uid in uids.items():
            setattr(ds, keyword, uid)
        ds.SOPInstanceUID = f"{uids['SeriesInstanceUID']}.{number}"
        _plant_outside(ds, planted, number == 1)


def _own_tags() -> set[int]:
    own = (
        "SOPInstanceUID SeriesInstanceUID FrameOfReferenceUID ImagePositionPatient InstanceNumber PixelData "
        "RescaleSlope RescaleIntercept"
    )
    return {Tag(keyword) for keyword in own.split()}


def _plant_texts(ds: Dataset, planted: Planted) -> None:
    for keyword, longest in TEXTS.items():
        if keyword == "RetrieveURL":
            ds.RetrieveURL = f"https://archive.example/{planted.text(keyword)[:12]}"
            continue
        setattr(ds, keyword, planted.text(keyword, longest) if longest else planted.uid(keyword))
    ds.StudyInstanceUID = planted.uid("StudyInstanceUID")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ResponsiblePerson = f"{planted.text('ResponsiblePerson')}=山田^{planted.text('ideographic')}"


def _plant_sequences(ds: Dataset, planted: Planted) -> None:
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID = planted.text("nested ID"), planted.text("nested issuer")
    ds.OtherPatientIDsSequence = Items([other])
    code, step = Dataset(), Dataset()
    code.CodeValue, code.CodeMeaning = planted.text("code value", 16), planted.text("code meaning")
    step.ScheduledProtocolCodeSequence = Items([code])
    step.ScheduledProcedureStepDescription = planted.text("scheduled step")
    ds.RequestAttributesSequence = Items([step])
    before, original = Dataset(), Dataset()
    before.PatientName, before.PatientID = planted.text("name before"), planted.text("ID before")
    original.ModifiedAttributesSequence = Items([before])
    original.ModifyingSystem, original.SourceOfPreviousValues = planted.text("system"), planted.text("source")
    ds.OriginalAttributesSequence = Items([original])
    maker = Dataset()
    maker.OperatorsName, maker.InstitutionName = planted.text("operator"), planted.text("contributor")
    ds.ContributingEquipmentSequence = Items([maker])
    study = Dataset()
    study.ReferencedSOPInstanceUID = planted.uid("referenced study")
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    ds.ReferencedStudySequence = Items([study])


def _plant_private(ds: Dataset, planted: Planted) -> None:
    block = ds.private_block(0x0009, planted.text("private creator"), create=True)
    block.add_new(0x01, "LO", planted.text("private LO"))
    block.add_new(0x02, "OB", planted.text("private OB").encode().ljust(64, b"\0"))
    block.add_new(0x03, "UN", planted.text("private UN").encode().ljust(64, b" "))
    item = Dataset()
    item.PatientName = planted.text("name in private sequence")
    block.add_new(0x04, "SQ", Items([item]))
    block.add_new(0x05, "PN", planted.text("private PN"))
    ds.add_new(0x00091099, "UN", planted.text("private without creator").encode().ljust(64, b" "))
    # An element of the standard's groups that no dictionary knows, as a later edition would bring it.
    ds.add_new(0x00105555, "UN", planted.text("unknown element").encode().ljust(64, b" "))
    ds.add_new(0x00380500, "UN", planted.text("known element as UN").encode().ljust(64, b" "))


def _plant_layers(ds: Dataset, planted: Planted) -> None:
    ds.add_new(0x60000010, "US", 4)
    ds.add_new(0x60000011, "US", 256)
    ds.add_new(0x60000022, "LO", planted.text("overlay description"))
    ds.add_new(0x60001500, "LO", planted.text("overlay label"))
    ds.add_new(0x60003000, "OW", planted.text("overlay data").encode().ljust(128, b"\0"))
    ds.add_new(0x50000022, "LO", planted.text("curve description"))
    ds.add_new(0x50002500, "LO", planted.text("curve label"))
    ds.add_new(0x50003000, "OW", planted.text("curve data").encode().ljust(64, b"\0"))
    ds.add_new(0xFFFCFFFC, "OB", planted.text("trailing padding").encode().ljust(64, b"\0"))


def _plant_outside(ds: Dataset, planted: Planted, first: bool) -> None:
    """What stands before the dataset: preamble and file meta information."""
    if first:
        planted.meta = (  # type: ignore[attr-defined]
            planted.text("preamble").encode().ljust(128, b"\0"),
            planted.text("source AE", 16),
            planted.text("private information").encode().ljust(64, b"\0"),
        )
    preamble, title, private = planted.meta  # type: ignore[attr-defined]
    ds.preamble = preamble
    ds.file_meta.SourceApplicationEntityTitle = title
    ds.file_meta.PrivateInformationCreatorUID = f"{UID_ROOT}.9"
    ds.file_meta.PrivateInformation = private
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID


def save_planted(datasets: Sequence[Dataset], root: Path, planted: Planted) -> str:
    """Write one series into folders and files whose names are planted too, other files beside it.

    Returns
    -------
    folder : its path relative to ``root``
    """
    folder = Path(planted.text("folder", 16)) / planted.text("folder in folder")
    inner = root / folder / planted.text("series folder")
    inner.mkdir(parents=True)
    name = planted.text("file name")
    for number, ds in enumerate(datasets):
        ds.save_as(inner / f"{name} {number:03d}.dcm", enforce_file_format=True)
    (inner / f"{planted.text('text file')}.txt").write_text(planted.text("text beside the images"))
    (inner / f".{planted.text('hidden file')}").write_text(planted.text("text in a hidden file"))
    with zipfile.ZipFile(inner / f"{planted.text('zip file')}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(next(inner.glob("*.dcm")), planted.text("file in a zip"))
    return folder.as_posix()


def planted_report(planted: Planted) -> Dataset:
    """A structured report that lies beside the images, as archives export it."""
    ds = Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    ds.SOPInstanceUID = planted.uid("report")
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.Modality = "SR"
    ds.PatientName = planted.text("name in report")
    ds.TextValue = planted.text("text of report", 200)
    return ds
