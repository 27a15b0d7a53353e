"""Config errors: all at once, each with key, value, why, and what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from implantflow.config.base import Section
from implantflow.config.load import load, read_yaml
from implantflow.config.selection import requested
from implantflow.errors import ConfigError


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
