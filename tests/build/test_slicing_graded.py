"""Graded strut cells: the pieces' contours against the field they stand for, where they join, and what is sampled."""

from __future__ import annotations

from dataclasses import replace

import manifold3d
import numpy as np
import pytest
from build_bench import LAYER, UNIT, Mesh, mesh_of, plan_for

from implantflow.build.graded import STEEPEST, GradedLattice
from implantflow.build.pieces import make_pieces, phase_pieces
from implantflow.build.plan import FIGURES, DenseGrid, Outline
from implantflow.build.sampled import SampledLattice
from implantflow.build.slicer import Slicer
from implantflow.field.lattice import Grade, Lattice
from implantflow.field.material import Material

AREA = FIGURES.index("area_mm2")
HERE = np.array([10.0, 10.0, -2.0])
LOW, HIGH = 20.0, 30.0


@pytest.fixture
def block() -> Mesh:
    return mesh_of(manifold3d.Manifold.cube((10.0, 10.0, 2.5)).translate((LOW, LOW, 0)))


def _graded(cell: str, low_mm: float, high_mm: float, nodes: int = 21) -> Lattice:
    """Struts that thicken over 20 mm, most of it half way: no straight line anywhere."""
    x, y, z = np.meshgrid(*[np.linspace(0.0, 1.0, nodes)] * 3, indexing="ij")
    share = 0.5 - 0.5 * np.cos(np.pi * (0.2 * x + 0.3 * y + 0.5 * z))
    grid = np.round((low_mm + (high_mm - low_mm) * share) * 1e4).astype(np.int16)
    return Lattice(cell, 2.5, low_mm, None, Grade(grid, HERE, np.ones(3)))


def _slicer(mesh: Mesh, lattice: Lattice, dense: DenseGrid | None = None) -> Slicer:
    material = Material(lattice, HERE, np.ones(3))
    return Slicer(replace(plan_for(mesh, None, dense, area_min_mm2=0.001), sampled=material))


def _errors(outline: Outline, z: float, lattice: Lattice) -> np.ndarray:
    """In-plane distance in mm from the field's zero, of points along every segment inside the block."""
    x, y = outline.x * UNIT, outline.y * UNIT
    after = np.arange(1, len(x) + 1)
    after[outline.starts[1:] - 1] = outline.starts[:-1]
    found = []
    for share in (0.0, 0.25, 0.5, 0.75):
        at = np.column_stack([x + share * (x[after] - x), y + share * (y[after] - y), np.full(len(x), z)])
        at = at[((at[:, :2] > LOW + 0.05) & (at[:, :2] < HIGH - 0.05)).all(1)]
        slope = [(lattice.value(at + d) - lattice.value(at - d)) / 2e-4 for d in np.eye(3)[:2] * 1e-4]
        # Where the surface is all but level, the distance in the plane says nothing.
        found.append(np.abs(lattice.value(at)) / np.maximum(np.hypot(*slope), 0.2))
    return np.concatenate(found)


def _true_area(z: float, lattice: Lattice, step: float = 0.0125) -> float:
    """Metal of the block's layer (mm2) by counting points of the field."""
    line = np.arange(LOW + step / 2, HIGH, step)
    y, x = np.meshgrid(line, line, indexing="ij")
    value = lattice.value(np.column_stack([x.ravel(), y.ravel(), np.full(x.size, z)]))
    return float((value < 0.0).sum()) * step**2


@pytest.mark.parametrize(
    ("cell", "low", "high"),
    [("diamond", 0.5, 0.7), ("diamond", 0.45, 0.75), ("rhombic_dodecahedron", 0.4, 0.6)],
)
def test_contours_and_areas_are_those_of_the_graded_field(
    block: Mesh, cell: str, low: float, high: float
) -> None:
    lattice = _graded(cell, low, high)
    slicer = _slicer(block, lattice)
    assert isinstance(slicer.lattice, GradedLattice)
    errors = []
    for index in range(1, 50, 6):
        z = (index + 0.5) * LAYER
        outline = slicer.outline(index)
        area = slicer.packed(index, outline)[1][AREA]
        assert area == pytest.approx(_true_area(z, lattice), rel=0.002), index
        errors.append(_errors(outline, z, lattice))
    error = np.concatenate(errors)
    assert len(error) > 5000
    assert np.percentile(error, 99) < 0.010
    assert error.max() < 0.05


@pytest.mark.parametrize("strut", [0.5, 0.6, 0.67])
def test_a_grade_that_is_level_gives_the_stamped_layers(block: Mesh, strut: float) -> None:
    grid = np.full((21, 21, 21), round(strut * 1e4), dtype=np.int16)
    graded = _slicer(block, Lattice("diamond", 2.5, strut, None, Grade(grid, HERE, np.ones(3))))
    stamped = Slicer(plan_for(block, ("diamond", 2.5, strut), area_min_mm2=0.001))
    assert isinstance(graded.lattice, GradedLattice)
    for index in range(50):
        one, other = graded.outline(index), stamped.outline(index)
        assert graded.packed(index, one)[1][AREA] == pytest.approx(
            stamped.packed(index, other)[1][AREA], rel=0.002
        ), index
        # As many pieces of metal and holes: what joins is joined, what does not is apart.
        assert len(one.starts) == len(other.starts), index


def test_pieces_join_where_their_struts_grow_together() -> None:
    """Two struts of one node are 1.41 times their height over it apart, and lean so that they meet at 0.816 of it."""
    height = 0.325  # nodes lie at 0 and at 0.625 mm: the upper one is nearer
    apart = phase_pieces("diamond", 2.5, height, 0.2, 0.24)
    assert apart is not None
    assert [piece.meets for piece in apart] == pytest.approx([0.3 * np.sqrt(2.0 / 3.0)] * 4, abs=1e-6)
    joined = phase_pieces("diamond", 2.5, height, 0.3, 0.32)
    assert joined is not None
    assert len(joined) < len(apart)


def test_dense_metal_cuts_a_graded_lattice(block: Mesh) -> None:
    x = 18.0 + 0.5 * np.arange(33)
    grid = np.broadcast_to(np.round((x - 25.0) * 1e4).clip(-30000, 30000), (9, 33, 33)).astype(np.int16)
    dense = DenseGrid(np.ascontiguousarray(grid), np.array([18.0, 18.0, -1.0]), 0.5)
    lattice = _graded("diamond", 0.5, 0.7)
    graded, sampled = _slicer(block, lattice, dense), _slicer(block, lattice, dense)
    assert isinstance(graded.lattice, GradedLattice)
    sampled.lattice = SampledLattice(Material(lattice, HERE, np.ones(3)), sampled.plan)
    for index in range(0, 50, 7):
        found, expected = (s.packed(index, s.outline(index))[1] for s in (graded, sampled))
        np.testing.assert_allclose(found[[AREA, 4]], expected[[AREA, 4]], rtol=0.002)


def test_dense_metal_inside_a_strut_is_no_loop_of_its_own(block: Mesh) -> None:
    lattice = _graded("diamond", 0.5, 0.7)
    axes = [18.0 + 0.25 * np.arange(65)] * 2 + [-1.0 + 0.25 * np.arange(33)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inner = lattice.value(np.column_stack([x.ravel(), y.ravel(), z.ravel()])).reshape(x.shape) + 0.12
    grid = np.round(inner * 1e4).clip(-30000, 30000).astype(np.int16).transpose(2, 1, 0)
    dense = DenseGrid(np.ascontiguousarray(grid), np.array([18.0, 18.0, -1.0]), 0.25)
    with_dense, without = _slicer(block, lattice, dense), _slicer(block, lattice)
    assert isinstance(with_dense.lattice, GradedLattice)
    inside = 0
    for index in range(2, 48, 5):
        found, plain = with_dense.outline(index), without.outline(index)
        inside += len(found.dense_starts) - 1
        both = [s.packed(index, o)[1][AREA] for s, o in ((with_dense, found), (without, plain))]
        np.testing.assert_allclose(both[0], both[1], rtol=0.005)
    assert inside > 20


def test_what_cannot_be_taken_apart_is_sampled(block: Mesh) -> None:
    steep = np.full((21, 21, 21), 5000, dtype=np.int16)
    steep[:, :, 15:] = 5000 + round((STEEPEST + 0.01) * 1e4)
    assert isinstance(
        _slicer(block, Lattice("diamond", 2.5, 0.5, None, Grade(steep, HERE, np.ones(3)))).lattice,
        SampledLattice,
    )
    assert isinstance(_slicer(block, _graded("gyroid", 0.7, 0.8)).lattice, SampledLattice)
    assert make_pieces("diamond", 2.52, (0.5, 0.6), 0.05, 0.005, 0.01) is None
