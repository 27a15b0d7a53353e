"""Paths of the beam in dense metal: offset contours, hatches inside them, thin places; and all of it is checked."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import manifold3d
import numpy as np
import pyclipr
import pytest
from build_bench import LAYER, UNIT, Mesh, mesh_of
from numpy.typing import NDArray
from pydantic import ValidationError

from implantflow.build import inset_kernels, verdicts
from implantflow.build.checks import Findings, examine
from implantflow.build.cli_reader import CliFile, CliLayer
from implantflow.build.cli_writer import (
    CONTOUR_ID,
    EDGE_ID,
    HATCH_ID,
    INNER_ID,
    NET_ID,
    OUTER_ID,
    OUTLINE_ID,
    THIN_ID,
)
from implantflow.build.melt_check import MeltRules
from implantflow.build.obf_reader import ObfFile, examine_obf
from implantflow.build.obf_writer import with_short_jumps, write_obf
from implantflow.build.part import Part
from implantflow.build.plan import DenseGrid
from implantflow.build.produce import efforts, judge, write_build
from implantflow.build.record import Sliced
from implantflow.build.themes import check_themes
from implantflow.config.build import Machine, load_machine
from implantflow.errors import QualityGateError

ARCAM = load_machine("arcam-a1")
WIDTH_MM, PITCH_MM = 0.2, 0.2


def _machine(**paths: Any) -> Machine:
    assert ARCAM.paths is not None
    return Machine.model_validate(ARCAM.model_dump() | {"paths": ARCAM.paths.model_dump() | paths})


def _mesh(shape: manifold3d.Manifold) -> Mesh:
    return mesh_of(shape.translate((20, 20, 0)))


def _built(
    path: Path, mesh: Mesh, machine: Machine, part: Part | None = None, threads: int = 1
) -> tuple[Sliced, Findings, list[CliLayer], Part]:
    part = part or Part(*mesh, None, None)
    sliced = write_build(path, part, machine, 0.01, 0.0, {}, False, None, threads)
    layers = list(CliFile(path).layers())
    return sliced, _examined(layers, machine), layers, part


def _examined(layers: list[CliLayer], machine: Machine) -> Findings:
    return examine(layers, UNIT, 60.0, LAYER, 0.01, rules=MeltRules.of(machine))


def _of(layer: CliLayer, label: int) -> np.ndarray:
    return np.asarray(layer.hatches[layer.hatch_label == label])


def _length_mm(lines: np.ndarray) -> float:
    return float(np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]).sum()) * UNIT


@pytest.fixture(scope="module")
def tube() -> Mesh:
    outer = manifold3d.Manifold.cylinder(0.2, 7.0, 7.0, 512)
    return _mesh(outer - manifold3d.Manifold.cylinder(2.0, 3.0, 3.0, 512).translate((0, 0, -1)))


def test_contours_of_an_annulus_lie_at_their_depth(tube: Mesh, tmp_path: Path) -> None:
    machine = _machine(contours=3)
    sliced, found, layers, part = _built(tmp_path / "a.cli", tube, machine)
    verdicts.require(judge(sliced, found, part, machine, 0.5, verdicts.IslandLimits(0.5, 1.0), []))
    layer = layers[1]
    assert (layer.label == OUTLINE_ID).all()
    assert found.area_mm2[1] == pytest.approx(np.pi * (49 - 9), rel=1e-3), "the outline stays the part's"
    for label, depths in ((OUTER_ID, (0.1,)), (INNER_ID, (0.3, 0.5))):
        lines = _of(layer, label)
        radius = np.hypot(*(lines[:, :2] * UNIT - 20.0).T)
        wanted = np.array([r for d in depths for r in (7.0 - d, 3.0 + d)])
        off = np.abs(radius[:, None] - wanted).min(axis=1)
        assert off.max() < 0.011, "rounding, facets and thinning"
        assert _length_mm(lines) == pytest.approx(2 * np.pi * wanted.sum(), rel=2e-3)
    hatches = _of(layer, HATCH_ID)
    ends = np.hypot(*(hatches.reshape(-1, 2) * UNIT - 20.0).T)
    assert ends.max() <= 6.5 + 0.008 and ends.min() >= 3.5 - 0.008, "hatches end inside the last contour"
    assert _length_mm(hatches) == pytest.approx(np.pi * (6.5**2 - 3.5**2) / 0.2, rel=0.01)
    assert len(_of(layer, THIN_ID)) == 0 and found.bare_mm2[1] == 0.0


def test_without_paths_nothing_of_them_is_written(tube: Mesh, tmp_path: Path) -> None:
    plain = ARCAM.model_copy(update={"paths": None})
    sliced, found, layers, _ = _built(tmp_path / "p.cli", tube, plain)
    assert (layers[1].label == CONTOUR_ID).all() and set(layers[1].hatch_label.tolist()) == {HATCH_ID}
    assert b"outline" not in (tmp_path / "p.cli").read_bytes()[:2000]
    assert found.bare_mm2 == [] and sliced.column("melted_contour_mm") == pytest.approx(found.contour_mm)


def test_touching_discs_share_no_contour_where_they_are_thin(tmp_path: Path) -> None:
    disc = manifold3d.Manifold.cylinder(0.1, 3.0, 3.0, 256)
    for apart, loops in ((5.9, 1), (5.99, 2), (6.1, 2)):
        mesh = _mesh(disc + disc.translate((apart, 0, 0)))
        sliced, found, layers, part = _built(tmp_path / "d.cli", mesh, ARCAM)
        verdicts.require(judge(sliced, found, part, ARCAM, 0.5, verdicts.IslandLimits(0.5, 1.0), []))
        lines = _of(layers[0], OUTER_ID)
        ends = (lines[1:, :2] != lines[:-1, 2:]).any(axis=1).sum() + 1
        # 5.9 mm apart the neck is 1.1 mm wide, 5.99 mm apart 0.35 mm: both wider than two half widths.
        assert ends == (1 if apart < 6.0 else 2), (apart, loops)
        assert max(found.bare_mm2) <= 0.03


def test_a_wall_thinner_than_two_half_widths_gets_a_net(tmp_path: Path) -> None:
    block = manifold3d.Manifold.cube((6, 6, 0.2))
    along_y = manifold3d.Manifold.cube((0.15, 12, 0.2)).translate((9, 0, 0))
    along_x = manifold3d.Manifold.cube((12, 0.15, 0.2)).translate((0, 9, 0))
    aslant = manifold3d.Manifold.cube((12, 0.12, 0.2)).rotate((0, 0, 30)).translate((12, 2, 0))
    mesh = _mesh(block + along_y + along_x.translate((-4, 0.5, 0)) + aslant)
    sliced, found, layers, part = _built(tmp_path / "w.cli", mesh, ARCAM)
    verdicts.require(judge(sliced, found, part, ARCAM, 0.5, verdicts.IslandLimits(0.5, 1.0), []))
    for layer in layers[:2]:
        outer, thin = _of(layer, OUTER_ID), _of(layer, THIN_ID)
        low, high = (f(outer.reshape(-1, 2), axis=0) * UNIT for f in (np.min, np.max))
        assert low == pytest.approx([20.1, 20.1]) and high == pytest.approx([25.9, 25.9]), "of the block only"
        assert len(thin) > 80
        lengths = np.hypot(thin[:, 2] - thin[:, 0], thin[:, 3] - thin[:, 1]) * UNIT
        assert lengths.min() >= 0.065
    assert max(found.bare_mm2) < 0.03 * 5.0
    assert sliced.column("thin_mm")[0] == pytest.approx(_length_mm(_of(layers[0], THIN_ID)))
    # Without these lines the walls would be lost, and the reader says so.
    lost = [
        replace(
            la,
            hatches=la.hatches[la.hatch_label != THIN_ID],
            hatch_label=la.hatch_label[la.hatch_label != THIN_ID],
        )
        for la in layers
    ]
    check = verdicts.paths(_examined(lost, ARCAM))[1]
    assert not check.passed and check.figure == pytest.approx(12 * (0.15 + 0.15 + 0.12) - 0.15**2, rel=0.15)


@pytest.mark.parametrize("turn_deg", [0.0, 67.0, 90.0])
@pytest.mark.parametrize("order", ["snake", "one_way"])
def test_hatches_turn_and_alternate_as_asked(tube: Mesh, tmp_path: Path, turn_deg: float, order: str) -> None:
    machine = _machine(hatch_turn_deg=turn_deg, hatch_order=order)
    sliced, found, layers, part = _built(tmp_path / "t.cli", tube, machine)
    verdicts.require(judge(sliced, found, part, machine, 0.5, verdicts.IslandLimits(0.5, 1.0), []))
    for number, layer in enumerate(layers):
        lines = _of(layer, HATCH_ID)
        way = lines[:, 2:] - lines[:, :2]
        long = np.hypot(*way.T) > 200
        angle = np.degrees(np.arctan2(way[long, 1], way[long, 0]))
        wanted = number * turn_deg % 180.0
        off = (angle - wanted + 90.0) % 180.0 - 90.0
        assert np.abs(off).max() < 0.3
        forward = np.abs((angle - wanted + 180.0) % 360.0 - 180.0) < 90.0
        assert forward.all() if order == "one_way" else 0.3 < forward.mean() < 0.7
        # Neighbouring lines lie one pitch apart, in the order of their rows.
        across = np.array([-np.sin(np.radians(wanted)), np.cos(np.radians(wanted))])
        rows = (0.5 * (lines[:, :2] + lines[:, 2:]) @ across) * UNIT / PITCH_MM
        assert np.abs(rows - np.round(rows)).max() < 0.02
        assert (np.diff(np.round(rows)) * np.sign(rows[-1] - rows[0]) >= 0).all()


def test_one_way_lines_keep_their_way_in_the_open_build_file(tube: Mesh, tmp_path: Path) -> None:
    for order, same in (("one_way", True), ("snake", False)):
        machine = _machine(hatch_order=order)
        sliced, _, _, _ = _built(tmp_path / "o.cli", tube, machine)
        write_obf(tmp_path / "o.obf", tmp_path / "o.cli", machine, sliced.box_mm, {}, False, 1)
        with ObfFile(tmp_path / "o.obf") as obf:
            lines = obf.lines(next(name for name in obf.layers[0] if name.endswith("hatch")))
        assert bool((lines[:, 2] > lines[:, 0]).all()) is same


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sliced, Findings, list[CliLayer], Part]:
    """A block of lattice with a dense wall through it, turned a little."""
    mesh = mesh_of(manifold3d.Manifold.cube((10, 9, 2.5)).rotate((0, 0, 8)).translate((20, 20, 0)))
    nodes = np.stack(np.meshgrid(*(np.arange(n) * 0.25 for n in (16, 80, 80)), indexing="ij"))
    across = np.cos(0.3) * (nodes[2] + 14 - 23.5) + np.sin(0.3) * (nodes[1] + 14 - 23.0)
    grid = np.clip((np.abs(across) - 1.0) / 0.25 * 32, -3000, 3000).astype(np.int16)
    dense = DenseGrid(grid, np.array([14.0, 14.0, -1.0]), 0.25)
    part = Part(*mesh, dense, ("diamond", 2.5, 0.67))
    path = tmp_path_factory.mktemp("mixed") / "m.cli"
    return path, *_built(path, mesh, ARCAM, part)


def test_struts_keep_their_outline_and_net(
    mixed: tuple[Path, Sliced, Findings, list[CliLayer], Part],
) -> None:
    _, sliced, found, layers, _ = mixed
    assert (found.open_loops, found.stray_hatches, found.near_paths, found.overlap_layers) == (0, 0, 0, 0)
    assert verdicts.paths(found)[1].passed
    written, read = efforts(sliced, found, ARCAM)
    assert all(check.passed for check in verdicts.efforts(written, read))
    islands = 0
    for layer in layers[10:40:7]:
        assert (layer.label == OUTLINE_ID).sum() in range(1, 8)
        islands += int((layer.label == CONTOUR_ID).sum())
        edges = _of(layer, EDGE_ID)
        assert _length_mm(edges) > 0 and len(_of(layer, NET_ID)) > 20
        # Borders of struts lie 10 um inside the outline they belong to.
        middles = 0.5 * (edges[:, :2] + edges[:, 2:])
        best = np.full(len(middles), np.inf)
        for c in np.nonzero(layer.label == OUTLINE_ID)[0]:
            p = layer.points[layer.starts[c] : layer.starts[c + 1]]
            for a, b in itertools.pairwise(p):
                t = np.clip((middles - a) @ (b - a) / max((b - a) @ (b - a), 1e-9), 0.0, 1.0)
                best = np.minimum(best, np.hypot(*(middles - a - t[:, None] * (b - a)).T))
        assert np.quantile(best, 0.95) < 3.5 and best.max() < 5.0
    assert islands > 5, "islands of lattice are melted along their outline"


def test_same_bytes_on_two_threads(
    mixed: tuple[Path, Sliced, Findings, list[CliLayer], Part], tmp_path: Path
) -> None:
    path, _, _, _, part = mixed
    write_build(tmp_path / "two.cli", part, ARCAM, 0.01, 0.0, {}, False, None, 2)
    assert (tmp_path / "two.cli").read_bytes() == path.read_bytes()


def test_open_file_holds_the_paths_and_not_the_outline(
    mixed: tuple[Path, Sliced, Findings, list[CliLayer], Part], tmp_path: Path
) -> None:
    path, sliced, found, layers, _ = mixed
    write_obf(tmp_path / "m.obf", path, ARCAM, sliced.box_mm, {}, False, 1)
    obf = examine_obf(tmp_path / "m.obf", path, ARCAM)
    read = efforts(sliced, found, ARCAM)[1]
    verdicts.require(verdicts.open_file(obf, found, read, ARCAM, sliced.box_mm))
    followed = sum(_length_mm(la.hatches) for la in layers) + sum(found.followed_mm)
    assert sum(obf.length_mm) == pytest.approx(followed, rel=1e-9)
    assert sum(found.followed_mm) < sum(found.contour_mm)
    assert len(obf.layer_jump_mm) == len(layers)
    assert obf.jump_mm < 0.6 * obf.cli_jump_mm
    assert max(obf.layer_longest_mm) <= 15.0


Change = Callable[[CliLayer], CliLayer]


def _hatch_of(label: int, change: Callable[[np.ndarray], None]) -> Change:
    """Change the longest line of a label."""

    def apply(layer: CliLayer) -> CliLayer:
        hatches = layer.hatches.copy()
        mine = np.nonzero(layer.hatch_label == label)[0]
        length = np.hypot(*(hatches[mine, 2:] - hatches[mine, :2]).T)
        change(hatches[mine[int(length.argmax())]])
        return replace(layer, hatches=hatches)

    return apply


def _away(line: np.ndarray) -> None:
    line += 3000.0


def _nudge(line: np.ndarray) -> None:
    way = line[2:] - line[:2]
    line += np.tile(np.array([way[1], -way[0]]) / np.hypot(*way) * 5.0, 2)


def _longer(line: np.ndarray) -> None:
    line[2:] += (line[2:] - line[:2]) / np.hypot(*(line[2:] - line[:2])) * 30.0


@pytest.mark.requirement("build-file-sound")
@pytest.mark.parametrize(
    ("label", "change", "stray", "near"),
    [
        (OUTER_ID, _away, 1, 0),
        (OUTER_ID, _nudge, 0, 1),
        (INNER_ID, _away, 1, 0),
        (EDGE_ID, _away, 1, 0),
        (HATCH_ID, _longer, 0, 1),
        (HATCH_ID, _away, 1, 0),
    ],
    ids=[
        "contour in the powder",
        "contour 25 um out",
        "inner contour away",
        "edge away",
        "hatch too long",
        "hatch away",
    ],
)
def test_misplaced_paths_are_caught(
    mixed: tuple[Path, Sliced, Findings, list[CliLayer], Part],
    label: int,
    change: Change,
    stray: int,
    near: int,
) -> None:
    layers = list(mixed[3][20:24])
    layers[2] = _hatch_of(label, change)(layers[2])
    found = _examined(layers, ARCAM)
    assert (found.stray_hatches, found.near_paths > 0) == (stray, near > 0)
    if near:
        check = verdicts.paths(found)[0]
        assert not check.passed and "layer 2" in check.where[0]


def test_lost_contours_hatches_and_wrong_label_are_caught(
    mixed: tuple[Path, Sliced, Findings, list[CliLayer], Part],
) -> None:
    _, sliced, found, layers, _ = mixed
    good = verdicts.efforts(*efforts(sliced, found, ARCAM))
    assert all(check.passed for check in good)
    for label in (OUTER_ID, HATCH_ID):
        lost = list(layers)
        keep = layers[20].hatch_label != label
        lost[20] = replace(
            layers[20], hatches=layers[20].hatches[keep], hatch_label=layers[20].hatch_label[keep]
        )
        found = _examined(lost, ARCAM)
        assert not verdicts.paths(found)[1].passed, label
        assert not verdicts.efforts(*efforts(sliced, found, ARCAM))[0].passed
    # An outline that says that the beam follows it: the time is no longer the drawn one.
    wrong = list(layers)
    wrong[20] = replace(layers[20], label=np.full_like(layers[20].label, CONTOUR_ID))
    assert not verdicts.efforts(*efforts(sliced, _examined(wrong, ARCAM), ARCAM))[0].passed


def test_preset_must_leave_no_powder_between_its_lines() -> None:
    for change in ({"melt_width_mm": 0.15}, {"contour_pitch_mm": 0.25}):
        with pytest.raises(ValidationError, match="powder would stay"):
            _machine(**change)
    for missing in ("melt_width_mm", "contours", "contour_pitch_mm", "hatch_turn_deg", "line_order"):
        assert ARCAM.paths is not None
        paths = ARCAM.paths.model_dump()
        del paths[missing]
        with pytest.raises(ValidationError, match=missing):
            Machine.model_validate(ARCAM.model_dump() | {"paths": paths})
    assert ARCAM.paths is not None and ARCAM.paths.verified is False


def test_inner_contours_too_close_melt_too_much() -> None:
    assert check_themes(ARCAM)["paths"]["contours"] == 2
    with pytest.raises(QualityGateError, match="'contour', its inner passes, melts with 160"):
        check_themes(_machine(contour_pitch_mm=0.06))
    check_themes(_machine(contour_pitch_mm=0.06, contours=1))


def test_nearest_order_keeps_lines_outlines_and_direction() -> None:
    rng = np.random.default_rng(7)
    squares = []
    for x, y in rng.integers(0, 9000, (300, 2)):
        c = np.array([[x, y], [x + 40, y], [x + 40, y + 40], [x, y + 40], [x, y]])
        squares.append(np.hstack([c[:-1], c[1:]]))
    outlines, singles = np.concatenate(squares), rng.integers(0, 9000, (500, 4))
    for lines, may_turn in ((outlines, True), (singles, True), (singles, False)):
        found = with_short_jumps(lines, UNIT, "nearest", may_turn=may_turn)
        both = [
            np.where(a[:, :1] > a[:, 2:3], a[:, [2, 3, 0, 1]], a) if may_turn else a for a in (lines, found)
        ]
        assert sorted(map(tuple, both[0].tolist())) == sorted(map(tuple, both[1].tolist()))
    runs = with_short_jumps(outlines, UNIT, "nearest").reshape(300, 4, 4)
    assert (runs[:, 1:, :2] == runs[:, :-1, 2:]).all() and (runs[:, 0, :2] == runs[:, -1, 2:]).all()
    area = (runs[..., 0] * runs[..., 3] - runs[..., 2] * runs[..., 1]).sum(axis=1)
    assert (area == 2 * 40 * 40).all(), "outlines keep their direction"
    # Each is followed by the nearest of those that are left, by brute force.
    found = with_short_jumps(singles, UNIT, "nearest")
    for n in range(0, 480, 40):
        end, left = found[n, 2:], found[n + 1 :]
        away = np.minimum(((left[:, :2] - end) ** 2).sum(axis=1), ((left[:, 2:] - end) ** 2).sum(axis=1))
        assert away[0] == away.min()


def _wavy(rng: np.random.Generator, radius: float, count: int, way: int) -> NDArray[np.float64]:
    """A loop in units with waves of a few times the offsets, corners and short edges; ``way`` -1 winds it as a hole."""
    angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, count))[::way]
    reach = radius * (1.0 + 0.15 * np.sin(9.0 * angle) + rng.normal(0.0, 0.01, count))
    points = np.rint(np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None] + 5000.0)
    return np.asarray(points[(points != np.roll(points, 1, 0)).any(1)])


def _area(loops: list[NDArray[np.float64]]) -> float:
    return sum(
        0.5 * float((np.roll(p[:, 0], 1) * p[:, 1] - p[:, 0] * np.roll(p[:, 1], 1)).sum()) for p in loops
    )


def _shapes() -> dict[str, list[NDArray[np.float64]]]:
    rng = np.random.default_rng(5)
    box = np.array([[0, 0], [900, 0], [900, 400], [0, 400]], dtype=np.float64)
    # Right angles and walls of exactly twice an offset: curves run upon each other.
    stairs = [
        [0, 0],
        [40, 0],
        [40, 30],
        [47, 30],
        [47, 60],
        [600, 60],
        [600, 100],
        [300, 100],
        [300, 400],
        [0, 400],
    ]
    needle = [[0, 0], [400, 0], [400, 300], [210, 300], [221, 300], [201, 300], [216, 298], [0, 298]]
    return {
        "needle without width": [np.array(needle, dtype=np.float64)],
        "wavy": [_wavy(rng, 800.0, 260, 1), _wavy(rng, 500.0, 200, -1)],
        "ring thinner than the offset in places": [_wavy(rng, 400.0, 300, 1), _wavy(rng, 300.0, 300, -1)],
        "stairs": [np.array(stairs, dtype=np.float64)],
        "wall of twice the offset": [box[:, ::-1][::-1] * [1.0, 0.1] * [1.0, 0.4 / 0.36] + 100.0],
        "box in a box": [box, (box[::-1] - [450, 200]) * 0.9 + [450, 200]],
    }


@pytest.mark.parametrize("name", _shapes())
@pytest.mark.parametrize("depth", [20.0, 60.0])
def test_the_offset_is_clippers(name: str, depth: float) -> None:
    """The kernel's loops differ from Clipper2's by less than a micrometre along their border, on the mean."""
    loops = [np.rint(p) for p in _shapes()[name]]
    whole = np.concatenate(loops).astype(np.int64)
    starts = np.cumsum([0, *(len(p) for p in loops)])
    points, begins, done = inset_kernels.inset(
        np.ascontiguousarray(whole[:, 0]), np.ascontiguousarray(whole[:, 1]), starts, depth
    )
    assert done
    mine = [points[a:b] for a, b in itertools.pairwise(begins.tolist())]
    offset = pyclipr.ClipperOffset()
    offset.scaleFactor, offset.arcTolerance = 64, 4
    offset.addPaths(loops, pyclipr.JoinType.Round, pyclipr.EndType.Polygon)
    theirs = [np.asarray(p)[:, :2] for p in offset.execute(-depth)]
    clipper = pyclipr.Clipper()
    clipper.scaleFactor = 64
    for found, kind in ((theirs, pyclipr.Subject), (mine, pyclipr.Clip)):
        if found:
            clipper.addPaths(found, kind)
    apart = _area([np.asarray(p) for p in clipper.execute(pyclipr.Xor, pyclipr.FillRule.NonZero)])
    border = sum(float(np.hypot(*(p - np.roll(p, 1, 0)).T).sum()) for p in loops)
    assert abs(apart) < 0.2 * border
