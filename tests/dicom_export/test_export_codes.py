"""Codes mean what they say; registrations and segmentations that make no sense are not written."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydicom.sr import _concepts_dict

from implantflow.dicom.export import codes
from implantflow.dicom.export.codes import Concept
from implantflow.dicom.export.context import Case, Source
from implantflow.dicom.export.registration import Moved, write_registration
from implantflow.dicom.export.segmentation import AUTOMATIC, Segment, write_segmentation
from implantflow.errors import GeometryError, ProvenanceError
from implantflow.segment.labels import LABELS
from implantflow.volumes import Volume

CASE = Case("small", date(2026, 6, 8), False, ())
CT = Source(
    "CT",
    "2.25.11",
    "2.25.12",
    "2.25.13",
    True,
    tuple(("1.2.840.10008.5.1.4.1.1.2", f"2.25.{k}") for k in range(2)),
)
BONE = Segment(
    1, "sacrum", codes.ANATOMICAL_STRUCTURE, codes.SACRUM, None, AUTOMATIC, codes.DEFORMABLE_MODELS
)


def standard() -> list[Concept]:
    """Every standard concept that the module names."""
    named = [value for value in vars(codes).values() if isinstance(value, Concept)]
    named += [kind for kind, _ in codes.BONES.values()] + list(codes.RESPONSES.values())
    return [c for c in [*named, *codes.DISPLACEMENT_XYZ] if c.scheme in ("DCM", "SCT")]


@pytest.mark.parametrize("concept", standard(), ids=lambda c: c.meaning)
def test_value_has_that_meaning_in_the_standard(concept: Concept) -> None:
    table = _concepts_dict.concepts[concept.scheme]
    meanings = {entry[concept.value][0].lower() for entry in table.values() if concept.value in entry}
    assert concept.meaning.lower() in meanings


def test_every_label_of_the_segmentation_has_a_code() -> None:
    assert set(LABELS) <= set(codes.BONES)


def test_marks_come_first_and_are_never_cut() -> None:
    case = Case("x", date(2026, 1, 1), True, ("NOT FOR CLINICAL USE", "SIMULATED"))
    found = case.description("t" * 100)
    assert found.startswith("NOT FOR CLINICAL USE, SIMULATED, t") and len(found) == 64


@pytest.mark.parametrize("change", [1.01, -1.0])
def test_a_matrix_that_is_no_rigid_motion_is_refused(tmp_path: Path, change: float) -> None:
    matrix = np.eye(4)
    matrix[0, 0] = change
    with pytest.raises(GeometryError, match="no rigid motion"):
        write_registration(tmp_path / "a.dcm", CASE, CT, [Moved(CT, matrix)], text="x", number=1)
    assert not (tmp_path / "a.dcm").exists()


def test_an_empty_segment_and_masks_of_two_grids_are_refused(tmp_path: Path) -> None:
    grid = Volume(np.ones((2, 4, 4), dtype=np.uint8), np.eye(4))
    other = Volume(grid.array, np.diag([1.0, 1.0, 2.0, 1.0]))
    empty = Segment(2, "l5", codes.ANATOMICAL_STRUCTURE, codes.BONE, None, AUTOMATIC, codes.NEIGHBOURHOOD)
    for masks, what in (([grid], "without a single voxel: l5"), ([grid, other], "different grids")):
        with pytest.raises(GeometryError, match=what):
            write_segmentation(
                tmp_path / "a.dcm", CASE, CT, masks, [BONE, empty], planes_are_images=True, text="x", number=1
            )


def test_series_without_frame_of_reference_gets_one_of_its_own() -> None:
    manifest = {
        "modality": "MR", "series_uid": "2.25.1", "study_uid": "", "frame_of_reference_uid": "",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4", "sop_instance_uids": ["2.25.2", "2.25.2"],
    }  # fmt: skip
    found = Source.of(manifest)
    assert found.frame_uid.startswith("2.25.") and not found.has_frame
    assert found.study_uid != found.frame_uid and len(found.images) == 1
    del manifest["sop_class_uid"]
    with pytest.raises(ProvenanceError, match="sop_class_uid"):
        Source.of(manifest)
