"""Fillings that repeat nowhere: sampled contours against stamped ones, against the field, and whole files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import manifold3d
import numpy as np
import pytest
from build_bench import LAYER, UNIT, Mesh, mesh_of, plan_for, write_plan

from implantflow.build import region_kernels
from implantflow.build.checks import examine_file
from implantflow.build.plan import FIGURES, DenseGrid, Outline, Plan
from implantflow.build.slicer import Slicer
from implantflow.field.lattice import Grade, Graph, Lattice
from implantflow.field.material import Material
from implantflow.field.volume import mesh_volume_mm3, volumes_of
from implantflow.field.voronoi import voronoi_struts

AREA = FIGURES.index("area_mm2")
HERE = np.array([10.0, 10.0, -2.0])


def _sampled(mesh: Mesh, material: Material) -> Plan:
    return replace(plan_for(mesh), sampled=material)


def _bare(lattice: Lattice) -> Material:
    return Material(lattice, HERE, np.ones(3))


def _graded(low: float, high: float) -> Lattice:
    """Struts that thicken from x = 10 to 30 mm."""
    x = np.linspace(low, high, 21)
    grid = np.ascontiguousarray(np.broadcast_to(np.round(x * 1e4).astype(np.int16), (21, 21, 21)))
    return Lattice("diamond", 2.5, low, None, Grade(grid, HERE, np.ones(3)))


def _off(outline: Outline, z: float, value: Any) -> np.ndarray:
    """In-plane distance in mm of points along every segment to the zero of ``value``, to first order."""
    x, y, starts = outline.x * UNIT, outline.y * UNIT, outline.starts
    after = np.arange(1, len(x) + 1)
    after[starts[1:] - 1] = starts[:-1]
    found = []
    for share in (0.0, 0.25, 0.5, 0.75):
        at = np.column_stack([x + share * (x[after] - x), y + share * (y[after] - y), np.full(len(x), z)])
        at = at[(np.abs(at[:, :2] - 25.0) < 4.95).all(1)]
        step = np.eye(3)[:2] * 1e-4
        slope = [(value(at + d) - value(at - d)) / 2e-4 for d in step]
        # Where the surface is all but level, the distance in the plane says nothing.
        found.append(np.abs(value(at)) / np.maximum(np.hypot(*slope), 0.2))
    return np.concatenate(found)


@pytest.fixture
def block() -> Mesh:
    return mesh_of(manifold3d.Manifold.cube((10.0, 10.0, 2.5)).translate((20, 20, 0)))


@pytest.mark.parametrize(("cell", "strut"), [("diamond", 0.5), ("diamond", 0.67), ("gyroid", 0.8)])
def test_sampled_and_stamped_layers_agree(block: Mesh, cell: str, strut: float) -> None:
    stamped = Slicer(plan_for(block, (cell, 2.5, strut), area_min_mm2=0.001))
    sampled = Slicer(
        replace(plan_for(block, None, area_min_mm2=0.001), sampled=_bare(Lattice(cell, 2.5, strut)))
    )
    errors = []
    for index in range(0, 25, 4):
        one, other = stamped.outline(index), sampled.outline(index)
        area = [s.packed(index, o)[1][AREA] for s, o in ((stamped, one), (sampled, other))]
        assert area[1] == pytest.approx(area[0], rel=0.002), index
        errors.append(_off(other, (index + 0.5) * LAYER, Lattice(cell, 2.5, strut).value))
    error = np.concatenate(errors)
    assert len(error) > 5000
    # The stamped ones lie within 10 um of the same field (test_slicing_lattice.py).
    assert np.percentile(error, 99) < 0.010
    assert error.max() < 0.05


def test_graded_contours_lie_on_the_graded_field(block: Mesh) -> None:
    lattice = _graded(0.45, 0.75)
    slicer = Slicer(_sampled(block, _bare(lattice)))
    error = np.concatenate(
        [_off(slicer.outline(i), (i + 0.5) * LAYER, lattice.value) for i in range(0, 50, 7)]
    )
    assert np.percentile(error, 99) < 0.010


def test_dense_metal_joins_a_sampled_lattice_with_sharp_corners(block: Mesh) -> None:
    x = 18.0 + 0.5 * np.arange(33)
    grid = np.broadcast_to(np.round((x - 25.0) * 1e4).clip(-30000, 30000), (9, 33, 33)).astype(np.int16)
    dense = DenseGrid(np.ascontiguousarray(grid), np.array([18.0, 18.0, -1.0]), 0.5)
    stamped = Slicer(plan_for(block, ("diamond", 2.5, 0.67), dense))
    sampled = Slicer(replace(plan_for(block, None, dense), sampled=_bare(Lattice("diamond", 2.5, 0.67))))
    for index in range(0, 50, 7):
        expected, found = (s.packed(index, s.outline(index))[1] for s in (stamped, sampled))
        np.testing.assert_allclose(found[[AREA, 4]], expected[[AREA, 4]], rtol=0.002)


@pytest.mark.parametrize(("size", "metal"), [(0.2, True), (0.4, False)])
def test_a_body_that_no_contour_crosses_is_metal_or_nothing(size: float, metal: bool) -> None:
    at = (22.5 + 0.31, 22.5 + 0.31, 0.31) if metal else (21.25, 21.25, 1.45)
    body = mesh_of(manifold3d.Manifold.cube((size,) * 3, True).translate(at))
    slicer = Slicer(_sampled(body, _bare(_graded(0.6, 0.67) if metal else _graded(0.45, 0.5))))
    _, figures = slicer.packed(1, slicer.outline(1))
    assert figures[AREA] == pytest.approx(size**2 if metal else 0.0, rel=0.01)


def _voronoi() -> Lattice:
    graph = Graph(*voronoi_struts(np.full(3, 8.0) * [1, 1, -0.5], np.array([32.0, 32.0, 18.0]), 2.5, 7, 0.8))
    return Lattice("voronoi", 2.5, 0.6, graph)


def _filleted() -> Material:
    # A dense slab below z = 4, corners rounded with 0.4 mm.
    z = np.clip((-2.0 + np.arange(21) - 4.0) * 1e4, -30000, 30000).astype(np.int16)
    dense = np.ascontiguousarray(np.broadcast_to(z[:, None, None], (21, 21, 21)))
    return Material(Lattice("diamond", 2.5, 0.6), HERE, np.ones(3), dense, fillet_mm=0.4)


@pytest.mark.parametrize("kind", ["graded", "voronoi", "fillet"])
def test_a_ball_of_any_filling_is_written_and_reads_back_clean(ball: Mesh, tmp_path: Path, kind: str) -> None:
    material = (
        _filleted() if kind == "fillet" else _bare(_voronoi() if kind == "voronoi" else _graded(0.45, 0.75))
    )
    plan = _sampled(ball, material)
    figures = write_plan(tmp_path / "one.cli", plan, 1)
    write_plan(tmp_path / "two.cli", plan, 2)
    assert (tmp_path / "one.cli").read_bytes() == (tmp_path / "two.cli").read_bytes()
    _, found = examine_file(tmp_path / "one.cli", 200.0, LAYER, 0.01, 1)
    assert (found.open_loops, found.winding_errors, found.tiny_loops, found.stray_hatches) == (0, 0, 0, 0)
    assert found.overlap_layers == 0
    expected = volumes_of(*ball, mesh_volume_mm3(*ball), material).material_mm3
    # Bits under the smallest loop are not written, about as much as a third of a percent of a ball this small.
    assert figures[:, AREA].sum() * LAYER == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_squares_of_a_slab_hold_every_contour_between_its_planes(share: float) -> None:
    rng = np.random.default_rng(3)
    grid = np.ascontiguousarray(np.round(rng.normal(0.0, 40.0, (4, 12, 14))).astype(np.int16))
    grid[1:3, 4:8, 5:9] = -30  # all metal, within and at the border of the window
    grid[1:3, 1:3, 2:4] = -30
    k, window = 1, np.array([2, 12, 1, 10], dtype=np.int64)
    begin, columns = region_kernels.crossed_squares(grid, k, window)
    listed = np.zeros((9, 10), dtype=bool)
    for j in range(9):
        listed[j, columns[begin[j] : begin[j + 1]]] = True
    plane = (grid[k] * (1.0 - share) + grid[k + 1] * share)[1:11, 2:13]
    plane[[0, -1]], plane[:, [0, -1]] = np.maximum(plane[[0, -1]], 1.0), np.maximum(plane[:, [0, -1]], 1.0)
    negative = np.stack([plane[j : j + 9, i : i + 10] < 0 for j in (0, 1) for i in (0, 1)]).sum(0)
    crossed = (negative > 0) & (negative < 4)
    assert crossed.any() and not (crossed & ~listed).any()
    # Inside the metal nothing is looked at; at the border of the window, which is made positive, it is.
    assert not listed[3:6, 3:6].any()
    assert listed[:2, 0].all()
