"""A case that names a study of an archive, through the commands and through Snakemake; objects sent back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml
from canary_set import UID_ROOT, Planted, plant
from leak_search import leaks
from one_series import ingest_folder
from orthanc_server import AE, PASSWORD, USER, Orthanc, orthanc_or_skip, running, wire
from synthetic_series import make_slices, save
from tests.e2e.conftest import Workspace, new_workspace

from implantflow.artifacts import sha256_file, write_json
from implantflow.dicom.identity import read_series, write_link
from implantflow.dicom.uids import remap_uid

pytestmark = pytest.mark.slow

ENVIRONMENT = {"IMPLANTFLOW_PACS_HOME_USER": USER, "IMPLANTFLOW_PACS_HOME_PASSWORD": PASSWORD}
PATIENT = "ZQKANARYPATIENT"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    orthanc_or_skip()
    with running(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def planted(server: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A planted study of a CT and an MR in the archive, and another person's MR."""
    planted, root = Planted(), tmp_path_factory.mktemp("scans")
    study = planted.uid("study")
    for series, person in (
        ("ct_planning", PATIENT),
        ("mr_diagnosis", PATIENT),
        ("mr_other", "ZQKANARYOTHER"),
    ):
        stored = {} if series == "ct_planning" else {"modality": "MR", "intercept": 0.0, "signed": True}
        datasets = make_slices(**stored)
        plant(datasets, planted, series)
        for ds in datasets:
            ds.PatientID = ds.PatientName = person
            ds.PatientSex = "F"
            ds.StudyInstanceUID = study if person == PATIENT else f"{UID_ROOT}.7"
        save(datasets, root / series)
    for name in (PATIENT, "ZQKANARYOTHER", PASSWORD):
        planted.places[name] = "identity or credential"
    server.upload(root)
    planted.root = root  # type: ignore[attr-defined]
    return planted


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return new_workspace(tmp_path / "w")


def name_archive(work: Workspace, kind: str, port: int) -> None:
    node: dict[str, Any] = {"kind": kind, "tls": False, "timeout_s": 10}
    if kind == "dimse":
        node |= {"host": "127.0.0.1", "port": port, "called_ae": AE, "calling_ae": "IMPLANTFLOW"}
    else:
        node |= {"url": f"http://127.0.0.1:{port}/dicom-web"}
    path = work.path / "config/site.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "pacs": {"home": node}}))


def command(work: Workspace, *arguments: str, told: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "implantflow", "pacs", *arguments],
        input=told, capture_output=True, text=True, cwd=work.path,
    )  # fmt: skip


def archive_case(work: Workspace, name: str, mr_study: str) -> None:
    config = work.read_case("tiny")
    for section in ("simulated", "simulated_print", "simulated_followup", "inspect", "release", "followup"):
        config.pop(section)
    config["ingest"]["series"] = {
        "ct_planning": {"modality": "CT", "study": "first", "series_uid": uid("ct_planning")},
        "mr_diagnosis": {"modality": "MR", "study": mr_study, "series_uid": uid(mr_series(mr_study))},
    }
    for timepoint in config["tumour"]["timepoints"]:
        timepoint["series"] = "mr_diagnosis"
    config["purpose"] = "research"
    work.write_case(name, config)


def mr_series(study: str) -> str:
    return "mr_diagnosis" if study == "first" else "mr_other"


UIDS: dict[str, str] = {}


def uid(series: str) -> str:
    return UIDS[series]


@pytest.fixture(autouse=True)
def known_uids(planted: Planted) -> None:
    for series in ("ct_planning", "mr_diagnosis", "mr_other"):
        first = next((planted.root / series).iterdir())  # type: ignore[attr-defined]
        UIDS[series] = remap_uid(str(pydicom.dcmread(first).SeriesInstanceUID))


def searched(work: Workspace, planted: Planted, *outputs: str) -> list[str]:
    (work.path / "results" / "printed.txt").write_text("\n".join(outputs))
    return [
        leak for folder in ("results", ".snakemake") for leak in leaks(work.path / folder, planted.needles)
    ]


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["dimse", "dicomweb"])
def test_case_names_a_study(kind: str, server: Orthanc, planted: Planted, work: Workspace) -> None:
    name_archive(work, kind, server.dicom_port if kind == "dimse" else server.http_port)
    for name, patient in (("first", PATIENT), ("second", "ZQKANARYOTHER")):
        found = command(work, "find", "home", "--as", name, told=f"PatientID={patient}\n")
        assert found.returncode == 0, found.stderr
    archive_case(work, "from_archive", "first")
    archive_case(work, "two_persons", "second")
    done = work.snakemake("ingest", cases="from_archive,two_persons")
    assert done.returncode != 0 and "are not the same patient's: PatientID differ" in done.stderr
    ingest = json.loads((work.path / "results/from_archive/ingest/ingest.json").read_text())
    assert ingest["same_patient"]["verdict"] == "agree"
    assert [s["series_uid"] for s in ingest["series"]] == [uid("ct_planning"), uid("mr_diagnosis")]
    assert not (work.path / "results/two_persons/ingest/ingest.json").exists()
    assert searched(work, planted, done.stdout, done.stderr) == []
    again = work.snakemake("ingest", cases="from_archive")
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.e2e
def test_broken_fetch_stops_the_case_and_a_second_run_finishes(
    server: Orthanc, planted: Planted, work: Workspace
) -> None:
    name_archive(work, "dicomweb", server.http_port)
    assert command(work, "find", "home", "--as", "first", told=f"PatientID={PATIENT}\n").returncode == 0
    archive_case(work, "cut_off", "first")
    with wire(server.http_port, *[30_000] * 50) as line:
        name_archive(work, "dicomweb", line.port)
        done = work.snakemake("ingest", cases="cut_off")
    assert done.returncode != 0
    assert "images of the study did not come" in done.stderr
    assert not (work.path / "data/sealed/cut_off/studies/first").exists()
    assert not list((work.path / "results/cut_off").rglob("volume.nii.gz"))
    name_archive(work, "dicomweb", server.http_port)
    done = work.snakemake("ingest", cases="cut_off")
    assert done.returncode == 0, done.stderr[-3000:]
    assert searched(work, planted, done.stdout, done.stderr) == []


@pytest.mark.e2e
def test_name_that_nobody_gave_is_refused_at_once(server: Orthanc, planted: Planted, work: Workspace) -> None:
    name_archive(work, "dicomweb", server.http_port)
    archive_case(work, "nameless", "first")
    done = work.snakemake("ingest", cases="nameless")
    assert done.returncode != 0
    assert "no study has been given this name" in done.stderr and "pacs find NODE --as first" in done.stderr


def test_find_refuses_what_would_list_everybody(server: Orthanc, work: Workspace) -> None:
    name_archive(work, "dicomweb", server.http_port)
    for told, said in (
        ("StudyDate=20190405\n", "everybody's studies"),
        ("PatientID=*\n", "everybody's studies"),
        ("Room=3\n", "cannot search by Room"),
        ("PatientID\n", "not KEYWORD=VALUE"),
        ("PatientID=NOBODY\n", "no such study"),
    ):
        done = command(work, "find", "home", told=told)
        assert done.returncode == 3 and said in done.stderr and "Traceback" not in done.stderr
    done = command(work, "find", "elsewhere", told="PatientID=X\n")
    assert done.returncode == 2 and "is no archive of this site" in done.stderr
    done = command(work, "find", "home", "--as", "Doe^John", told="PatientID=X\n")
    assert done.returncode == 2 and "neutral name" in done.stderr


def test_fetch_command_resumes_under_a_partial_name(
    server: Orthanc, planted: Planted, work: Workspace
) -> None:
    name_archive(work, "dicomweb", server.http_port)
    assert command(work, "find", "home", "--as", "first", told=f"PatientID={PATIENT}\n").returncode == 0
    with wire(server.http_port, *[30_000] * 50) as line:
        name_archive(work, "dicomweb", line.port)
        done = command(work, "fetch", "first", "scans")
    assert done.returncode == 3 and "did not come" in done.stderr
    assert not (work.path / "scans").exists()
    assert list((work.path / ".partial-scans").glob("*.dcm"))
    name_archive(work, "dicomweb", server.http_port)
    done = command(work, "fetch", "first", "scans")
    assert done.returncode == 0, done.stderr
    assert (
        len(list((work.path / "scans").glob("*.dcm"))) == 60 and not (work.path / ".partial-scans").exists()
    )
    assert command(work, "fetch", "first", "scans").returncode == 3
    refused = command(work, "fetch", "first", "results/scans")
    assert refused.returncode == 3 and "results/" in refused.stderr


def released(work: Workspace, planted: Planted, purpose: str) -> Path:
    """A release with one object, made from the manifest of the planted CT as a release makes it."""
    folder = work.path / "results/sent"
    ct = planted.root / "ct_planning"  # type: ignore[attr-defined]
    _, manifest = ingest_folder(ct)
    link = read_series(ct, manifest["series_uid"])
    assert link is not None
    sealed = work.path / "data/sealed/sent/link"
    for path in (work.path / "data/sealed", work.path / "data/sealed/sent", sealed):
        path.mkdir(parents=True, mode=0o700)
    write_link(sealed / "preoperative.json", {"ct_planning": link})
    ds = make_slices(count=1)[0]
    ds.StudyInstanceUID = next(k for k, v in link.uids.items() if v == link.study["StudyInstanceUID"])
    ds.SeriesInstanceUID, ds.SOPInstanceUID = "2.25.1777", "2.25.1778"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.PatientName = ds.PatientID = "sent"
    ds.PatientBirthDate, ds.PatientIdentityRemoved = "", "YES"
    del ds.AcquisitionDate
    (folder / "release").mkdir(parents=True)
    ds.save_as(folder / "release/implant.dcm", enforce_file_format=True)
    entry = {"path": "implant.dcm", "sha256": sha256_file(folder / "release/implant.dcm")}
    write_json(folder / "release/manifest.json", {"files": [entry]})
    write_json(folder / "release/release.json", {"purpose": purpose, "complete": True})
    return folder


@pytest.mark.parametrize("kind", ["dimse", "dicomweb"])
def test_send_puts_the_object_into_the_patients_study(
    kind: str, server: Orthanc, planted: Planted, work: Workspace
) -> None:
    name_archive(work, kind, server.dicom_port if kind == "dimse" else server.http_port)
    folder = released(work, planted, "clinical")
    done = command(work, "send", "home", "sent")
    assert done.returncode == 0, done.stderr
    query = {"Level": "Study", "Query": {"PatientID": PATIENT}, "Expand": True}
    (study,) = server.rest("POST", "tools/find", json=query)
    assert len(study["Series"]) == 3
    assert leaks(folder, planted.needles) == []
    (ours,) = server.rest(
        "POST", "tools/find", json={"Level": "Instance", "Query": {"SOPInstanceUID": "2.25.1778"}}
    )
    server.rest("DELETE", f"instances/{ours}")


def test_send_refuses(server: Orthanc, planted: Planted, work: Workspace) -> None:
    name_archive(work, "dicomweb", server.http_port)
    assert "not released" in command(work, "send", "home", "nothing").stderr
    folder = released(work, planted, "demo")
    refused = command(work, "send", "home", "sent")
    assert refused.returncode == 3 and "NOT FOR CLINICAL USE" in refused.stderr
    path = folder / "release/implant.dcm"
    path.write_bytes(re.sub(rb"2\.25\.1778", b"2.25.1779", path.read_bytes()))
    refused = command(work, "send", "home", "sent", "--not-clinical")
    assert refused.returncode == 8 and "not the file that the release made" in refused.stderr
    (work.path / "data/sealed/sent/link/preoperative.json").unlink()
    write_json(
        folder / "release/manifest.json", {"files": [{"path": "implant.dcm", "sha256": sha256_file(path)}]}
    )
    refused = command(work, "send", "home", "sent", "--not-clinical")
    assert refused.returncode == 3 and "no such sealed file" in refused.stderr


def test_send_followup(server: Orthanc, planted: Planted, work: Workspace) -> None:
    name_archive(work, "dicomweb", server.http_port)
    case = released(work, planted, "clinical")
    folder = case / "followup/m3/dicom"
    folder.mkdir(parents=True)
    ds = pydicom.dcmread(case / "release/implant.dcm")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.1780"
    ds.save_as(folder / "report.dcm", enforce_file_format=True)
    record = case / "followup/m3/followup.json"
    digests = {"report.dcm": sha256_file(folder / "report.dcm")}
    write_json(record, {"dicom": {"status": "written", "sha256": digests}})
    assert "no such follow-up" in command(work, "send", "home", "sent", "--followup", "m6").stderr
    done = command(work, "send", "home", "sent", "--followup", "m3")
    assert done.returncode == 0 and done.stdout.startswith("1 objects stored"), done.stderr
    query = {"Level": "Instance", "Query": {"SOPInstanceUID": "2.25.1780", "PatientID": PATIENT}}
    (ours,) = server.rest("POST", "tools/find", json=query)
    server.rest("DELETE", f"instances/{ours}")
    (folder / "report.dcm").write_bytes((case / "release/implant.dcm").read_bytes())
    refused = command(work, "send", "home", "sent", "--followup", "m3")
    assert refused.returncode == 8 and "not the file that the follow-up made" in refused.stderr
    unsaid = {"status": "not written", "reason": "the date of the scan is not stated", "fix": "state it"}
    write_json(record, {"dicom": unsaid})
    refused = command(work, "send", "home", "sent", "--followup", "m3")
    assert refused.returncode == 3 and "the date of the scan is not stated" in refused.stderr
