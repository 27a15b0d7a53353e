"""Layers of a lattice: area against the analytic cell, places of its contours, junctions, threads."""

from __future__ import annotations

from pathlib import Path

import manifold3d
import numpy as np
import pytest
from build_bench import LAYER, UNIT, Mesh, mesh_of, plan_for, write_plan

from implantflow.build.cli_reader import CliFile
from implantflow.build.layers import slice_layers
from implantflow.build.plan import FIGURES, NO_ISLANDS, DenseGrid, Outline
from implantflow.build.slicer import Slicer
from implantflow.build.stamps import make_stamps
from implantflow.errors import GeometryError
from implantflow.field.cells import cell_value

AREA = FIGURES.index("area_mm2")


def _analytic_area(cell: str, strut: float, z: float, n: int = 300) -> float:
    """Metal area of one 2.5 mm period at height z by sampling the cell itself, with partial squares."""
    step = 2.5 / n
    line = (np.arange(n) + 0.5) * step
    y, x = np.meshgrid(line, line, indexing="ij")
    value = cell_value(cell, 2.5, strut, np.column_stack([x.ravel(), y.ravel(), np.full(n * n, z)]))
    return float(np.clip(0.5 - value / step, 0, 1).sum() * step**2)


@pytest.mark.parametrize(
    ("cell", "strut"),
    [("diamond", s) for s in (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)]
    + [("rhombic_dodecahedron", 0.5), ("gyroid", 0.8), ("gyroid_sheet", 0.3), ("gyroid_sheet", 0.5)],
)
def test_every_layer_has_the_area_of_the_cell(cell: str, strut: float) -> None:
    # A block of whole cells: its layers must hold exactly 4 x 3 periods, also where struts join up in-plane.
    block = mesh_of(manifold3d.Manifold.cube((10.0, 7.5, 2.5)).translate((20, 20, 0)))
    # Slivers at the block's walls are kept: here the sum is judged, not what can be melted.
    slicer = Slicer(plan_for(block, (cell, 2.5, strut), area_min_mm2=0.0001))
    # The second half of the period is the first one turned.
    for index in range(27):
        packed, figures = slicer.packed(index, slicer.outline(index))
        expected = 12 * _analytic_area(cell, strut, (index + 0.5) * LAYER)
        assert figures[AREA] == pytest.approx(expected, rel=0.002), index
        assert len(packed) > 0


def test_contours_lie_on_the_analytic_strut(ball: Mesh) -> None:
    slicer = Slicer(plan_for(ball, ("diamond", 2.5, 0.6)))
    errors = []
    for index in range(20, 220, 9):
        outline = slicer.outline(index)
        z = (index + 0.5) * LAYER
        for a, b in zip(outline.starts[:-1], outline.starts[1:], strict=True):
            p = np.column_stack([outline.x[a:b], outline.y[a:b]]) * UNIT
            q = np.roll(p, -1, axis=0)
            for share in (0.0, 0.25, 0.5):
                at = p + share * (q - p)
                lattice = cell_value("diamond", 2.5, 0.6, np.column_stack([at, np.full(len(at), z)]))
                solid = np.linalg.norm(np.column_stack([at, np.full(len(at), z)]) - [20, 20, 6], axis=1) - 6
                errors.append(np.maximum(lattice, solid))
    distance = np.abs(np.concatenate(errors))
    # The ball is a polyhedron of 128 segments: its sagitta of 2 um is in the figure.
    assert np.percentile(distance, 99) < 0.012


@pytest.mark.parametrize(
    ("cell", "strut"),
    [
        *(("diamond", s) for s in (0.4, 0.55, 0.7)),
        *(("rhombic_dodecahedron", 0.5), ("gyroid", 0.8), ("gyroid_sheet", 0.3)),
    ],
)
def test_stamped_contours_lie_within_ten_micrometres_of_the_field(cell: str, strut: float) -> None:
    block = mesh_of(manifold3d.Manifold.cube((10.0, 10.0, 2.5)).translate((20, 20, 0)))
    slicer = Slicer(plan_for(block, (cell, 2.5, strut)))
    errors = []
    for index in range(0, 25, 6):
        outline = slicer.outline(index)
        x, y, starts = outline.x * UNIT, outline.y * UNIT, outline.starts
        after = np.arange(1, len(x) + 1)
        after[starts[1:] - 1] = starts[:-1]
        for share in (0.0, 0.25, 0.5, 0.75):
            at = np.column_stack([x + share * (x[after] - x), y + share * (y[after] - y)])
            at = at[(np.abs(at - 25.0) < 4.95).all(1)]
            points = np.column_stack([at, np.full(len(at), (index + 0.5) * LAYER)])
            value = cell_value(cell, 2.5, strut, points)
            h = 1e-4
            slope = [
                (cell_value(cell, 2.5, strut, points + d) - cell_value(cell, 2.5, strut, points - d))
                / (2 * h)
                for d in np.eye(3)[:2] * h
            ]
            # Distance in the plane; where the surface is all but level it says nothing.
            errors.append(np.abs(value) / np.maximum(np.hypot(*slope), 0.2))
    error = np.concatenate(errors)
    assert len(error) > 5000
    assert np.percentile(error, 99) < 0.010
    assert error.max() < 0.03


def test_whole_islands_are_written_as_if_drawn_out(ball: Mesh) -> None:
    slicer = Slicer(plan_for(ball, ("diamond", 2.5, 0.5)))
    for index in (100, 101, 117, 126):
        stamped, drawn = slicer.outline(index, stamped=True), slicer.outline(index)
        assert len(stamped.whole) > 5
        assert len(drawn.whole) == 0
        words, figures = slicer.packed(index, stamped)
        plain, expected = slicer.packed(index, drawn)
        assert len(words) == len(plain)
        np.testing.assert_allclose(figures, expected, rtol=1e-6)
        # Lines of islands run in another order and direction; all else is the same.
        assert sorted(words.tolist()) == sorted(plain.tolist())


@pytest.mark.parametrize(("cell", "strut"), [("diamond", 0.5), ("diamond", 0.67), ("gyroid_sheet", 0.3)])
def test_a_layer_in_one_call_is_the_same_as_in_steps(
    ball: Mesh, cell: str, strut: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slicer = Slicer(plan_for(ball, (cell, 2.5, strut)))
    indices = range(3, slicer.plan.layers, 37)
    steps = [slicer.packed(index, slicer.outline(index, stamped=True)) for index in indices]
    # Only layers that need care may take the steps.
    taken: list[int] = []
    packed = Slicer.packed
    monkeypatch.setattr(
        Slicer, "packed", lambda self, index, outline: taken.append(index) or packed(self, index, outline)
    )
    for index, (words, figures) in zip(indices, steps, strict=True):
        once, same = slicer.layer(index)
        np.testing.assert_array_equal(once, words)
        np.testing.assert_allclose(same, figures, rtol=1e-12, atol=1e-12)
    assert len(taken) < 0.2 * len(steps)


def test_crumbs_are_those_of_the_drawn_out_path(ball: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_for(ball, ("diamond", 2.5, 0.5))
    layers: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    figures, crumbs = slice_layers(Slicer(plan), layers[0].append, 2, 2.0)
    drawn = Slicer.outline
    monkeypatch.setattr(Slicer, "outline", lambda self, index, *, stamped=False: drawn(self, index))
    expected, same = slice_layers(Slicer(plan), layers[1].append, 2, 2.0)
    assert crumbs == same
    assert crumbs.count > 3
    np.testing.assert_allclose(figures, expected, rtol=1e-6)
    for words, plain in zip(*layers, strict=True):
        assert sorted(words.tolist()) == sorted(plain.tolist())


def test_whole_islands_can_be_left_out_like_any_loop(ball: Mesh) -> None:
    outline = Slicer(plan_for(ball, ("diamond", 2.5, 0.5))).outline(100, stamped=True)
    loops = len(outline.starts) - 1
    less = outline.without({0, loops + 2})
    assert len(less.starts) - 1 == loops - 1
    np.testing.assert_array_equal(less.whole, np.delete(outline.whole, 2, axis=0))


def test_a_crumb_that_touches_the_part_in_a_corner_takes_only_its_own_dense_metal() -> None:
    # The part's dense block, and a crumb of dense metal at its upper right corner; hence both loops share a point.
    part, crumb = ([0, 400, 400, 0], [0, 0, 400, 400]), ([400, 420, 420, 400], [400, 400, 420, 420])
    x, y = (np.array([*a, *b], dtype=np.int64) for a, b in zip(part, crumb, strict=True))
    loops = (x, y, np.array([0, 4, 8], dtype=np.int64))
    outline = Outline(*loops, *loops, 0.0, NO_ISLANDS, core=loops)
    less = outline.without({1})
    for found in ((less.x, less.y, less.starts), less.core):
        assert [a.tolist() for a in found] == [*part, [0, 4]]


def test_junction_with_dense_metal_is_one_outline() -> None:
    # Left half dense, right half lattice: all metal hangs together, no overlap, area is the sum of both.
    block = mesh_of(manifold3d.Manifold.cube((10.0, 5.0, 2.5)).translate((20, 20, 0)))
    x = 18.0 + 0.5 * np.arange(33)
    grid = np.broadcast_to(np.round((x - 25.0) * 1e4).clip(-30000, 30000), (9, 20, 33)).astype(np.int16)
    dense = DenseGrid(np.ascontiguousarray(grid), np.array([18.0, 18.0, -1.0]), 0.5)
    slicer = Slicer(plan_for(block, ("diamond", 2.5, 0.67), dense))
    for index in range(0, 50, 3):
        _, figures = slicer.packed(index, slicer.outline(index))
        lattice = 4 * _analytic_area("diamond", 0.67, (index + 0.5) * LAYER)
        assert figures[AREA] == pytest.approx(25.0 + lattice, rel=0.002), index
        hatch = figures[FIGURES.index("hatch_mm")]
        assert hatch == pytest.approx(25.0 / 0.2, rel=0.03)


def test_a_body_inside_one_strut_is_full_metal() -> None:
    # A needle of 0.2 mm along a strut's axis never leaves the strut: no lattice contour crosses it.
    z = 0.31
    needle = manifold3d.Manifold.cube((0.2, 0.2, 0.2), True).translate((22.5 + z, 22.5 + z, z + 0.0))
    slicer = Slicer(plan_for(mesh_of(needle), ("diamond", 2.5, 0.67)))
    _, figures = slicer.packed(1, slicer.outline(1))
    assert figures[AREA] == pytest.approx(0.04, rel=0.01)


def test_a_body_inside_one_pore_is_empty() -> None:
    middle = 20.0 + 1.25
    speck = manifold3d.Manifold.cube((0.4, 0.4, 0.4), True).translate((middle, middle, 1.25 + 0.2))
    values = cell_value("diamond", 2.5, 0.5, np.array([[middle, middle, 1.45]]))
    assert values[0] > 0.35
    slicer = Slicer(plan_for(mesh_of(speck), ("diamond", 2.5, 0.5)))
    _, figures = slicer.packed(3, slicer.outline(3))
    assert figures[AREA] == 0


def test_one_and_two_threads_write_the_same_bytes(ball: Mesh, tmp_path: Path) -> None:
    plan = plan_for(ball, ("diamond", 2.5, 0.67))
    write_plan(tmp_path / "one.cli", plan, 1)
    write_plan(tmp_path / "two.cli", plan, 2)
    assert (tmp_path / "one.cli").read_bytes() == (tmp_path / "two.cli").read_bytes()
    assert CliFile(tmp_path / "one.cli").declared_layers == plan.layers


def test_cells_that_do_not_fit_the_layers_are_refused() -> None:
    with pytest.raises(GeometryError, match="no even number of layers"):
        make_stamps("diamond", 2.53, 0.5, LAYER, UNIT, 0.01)
    with pytest.raises(GeometryError, match="no even number of layers"):
        make_stamps("diamond", 2.55, 0.5, LAYER, UNIT, 0.01)


def test_random_solids_slice_without_a_mismatch() -> None:
    # Corners on whole units meet lattice contours exactly: the symbolic shift must order them.
    random = np.random.default_rng(11)
    metal = 0
    for _ in range(6):
        shape = manifold3d.Manifold.cube((6, 5, 1.5), True).rotate(tuple(random.uniform(0, 90, 3)))
        shape = shape - manifold3d.Manifold.cube((1.5, 1.5, 20), True).translate((1, 0.5, 0))
        vertices, faces = mesh_of(shape.translate((22, 22, 6)))
        slicer = Slicer(plan_for((np.round(vertices / 0.005) * 0.005, faces), ("diamond", 2.5, 0.67)))
        for index in range(0, slicer.plan.layers, 2):
            outline = slicer.outline(index)
            # Every loop has at least three corners, so none was cut short where curves met in a point.
            assert len(outline.starts) == 1 or np.diff(outline.starts).min() >= 3
            metal += len(outline.x)
    assert metal > 0
