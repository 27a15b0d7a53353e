"""Config errors: all at once, each with key, value, why, and what to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from implantflow.config.base import Section
from implantflow.config.load import load, parse, read_yaml
from implantflow.config.models import CaseConfig
from implantflow.config.selection import requested
from implantflow.config.site import SiteConfig
from implantflow.errors import ConfigError

ROOT = Path(__file__).parents[2]


class Inner(Section):
    margin_mm: float = Field(description="Bone margin in mm.", ge=0, le=50)


class Outer(Section):
    side: Literal["left", "right"] = Field(description="Operated side.")
    threshold_hu: float = Field(description="Bone threshold in HU.", ge=100, le=500)
    inner: Inner = Field(description="Inner part.")
    parts: list[Inner] = Field(default=[], description="Parts.")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_all_errors_at_once_with_advice(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "side: up\nthreshold_hu: -3000\ninner: {marginmm: 3}\nparts: [{margin_mm: 99}]\n",
    )
    with pytest.raises(ConfigError) as caught:
        load(Outer, path)
    text = str(caught.value)
    assert "5 error(s)" in text
    assert "threshold_hu = -3000" in text and "Bone threshold in HU." in text
    assert "inner.marginmm: unknown key; did you mean 'margin_mm'?" in text
    assert "inner.margin_mm: missing" in text
    assert "parts.0.margin_mm = 99" in text
    assert str(path) in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\na: 2\n", "appears twice"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: [1\n", "not readable as YAML"),
        ("[" * 100_000, "nested|not readable as YAML"),
        ("{a: " * 60 + "1" + "}" * 60, "nested more than"),
        ("a: !!python/object/apply:os.system ['true']\n", "not readable as YAML"),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_yaml(write(tmp_path, text))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not found"):
        load(Outer, tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="holds no keys"):
        load(Outer, write(tmp_path, "# nothing\n"))


def test_infinite_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finite"):
        load(Outer, write(tmp_path, "side: left\nthreshold_hu: 226\ninner: {margin_mm: .nan}\n"))


def test_cases_by_name_and_by_tag(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# tags: [none]\ncase: a\ntags: [atlas,\n  first]\nside: left\n")
    (tmp_path / "b.yaml").write_text("case: b\ntags:\n- atlas\nside: left\n")
    (tmp_path / "c.yaml").write_text("case: c\n")
    assert requested({}, tmp_path) == ["demo"]
    assert requested({"cases": " c, a ,"}, tmp_path) == ["c", "a"]
    assert requested({"tag": "atlas"}, tmp_path) == ["a", "b"]
    assert requested({"cases": ["b"], "tag": "atlas"}, tmp_path) == ["b", "a"]
    with pytest.raises(ConfigError, match="atlas, first"):
        requested({"tag": "none"}, tmp_path)


@pytest.mark.parametrize("value", ["", None, " , ", []])
def test_an_empty_list_of_cases_is_not_the_demo(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match="no case is named") as error:
        requested({"cases": value}, tmp_path)
    assert "cases=NAME" in error.value.fix


def test_unknown_keys_of_the_command_line_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key for --config: case\n") as error:
        requested({"case": "vhf"}, tmp_path)
    assert "did you mean cases=" in error.value.fix
    with pytest.raises(ConfigError, match="threshold") as error:
        requested({"cases": "demo", "threshold": 3}, tmp_path)
    assert "cases" in error.value.fix and "tag" in error.value.fix and "case_dir" in error.value.fix
    assert requested({"case_dir": str(tmp_path)}, tmp_path) == ["demo"]


def changed_tiny(change: Callable[[dict[str, Any]], object]) -> str:
    """What is said of the tiny case after a change."""
    data = read_yaml(ROOT / "config/cases/tiny.yaml")
    change(data)
    with pytest.raises(ConfigError) as caught:
        parse(CaseConfig, data, "tiny")
    return str(caught.value)


def test_problems_across_sections_have_a_line_and_a_key_each() -> None:
    def change(data: dict[str, Any]) -> None:
        data["prototype"]["approved"] = "rp9"
        data["release"]["revision"] = "r9"
        data["ingest"]["planning_ct"] = "mr_diagnosis"

    text = changed_tiny(change)
    assert text.startswith("3 error(s)") and "Value error" not in text and "whole file" not in text
    assert "1. ingest.planning_ct names a MR" in text
    assert "2. prototype.approved names 'rp9', not among prototype.iterations: rp1" in text
    assert "3. release.revision is 'r9'" in text


@pytest.mark.parametrize(
    ("section", "key", "there"),
    [
        ("build", "machine", "arcam-a1"),
        ("lattice", "preset", "gyroid-70"),
        ("prototype", "printer", "prusa-mk4"),
    ],
)
def test_a_preset_that_is_not_there_names_its_key(section: str, key: str, there: str) -> None:
    text = changed_tiny(lambda data: data[section].update({key: "arcam-q10"}))
    assert text.startswith("1 error(s)")
    assert f"1. {section}.{key}: no preset called 'arcam-q10'; there are: " in text and there in text


def test_dates_that_contradict_each_other_are_refused() -> None:
    """One image has one date, and what is called later is not earlier: swapped scans would turn the response round."""
    data = read_yaml(ROOT / "config/cases/tiny.yaml")
    first, second = data["tumour"]["timepoints"]
    data["ingest"]["series"][second["series"]]["acquired"] = "2024-12-31"
    with pytest.raises(
        ConfigError, match=f"'{second['name']}' was acquired on .* on 2024-12-31: write one date"
    ):
        parse(CaseConfig, data, "tiny.yaml")
    data["ingest"]["series"][second["series"]].pop("acquired")
    first["acquired"], second["acquired"] = second["acquired"], first["acquired"]
    with pytest.raises(ConfigError, match="but was acquired before it"):
        parse(CaseConfig, data, "tiny.yaml")


def test_malformed_yaml_is_told_by_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "side: left\ninner: {margin_mm: 3\nparts: []\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert "unicode string" not in str(caught.value)
    assert re.search(rf"{path}, line [234], column \d", caught.value.where) and "colon" in caught.value.fix
    path.write_text("case: a\n\ntags: [a, 'b\n")
    with pytest.raises(ConfigError) as caught:
        requested({"tag": "a"}, tmp_path)
    assert "c.yaml, line" in caught.value.where
    path.write_bytes(b"side: \xff\n")
    with pytest.raises(ConfigError, match="not readable as YAML: invalid start byte"):
        read_yaml(path)


def test_a_missing_file_is_told_by_what_it_is_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not found") as caught:
        load(SiteConfig, tmp_path / "nope")
    assert "--site" in caught.value.fix and "cases=" not in caught.value.fix
    with pytest.raises(ConfigError, match="not found") as caught:
        load(CaseConfig, tmp_path / "nope")
    assert "cases=NAME" in caught.value.fix
    with pytest.raises(ConfigError, match="cannot be read"):
        load(SiteConfig, tmp_path)
