"""Follow-up figures as a report: every number, unit and "not determinable" that followup.json states, no more."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pydicom
import pytest

from implantflow.artifacts import sha256_file
from implantflow.dicom.export.context import Case, Source
from implantflow.dicom.export.report import write_report
from implantflow.followup.objects import groups

MOTION = {
    "shift_mm": 1.09143, "shift_lps_mm": [0.351465, 0.506446, -0.900669], "rotation_deg": 0.912087,
    "rotation_lps_deg": [0.546079, -0.45067, 0.574976], "repeatability_mm": 0.134539, "repeatability_deg": 0.113043,
}  # fmt: skip
FACE = {
    "bridged_pct": 89.961825,
    "lucency_mm": 0.0,
    "detection_limit_mm": 0.7,
    "grade": "contact",
    "area_mm2": 1962.2,
}
UNREAD = {
    "bridged_pct": None,
    "lucency_mm": None,
    "detection_limit_mm": 1.2,
    "grade": "not readable",
    "area_mm2": 91.9,
}
RECORD = {
    "name": "m12", "baseline": "m0", "migration": MOTION, "against_plan": {**MOTION, "shift_mm": 0.891212},
    "faces": {"si_joint": FACE, "caudal": UNREAD},
    "lattice": {"delta_hu": 50.474364, "delta_bone_fraction": 0.066221, "interval": [0.024845, 0.223918]},
}  # fmt: skip
WITHOUT = {
    **RECORD, "baseline": None, "migration": None,
    "lattice": {"delta_hu": None, "delta_bone_fraction": None, "interval": None},
}  # fmt: skip
CASE = Case("small", date(2026, 6, 8), True, ("NOT FOR CLINICAL USE", "SIMULATED"))


def source(number: int) -> Source:
    """A CT of three images."""
    images = tuple(("1.2.840.10008.5.1.4.1.1.2", f"2.25.{number}00{k}") for k in range(3))
    return Source("CT", f"2.25.{number}1", f"2.25.{number}2", f"2.25.{number}3", True, images)


def written(folder: Path, record: dict) -> pydicom.Dataset:
    """The report of one follow-up as it is read again."""
    path = folder / "report.dcm"
    write_report(path, CASE, [source(1), source(2)], groups(record, "left"), text="Follow-up", number=1)
    return pydicom.dcmread(path)


def said(ds: pydicom.Dataset) -> dict[tuple[str, str], tuple[float, str] | str]:
    """(tracked thing, concept) -> (value, unit), or the meaning of a code."""
    (measurements,) = (
        i for i in ds.ContentSequence
        if i.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    )  # fmt: skip
    found: dict[tuple[str, str], tuple[float, str] | str] = {}
    for group in measurements.ContentSequence:
        items = [(i.ConceptNameCodeSequence[0].CodeMeaning, i) for i in group.ContentSequence]
        thing = next(i.TextValue for name, i in items if name == "Tracking Identifier")
        for name, item in items:
            if item.ValueType == "NUM":
                value = item.MeasuredValueSequence[0]
                found[thing, name] = (
                    float(value.NumericValue),
                    value.MeasurementUnitsCodeSequence[0].CodeValue,
                )
            elif item.ValueType == "CODE":
                found[thing, name] = item.ConceptCodeSequence[0].CodeMeaning
    return found


def test_numbers_and_units_are_those_of_the_record(tmp_path: Path) -> None:
    found = said(written(tmp_path, RECORD))
    moved = "implant against m0"
    assert found[moved, "Linear Displacement"] == (1.09143, "mm")
    for axis, value, turn, about in zip(
        "XYZ", MOTION["shift_lps_mm"], MOTION["rotation_lps_deg"], ("left-right", "anterior-posterior", "head-foot"),
        strict=True,
    ):  # fmt: skip
        assert found[moved, f"Spatial Displacement {axis} Component"] == (value, "mm")
        assert found[moved, f"Rotation about the {about} axis"] == (turn, "deg")
    assert found[moved, "Repeatability of displacement, 95 %"] == (0.134539, "mm")
    assert found["implant against the plan", "Linear Displacement"] == (0.891212, "mm")
    assert found["contact face si_joint", "Share of the contact face bridged or in contact (no lucency)"] == (
        89.961825,
        "%",
    )
    assert found["contact face si_joint", "Grade of fusion at the contact face"] == "Fusion: contact"
    assert found["lattice", "Change of attenuation in the lattice"] == (50.474364, "[hnsf'U]")
    assert found["lattice", "Change of bone, upper end of the interval"] == (0.223918, "1")


def test_what_is_not_determinable_has_no_number(tmp_path: Path) -> None:
    found = said(written(tmp_path, WITHOUT))
    unknown = {key for key, value in found.items() if value == "Value indeterminate"}
    assert ("implant against a baseline", "Linear Displacement") in unknown
    assert ("contact face caudal", "Width of lucency at the contact face") in unknown
    assert ("lattice", "Change of bone as share of the pore space") in unknown
    assert found["contact face caudal", "Least width of lucency that this scan shows"] == (1.2, "mm")
    # Ten figures of motion, two of the face, four of the lattice.
    assert len(unknown) == 10 + 2 + 4


def test_report_is_the_same_twice_and_another_for_other_figures(tmp_path: Path) -> None:
    first = written(tmp_path, RECORD)
    digest = sha256_file(tmp_path / "report.dcm")
    written(tmp_path, RECORD)
    assert sha256_file(tmp_path / "report.dcm") == digest
    other = written(tmp_path, {**RECORD, "against_plan": MOTION})
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert (first.StudyInstanceUID, first.ContentDate) == ("2.25.12", "20260608")


@pytest.mark.skipif(
    shutil.which("dciodvfy") is None and os.environ.get("CI") != "true",
    reason="dciodvfy is not installed (apt-get install dicom3tools); CI must have it",
)
@pytest.mark.parametrize("record", [RECORD, WITHOUT])
def test_validator_finds_no_error_in_the_report(tmp_path: Path, record: dict) -> None:
    written(tmp_path, record)
    command = ["dciodvfy", str(tmp_path / "report.dcm")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (told.stdout + told.stderr).splitlines()
    assert "Comprehensive3DSR" in lines
    assert [line for line in lines if line.startswith(("Error", "Abort"))] == []
