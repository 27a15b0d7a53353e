"""The conda environment carries the pins of the hashed lock, and the lock names no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def lock_pins() -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / "requirements/run.txt").read_text(), re.M
    ):
        pins.setdefault(name, set()).add(version)
    return pins


def test_env_equals_lock() -> None:
    environment = yaml.safe_load((ROOT / "envs/implantflow.yaml").read_text())
    listed = dict(line.split("==") for line in environment["dependencies"][-1]["pip"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {re.match(r"[A-Za-z0-9_.-]+", d).group(0).lower() for d in project["dependencies"]}
    assert set(listed) == direct
    pins = lock_pins()
    for name, version in listed.items():
        assert version in pins[name], name


def test_locks_are_hashed_and_name_no_index() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text and "--index" not in text and "--find-links" not in text, path
        for block in re.split(r"\n(?=[a-z0-9])", text.strip()):
            if "==" in block:
                assert "--hash=sha256:" in block, block.splitlines()[0]
