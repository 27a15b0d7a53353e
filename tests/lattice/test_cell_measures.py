"""Measured figures of cells against values that follow from their geometry."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.lattice.cell_measures import (
    local_thickness,
    measure_cell,
    throat_mm,
    tradeoff,
    void_distance,
)


def test_diamond_pore_follows_from_its_geometry() -> None:
    # The point of the void furthest from all struts lies a / sqrt 6 from their axes.
    figures = measure_cell("diamond", 2.5, 0.67)
    assert figures.pore_mm == pytest.approx(2 * 2.5 / np.sqrt(6) - 0.67, abs=1e-6)
    assert 0.95 < figures.throat_mm < figures.pore_mm
    assert figures.relative_density == pytest.approx(0.2966, rel=0.003)
    assert figures.strut_mm[1] == pytest.approx(0.67, abs=0.06)
    # Struts alone: 16 cylinders of 2.5 * sqrt 3 / 4 mm; nodes hide some of their skin.
    cylinders = 16 * np.pi * 0.67 * 2.5 * np.sqrt(3) / 4 / 2.5**3
    assert 0.6 * cylinders < figures.surface_per_mm < cylinders


def test_thicker_struts_close_pores_and_throats() -> None:
    rows = tradeoff("diamond", 2.5, (0.4, 0.6, 0.8))
    for key in ("porosity", "pore_um", "throat_um"):
        values = [row[key] for row in rows]
        assert values == sorted(values, reverse=True)
    assert rows[0]["pore_um"] - rows[2]["pore_um"] == pytest.approx(400.0)


def test_gyroid_throat_is_the_size_of_its_channels() -> None:
    figures = measure_cell("gyroid", 2.5, 0.82)
    assert 0.5 < figures.throat_mm <= figures.pore_mm
    assert figures.strut_mm[0] > 0.5


def _tunnel(n: int, radius: int, along: int) -> np.ndarray:
    k, j, i = np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij")
    axes = [k, j, i]
    axes.pop(along)
    return np.asarray(np.hypot(*axes) <= radius)


@pytest.mark.parametrize("along", [0, 1, 2])
def test_throat_of_a_tunnel_is_its_width(along: int) -> None:
    n, step = 32, 0.1
    distance = void_distance("gyroid", np.where(_tunnel(n, 8, along), 1.0, -1.0), step)
    assert throat_mm(distance) == pytest.approx(1.6, abs=0.15)


def test_a_narrow_place_sets_the_throat_and_a_wall_closes_it() -> None:
    n, step = 32, 0.1
    void = _tunnel(n, 9, 0)
    void[4] &= _tunnel(n, 3, 0)[4]
    distance = void_distance("gyroid", np.where(void, 1.0, -1.0), step)
    assert throat_mm(distance) == pytest.approx(0.6, abs=0.15)
    void[4] = False
    assert throat_mm(void_distance("gyroid", np.where(void, 1.0, -1.0), step)) == 0.0


def test_a_winding_path_counts_only_if_it_leaves_the_period() -> None:
    # A ring that closes within the period goes nowhere.
    n = 32
    k, j, i = np.meshgrid(*[np.arange(n) - 16.0] * 3, indexing="ij")
    ring = np.hypot(np.hypot(j, i) - 9.0, k) < 3.0
    assert throat_mm(void_distance("gyroid", np.where(ring, 1.0, -1.0), 0.1)) == 0.0


def test_local_thickness_of_a_rod() -> None:
    rod = _tunnel(48, 8, 0)
    thickness = local_thickness(rod, 0.05)
    assert np.median(thickness) == pytest.approx(0.8, abs=0.06)
