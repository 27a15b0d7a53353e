"""Lattice cells against geometry that can be worked out without them."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.errors import GeometryError
from implantflow.field.cells import CELLS, cell_value, gyroid_iso, occupancy, strut_axes

#: Metal share of the 2.5 mm diamond from 20 million random points (standard error under 0.0001).
DIAMOND_SHARE = {0.5: 0.17858, 0.6: 0.24581, 0.65: 0.28183, 0.7: 0.31910}


def _random_points(count: int, size_mm: float) -> np.ndarray:
    return np.random.default_rng(7).uniform(-size_mm, size_mm, (count, 3))


@pytest.mark.parametrize("strut_mm", sorted(DIAMOND_SHARE))
def test_diamond_density_matches_random_sampling(strut_mm: float) -> None:
    share = float(occupancy("diamond", 2.5, strut_mm, 40).mean())
    assert share == pytest.approx(DIAMOND_SHARE[strut_mm], rel=0.003)


@pytest.mark.parametrize("cell", CELLS)
def test_cells_repeat_with_their_edge(cell: str) -> None:
    points = _random_points(2000, 4.0)
    here = cell_value(cell, 2.5, 0.6, points)
    there = cell_value(cell, 2.5, 0.6, points + np.array([2.5, -5.0, 7.5]))
    np.testing.assert_allclose(here, there, atol=1e-9)


def test_diamond_value_is_the_distance_to_the_nearest_axis() -> None:
    axes = strut_axes("diamond")
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1, 2]] * 3, indexing="ij"), -1).reshape(-1, 1, 1, 3)
    struts = ((axes[None] + shifts).reshape(-1, 2, 3)) * 2.5
    points = np.random.default_rng(3).uniform(0, 2.5, (400, 3))
    along = struts[:, 1] - struts[:, 0]
    t = np.clip(((points[:, None] - struts[None, :, 0]) * along).sum(2) / (along**2).sum(1), 0.0, 1.0)
    nearest = np.linalg.norm(points[:, None] - struts[:, 0] - t[..., None] * along, axis=2).min(1)
    np.testing.assert_allclose(cell_value("diamond", 2.5, 0.5, points), nearest - 0.25, atol=1e-12)


def test_every_bond_of_the_diamond_appears_once() -> None:
    middles = strut_axes("diamond").mean(1) % 1.0
    assert len(np.unique(np.round(middles, 6), axis=0)) == 16


def test_gyroid_strut_holds_a_sphere_of_its_name() -> None:
    middle = 2.5 / (2 * np.pi) * np.array([0.0, np.pi / 2, np.pi / 4])
    directions = np.random.default_rng(1).normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for strut in (0.4, 0.8):
        inside = cell_value("gyroid", 2.5, strut, middle + directions * strut / 2 * 0.999)
        outside = cell_value("gyroid", 2.5, strut, middle + directions * strut / 2 * 1.01)
        assert inside.max() < 0
        assert outside.max() > 0
    assert gyroid_iso(2.5, 0.4) > gyroid_iso(2.5, 0.8)


@pytest.mark.parametrize("cell", CELLS)
def test_occupancy_of_coarse_and_fine_voxels_agree(cell: str) -> None:
    fine = occupancy(cell, 2.5, 0.6, 16)
    coarse = occupancy(cell, 2.5, 0.6, 8)
    assert fine.shape == (16, 16, 16)
    assert ((fine >= 0) & (fine <= 1)).all()
    np.testing.assert_allclose(fine.reshape(8, 2, 8, 2, 8, 2).mean((1, 3, 5)), coarse, atol=0.02)


def test_unknown_cells_and_struts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GeometryError, match="no such lattice cell"):
        cell_value("honeycomb", 2.5, 0.5, np.zeros((1, 3)))
    with pytest.raises(GeometryError, match="does not fit"):
        occupancy("diamond", 2.5, 1.3, 8)
    with pytest.raises(GeometryError, match="not made of struts"):
        strut_axes("gyroid")
