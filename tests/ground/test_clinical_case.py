"""A clinical case: checked figures only, pinned to the version that was validated for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import implantflow
from implantflow.config import clinical
from implantflow.config.load import parse, read_yaml
from implantflow.config.models import CaseConfig
from implantflow.errors import ConfigError

ROOT = Path(__file__).parents[2]


def checked(value: Any) -> Any:
    """``value`` as if somebody had checked every figure."""
    if isinstance(value, dict):
        return {key: True if key == "verified" else checked(entry) for key, entry in value.items()}
    return [checked(entry) for entry in value] if isinstance(value, list) else value


@pytest.fixture
def case() -> dict[str, Any]:
    """The tiny case as a person's, clinical, with nothing against it."""
    data = read_yaml(ROOT / "config/cases/tiny.yaml")
    for section in ("simulated", "simulated_print", "simulated_followup"):
        data.pop(section)
    for name, entry in data["ingest"]["series"].items():
        entry["dicom"] = f"scans/{name}"
    for revision in data["inspect"]["revisions"]:
        revision.update(kind="surface", file="scan.stl")
        revision.pop("series", None)
    data["build"]["machine"] = read_yaml(ROOT / "config/machines" / f"{data['build']['machine']}.yaml")
    preset = data["lattice"].pop("preset", None)
    if preset is not None:
        data["lattice"] = {**read_yaml(ROOT / f"config/lattices/{preset}.yaml")["lattice"], **data["lattice"]}
    data["prototype"].pop("printer", None)
    return {
        **checked(data),
        "purpose": "clinical",
        "software_version": implantflow.__version__,
        "review": {"policy": "signed", "authors": ["anna"]},
    }


def problems(case: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(CaseConfig, case, "case")
    return str(caught.value)


def test_a_checked_and_pinned_case_is_accepted(case: dict[str, Any]) -> None:
    assert parse(CaseConfig, case, "case").purpose == "clinical"


def test_every_unchecked_figure_is_named(case: dict[str, Any]) -> None:
    case["strength"]["load_cases"][0]["verified"] = False
    case["build"]["machine"]["verified"] = False
    case["build"]["machine"]["preheat"]["verified"] = False
    text = problems(case)
    assert text.startswith("3 error(s)")
    for key in ("strength.load_cases.0", "build.machine", "build.machine.preheat"):
        assert re.search(rf"\d\. {key}\.verified is false; .*set verified: true", text)
    assert parse(CaseConfig, {**case, "purpose": "research"}, "case").software_version == "0.1.0"


def test_presets_that_nobody_checked_are_named(case: dict[str, Any]) -> None:
    case["build"]["machine"] = "arcam-a1"
    case["lattice"]["preset"] = "diamond-70"
    case["prototype"]["printer"] = "prusa-mk4"
    text = problems(case)
    assert "build.machine.verified is false" in text
    assert "lattice.preset: config/lattices/diamond-70.yaml says verified: false" in text
    assert "prototype.printer: config/printers/prusa-mk4.yaml says verified: false" in text


def test_the_version_is_pinned(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case["software_version"] = "9.9.9"
    text = problems(case)
    assert text.startswith("1 error(s)")
    assert (
        f"1. software_version: the case is pinned to 9.9.9, this is implantflow {implantflow.__version__}"
        in text
    )
    del case["software_version"]
    assert f"write software_version: {implantflow.__version__}" in problems(case)
    monkeypatch.setattr(clinical, "__version__", "0.2.0.dev1")
    assert "which is no release" in problems(case)
