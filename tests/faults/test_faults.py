"""Faults on a small pipeline of real jobs under Snakemake: nothing is lost, and the same command goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.faults.driver import lap, made_pipeline
from tests.faults.single import FAULTS, Fault

PAGE = Path(__file__).parents[2] / "docs/validation/faults.md"

pytestmark = [pytest.mark.slow, pytest.mark.requirement("faults-survived")]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the undisturbed run."""
    pipeline = made_pipeline(tmp_path_factory.mktemp("undisturbed"))
    code, said = pipeline.run()
    assert code == 0, said[-3000:]
    return pipeline.digests()


def test_six_kills_at_random_moments(truth: dict[str, str], tmp_path: Path) -> None:
    tried = lap(made_pipeline(tmp_path / "w"), truth, 6, 2.0, random.Random(20))
    assert len(tried) >= 2, "the case was complete before it could be killed twice"
    assert [t for t in tried if not t["survived"]] == []


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
def test_fault(fault: Fault, truth: dict[str, str], tmp_path: Path) -> None:
    """Each checks what must hold and says what it saw: that is what the table shows."""
    seen = fault(tmp_path / "w", truth)
    # What comes before a colon is how the fault could be made on this machine.
    assert seen.rpartition(": ")[2] in PAGE.read_text(encoding="utf-8")
