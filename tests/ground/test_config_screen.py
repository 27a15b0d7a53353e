"""Texts that identify a patient or hold a secret are refused by key and kind, and never repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from implantflow.config.load import load, parse, read_yaml
from implantflow.config.models import CaseConfig
from implantflow.config.screen import kinds_in, screen
from implantflow.config.site import SiteConfig
from implantflow.errors import ConfigError

ROOT = Path(__file__).parents[2]
SECRET, NAME, NUMBER = (
    "a password, token or key",
    "a person's name as DICOM writes it (with ^)",
    "a national identity number",
)
PATIENT, BIRTH = "a patient's ID or name", "a date of birth"


def tiny() -> dict[str, Any]:
    return read_yaml(ROOT / "config/cases/tiny.yaml")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("asked by mail, password=hunter2", SECRET),
        ("PACS_TOKEN: abcdef", SECRET),
        ("api-key = 77aa", SECRET),
        ("the password is hunter2", SECRET),
        ("see https://anna:geheim@archive.example/x", SECRET),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", SECRET),
        ("as MILLER^JOHN wished", NAME),
        ("Kim^^\uc601\ud76c", NAME),
        ("SSN 123-45-6789", NUMBER),
        ("rrn 700102-1234567.", NUMBER),
        ("\uff17\uff10\uff10\uff11\uff10\uff12-\uff11\uff12\uff13\uff14\uff15\uff16\uff17", NUMBER),
        ("PatientID 12345678", PATIENT),
        ("PatientName John", PATIENT),
        ("patient name: John Miller", PATIENT),
        ("the patient's ID is A-77123", PATIENT),
        ("MRN 0012345", PATIENT),
        ("born 1970-01-02", BIRTH),
        ("born on 2 January 1970", BIRTH),
        ("Date of birth: 02.01.1970", BIRTH),
        ("DOB 01/02/70", BIRTH),
    ],
)
def test_what_is_refused(text: str, kind: str) -> None:
    assert kinds_in(text) == [kind]
    data = tiny()
    data["prototype"]["iterations"][1]["corrections"][0]["reason"] = text
    with pytest.raises(ConfigError) as caught:
        parse(CaseConfig, data, "c.yaml")
    assert f"1. prototype.iterations.1.corrections.0.reason: {kind}" in str(caught.value)
    assert text not in str(caught.value) and "take it out" in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "1.2.840.113619.2.55.3.604688119.969.1268071029.320",
        "2.25.329800735698586629295641978511506172918",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "built 2025-05-08, powder sieved 2025-04-30",
        "the patient wishes to keep the S1 root; patient number of screws is the surgeon's",
        "doi:10.1007/s00586-019-06123-4, Spine 24:755-762",
        "110-114 GPa, 10^6 cycles, 0.5 mm^3, 1-2-3",
        "the key question: does the rod fit; a token amount of bone",
        "bone born of a graft; reborn surface",
        "no patient ID on the label, no password anywhere",
    ],
)
def test_what_passes(text: str) -> None:
    assert kinds_in(text) == []


def test_all_that_was_said_at_once_and_in_free_keys_too() -> None:
    text = "born 1970-01-02, PatientID 12345678, password=hunter2"
    data = {"a": [{"reason": text}], "landmarks": {"DOE^JANE": [0, 0, "SSN 123-45-6789"]}}
    with pytest.raises(ConfigError) as caught:
        screen(data, "c.yaml")
    told = str(caught.value)
    assert f"1. a.0.reason: {SECRET}, {PATIENT}, {BIRTH}" in told
    assert f"2. landmarks, one of its keys: {NAME}" in told and f"3. landmarks.?.2: {NUMBER}" in told
    assert not any(word in told for word in ("hunter2", "12345678", "1970", "DOE", "6789"))


def test_a_secret_is_found_before_its_value_could_be_told(tmp_path: Path) -> None:
    data = tiny()
    data["side"] = "password=hunter2"
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        load(CaseConfig, path)
    assert "1. side: a password" in str(caught.value) and "hunter2" not in str(caught.value)


def test_shipped_configs_and_reviewers_pass(tmp_path: Path) -> None:
    for path in sorted((ROOT / "config").rglob("*.yaml")):
        screen(read_yaml(path), str(path))
    site = read_yaml(ROOT / "config/site.yaml")
    person = {"id": "a_weber", "name": "Anna Weber", "role": "surgeon", "public_key": "ab" * 32}
    site["reviewers"] = [{**person, "valid_from": "2025-01-01"}]
    assert parse(SiteConfig, site, "site").reviewers[0].name == "Anna Weber"
    site["reviewers"][0]["name"] = "WEBER^ANNA"
    with pytest.raises(ConfigError, match=r"reviewers\.0\.name: a person's name"):
        parse(SiteConfig, site, "site")
    # Paths of a person's files are theirs to name: they get neutral names (tests/ingest/test_intake_names.py).
    data = tiny()
    data["segment"]["edited_labels"] = "DOE^JANE.nii.gz"
    assert parse(CaseConfig, data, "c").segment.edited_labels == "DOE^JANE.nii.gz"
