"""A made-up case, written once per test session and copied where a test changes it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import report_fabricated


@pytest.fixture(scope="session")
def made_up_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a complete made-up case; do not change it."""
    return report_fabricated.write_case(tmp_path_factory.mktemp("made_up"))


@pytest.fixture
def case_copy(made_up_case: Path, tmp_path: Path) -> Path:
    """The same case in a place of its own."""
    target = tmp_path / "results" / made_up_case.name
    shutil.copytree(made_up_case, target)
    return target


@pytest.fixture(scope="session")
def rendered_case(made_up_case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The complete case with its report rendered."""
    from implantflow.report.command import render_case

    target = tmp_path_factory.mktemp("rendered") / "results" / made_up_case.name
    shutil.copytree(made_up_case, target)
    render_case(target, target / "report")
    return target
