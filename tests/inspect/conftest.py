"""Session fixtures: one small part, printed twice, inspected twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from print_bench import Bench, make_bench  # type: ignore[import-not-found]

from implantflow.artifacts import read_json


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The same part with 0.5 mm of stock on its midline face and in its bore."""
    return make_bench(tmp_path_factory.mktemp("stocked"), {"faces": {"midline": 0.5}, "bores_mm": 0.5})


@pytest.fixture(scope="session")
def first(bench: Bench) -> tuple[dict[str, Any], Path]:
    """Revision r1, uncompensated, by its surface: what inspection says, and the folder of its files."""
    out = bench.inspect("r1", "surface", bench.print("r1", "surface"))
    return read_json(out / "deviation.json"), out


@pytest.fixture(scope="session")
def second(bench: Bench, first: tuple[dict[str, Any], Path]) -> tuple[dict[str, Any], Path]:
    """Revision r2 with the scale that the inspection of r1 proposes, by CT."""
    bench.build("r2", first[0]["compensation"]["scale_xyz"])
    out = bench.inspect("r2", "ct", bench.ingest(bench.print("r2", "ct")))
    return read_json(out / "deviation.json"), out
