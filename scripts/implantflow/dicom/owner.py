"""Whose a DICOM object from another program is, and in which frame of reference it was drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implantflow.dicom.headers import Identity
from implantflow.dicom.quiet import quietly
from implantflow.errors import GeometryError, InputError


@dataclass(frozen=True)
class Owner:
    """What an object says of its patient and place; shows neither when printed."""

    identity: Identity = field(repr=False)
    frame_of_reference: str = field(repr=False)


def owner_of(path: Path) -> Owner | None:
    """The owner of a DICOM object; None for a file of another kind, which names nobody.

    Raises
    ------
    InputError
        A DICOM object whose header cannot be read.
    """
    import pydicom

    with path.open("rb") as handle:
        if handle.read(132)[128:] != b"DICM":
            return None
    keywords = ("PatientID", "PatientBirthDate", "PatientSex", "FrameOfReferenceUID")
    try:
        with quietly():
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*keywords])
            values = [_text(dataset.get(keyword)) for keyword in keywords]
    except Exception as error:  # whatever a damaged file provokes in the parser
        raise InputError(
            f"the header cannot be read ({type(error).__name__})", where=path.name, fix="export it again"
        ) from error
    return Owner(Identity(*values[:3]), values[3])


def refuse_stranger(owner: Owner, patient: Identity, frame_of_reference: str, series: str) -> None:
    """Refuse an object of another patient, or of another frame of reference than the series it was drawn on.

    Parameters
    ----------
    frame_of_reference : of the series, as its header has it; "" when it states none

    Raises
    ------
    InputError
        Patient ID, birth date or sex contradict those of the series.
    GeometryError
        The frames differ, or only one of the two states one: then its positions mean nothing in this series.
    """
    differing = patient.differences(owner.identity)
    if differing:
        raise InputError(
            f"it is not of the patient of series {series}: {', '.join(differing)} differ",
            fix="name this patient's object, or correct the headers at their source",
        )
    if owner.frame_of_reference != frame_of_reference:
        stated = owner.frame_of_reference and frame_of_reference
        what = "another frame of reference than" if stated else "no frame of reference in common with"
        raise GeometryError(
            f"it has {what} series {series}: its positions mean nothing there",
            fix="export the object that was drawn on this very series, or draw it there again",
        )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
