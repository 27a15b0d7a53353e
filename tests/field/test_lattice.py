"""Graded and stochastic lattices against brute force, and layers against points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from implantflow.errors import GeometryError
from implantflow.field.cells import CELLS, cell_value
from implantflow.field.lattice import VORONOI, Grade, Graph, Lattice
from implantflow.field.material import Material, Texture
from implantflow.field.voronoi import voronoi_struts

LOW, HIGH = np.zeros(3), np.array([12.0, 10.0, 8.0])


def _voronoi(grade: Grade | None = None, seed: int = 7) -> Lattice:
    return Lattice(VORONOI, 2.5, 0.5, Graph(*voronoi_struts(LOW, HIGH, 2.5, seed, 0.8)), grade)


def _grade(low: float, high: float) -> Grade:
    """Strut that grows along x from ``low`` to ``high`` over the box."""
    x = np.linspace(low, high, 13)
    grid = np.round(np.broadcast_to(x, (9, 11, 13)) * 1e4).astype(np.int16)
    return Grade(np.ascontiguousarray(grid), LOW, np.ones(3))


def _points(count: int = 3000) -> np.ndarray:
    return np.random.default_rng(2).uniform(LOW, HIGH, (count, 3))


def test_voronoi_value_is_the_distance_to_the_nearest_strut() -> None:
    lattice = _voronoi()
    ends = lattice.struts_in(LOW, HIGH)
    points = _points(500)
    along = ends[:, 1] - ends[:, 0]
    t = np.clip(((points[:, None] - ends[None, :, 0]) * along).sum(2) / (along**2).sum(1), 0.0, 1.0)
    nearest = np.linalg.norm(points[:, None] - ends[:, 0] - t[..., None] * along, axis=2).min(1)
    np.testing.assert_allclose(lattice.value(points), nearest - 0.25, atol=1e-9)


def test_voronoi_edges_are_equally_far_from_three_seeds_or_more() -> None:
    from implantflow.field.voronoi import seeds_mm

    index = np.array(list(itertools.product(range(-4, 9), range(-4, 9), range(-4, 8))))
    seeds = seeds_mm(index, 2.5, 7, 0.8)
    ends = _voronoi().struts_in(LOW, HIGH)
    middles = ends.mean(1)
    distance = np.sort(np.linalg.norm(middles[:, None] - seeds, axis=2), axis=1)
    assert (distance[:, 2] - distance[:, 0]).max() < 1e-3
    corners = np.sort(np.linalg.norm(ends[:, 0, None] - seeds, axis=2), axis=1)
    assert (corners[:, 3] - corners[:, 0]).max() < 1e-3


def test_voronoi_is_the_same_in_another_box_and_other_with_another_seed() -> None:
    points = _points() * 0.5 + np.array([3.0, 2.5, 2.0])
    larger = Lattice(VORONOI, 2.5, 0.5, Graph(*voronoi_struts(LOW - 9, HIGH + 13, 2.5, 7, 0.8)))
    np.testing.assert_array_equal(_voronoi().value(points) < 0, larger.value(points) < 0)
    assert np.abs(_voronoi(seed=8).value(points) - larger.value(points)).max() > 0.2
    again = voronoi_struts(LOW, HIGH, 2.5, 7, 0.8)
    assert all((a == b).all() for a, b in zip(again, voronoi_struts(LOW, HIGH, 2.5, 7, 0.8), strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_graded_value_is_that_of_the_uniform_cell_of_the_local_strut(cell: str) -> None:
    lattice = Lattice(cell, 2.5, 0.4, grade=_grade(0.3, 0.7))
    points = _points(400)
    strut = 0.3 + 0.4 * points[:, 0] / 12.0
    found = lattice.value(points)
    for n in range(0, 400, 8):
        wanted = cell_value(cell, 2.5, float(strut[n]), points[n : n + 1])[0]
        # Levels of a gyroid come from a table of 65 struts.
        assert found[n] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("cell", [*CELLS, VORONOI])
@pytest.mark.parametrize("step", [0.1, 0.13])
def test_layers_equal_points(cell: str, step: float) -> None:
    for grade in (None, _grade(0.3, 0.7)):
        lattice = _voronoi(grade) if cell == VORONOI else Lattice(cell, 2.5, 0.5, grade=grade)
        material = Material(lattice, LOW, np.ones(3))
        spans = np.array([[5 + j % 3, 70 - j % 5] for j in range(60)])
        for z in (0.025, 3.875):
            layer = material.layer(z, (0.3, 0.2), step, (60, 75), spans)
            j, i = np.nonzero(np.isfinite(layer))
            assert len(j) == (spans[:, 1] - spans[:, 0]).sum()
            points = np.column_stack([0.3 + i * step, 0.2 + j * step, np.full(len(i), z)])
            np.testing.assert_allclose(layer[j, i], material.value(points), atol=1e-9)


def test_fillet_rounds_the_corner_with_its_radius() -> None:
    # Dense below z = 4; one strut that stands on it upright, at x = y = 6.
    heights = np.arange(9.0)[:, None, None] - 4.0
    dense = np.broadcast_to(heights * 1e4, (9, 11, 13)).astype(np.int16)
    post = Graph(np.array([[6.0, 6.0, 0.0], [6.0, 6.0, 8.0]]), np.array([[0, 1]]))
    lattice = Lattice(VORONOI, 2.5, 0.5, post)
    material = Material(lattice, LOW, np.ones(3), np.ascontiguousarray(dense), fillet_mm=0.3)
    angle = np.linspace(0.05, np.pi / 2 - 0.05, 20)
    # The arc about the point 0.3 mm off the post's side and 0.3 mm above the plane.
    arc = np.column_stack([6.25 + 0.3 - 0.3 * np.cos(angle), np.full(20, 6.0), 4.3 - 0.3 * np.sin(angle)])
    np.testing.assert_allclose(material.value(arc), 0.0, atol=1e-6)
    assert material.value(np.array([[6.3, 6.0, 4.03]]))[0] < 0
    assert material.value(np.array([[6.26, 6.0, 4.4]]))[0] > 0
    assert not material.stampable


def test_texture_has_its_wavelength_and_never_adds_to_the_outer_surface() -> None:
    solid = np.broadcast_to((np.arange(9.0)[:, None, None] - 4.0) * 1e4, (9, 11, 13)).astype(np.int16)
    rough = np.full((9, 11, 13), 10000, dtype=np.int16)
    grids = np.ascontiguousarray(solid), rough
    skin = Material(
        Lattice("diamond", 2.5, 0.5), LOW, np.ones(3), np.full((9, 11, 13), -20000, dtype=np.int16),
        texture=Texture(0.2, 1.5, 3), solid=grids[0], rough=grids[1],
    )  # fmt: skip
    points = _points(20000)
    points[:, 2] = np.random.default_rng(0).uniform(3.5, 4.5, len(points))
    value = np.maximum(points[:, 2] - 4.0, skin.value(points))
    assert (value[points[:, 2] > 4.0] > 0).all()
    assert (value[points[:, 2] < 3.79] < 0).all()
    band = (points[:, 2] > 3.85) & (points[:, 2] < 3.95)
    assert 0.2 < (value[band] < 0).mean() < 0.8
    line = np.column_stack([np.arange(0, 12, 0.01), np.full(1200, 5.0), np.full(1200, 3.9)])
    turns = (np.diff(np.sign(skin.value(line) - skin.value(line).mean())) != 0).sum()
    # A wave of 1.5 mm seen along a line crosses its middle 2/1.5 times a mm at most, about 1/sqrt 3 of it at random.
    assert 0.3 * 16 < turns < 1.2 * 16
    with pytest.raises(GeometryError, match="needs the grids"):
        Material(Lattice("diamond", 2.5, 0.5), LOW, np.ones(3), texture=Texture(0.2, 1.5, 3))


def test_lattices_that_cannot_be_are_refused() -> None:
    with pytest.raises(GeometryError, match="needs its struts"):
        Lattice(VORONOI, 2.5, 0.5)
    with pytest.raises(GeometryError, match="no stored struts"):
        Lattice("diamond", 2.5, 0.5, _voronoi().graph)
    with pytest.raises(GeometryError, match="does not fit"):
        Lattice("diamond", 2.5, 0.5, grade=_grade(0.5, 1.4))
    with pytest.raises(GeometryError, match="irregularity"):
        voronoi_struts(LOW, HIGH, 2.5, 7, 0.1)
