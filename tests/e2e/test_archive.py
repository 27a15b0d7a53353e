"""The released tiny case goes back into the archive its scans could have come from: a real Orthanc."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.e2e.conftest import Workspace
from tests.ingest.orthanc_server import PASSWORD, USER, orthanc_or_skip, running

from implantflow.artifacts import read_json
from implantflow.dicom.uids import remap_uid

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_release_joins_the_study_of_the_planning_ct(
    tiny_run: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orthanc_or_skip()
    work = tiny_run.copy(tmp_path / "w")
    monkeypatch.setenv("IMPLANTFLOW_PACS_HOME_USER", USER)
    monkeypatch.setenv("IMPLANTFLOW_PACS_HOME_PASSWORD", PASSWORD)
    with running(tmp_path / "orthanc") as server:
        server.upload(work.path / "data/simulated/tiny/dicom")
        before = {study["ID"]: study for study in server.rest("GET", "studies?expand")}
        site = work.path / "config/site.yaml"
        node = {"kind": "dicomweb", "url": f"http://127.0.0.1:{server.http_port}/dicom-web", "tls": False}
        site.write_text(yaml.safe_dump({**yaml.safe_load(site.read_text()), "pacs": {"home": node}}))
        refused = work.implantflow("pacs", "send", "home", "tiny")
        assert refused.returncode == 3 and "NOT FOR CLINICAL USE" in refused.stderr
        done = work.implantflow("pacs", "send", "home", "tiny", "--not-clinical")
        assert done.returncode == 0, done.stderr
        after = {study["ID"]: study for study in server.rest("GET", "studies?expand")}
    sent = len(list((work.path / "results/tiny/release").rglob("*.dcm")))
    assert sent > 1 and done.stdout.startswith(f"{sent} objects stored")
    # No study and no patient came into being: every object lies beside the scan it was made from.
    assert set(after) == set(before)
    assert len({study["ParentPatient"] for study in after.values()}) == 1
    for key, study in before.items():
        assert after[key]["PatientMainDicomTags"] == study["PatientMainDicomTags"]
        assert after[key]["MainDicomTags"] == study["MainDicomTags"]
    planning = read_json(work.path / "results/tiny/release/release.json")["dicom"]["study_instance_uid"]
    grown = {key for key in before if len(after[key]["Series"]) > len(before[key]["Series"])}
    real = {remap_uid(before[key]["MainDicomTags"]["StudyInstanceUID"]) for key in grown}
    assert planning in real
