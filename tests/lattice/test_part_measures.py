"""Planted closed pores and loose pieces are all found, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from implantflow.field.field import DISTANCE_STEP_MM, Field
from implantflow.field.make import make_field
from implantflow.lattice.cell_measures import measure_cell
from implantflow.lattice.fill import fill_pores
from implantflow.lattice.part_measures import measure_part, measure_window, porous_windows

CORNERS = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
FACES = np.array(
    [
        [0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4],
        [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5],
    ]
)  # fmt: skip


def _block(dense: bool, grid_mm: float = 0.5) -> Field:
    """A block of 20 mm of lattice, or one that is full metal except where the test opens it."""
    field = make_field(CORNERS * 20.0 + 5.0, FACES, {}, np.eye(4), "diamond", 2.5, 0.67, grid_mm)
    return replace(field, dense=np.full_like(field.dense, -20000)) if dense else field


def _nodes(field: Field) -> np.ndarray:
    k, j, i = np.indices(field.dense.shape)
    return np.asarray(np.stack([i, j, k], axis=-1) * field.spacing_mm + field.origin_mm)


def _pore_middles(count: int) -> list[np.ndarray]:
    """Middles of lattice pores at random places of the block, no two in neighbouring cells."""
    random = np.random.default_rng(17)
    chosen: list[np.ndarray] = []
    while len(chosen) < count:
        cell = random.integers(3, 9, 3)
        if all(np.abs(cell - other).max() > 1 or np.abs(cell - other).sum() > 2 for other in chosen):
            chosen.append(cell)
    return [1.25 + 2.5 * cell + random.uniform(-0.05, 0.05, 3) for cell in chosen]


def _hollowed(field: Field, places: list[np.ndarray]) -> Field:
    """The field with a hollow ball of 0.9 mm radius round each place."""
    nodes, dense = _nodes(field), field.dense.copy()
    for place in places:
        distance = np.linalg.norm(nodes - place, axis=-1)
        hollow = ((0.9 - distance) / DISTANCE_STEP_MM).clip(-20000, 20000).astype(np.int16)
        dense = np.maximum(dense, hollow)
    return replace(field, dense=dense)


def test_every_planted_closed_pore_is_found() -> None:
    field = _block(dense=True)
    assert measure_part(field, 0.22, 0.2, 0.5).closed_pores == []
    places = _pore_middles(20)
    found = measure_part(_hollowed(field, places), 0.22, 0.2, 0.5).closed_pores
    assert len(found) == 20
    for place in places:
        nearest = min(np.linalg.norm(np.array(spot.place_mm) - place) for spot in found)
        assert nearest < 1.2


def test_closed_pores_are_melted_shut_where_they_are_and_nowhere_else() -> None:
    field = _block(dense=True)
    hollowed = _hollowed(field, _pore_middles(20))
    pores = measure_part(hollowed, 0.22, 0.2, 0.5).closed_pores
    shut, filled = fill_pores(hollowed, pores[:19])
    assert len(filled) == 19 and all(0.5 < f.radius_mm < 3.0 for f in filled)
    left = measure_part(shut, 0.22, 0.2, 0.5).closed_pores
    assert [spot.place_mm for spot in left] == [pores[19].place_mm]
    changed = shut.dense != hollowed.dense
    away = np.min([np.linalg.norm(_nodes(field)[changed] - f.pore.place_mm, axis=1) for f in filled], axis=0)
    assert (shut.dense <= hollowed.dense).all() and away.max() < 5.0
    assert filled[0].as_json(shut)["ball_radius_mm"] == filled[0].radius_mm


def test_every_planted_loose_piece_is_found() -> None:
    field = _block(dense=False, grid_mm=0.25)
    before = measure_part(field, 0.22, 0.2, 0.5)
    assert before.closed_pores == []
    nodes, dense = _nodes(field), field.dense.copy()
    places = _pore_middles(20)
    for place in places:
        # A ball of 0.6 mm in a pore of 1.37 mm: the gap is as wide as a voxel's diagonal.
        distance = np.linalg.norm(nodes - place, axis=-1)
        ball = ((distance - 0.3) / DISTANCE_STEP_MM).clip(-20000, 20000).astype(np.int16)
        dense = np.minimum(dense, ball)
    found = measure_part(replace(field, dense=dense), 0.22, 0.2, 0.5).loose
    assert len(found) == len(before.loose) + 20
    for place in places:
        nearest = min(np.linalg.norm(np.array(spot.place_mm) - place) for spot in found)
        assert nearest < 0.4


def test_volumes_and_windows_of_a_block() -> None:
    field = _block(dense=False)
    part = measure_part(field, 0.22, 0.2, 0.5)
    assert part.volumes.solid_mm3 == pytest.approx(8000.0, rel=0.02)
    assert part.volumes.relative_density == pytest.approx(0.2966, rel=0.01)
    windows = porous_windows(field)
    assert windows
    figures = measure_window(field, windows[0])
    assert figures["porosity"] == pytest.approx(0.7034, abs=0.004)
    assert figures["pore_um"] == pytest.approx(1371.0, abs=25.0)
    assert porous_windows(_block(dense=True)) == []


def test_pore_of_a_gyroid_window_is_that_of_its_cell() -> None:
    """First order in the field grows without bound in the middle of a pore; it gave 4 mm in a cell of 2.5."""
    field = make_field(CORNERS * 20.0 + 5.0, FACES, {}, np.eye(4), "gyroid", 2.5, 0.82, 0.5)
    figures = measure_window(field, porous_windows(field)[0])
    cell = measure_cell("gyroid", 2.5, 0.82)
    assert figures["pore_um"] == pytest.approx(1000.0 * cell.pore_mm, abs=75.0)
    assert figures["coarser"]["pore_um"] == pytest.approx(1000.0 * cell.pore_mm, abs=150.0)
