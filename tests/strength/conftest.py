"""The block implant as a fixture, and the lattice cell homogenised once per strut size, not once per test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from strength_block import Room

from implantflow.config.strength import CellConfig
from implantflow.strength import lattice_cell, stage

_CELLS: dict[tuple[Any, ...], lattice_cell.LatticeCell] = {}


@pytest.fixture(autouse=True)
def _characterise_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def remembered(config: CellConfig, *lattice: Any) -> lattice_cell.LatticeCell:
        key = (str(config.metal), config.cell_voxels, config.strut_stress_quantile, *lattice)
        if key not in _CELLS:
            _CELLS[key] = lattice_cell.characterise(config, *lattice)
        return _CELLS[key]

    monkeypatch.setattr(stage, "characterise", remembered)
    yield


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """A block implant in a fresh folder."""
    return Room(tmp_path)
