"""The DICOM objects: they give back what they were made from, in the CT's space, and a validator finds no error."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from imaging_files import BONES, CT_FROM_MR, SIZES, labels, tumour_masks
from objects_read import read_registration, read_segmentation
from release_room import Room

from implantflow import artifacts
from implantflow.dicom.export.stl import ENCAPSULATED_STL_STORAGE, read_stl_object
from implantflow.errors import InputError, ProvenanceError
from implantflow.volumes import Volume

needs_validator = pytest.mark.skipif(
    shutil.which("dciodvfy") is None and os.environ.get("CI") != "true",
    reason="dciodvfy is not installed (apt-get install dicom3tools); CI must have it",
)
OBJECTS = {
    "bone_labels.dcm": "Segmentation", "tumour_labels.dcm": "Segmentation", "registration.dcm": "SpatialRegistration",
    "tumour_report.dcm": "Comprehensive3DSR",
    **dict.fromkeys(("sacrum.dcm", "hip_left.dcm", "hip_right.dcm", "l5.dcm", "tumour.dcm"), "EncapsulatedSTL"),
}  # fmt: skip


def objects(room: Room) -> dict[str, Path]:
    """Every DICOM object of the release by name."""
    return {p.name: p for p in [*(room.case / "release/dicom").iterdir(), room.case / "release/implant.dcm"]}


def onto(grid: Volume, found: Volume) -> np.ndarray:
    """Where ``found`` is set on ``grid``, each voxel by its place in the patient."""
    out = np.zeros(grid.array.shape, dtype=bool)
    k, j, i = np.nonzero(found.array)
    index = grid.lps_to_index(found.index_to_lps(np.stack([i, j, k], axis=1)))
    assert np.abs(index - np.rint(index)).max() < 1e-4
    i, j, k = np.rint(index).astype(int).T
    out[k, j, i] = True
    return out


def numbers(path: Path) -> list[tuple[str, str, float, str]]:
    """(tracked thing, name, value, unit) of every number of a report."""
    found = []

    def walk(item, tracked: str) -> None:
        children = item.get("ContentSequence", [])
        for child in children:
            name = child.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in child else ""
            if name == "Tracking Identifier":
                tracked = child.TextValue
            if name == "Time Point":
                tracked = f"{tracked} {child.TextValue}"
            if child.ValueType == "NUM":
                value = child.MeasuredValueSequence[0]
                unit = value.MeasurementUnitsCodeSequence[0].CodeValue
                found.append((tracked, name, float(value.NumericValue), unit))
            walk(child, tracked)

    walk(pydicom.dcmread(path), "")
    return found


def test_gives_back_the_stl_to_the_byte(room: Room) -> None:
    room.release()
    assert (
        read_stl_object(room.case / "release/implant.dcm") == (room.case / "implant/implant.stl").read_bytes()
    )
    for name, folder in (
        ("sacrum", "segment"),
        ("hip_left", "segment"),
        ("l5", "segment"),
        ("tumour", "tumour"),
    ):
        stl = (room.case / folder / f"{name}.stl").read_bytes()
        assert read_stl_object(room.case / f"release/dicom/{name}.dcm") == stl


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
    side = pydicom.dcmread(room.case / "release/dicom/hip_right.dcm")
    assert (side.ImageLaterality, side.ModelModification) == ("R", "NO")
    assert "ImageLaterality" not in pydicom.dcmread(room.case / "release/dicom/sacrum.dcm")


def test_every_object_joins_the_study_and_says_what_it_is(room: Room) -> None:
    record = room.release()
    assert {o["file"] for o in record["dicom"]["objects"]} == set(OBJECTS)
    series, instances = set(), set()
    for name, path in objects(room).items():
        ds = pydicom.dcmread(path)
        assert (ds.StudyInstanceUID, ds.StudyDate, ds.PatientID) == ("2.25.10", "", "demo"), name
        assert ds.SeriesDescription.startswith("NOT FOR CLINICAL USE, SIMULATED, "), name
        assert ds.PatientIdentityRemoved == "YES" and len(ds.DeidentificationMethodCodeSequence) == 2
        series.add(ds.SeriesInstanceUID)
        instances.add(ds.SOPInstanceUID)
    assert len(series) == len(instances) == len(OBJECTS) + 1


def test_objects_of_a_virtual_tumour_say_so(room: Room) -> None:
    room.settings["simulated"] = {"patient": False, "tumour": True, "print": True}
    room.release()
    for name, path in objects(room).items():
        description = pydicom.dcmread(path).SeriesDescription
        assert description.startswith("NOT FOR CLINICAL USE, VIRTUAL TUMOUR, "), name
    tumour = pydicom.dcmread(room.case / "release/dicom/tumour.dcm")
    assert tumour.DocumentTitle.startswith(
        "virtual tumour of case demo. NOT FOR CLINICAL USE · virtual tumour"
    )
    assert tumour.ContentDescription == "Put in by the case config, in no image, patient LPS mm"
    assert "virtual tumour" in pydicom.dcmread(room.case / "release/implant.dcm").DocumentTitle
    sacrum = pydicom.dcmread(room.case / "release/dicom/sacrum.dcm")
    assert sacrum.DocumentTitle.startswith("sacrum of case demo. ")
    assert sacrum.ContentDescription == "Surface from the planning CT, patient LPS mm"


def test_manifest_without_study_is_refused(room: Room) -> None:
    path = "ingest/ct_planning/manifest.json"
    old = artifacts.read_json(room.path(path))
    del old["study_uid"]
    room.write(path, old)
    with pytest.raises(ProvenanceError, match="study_uid"):
        room.release()


def test_bone_labels_are_the_label_map_voxel_for_voxel(room: Room) -> None:
    import highdicom

    room.release()
    path, truth = room.case / "release/dicom/bone_labels.dcm", labels()
    found = read_segmentation(path)
    assert list(found) == list(BONES)
    for name, code in BONES.items():
        assert np.array_equal(onto(truth, found[name]), truth.array == code), name
    # Another reader than ours sees the same.
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=True)
    affine = volume.affine[:, [2, 1, 0, 3]]
    other = Volume(np.asarray(volume.array), affine)
    for number, code in enumerate(BONES.values(), 1):
        mask = other.like((other.array == number).astype(np.uint8))
        assert np.array_equal(onto(truth, mask), truth.array == code)
    sides = {s.SegmentLabel: s.SegmentedPropertyTypeCodeSequence[0] for s in seg.SegmentSequence}
    assert sides["hip_left"].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert seg.FrameOfReferenceUID == "2.25.12"


def test_each_plane_of_the_labels_names_its_image(room: Room) -> None:
    room.release()
    ds = pydicom.dcmread(room.case / "release/dicom/bone_labels.dcm")
    truth = labels()
    for group in ds.PerFrameFunctionalGroupsSequence:
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        plane = round(float(truth.lps_to_index(place[None])[0, 2]))
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == f"2.25.{1000 + plane}"


@pytest.mark.parametrize("change", [{"resampled": True}, {"sop_instance_uids": ["2.25.7"] * 3}])
def test_no_plane_is_named_where_images_are_no_planes(room: Room, change: dict[str, object]) -> None:
    room.change("ingest/ct_planning/manifest.json", **change)
    room.release()
    ds = pydicom.dcmread(room.case / "release/dicom/bone_labels.dcm")
    assert not any("DerivationImageSequence" in g for g in ds.PerFrameFunctionalGroupsSequence)
    named = [i.ReferencedSOPInstanceUID for i in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence]
    manifest = artifacts.read_json(room.path("ingest/ct_planning/manifest.json"))
    assert named == list(dict.fromkeys(manifest["sop_instance_uids"]))


def test_overlapping_tumours_are_two_segments(room: Room) -> None:
    room.release()
    found = read_segmentation(room.case / "release/dicom/tumour_labels.dcm")
    for name, truth in tumour_masks().items():
        assert np.array_equal(onto(truth, found[f"tumour {name}"]), truth.array == 1), name


def test_registrations_are_those_of_the_tumour(room: Room) -> None:
    room.release()
    path = room.case / "release/dicom/registration.dcm"
    found = read_registration(path)
    assert set(found) == {"2.25.12", "2.25.22", "2.25.32"}
    assert np.array_equal(found["2.25.12"], np.eye(4))
    assert np.allclose(found["2.25.22"], CT_FROM_MR, atol=1e-9)
    ds = pydicom.dcmread(path)
    other = {s.StudyInstanceUID for s in ds.StudiesContainingOtherReferencedInstancesSequence}
    assert (ds.FrameOfReferenceUID, other) == ("2.25.12", {"2.25.20", "2.25.30"})


def test_report_holds_the_figures_of_the_tumour(room: Room) -> None:
    room.release()
    path = room.case / "release/dicom/tumour_report.dcm"
    found = {(thing, name): (value, unit) for thing, name, value, unit in numbers(path)}
    for name, size in SIZES.items():
        assert found[f"tumour {name}", "Volume"] == (pytest.approx(size, rel=1e-9), "mm3")
    assert found["tumour diagnosis", "Long Axis"] == (49.36598, "mm")
    assert found["tumour diagnosis", "Short Axis"] == (32.684452, "mm")
    assert found["tumour diagnosis", "Craniocaudal extent"] == (48.0, "mm")
    assert found["tumour preoperative", "Change of volume"] == (-21.800267, "%")
    assert ("tumour diagnosis", "Change of volume") not in found
    text = str(pydicom.dcmread(path))
    seg = pydicom.dcmread(room.case / "release/dicom/tumour_labels.dcm")
    assert seg.SOPInstanceUID in text and "Target Lesion Stable Disease" in text and "'Left'" in text
    ds = pydicom.dcmread(path)
    assert (ds.CompletionFlag, ds.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


def test_another_object_is_refused(room: Room, tmp_path: Path) -> None:
    room.release()
    ds = pydicom.dcmread(room.case / "release/implant.dcm")
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    ds.save_as(tmp_path / "pdf.dcm")
    with pytest.raises(InputError, match="not an Encapsulated STL"):
        read_stl_object(tmp_path / "pdf.dcm")
    with pytest.raises(InputError, match="not a Spatial Registration"):
        read_registration(tmp_path / "pdf.dcm")


def errors_in(path: Path, kind: str) -> list[str]:
    """What the validator calls an error, once it has seen what kind of object it is."""
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    told = found.stdout + found.stderr
    assert kind in told.splitlines()
    return [line for line in told.splitlines() if line.startswith(("Error", "Abort"))]


@needs_validator
def test_validator_finds_no_error(room: Room) -> None:
    room.release()
    found = objects(room)
    for name, kind in {**OBJECTS, "implant.dcm": "EncapsulatedSTL"}.items():
        assert errors_in(found[name], kind) == [], name


def test_same_bytes_twice_and_other_uids_for_another_day(room: Room) -> None:
    room.release()
    first = {name: artifacts.sha256_file(path) for name, path in objects(room).items()}
    uids = {name: str(pydicom.dcmread(path).SOPInstanceUID) for name, path in objects(room).items()}
    room.release()
    assert {name: artifacts.sha256_file(path) for name, path in objects(room).items()} == first
    room.settings["release"]["date"] = "2025-05-17"
    room.release()
    assert all(uids[name] != pydicom.dcmread(path).SOPInstanceUID for name, path in objects(room).items())
