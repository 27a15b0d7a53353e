"""Ingest as stage functions: outputs, contract keys, one patient over all series, and no name anywhere."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_series import UID, make_slices, reread, save

from implantflow.artifacts import read_json, sha256_file
from implantflow.config.ingest import SERIES_KEYS, IngestConfig, SeriesConfig
from implantflow.dicom.uids import remap_uid
from implantflow.errors import GeometryError, InputError
from implantflow.ingest.read import scan_folder
from implantflow.ingest.stage import agree_series, ingest_series
from implantflow.jobs import Job, execute
from implantflow.volumes import read_volume

SERIES_FILES = {"volume": "volume.nii.gz", "invented": "invented.nii.gz", "manifest": "manifest.json"}


def series_job(case: Path, name: str, folder: Path, settings: dict[str, Any]) -> Job:
    out = case / "ingest" / name
    return Job(
        rule="ingest_series",
        case_dir=case,
        wildcards={"series": name},
        inputs={"dicom": folder},
        outputs={name: out / file for name, file in SERIES_FILES.items()},
        settings={"series": settings, "purpose": "demo"},
        function="implantflow.ingest.stage:ingest_series",
        code_digest="0",
    )


def agree_job(case: Path, folders: dict[str, Path], outlines: dict[str, Path] | None = None) -> Job:
    return Job(
        rule="agree_series",
        case_dir=case,
        wildcards={},
        inputs={
            "dicom": list(folders.values()),
            "manifests": [case / "ingest" / name / "manifest.json" for name in folders],
            "outlines": list((outlines or {}).values()),
        },
        outputs={"ingest": case / "ingest" / "ingest.json"},
        side_outputs={"link": case.parent / "sealed" / "link.json"},
        settings={
            "ingest": {
                "planning_ct": "ct_planning",
                "series": {name: {"modality": name[:2].upper()} for name in folders},
            },
            "case": "test",
            "drawn_on": list(outlines or {}),
        },
        function="implantflow.ingest.stage:agree_series",
        code_digest="0",
    )


def ingest_two(tmp_path: Path, **second: Any) -> tuple[Path, dict[str, Path]]:
    """A CT and an MR through ``ingest_series``; ``second`` sets tags of the MR."""
    mr = make_slices(modality="MR", intercept=0.0, signed=True, series=2)
    for ds in mr:
        for keyword, value in second.items():
            setattr(ds, keyword, value)
    folders = {
        "ct_planning": save(make_slices(), tmp_path / "SECRET-A"),
        "mr_diagnosis": save(mr, tmp_path / "SECRET-B"),
    }
    case = tmp_path / "case"
    for name, folder in folders.items():
        execute(series_job(case, name, folder, {"modality": name[:2].upper()}), ingest_series)
    return case, folders


def test_series_writes_volume_and_manifest(tmp_path: Path) -> None:
    case, _ = ingest_two(tmp_path)
    volume = read_volume(case / "ingest/ct_planning/volume.nii.gz")
    manifest = read_json(case / "ingest/ct_planning/manifest.json")
    assert volume.array.dtype == np.int16 and volume.array.shape == (30, 36, 44)
    assert np.allclose(volume.affine_lps, manifest["affine_lps"], atol=1e-4)
    assert set(SERIES_KEYS) <= set(manifest)
    assert manifest["series_uid"] == remap_uid(f"{UID}.1") and manifest["series_uid"].startswith("2.25.")
    assert manifest["header"] == {"slice_thickness_mm": 2.0, "kvp": 120.0, "kernel": "B40s"}
    assert manifest["missing_tags"] == ["PatientPosition", "ReconstructionDiameter", "Exposure"]
    assert "acquired" not in manifest
    assert len(manifest["sop_instance_uids"]) == 30


def test_same_bytes_twice_and_a_date_only_when_stated(tmp_path: Path) -> None:
    folder = save(make_slices(), tmp_path / "dicom")
    digests = []
    for case in ("one", "two"):
        job = series_job(tmp_path / case, "ct", folder, {"modality": "CT", "acquired": "2020-02-03"})
        execute(job, ingest_series)
        digests.append([sha256_file(path) for path in job.outputs.values()])
    assert digests[0] == digests[1]
    assert read_json(job.outputs["manifest"])["acquired"] == "2020-02-03"


@pytest.mark.requirement("scan-read-right-or-refused")
def test_refusal_leaves_nothing(tmp_path: Path) -> None:
    folder = save(make_slices()[:8] + make_slices()[9:], tmp_path / "dicom")
    job = series_job(tmp_path / "case", "ct", folder, {"modality": "CT"})
    with pytest.raises(Exception, match="missing"):
        execute(job, ingest_series)
    assert not list((tmp_path / "case" / "ingest").rglob("*.*"))


def test_one_patient_over_all_series(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path)
    execute(agree_job(case, folders), agree_series)
    found = read_json(case / "ingest/ingest.json")
    assert found["planning_ct"] == "ct_planning"
    assert [s["name"] for s in found["series"]] == ["ct_planning", "mr_diagnosis"]
    assert all(set(SERIES_KEYS) <= set(s) for s in found["series"])
    assert found["same_patient"] == {
        "series_compared": 2,
        "compared": ["PatientID", "PatientBirthDate", "PatientSex"],
        "verdict": "agree",
    }
    assert found["frames"] == [
        {"from": "mr_diagnosis", "to": "ct_planning", "relation": "same frame of reference"}
    ]


def test_other_frame_of_reference_needs_registration(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path, FrameOfReferenceUID=f"{UID}.55")
    execute(agree_job(case, folders), agree_series)
    assert read_json(case / "ingest/ingest.json")["frames"][0]["relation"] == "needs registration"


@pytest.mark.requirement("one-patient")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientID", "SECRET-OTHER"), ("PatientBirthDate", "19500101"), ("PatientSex", "M")],
)
def test_two_patients_stop_the_case(keyword: str, value: str, tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path, **{keyword: value})
    with pytest.raises(InputError, match=f"not the same patient's: {keyword} differ") as error:
        execute(agree_job(case, folders), agree_series)
    assert len(value) == 1 or value not in str(error.value)
    assert not (case / "ingest/ingest.json").exists()


def test_missing_identity_is_said(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path, PatientID="", PatientBirthDate="", PatientSex="")
    execute(agree_job(case, folders), agree_series)
    assert read_json(case / "ingest/ingest.json")["same_patient"]["verdict"] == "nothing to compare"


def test_the_sex_alone_is_no_patient(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path, PatientID="", PatientBirthDate="")
    execute(agree_job(case, folders), agree_series)
    verdict = read_json(case / "ingest/ingest.json")["same_patient"]["verdict"]
    assert verdict == "only the sex could be compared, it agrees"


@pytest.mark.requirement("one-patient")
def test_no_patient_hides_behind_a_series_or_an_image_that_names_nobody(tmp_path: Path) -> None:
    """Emptiness agrees with everybody, so every pair of series counts, and every image of a series."""
    nobody = {"PatientID": "", "PatientBirthDate": "", "PatientSex": ""}
    case, folders = ingest_two(tmp_path, PatientID="SECRET-OTHER")
    nameless = make_slices()
    for ds in nameless:
        for keyword, value in nobody.items():
            setattr(ds, keyword, value)
    between = {"ct_nobody": save(nameless, tmp_path / "SECRET-C"), **folders}
    execute(series_job(case, "ct_nobody", between["ct_nobody"], {"modality": "CT"}), ingest_series)
    with pytest.raises(InputError, match="ct_planning and mr_diagnosis are not the same patient's"):
        execute(agree_job(case, between), agree_series)

    first = min(folders["ct_planning"].iterdir())
    ds = reread(first)
    for keyword, value in nobody.items():
        setattr(ds, keyword, value)
    ds.save_as(first, enforce_file_format=True)
    with pytest.raises(InputError, match="not the same patient's: PatientID differ"):
        execute(agree_job(case, folders), agree_series)


def test_one_scan_under_two_names_is_refused(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path)
    twice = {**folders, "mr_preoperative": folders["mr_diagnosis"]}
    execute(series_job(case, "mr_preoperative", twice["mr_preoperative"], {"modality": "MR"}), ingest_series)
    with pytest.raises(InputError, match="mr_diagnosis and mr_preoperative are one and the same scan"):
        execute(agree_job(case, twice), agree_series)


@pytest.mark.parametrize(
    ("header", "stated", "refused"),
    [
        (("20190101", "20190401"), ("2020-02-01", "2020-05-01"), False),
        (("20190401", "20190101"), ("2020-02-01", "2020-05-01"), True),
        (("20190101", "20190101"), ("2020-02-01", "2020-05-01"), False),
        (("20190401", ""), ("2020-02-01", "2020-05-01"), False),
        (("20190401", "20190101"), ("2020-02-01", None), False),
    ],
)
def test_scans_swapped_in_time_are_refused(
    header: tuple[str, str], stated: tuple[str, str | None], refused: bool, tmp_path: Path
) -> None:
    case, folders = ingest_two(tmp_path)
    for folder, day in zip(folders.values(), header, strict=True):
        for path in folder.iterdir():
            ds = reread(path)
            ds.StudyDate = day
            ds.save_as(path, enforce_file_format=True)
    for name, day in zip(folders, stated, strict=True):
        settings = {"modality": name[:2].upper(), **({"acquired": day} if day else {})}
        execute(series_job(case, name, folders[name], settings), ingest_series)
    if not refused:
        execute(agree_job(case, folders), agree_series)
        return
    with pytest.raises(InputError, match="stated in another order of time") as error:
        execute(agree_job(case, folders), agree_series)
    assert "2019" not in str(error.value)


def test_no_identity_in_any_output_or_log(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path)
    log = tmp_path / "log.txt"
    execute(agree_job(case, folders), agree_series, log)
    for handler in logging.getLogger("implantflow").handlers:
        handler.flush()
    written = [log.read_text()] + [
        path.read_text() for path in (case / "ingest").rglob("*.json") if ".job." not in path.name
    ]
    for text in written:
        for secret in ("SECRET", "19610203", "20190405", UID):
            assert secret not in text


def test_visible_human(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "vhf-pelvis-ct" / "dicom"
    job = series_job(tmp_path, "ct_planning", folder, {"modality": "CT"})
    ingest_series(job_with_folders(job))
    manifest = json.loads(job.outputs["manifest"].read_text())
    assert manifest["n_slices"] == 150 and manifest["spacing_mm"] == [1.0, 1.0, 1.0]
    assert manifest["missing_tags"] == ["KVP", "ConvolutionKernel", "ReconstructionDiameter", "Exposure"]
    assert manifest["value_range"] == [-1024, 1531]
    assert manifest["affine_lps"][2][3] == 900.0
    assert len(scan_folder(folder)) == 1


def job_with_folders(job: Job) -> Job:
    for path in job.outputs.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    return job


def test_config_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="straighten"):
        SeriesConfig.model_validate({"modality": "CT", "straighten": True})
    for series in ({}, {"Mr Smith": {"modality": "CT"}}):
        with pytest.raises(ValueError, match="series"):
            IngestConfig.model_validate({"planning_ct": "ct", "series": series})


def outline(tmp_path: Path, **changed: Any) -> dict[str, Path]:
    """The header of a segmentation drawn on the planning CT, ``changed`` in some elements."""
    ds = make_slices()[0]
    ds.Modality = "SEG"
    for keyword, value in changed.items():
        setattr(ds, keyword, value)
    save([ds], tmp_path / "outline")
    return {"ct_planning": next((tmp_path / "outline").iterdir())}


def test_outline_of_the_same_patient_and_frame(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path)
    execute(agree_job(case, folders, outline(tmp_path)), agree_series)
    verdict = read_json(case / "ingest" / "ingest.json")["outlines"]
    assert verdict == [{"series": "ct_planning", "verdict": "patient and frame of reference agree"}]


def test_outline_that_names_nobody_is_said(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path)
    nobody = outline(tmp_path, PatientID="", PatientBirthDate="", PatientSex="")
    execute(agree_job(case, folders, nobody), agree_series)
    verdict = read_json(case / "ingest" / "ingest.json")["outlines"][0]["verdict"]
    assert verdict == "no patient to compare; frame of reference agrees"


def test_outline_that_is_no_dicom_is_said_to_name_nobody(tmp_path: Path) -> None:
    case, folders = ingest_two(tmp_path)
    path = tmp_path / "mask.nii.gz"
    path.write_bytes(b"no DICOM")
    execute(agree_job(case, folders, {"ct_planning": path}), agree_series)
    assert "names no patient" in read_json(case / "ingest" / "ingest.json")["outlines"][0]["verdict"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"PatientID": "SOMEBODY"}, "not of the patient of series ct_planning: PatientID"),
        ({"PatientBirthDate": "19010203"}, "PatientBirthDate differ"),
        ({"FrameOfReferenceUID": f"{UID}.99"}, "another frame of reference than series ct_planning"),
        ({"FrameOfReferenceUID": ""}, "no frame of reference in common"),
    ],
)
def test_outline_of_somebody_or_somewhere_else_is_refused(
    tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    case, folders = ingest_two(tmp_path)
    with pytest.raises((InputError, GeometryError), match=message) as caught:
        execute(agree_job(case, folders, outline(tmp_path, **changed)), agree_series)
    assert "SOMEBODY" not in str(caught.value) and not (case / "ingest" / "ingest.json").exists()
