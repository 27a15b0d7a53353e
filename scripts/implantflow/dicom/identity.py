"""The sealed link: whose a case is, and which real UIDs its remapped ones stand for.

Written when the series of a case have been compared, read again only when an object goes back to the archive.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implantflow.dicom.headers import Identity
from implantflow.dicom.quiet import quietly
from implantflow.dicom.sealed import read_sealed, write_sealed
from implantflow.dicom.uids import remap_uid
from implantflow.errors import InputError, ProvenanceError

#: Attributes of patient and study that an object needs to stand beside the scans it was made from.
PATIENT_KEYWORDS = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
STUDY_KEYWORDS = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
)
_UID_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
#: What says that an object tells nobody's name; untrue once it does.
_REMOVAL = ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence")


@dataclass(frozen=True)
class SeriesLink:
    """One series' way back; shows nothing of it when printed.

    Attributes
    ----------
    patient, study : DICOM keyword -> text, of :data:`PATIENT_KEYWORDS` and :data:`STUDY_KEYWORDS`.
    uids : remapped UID -> real UID, of study, series, frame of reference and every image.
    """

    patient: Mapping[str, str] = field(repr=False)
    study: Mapping[str, str] = field(repr=False)
    uids: Mapping[str, str] = field(repr=False)

    @property
    def identity(self) -> Identity:
        """What is compared over series."""
        return Identity(*(self.patient[k] for k in ("PatientID", "PatientBirthDate", "PatientSex")))


def read_series(folder: Path, series_uid: str) -> SeriesLink | None:
    """The link of the series with the remapped ``series_uid``; None when the folder holds none of its images.

    Raises
    ------
    InputError
        Its images name two studies.
    """
    first: Any = None
    patient: dict[str, str] = {}
    uids: dict[str, str] = {}
    for path in _files(folder):
        dataset = _header(path, [*PATIENT_KEYWORDS, *STUDY_KEYWORDS, *_UID_KEYWORDS, "SpecificCharacterSet"])
        if dataset is None or remap_uid(_text(dataset, "SeriesInstanceUID")) != series_uid:
            continue
        first = dataset if first is None else first
        if _text(dataset, "StudyInstanceUID") != _text(first, "StudyInstanceUID"):
            raise InputError(
                "the images of one series name two studies",
                where=path.name,
                fix="correct the headers at their source",
            )
        for keyword in PATIENT_KEYWORDS:  # one image that leaves it empty must not hide whose the others are
            patient[keyword] = patient.get(keyword) or _text(dataset, keyword)
        real = [_text(dataset, keyword) for keyword in _UID_KEYWORDS]
        uids.update({remap_uid(uid): uid for uid in real if uid})
    if first is None:
        return None
    return SeriesLink(patient, {keyword: _text(first, keyword) for keyword in STUDY_KEYWORDS}, uids)


def study_uid(folder: Path, series_uid: str) -> str:
    """Remapped UID of the study that the series belongs to; "" when its first image names none."""
    for path in _files(folder):
        dataset = _header(path, ["SeriesInstanceUID", "StudyInstanceUID"])
        if dataset is not None and remap_uid(_text(dataset, "SeriesInstanceUID")) == series_uid:
            return remap_uid(_text(dataset, "StudyInstanceUID"))
    return ""


def write_link(path: Path, links: Mapping[str, SeriesLink]) -> None:
    """Seal the links of a case's series, by their neutral names.

    The salt keeps the file's digest, which the ledger records, from confirming a guess at what is in it.
    """
    series = {
        name: {"patient": dict(link.patient), "study": dict(link.study), "uids": dict(link.uids)}
        for name, link in links.items()
    }
    write_sealed(path, {"salt": secrets.token_hex(16), "series": series})


def read_link(path: Path) -> dict[str, SeriesLink]:
    """What :func:`write_link` sealed.

    Raises
    ------
    InputError
        It is missing, damaged or open to others.
    """
    data = read_sealed(path)
    try:
        return {
            name: SeriesLink(entry["patient"], entry["study"], entry["uids"])
            for name, entry in data["series"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise InputError("not a sealed link", where=str(path)) from None


def reidentify(dataset: Any, links: Mapping[str, SeriesLink]) -> Any:
    """A copy of a derived object that belongs to the real patient and joins the real study it was made for.

    Parameters
    ----------
    dataset : pydicom dataset made from remapped UIDs.
    links : of all series of the case, by name.

    Raises
    ------
    ProvenanceError
        The object's study is none of the case's series'.
    """
    import copy

    found: Any = copy.deepcopy(dataset)
    real = {remapped: uid for link in links.values() for remapped, uid in link.uids.items()}
    study = real.get(str(found.get("StudyInstanceUID", "")), "")
    of = next((link for link in links.values() if study and link.study["StudyInstanceUID"] == study), None)
    if of is None:
        raise ProvenanceError(
            "the object was made for another study than those of the case's series",
            fix="run ingest and release of this case again",
        )
    for element in found.iterall():
        if element.VR == "UI" and not element.is_empty:
            many = element.VM > 1
            values = [real.get(str(v), str(v)) for v in (element.value if many else [element.value])]
            element.value = values if many else values[0]
    for keyword, text in {**of.patient, **of.study}.items():
        if text or keyword in found:
            setattr(found, keyword, text)
    for keyword in _REMOVAL:
        if keyword in found:
            delattr(found, keyword)
    found.SpecificCharacterSet = "ISO_IR 192"
    return found


def _files(folder: Path) -> list[Path]:
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(root) / name for name in sorted(names)]
    return [path for path in found if path.is_file()]


def _header(path: Path, keywords: list[str]) -> Any:
    import pydicom

    with quietly():
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
            for keyword in keywords:
                _text(dataset, keyword)  # values are decoded when asked for; a damaged one shows here
        except Exception:  # not DICOM, or damaged: ingest has judged it
            return None
    return dataset


def _text(dataset: Any, keyword: str) -> str:
    value = dataset.get(keyword)
    if value is None:
        return ""
    many = not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "components")
    return ("\\".join(str(v) for v in value) if many else str(value)).strip()
