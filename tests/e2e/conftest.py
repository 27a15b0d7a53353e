"""Whole cases through Snakemake, each in a workspace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Workspace:
    """A folder with a copy of the configuration, in which Snakemake runs the repository's Snakefile."""

    path: Path

    def snakemake(
        self, *arguments: str, cores: int = 2, cases: str = "tiny"
    ) -> subprocess.CompletedProcess[str]:
        """Run a target; the result is returned also when Snakemake failed."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.path), *arguments, "--cores", str(cores)]
        command += ["--keep-going", "--config", f"cases={cases}"]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        return subprocess.run(command, capture_output=True, text=True, cwd=self.path, env=environment)

    def implantflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ``python -m implantflow`` in the workspace."""
        command = [sys.executable, "-m", "implantflow", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.path)

    def read_case(self, name: str) -> dict:
        return yaml.safe_load((self.path / "config" / "cases" / f"{name}.yaml").read_text())

    def write_case(self, name: str, data: dict) -> None:
        # In the order that it had: other landmarks first would be another setting, and everything would run again.
        text = yaml.safe_dump({**data, "case": name}, sort_keys=False)
        (self.path / "config" / "cases" / f"{name}.yaml").write_text(text)

    def copy(self, target: Path) -> Workspace:
        shutil.copytree(self.path, target, symlinks=True)
        return Workspace(target)


def new_workspace(path: Path) -> Workspace:
    shutil.copytree(ROOT / "config", path / "config")
    return Workspace(path)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The tiny case, run once to the report on two cores; other tests copy it or only read it."""
    workspace = new_workspace(tmp_path_factory.mktemp("tiny") / "w")
    done = workspace.snakemake("report")
    assert done.returncode == 0, done.stderr[-6000:]
    return workspace
