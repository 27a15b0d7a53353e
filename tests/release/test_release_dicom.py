"""The DICOM object: it gives back the STL, stands in the CT's space, and a validator finds no error."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pydicom
import pytest
from release_room import Room

from implantflow import artifacts
from implantflow.errors import InputError
from implantflow.release.encapsulated_stl import (
    ENCAPSULATED_STL_STORAGE,
    Encapsulation,
    read_stl,
    write_encapsulated_stl,
)

needs_validator = pytest.mark.skipif(
    shutil.which("dciodvfy") is None and os.environ.get("CI") != "true",
    reason="dciodvfy is not installed (apt-get install dicom3tools); CI must have it",
)


def test_gives_back_the_stl_to_the_byte(room: Room) -> None:
    room.release()
    stl = (room.case / "implant/implant.stl").read_bytes()
    assert read_stl(room.case / "release/implant.dcm") == stl


def test_stands_in_the_space_of_the_planning_ct(room: Room) -> None:
    record = room.release()
    ds = pydicom.dcmread(room.case / "release/implant.dcm")
    assert ds.SOPClassUID == ENCAPSULATED_STL_STORAGE and ds.Modality == "M3D"
    assert ds.FrameOfReferenceUID == "2.25.12"
    assert ds.ImageLaterality == "L" and ds.MIMETypeOfEncapsulatedDocument == "model/stl"
    unit = ds.MeasurementUnitsCodeSequence[0]
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("mm", "UCUM")
    series = ds.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == "2.25.11"
    assert [i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence] == [
        "2.25.1000", "2.25.1001", "2.25.1002",
    ]  # fmt: skip
    assert "NOT FOR CLINICAL USE · simulated patient" in ds.DocumentTitle
    assert (ds.PatientName, ds.PatientID, ds.ContentDate) == ("SIMULATED^demo", "demo", "20250516")
    assert record["dicom"]["sop_instance_uid"] == ds.SOPInstanceUID


def test_study_of_the_ct_is_joined_where_it_is_known(room: Room) -> None:
    assert room.release()["dicom"]["study_uid_source"].startswith("made from")
    room.change("ingest/ct_planning/manifest.json", study_uid="2.25.10")
    record = room.release()
    ds = pydicom.dcmread(room.case / "release/implant.dcm")
    assert (ds.StudyInstanceUID, ds.StudyDate) == ("2.25.10", "")
    assert record["dicom"]["study_uid_source"] == "planning CT"


def test_uids_follow_the_content(room: Room) -> None:
    first = room.release()["dicom"]
    assert room.release()["dicom"] == first
    room.settings["release"]["date"] = "2025-05-17"
    assert room.release()["dicom"]["sop_instance_uid"] != first["sop_instance_uid"]


def test_frames_of_one_object_are_referenced_once(room: Room) -> None:
    room.change("ingest/ct_planning/manifest.json", sop_instance_uids=["2.25.7"] * 3)
    room.release()
    ds = pydicom.dcmread(room.case / "release/implant.dcm")
    (item,) = ds.SourceInstanceSequence
    assert item.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"


def test_another_object_is_refused(room: Room, tmp_path: Path) -> None:
    room.release()
    ds = pydicom.dcmread(room.case / "release/implant.dcm")
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    ds.save_as(tmp_path / "pdf.dcm")
    with pytest.raises(InputError, match="not an Encapsulated STL"):
        read_stl(tmp_path / "pdf.dcm")


def errors_in(path: Path) -> list[str]:
    """What the validator calls an error, once it has seen what kind of object it is."""
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    told = found.stdout + found.stderr
    assert "EncapsulatedSTL" in told
    return [line for line in told.splitlines() if line.startswith("Error")]


@needs_validator
def test_validator_finds_no_error(room: Room) -> None:
    room.release()
    assert errors_in(room.case / "release/implant.dcm") == []


@needs_validator
def test_longest_names_and_odd_length_are_valid_too(tmp_path: Path) -> None:
    name = "n" * 40
    content = Encapsulation(
        stl=b"odd", case=name, label=f"Implant right {name}", title=f"Implant {name} ü · simulated", side="right",
        day=date(2025, 5, 16), simulated=True,
        series={"series_uid": "2.25.11", "sop_instance_uids": ["2.25.1"]},
    )  # fmt: skip
    facts = write_encapsulated_stl(tmp_path / "a.dcm", content)
    assert errors_in(tmp_path / "a.dcm") == []
    assert read_stl(tmp_path / "a.dcm") == b"odd"
    assert facts["frame_of_reference_source"].startswith("made from")


def test_same_bytes_twice(room: Room) -> None:
    room.release()
    first = artifacts.sha256_file(room.case / "release/implant.dcm")
    room.release()
    assert artifacts.sha256_file(room.case / "release/implant.dcm") == first
