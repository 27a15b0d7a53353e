"""Lattice cells against geometry that can be worked out without them."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.errors import GeometryError
from implantflow.field.cells import (
    CELLS,
    cell_value,
    gyroid_iso,
    gyroid_sheet_iso,
    occupancy,
    solved_strut_mm,
    strut_axes,
    with_strut,
)

#: Metal share of the 2.5 mm diamond from 20 million random points (standard error under 0.0001).
DIAMOND_SHARE = {0.5: 0.17858, 0.6: 0.24581, 0.65: 0.28183, 0.7: 0.31910}


def _random_points(count: int, size_mm: float) -> np.ndarray:
    return np.random.default_rng(7).uniform(-size_mm, size_mm, (count, 3))


@pytest.mark.parametrize("strut_mm", sorted(DIAMOND_SHARE))
def test_diamond_density_matches_random_sampling(strut_mm: float) -> None:
    share = float(occupancy("diamond", 2.5, strut_mm, 40).mean())
    assert share == pytest.approx(DIAMOND_SHARE[strut_mm], rel=0.003)


def _spread(count: int, size_mm: float) -> np.ndarray:
    """One random point in each of count^3 little cubes of a cube: far less scatter than free points."""
    z, y, x = np.meshgrid(*[np.arange(count)] * 3, indexing="ij")
    place = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    return (place + np.random.default_rng(11).random(place.shape)) * (size_mm / count)


def _gyroid_g(points: np.ndarray) -> np.ndarray:
    x, y, z = (points * (2.0 * np.pi / 2.5)).T
    return np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)


def _dodecahedron_edges(points: np.ndarray) -> np.ndarray:
    """Distance to the edges, from symmetry: nearest centre of the packing, then one octant with three edges."""
    units = points / 2.5
    centres = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    best = np.full(len(points), np.inf)
    octant = np.empty_like(units)
    for centre in centres:
        offset = units - centre
        offset = np.abs(offset - np.round(offset))
        distance = (offset**2).sum(1)
        octant[distance < best] = offset[distance < best]
        best = np.minimum(best, distance)
    found = np.full(len(points), np.inf)
    foot = np.full(3, 0.25)
    for tip in np.eye(3) * 0.5:
        along = tip - foot
        t = np.clip((octant - foot) @ along / (along @ along), 0.0, 1.0)
        found = np.minimum(found, np.linalg.norm(octant - foot - t[:, None] * along, axis=1))
    return found * 2.5


@pytest.mark.parametrize("strut_mm", [0.3, 0.5, 0.67])
def test_dodecahedron_matches_its_own_geometry(strut_mm: float) -> None:
    points = _spread(100, 2.5)
    distance = _dodecahedron_edges(points) - strut_mm / 2.0
    np.testing.assert_allclose(
        cell_value("rhombic_dodecahedron", 2.5, strut_mm, points[::50]), distance[::50], atol=1e-12
    )
    share = float(occupancy("rhombic_dodecahedron", 2.5, strut_mm, 40).mean())
    assert share == pytest.approx(float((distance < 0).mean()), rel=0.003)


@pytest.mark.parametrize("strut_mm", [0.2, 0.4, 0.7])
def test_gyroids_match_their_formula(strut_mm: float) -> None:
    g = _gyroid_g(_spread(100, 2.5))
    skeletal = float(occupancy("gyroid", 2.5, strut_mm, 40).mean())
    assert skeletal == pytest.approx(float((g > gyroid_iso(2.5, strut_mm)).mean()), rel=0.003)
    sheet = float(occupancy("gyroid_sheet", 2.5, strut_mm, 40).mean())
    assert sheet == pytest.approx(float((np.abs(g) < gyroid_sheet_iso(2.5, strut_mm)).mean()), rel=0.003)


def test_gyroid_wall_holds_a_sphere_of_its_name_and_no_larger() -> None:
    directions = np.random.default_rng(1).normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for wall in (0.3, 0.6):
        inside = cell_value("gyroid_sheet", 2.5, wall, directions * wall / 2 * 0.999)
        outside = cell_value("gyroid_sheet", 2.5, wall, directions * wall / 2 * 1.01)
        assert inside.max() < 0 < outside.max()


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


@pytest.mark.parametrize(("cell", "struts"), [("diamond", 16), ("rhombic_dodecahedron", 32)])
def test_every_strut_appears_once(cell: str, struts: int) -> None:
    middles = strut_axes(cell).mean(1) % 1.0
    assert len(np.unique(np.round(middles, 6), axis=0)) == struts


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
    with pytest.raises(GeometryError, match="close the pores"):
        cell_value("gyroid_sheet", 2.5, 0.9, np.zeros((1, 3)))


@pytest.mark.parametrize("cell", [*CELLS, "voronoi"])
def test_the_solved_strut_has_the_porosity_asked_for(cell: str) -> None:
    strut = solved_strut_mm(cell, 4.0, 0.7)
    # A micrometre of strut is 0.0003 to 0.001 of porosity in these cells.
    assert 1.0 - float(occupancy(cell, 4.0, strut, 40).mean()) == pytest.approx(0.7, abs=0.0015)
    settings = {"cell": cell, "cell_mm": 4.0, "strut_mm": None, "porosity": 0.7}
    assert with_strut(settings)["strut_mm"] == strut
    assert with_strut({**settings, "strut_mm": 0.5})["strut_mm"] == 0.5


def test_a_porosity_that_no_strut_gives_is_refused() -> None:
    with pytest.raises(GeometryError, match="no strut of a gyroid_sheet cell"):
        solved_strut_mm("gyroid_sheet", 2.5, 0.99)


def test_voronoi_sample_matches_a_large_piece_of_the_lattice() -> None:
    from implantflow.field.lattice import Graph, Lattice
    from implantflow.field.voronoi import voronoi_struts

    share = float(occupancy("voronoi", 2.5, 0.5, 40).mean())
    low, high = np.zeros(3), np.full(3, 30.0)
    large = Lattice("voronoi", 2.5, 0.5, Graph(*voronoi_struts(low, high, 2.5, 3, 0.8)))
    metal = (large.value(np.random.default_rng(0).uniform(low, high, (400_000, 3))) < 0).mean()
    # 64 cells against 1,728 of another seed.
    assert share == pytest.approx(float(metal), rel=0.06)
