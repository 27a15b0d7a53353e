"""The DICOM objects of one follow-up: its figures as a report, its registration to the planning CT."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import read_json, sha256_file
from implantflow.config.site import NOT_CLINICAL
from implantflow.dicom.export import codes
from implantflow.dicom.export.codes import Concept, own
from implantflow.dicom.export.context import Case, Source
from implantflow.dicom.export.registration import Moved, write_registration
from implantflow.dicom.export.report import Figure, Group, write_report
from implantflow.geometry import FloatArray
from implantflow.jobs import Job

REPORT, REGISTRATION = "report.dcm", "registration.dcm"
_NUMBERS = {REPORT: 1, REGISTRATION: 2}

_TURN = tuple(
    own(f"rotation_{axis}", f"Rotation about the {name} axis")
    for axis, name in (("x", "left-right"), ("y", "anterior-posterior"), ("z", "head-foot"))
)
_TURN_ANGLE = own("rotation_angle", "Angle of rotation")
_REPEATABILITY = own("repeatability", "Repeatability of displacement, 95 %")
_TURN_REPEATABILITY = own("repeat_rotation", "Repeatability of rotation, 95 %")
_BRIDGED = own("bridged", "Share of the contact face bridged or in contact (no lucency)")
_LUCENCY = own("lucency", "Width of lucency at the contact face")
_LIMIT = own("detection_limit", "Least width of lucency that this scan shows")
_FACE_AREA = own("face_area", "Area of the contact face")
_FUSION = own("fusion_grade", "Grade of fusion at the contact face")
_DELTA_HU = own("delta_hu", "Change of attenuation in the lattice")
_DELTA_BONE = own("delta_bone", "Change of bone as share of the pore space")
_BONE_LOW = own("delta_bone_low", "Change of bone, lower end of the interval")
_BONE_HIGH = own("delta_bone_high", "Change of bone, upper end of the interval")
_MM2 = Concept("mm2", "UCUM", "mm2")


def write_objects(job: Job, record: Mapping[str, Any], scan_from_planning: FloatArray) -> dict[str, Any]:
    """Write report and registration into the folder of the output ``dicom``.

    Settings: ``case``, ``purpose``, ``side``, ``simulated``, ``scan_date`` (ISO 8601, None where nobody states it).
    Inputs: ``manifest``, ``planning_manifest``.

    Parameters
    ----------
    record : followup.json as it will be written
    scan_from_planning : (4, 4) rigid, patient LPS mm of the planning CT -> that of the scan

    Returns
    -------
    dict
        UIDs and digests by file; or, when nobody has stated a date, that nothing was written and why: a report
        without a date is no DICOM object, and the day of the run is not the day of the scan.
    """
    folder: Path = job.outputs["dicom"]
    folder.mkdir(parents=True)
    if job.settings["scan_date"] is None:
        return {
            "status": "not written",
            "reason": "the date of the scan is not stated",
            "fix": "write it under ingest.series.NAME.acquired",
        }
    simulated = bool(job.settings["simulated"])
    marks = [] if job.settings["purpose"] == "clinical" else [NOT_CLINICAL]
    marks += ["SIMULATED"] if simulated else []
    day = date.fromisoformat(str(job.settings["scan_date"]))
    case = Case(str(job.settings["case"]), day, simulated, tuple(marks))
    scan, planning = (
        Source.of(read_json(job.input("manifest"))),
        Source.of(read_json(job.input("planning_manifest"))),
    )
    report = write_report(
        folder / REPORT, case, [scan, planning], groups(record, str(job.settings["side"])),
        text=f"Follow-up {record['name']}", number=_NUMBERS[REPORT],
    )  # fmt: skip
    # The object joins the follow-up's study, so the planning CT is what is moved.
    moved = [Moved(planning, np.asarray(scan_from_planning))]
    registration = write_registration(
        folder / REGISTRATION, case, scan, moved, text=f"Planning CT to {record['name']}",
        number=_NUMBERS[REGISTRATION],
    )  # fmt: skip
    digests = {name: sha256_file(folder / name) for name in (REPORT, REGISTRATION)}
    return {"status": "written", REPORT: report, REGISTRATION: registration, "sha256": digests}


def groups(record: Mapping[str, Any], side: str) -> list[Group]:
    """Motion against the baseline and against the plan, each contact face, the lattice."""
    name = str(record["name"])

    def group(
        label: str, figures: list[Figure], gradings: list[tuple[Concept, Concept]] | None = None
    ) -> Group:
        return Group(
            label, name, codes.IMPLANT, codes.SACRUM, codes.SIDES[side], figures, tuple(gradings or ())
        )

    against = f"implant against {record['baseline']}" if record["baseline"] else "implant against a baseline"
    found = [
        group(against, _motion(record.get("migration"))),
        group("implant against the plan", _motion(record["against_plan"])),
    ]
    for face, figures in record["faces"].items():
        grade = own(f"fusion_{_token(figures['grade'])}", f"Fusion: {figures['grade']}")
        found.append(group(f"contact face {face}", _face(figures), [(_FUSION, grade)]))
    found.append(group("lattice", _lattice(record["lattice"])))
    return found


def _motion(motion: Mapping[str, Any] | None) -> list[Figure]:
    """Displacement of the implant's centroid along the axes of the planning CT, and its rotation."""
    said = motion or {}
    shift, turn = said.get("shift_lps_mm", [None] * 3), said.get("rotation_lps_deg", [None] * 3)
    return [
        Figure(codes.LINEAR_DISPLACEMENT, said.get("shift_mm"), codes.MM),
        *(Figure(c, v, codes.MM) for c, v in zip(codes.DISPLACEMENT_XYZ, shift, strict=True)),
        Figure(_REPEATABILITY, said.get("repeatability_mm"), codes.MM),
        Figure(_TURN_ANGLE, said.get("rotation_deg"), codes.DEGREE),
        *(Figure(c, v, codes.DEGREE) for c, v in zip(_TURN, turn, strict=True)),
        Figure(_TURN_REPEATABILITY, said.get("repeatability_deg"), codes.DEGREE),
    ]


def _face(figures: Mapping[str, Any]) -> list[Figure]:
    return [
        Figure(_FACE_AREA, figures["area_mm2"], _MM2),
        Figure(_BRIDGED, figures["bridged_pct"], codes.PERCENT),
        Figure(_LUCENCY, figures["lucency_mm"], codes.MM),
        Figure(_LIMIT, figures["detection_limit_mm"], codes.MM),
    ]


def _lattice(lattice: Mapping[str, Any]) -> list[Figure]:
    low, high = lattice.get("interval") or (None, None)
    return [
        Figure(_DELTA_HU, lattice.get("delta_hu"), codes.HOUNSFIELD),
        Figure(_DELTA_BONE, lattice.get("delta_bone_fraction"), codes.RATIO),
        Figure(_BONE_LOW, low, codes.RATIO),
        Figure(_BONE_HIGH, high, codes.RATIO),
    ]


def _token(text: str) -> str:
    """A grade as a code value: lower case, no spaces."""
    return "_".join(text.lower().split())[:9]
