"""Rigid registrations as Spatial Registration objects (PS3.3 A.39.1, C.20.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.dicom.export.codes import CONTENT_BASED, SAME_FRAME, Concept
from implantflow.dicom.export.context import (
    Case,
    Source,
    code_item,
    content_uid,
    describe,
    other_studies,
    reference,
    referenced_series,
    save,
    version,
)
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

SPATIAL_REGISTRATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.1"
#: How far a matrix may be from a rotation: results are rounded to 1e-6.
_RIGID_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Moved:
    """A series and how its points come into the fixed one's space.

    Attributes
    ----------
    source : the series that is moved
    fixed_from_source : (4, 4) rigid, patient LPS mm of ``source`` -> patient LPS mm of the fixed series
    """

    source: Source
    fixed_from_source: FloatArray


def write_registration(
    path: Path, case: Case, fixed: Source, moved: Sequence[Moved], *, text: str, number: int
) -> dict[str, str]:
    """Write how ``moved`` series lie in the space of ``fixed``; the object joins the study of ``fixed``.

    Parameters
    ----------
    text : for series description and content description
    number : place of the series among our own

    Returns
    -------
    dict
        Its UIDs.

    Raises
    ------
    GeometryError
        A matrix that is not rigid.
    """
    from pydicom.dataset import Dataset

    for entry in moved:
        _refuse_not_rigid(entry.fixed_from_source)
    said = [case.name, version(), case.day.isoformat(), text, fixed.series_uid]
    for entry in moved:
        said += [entry.source.series_uid, *_numbers(entry.fixed_from_source)]
    ds: Any = Dataset()
    describe(ds, case, fixed, number=number, text=text)
    ds.SOPClassUID = SPATIAL_REGISTRATION_STORAGE
    ds.SOPInstanceUID = content_uid("registration", *said)
    ds.SeriesInstanceUID = content_uid("registration series", *said)
    ds.Modality, ds.Laterality = "REG", ""
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = fixed.frame_uid, ""
    ds.InstanceNumber = 1
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "REGISTRATION", text[:64], ""
    ds.RegistrationSequence = [
        _item(fixed, np.eye(4), SAME_FRAME),
        *(_item(entry.source, entry.fixed_from_source, CONTENT_BASED) for entry in moved),
    ]
    sources = [fixed, *(entry.source for entry in moved)]
    ds.ReferencedSeriesSequence = [referenced_series(s) for s in sources if s.study_uid == fixed.study_uid]
    others = other_studies(sources, fixed)
    if others:
        ds.StudiesContainingOtherReferencedInstancesSequence = others
    save(path, ds)
    return {
        "sop_class_uid": SPATIAL_REGISTRATION_STORAGE,
        "sop_instance_uid": str(ds.SOPInstanceUID),
        "series_instance_uid": str(ds.SeriesInstanceUID),
        "study_instance_uid": fixed.study_uid,
        "frame_of_reference_uid": fixed.frame_uid,
    }


def _item(source: Source, matrix: FloatArray, method: Concept) -> Any:
    from pydicom.dataset import Dataset

    item, group, step = Dataset(), Dataset(), Dataset()
    step.FrameOfReferenceTransformationMatrixType = "RIGID"
    step.FrameOfReferenceTransformationMatrix = _numbers(matrix)
    group.MatrixSequence = [step]
    group.RegistrationTypeCodeSequence = [code_item(method.value, method.scheme, method.meaning)]
    item.MatrixRegistrationSequence = [group]
    if source.has_frame:  # where there is none, the images alone say what is moved (PS3.3 C.20.2.1)
        item.FrameOfReferenceUID = source.frame_uid
    item.ReferencedImageSequence = [reference(*image) for image in source.images]
    return item


def _numbers(matrix: FloatArray) -> list[str]:
    """Sixteen decimal strings, row by row; what is smaller than 1e-9 is rounding."""
    return [f"{0.0 if abs(v) < 1e-9 else float(v):.10g}" for v in np.asarray(matrix).reshape(-1)]


def _refuse_not_rigid(matrix: FloatArray) -> None:
    turn = np.asarray(matrix)[:3, :3]
    off = float(np.abs(turn @ turn.T - np.eye(3)).max())
    if off > _RIGID_TOLERANCE or np.linalg.det(turn) < 0 or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise GeometryError(
            f"a registration is no rigid motion: its rotation is off by {off:.2g}",
            fix="run the stage that registers again",
        )
