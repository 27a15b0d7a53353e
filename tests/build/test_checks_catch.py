"""Planted defects: each must be caught by the checks that re-read the build file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import manifold3d
import numpy as np
import pytest
from build_bench import UNIT, Mesh, mesh_of, plan_for, write_plan

from implantflow.build import verdicts
from implantflow.build.checks import Findings, examine, examine_file
from implantflow.build.cli_reader import CliFile, CliLayer
from implantflow.build.cli_writer import CliHeader, CliWriter
from implantflow.build.crumbs import Crumbs
from implantflow.build.layers import slice_layers
from implantflow.build.slicer import Slicer
from implantflow.build.themes import check_themes, effort, energy_density_j_mm3
from implantflow.config.build import load_machine
from implantflow.errors import InputError, QualityGateError

Change = Callable[[CliLayer], CliLayer]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[CliLayer]:
    """Layers of a ball filled with lattice, as read back."""
    ball = mesh_of(manifold3d.Manifold.sphere(5.0, 64).translate((20, 20, 5)))
    path = tmp_path_factory.mktemp("cli") / "ball.cli"
    write_plan(path, plan_for(ball, ("diamond", 2.5, 0.67)))
    return list(CliFile(path).layers())


def _examine(layers: list[CliLayer]) -> Findings:
    return examine(layers, UNIT, 60.0, 0.05, 0.01)


def _with(layers: list[CliLayer], number: int, change: Change) -> Findings:
    changed = list(layers)
    changed[number] = change(layers[number])
    return _examine(changed)


def test_a_good_file_has_nothing_wrong(good: list[CliLayer]) -> None:
    found = _examine(good)
    assert found.loops > 1000
    assert (found.open_loops, found.winding_errors, found.overlap_layers) == (0, 0, 0)
    assert (found.stray_hatches, found.tiny_loops) == (0, 0)
    assert found.closed_voids == []
    assert verdicts.heights(found, 0.05, 0.05).passed


@pytest.mark.requirement("build-file-sound")
def test_open_loop(good: list[CliLayer]) -> None:
    def open_it(layer: CliLayer) -> CliLayer:
        points = layer.points.copy()
        points[layer.starts[1] - 1] += 40
        return replace(layer, points=points)

    found = _with(good, 50, open_it)
    assert found.open_loops == 1
    assert "layer 50" in found.places["open_loops"][0]
    marked = _with(
        good,
        50,
        lambda la: replace(la, direction=np.where(np.arange(len(la.direction)) == 0, 2, la.direction)),
    )
    assert marked.open_loops == 1


@pytest.mark.requirement("build-file-sound")
def test_flipped_winding(good: list[CliLayer]) -> None:
    def flip(layer: CliLayer) -> CliLayer:
        points = layer.points.copy()
        a, b = layer.starts[2], layer.starts[3]
        points[a:b] = points[a:b][::-1]
        return replace(layer, points=points)

    assert _with(good, 60, flip).winding_errors == 1

    def flip_both(layer: CliLayer) -> CliLayer:
        # dir agrees with the points, but a loop in the open is called a hole.
        direction = layer.direction.copy()
        direction[2] = 1 - direction[2]
        return replace(flip(layer), direction=direction)

    assert _with(good, 60, flip_both).winding_errors == 1


def test_overlapping_loops(good: list[CliLayer]) -> None:
    def double(layer: CliLayer) -> CliLayer:
        a, b = layer.starts[0], layer.starts[1]
        return replace(
            layer,
            points=np.concatenate([layer.points, layer.points[a:b] + 25]),
            starts=np.append(layer.starts, layer.starts[-1] + b - a),
            direction=np.append(layer.direction, layer.direction[0]),
            label=np.append(layer.label, 1),
        )

    assert _with(good, 70, double).overlap_layers == 1


def test_hatch_outside(good: list[CliLayer]) -> None:
    def stretch(layer: CliLayer) -> CliLayer:
        hatches = layer.hatches.copy()
        axis = 0 if hatches[0, 1] == hatches[0, 3] else 1
        hatches[0, 2 + axis] += 12
        return replace(layer, hatches=hatches)

    def aslant(layer: CliLayer) -> CliLayer:
        hatches = layer.hatches.copy()
        hatches[0] = hatches[0, 0], hatches[0, 1], hatches[0, 0] + 9, hatches[0, 1] + 7
        return replace(layer, hatches=hatches)

    def elsewhere(layer: CliLayer) -> CliLayer:
        return replace(layer, hatches=layer.hatches + 6000)

    for number in (80, 81):
        assert _with(good, number, stretch).stray_hatches == 1
        assert _with(good, number, aslant).stray_hatches == 1
        assert _with(good, number, elsewhere).stray_hatches == len(good[number].hatches)


def test_height_that_does_not_rise(good: list[CliLayer]) -> None:
    found = _with(good, 90, lambda la: replace(la, z=good[89].z))
    check = verdicts.heights(found, 0.05, 0.05)
    assert not check.passed
    assert "layer 90" in check.where[0]


def test_out_of_the_envelope(good: list[CliLayer]) -> None:
    assert verdicts.envelope(_examine(good), (60, 60, 60)).passed
    assert not verdicts.envelope(_examine(good), (24, 60, 60)).passed
    assert not verdicts.envelope(_examine(good), (60, 60, 9)).passed


def test_missing_layer_and_wrong_volume(good: list[CliLayer], tmp_path: Path, box: Mesh) -> None:
    found = _examine(good[:-20])
    volume = float(_examine(good).volume_per_layer.sum()) * 0.05
    assert not verdicts.volume(found, 0.05, volume, 0.0, 0.2).passed
    assert verdicts.volume(_examine(good), 0.05, volume, 0.0, 0.2).passed
    write_plan(tmp_path / "box.cli", plan_for(box))
    data = (tmp_path / "box.cli").read_bytes().replace(b"$$LAYERS/000060", b"$$LAYERS/000061")
    (tmp_path / "box.cli").write_bytes(data)
    with pytest.raises(InputError, match="announces 61"):
        examine_file(tmp_path / "box.cli", 200.0, 0.05, 0.01)


def test_slivers_are_counted(good: list[CliLayer]) -> None:
    found = examine(good, UNIT, 60.0, 0.05, 0.05)
    assert found.tiny_loops > 0


def _stack(*pieces: manifold3d.Manifold) -> Mesh:
    shape = pieces[0]
    for piece in pieces[1:]:
        shape += piece
    return mesh_of(shape.translate((20, 20, 0)))


def test_islands_are_followed_until_they_join(tmp_path: Path) -> None:
    base = manifold3d.Manifold.cube((10, 10, 1))
    post = manifold3d.Manifold.cube((1, 1, 4)).translate((1, 1, 0.5))
    roof = manifold3d.Manifold.cube((8, 3, 1)).translate((1, 1, 4.0))
    late = manifold3d.Manifold.cube((1, 1, 2.2)).translate((7, 1, 2.0))  # joins the roof 2 mm up
    lost = manifold3d.Manifold.cube((1, 1, 0.5)).translate((7, 7, 2.0))  # joins nothing
    write_plan(tmp_path / "i.cli", plan_for(_stack(base, post, roof, late, lost)))
    _, found = examine_file(tmp_path / "i.cli", 200.0, 0.05, 0.01)
    assert len(found.islands) == 2
    by_join = {i.joins_layer: i for i in found.islands}
    assert by_join[80].layer == 40
    assert by_join[80].area_mm2 == pytest.approx(1.0)
    assert by_join[None].volume_mm3 == pytest.approx(0.5)
    strict = verdicts.islands(found, 0.05, [False, False], verdicts.IslandLimits(0.5, 2.0))
    assert {c.name for c in strict if not c.passed} == {"loose_pieces", "island_join_mm"}
    with pytest.raises(QualityGateError, match="loose_pieces is 1"):
        verdicts.require(strict)
    small = verdicts.islands(found, 0.05, [False, False], verdicts.IslandLimits(2.5, 0.5))
    assert "island_area_mm2" in {c.name for c in small if not c.passed}
    dense = verdicts.islands(found, 0.05, [True, True], verdicts.IslandLimits(0.5, 0.5))
    assert {c.name for c in dense if not c.passed} == {"loose_pieces", "dense_islands_need_support"}
    soft = verdicts.islands(found, 0.05, [False, False], verdicts.IslandLimits(0.5, 2.0, warn_only=True))
    verdicts.require(soft)


def test_closed_pore_is_caught_and_an_open_one_is_not(tmp_path: Path) -> None:
    block = manifold3d.Manifold.cube((8, 8, 6))
    cavity = manifold3d.Manifold.sphere(1.5, 64).translate((4, 4, 3))
    channel = manifold3d.Manifold.cylinder(6.0, 0.3, 0.3, 32).rotate((0, 90, 0)).translate((4, 4, 3))
    shaft = manifold3d.Manifold.cylinder(6.0, 0.3, 0.3, 32).translate((4, 4, 3))
    for name, shape, pores in (
        ("closed", block - cavity, 1),
        ("sideways", block - cavity - channel, 0),
        ("upwards", block - cavity - shaft, 0),
        ("downwards", block - cavity - shaft.translate((0, 0, -4.0)), 0),
        ("notch", block - manifold3d.Manifold.sphere(0.2, 32).translate((4, 4, 3)), 0),
    ):
        write_plan(tmp_path / f"{name}.cli", plan_for(_stack(shape)))
        _, found = examine_file(tmp_path / f"{name}.cli", 200.0, 0.05, 0.01)
        check = verdicts.closed_pores(found, warn_only=False)
        assert check.figure == pores, name
        if pores:
            assert found.closed_voids[0].volume_mm3 == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.02)
            assert "layer 30" in check.where[0]
            with pytest.raises(QualityGateError, match="closed_pores is 1"):
                verdicts.require([check])


def test_crumbs_are_found_and_left_out(tmp_path: Path) -> None:
    block = manifold3d.Manifold.cube((13, 12, 9)).rotate((25, 15, 40)).translate((24, 20, 6))
    slicer = Slicer(plan_for(mesh_of(block), ("diamond", 2.5, 0.5)))
    header = CliHeader(UNIT, slicer.plan.layers, np.zeros((2, 3)))

    def build(name: str, threads: int, crumb_max_mm3: float) -> Crumbs:
        with CliWriter(tmp_path / name, header) as writer:
            return slice_layers(slicer, writer.write, threads, crumb_max_mm3)[1]

    crumbs = build("one.cli", 1, 2.0)
    assert crumbs.count > 0
    assert 0 < crumbs.largest_mm3 < 0.5
    _, found = examine_file(tmp_path / "one.cli", 60.0, 0.05, 0.01)
    assert all(island.joins_layer is not None for island in found.islands)
    assert build("two.cli", 2, 2.0) == crumbs
    assert (tmp_path / "one.cli").read_bytes() == (tmp_path / "two.cli").read_bytes()
    assert build("all.cli", 1, 0.0).count == 0
    _, kept = examine_file(tmp_path / "all.cli", 60.0, 0.05, 0.01, threads=2)
    loose = [island for island in kept.islands if island.joins_layer is None]
    assert sum(island.volume_mm3 for island in loose) == pytest.approx(crumbs.volume_mm3)
    difference = (kept.volume_per_layer - found.volume_per_layer).sum() * 0.05
    assert difference == pytest.approx(crumbs.volume_mm3, rel=1e-6)
    # A loose piece larger than a crumb stays in, for the checks to name.
    assert build("few.cli", 1, crumbs.largest_mm3 * 0.99).count < crumbs.count


def test_theme_outside_its_window() -> None:
    machine = load_machine("arcam-a1")
    themes = check_themes(machine)
    assert themes["hatch"]["energy_density_j_mm3"] == pytest.approx(240 / (500 * 0.2 * 0.05))
    cold = machine.hatch.model_copy(update={"speed_mm_s": 4500.0})
    assert energy_density_j_mm3(machine, cold) == pytest.approx(5.33, abs=0.01)
    with pytest.raises(QualityGateError, match=r"theme 'hatch' melts with 5\.3"):
        check_themes(machine.model_copy(update={"hatch": cold}))


def test_time_and_energy_of_known_paths() -> None:
    machine = load_machine("arcam-a1")
    box = np.array([[90.0, 90.0, 0.0], [110.0, 110.0, 1.0]])
    times = effort(machine, box, np.array([500.0]), np.array([1000.0]), np.array([250.0]))
    assert times.melt_s[0] == pytest.approx(1.0 + 2.0 + 0.5)
    assert times.melt_j[0] == pytest.approx(3.5 * 240.0)
    # 11 passes over the whole plate at 14.6 m/s and 1.2 mm: about 25 s at 2.1 kW.
    assert times.preheat_s[0] == pytest.approx(25.1, abs=0.1)
    assert times.preheat_j[0] == pytest.approx(times.preheat_s[0] * 2100.0)
    wrong = times._replace(melt_s=times.melt_s * 1.001)
    assert not verdicts.efforts(wrong, times)[0].passed
    assert verdicts.efforts(times, times)[1].passed
