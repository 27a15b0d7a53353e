"""The committed schema and key page are what the models say; the cases of the repository are valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from implantflow.config.docs import write_docs
from implantflow.config.load import load
from implantflow.config.models import CaseConfig

ROOT = Path(__file__).parents[2]


def test_committed_docs_equal_the_models(tmp_path: Path) -> None:
    for path in write_docs(tmp_path):
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), "run `make docs` and commit"


@pytest.mark.parametrize("path", sorted((ROOT / "config/cases").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_case_config_is_valid(path: Path) -> None:
    assert load(CaseConfig, path).case == path.stem
