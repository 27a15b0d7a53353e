"""Supports, start plate and coupon: asked for in the config, drawn, read back and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import manifold3d
import numpy as np
import pytest
from build_bench import BUILD, LAYER, UNIT, Mesh, mesh_of
from pydantic import ValidationError
from test_build_stage import _job

from implantflow.artifacts import read_json
from implantflow.build import verdicts
from implantflow.build.beside import coupon_part
from implantflow.build.checks import Findings, examine_file
from implantflow.build.cli_reader import CliFile
from implantflow.build.cli_writer import SUPPORT_ID
from implantflow.build.overhang import Overhang, overhang
from implantflow.build.part import Part
from implantflow.build.produce import efforts, judge, write_build
from implantflow.build.record import Sliced
from implantflow.build.stage import build_part
from implantflow.build.supports import DrawnSupports, SupportReader, supported
from implantflow.config.build import BuildSettings, Coupon, StartPlate, Supports, load_machine
from implantflow.errors import GeometryError, QualityGateError
from implantflow.field.cells import occupancy

SUPPORTS = {
    "pitch_mm": 2.0,
    "tooth_pitch_mm": 1.0,
    "tooth_height_mm": 0.5,
    "overlap_mm": 0.1,
    "source": "this test",
    "verified": False,
}
ASKED = Supports.model_validate(SUPPORTS)
MACHINE = load_machine("arcam-a1")


@pytest.fixture(scope="module")
def table() -> Mesh:
    """A table top 10 x 8 mm on one leg, its lower side 5 mm over the plate, a step of 2 mm height under half of it."""
    top = manifold3d.Manifold.cube((10, 8, 2)).translate((0, 0, 5))
    leg = manifold3d.Manifold.cube((2, 2, 5.5))
    step = manifold3d.Manifold.cube((4, 8, 2)).translate((6, 0, 0))
    return mesh_of((top + leg + step).translate((50, 50, 0)))


def _under(mesh: Mesh) -> Overhang:
    return overhang(mesh[0], mesh[1].astype(np.int64), np.ones(len(mesh[1]), dtype=bool), 45.0)


def _built(
    path: Path, mesh: Mesh, drawn: DrawnSupports | None, coupon: Part | None = None, lattice: bool = False
) -> tuple[Sliced, Findings, SupportReader, Part]:
    part = Part(*mesh, None, ("diamond", 2.5, 0.6) if lattice else None)
    sliced = write_build(path, part, MACHINE, 0.01, 2.0, {}, False, None, 1, drawn, coupon)
    follower = SupportReader(_under(mesh), UNIT, LAYER)
    _, found = examine_file(path, 200.0, LAYER, 0.01, 1, follower)
    return sliced, found, follower, part


def test_supports_reach_all_dense_surface_and_stay_out_of_the_part(table: Mesh, tmp_path: Path) -> None:
    hangs = _under(table)
    drawn = DrawnSupports.under([hangs], ASKED, LAYER, UNIT)
    sliced, found, read, part = _built(tmp_path / "t.cli", table, drawn)
    assert hangs.area_mm2(True) == pytest.approx(76.0)
    assert read.unsupported_mm2(2.0) == 0.0
    assert verdicts.supports_clear(read).passed and 0.0 < read.longest_in_metal_mm <= 0.41
    assert verdicts.down_facing(hangs, read, 2.0).passed
    assert (found.open_loops, found.stray_hatches, found.winding_errors, found.islands) == (0, 0, 0, [])
    written, again = efforts(sliced, found, MACHINE)
    assert all(c.passed for c in verdicts.efforts(written, again))
    assert sliced.support_mm.sum() == pytest.approx(read.length_mm, rel=1e-9)
    # Under the overhang and over the step walls run; in the gap before a surface only teeth do.
    layers = list(CliFile(tmp_path / "t.cli").layers())
    lengths = [
        float(np.abs(la.hatches[la.hatch_label == SUPPORT_ID] @ [1, 1, -1, -1]).sum()) for la in layers
    ]
    assert lengths[95] < 0.6 * lengths[80] and lengths[97] > 0
    assert lengths[102] == 0 and lengths[101] > 0, "teeth reach 0.1 mm into the part"
    report = supported(drawn, read, 2.0)
    assert report["supports_in_file"] is True
    assert 0 < report["supports"]["teeth_standing_on_part"] < report["supports"]["teeth"]
    checks = judge(sliced, found, part, MACHINE, 0.5, verdicts.IslandLimits(0.5, 1.0), [])
    verdicts.require(checks)


def test_an_island_of_dense_metal_that_a_support_holds_needs_none(tmp_path: Path) -> None:
    top = manifold3d.Manifold.cube((10, 8, 2)).translate((0, 0, 5))
    leg, peg = (
        manifold3d.Manifold.cube((2, 2, 5.5)),
        manifold3d.Manifold.cube((2, 2, 2)).translate((6, 4, 3.5)),
    )
    mesh = mesh_of((top + leg + peg).translate((50, 50, 0)))
    drawn = DrawnSupports.under([_under(mesh)], ASKED, LAYER, UNIT)
    for walls, held in ((drawn, True), (None, False)):
        sliced, found, read, part = _built(tmp_path / "p.cli", mesh, walls)
        assert [island.layer for island in found.islands] == [70]
        place = np.array([[*found.islands[0].xy_mm, 3.525]])
        assert read.holds(place, 2.0) == [held] and read.holds(place - (0.0, 0.0, 3.0), 2.0) == [False]
        limits = verdicts.IslandLimits(0.5, 1.0)
        checks = judge(sliced, found, part, MACHINE, 0.5, limits, [True], None, read.holds(place, 2.0))
        needs = next(check for check in checks if check.name == "dense_islands_need_support")
        assert needs.figure == (0 if held else 1)
    assert read.holds(np.empty((0, 3)), 2.0) == []


def test_layers_begin_at_the_plate_under_a_raised_part(tmp_path: Path) -> None:
    block = mesh_of(manifold3d.Manifold.cube((6, 6, 2)).translate((50, 50, 1)))
    drawn = DrawnSupports.under([_under(block)], ASKED, LAYER, UNIT)
    sliced, found, read, part = _built(tmp_path / "b.cli", block, drawn)
    assert (sliced.first_layer, sliced.layers) == (0, 60)
    assert found.area_mm2[:20] == [0.0] * 20 and found.area_mm2[20] == pytest.approx(36.0)
    verdicts.require(judge(sliced, found, part, MACHINE, 0.5, verdicts.IslandLimits(0.5, 1.0), []))
    assert read.unsupported_mm2(2.0) == 0.0


def test_missing_supports_and_walls_through_the_part_are_caught(table: Mesh, tmp_path: Path) -> None:
    hangs = _under(table)
    drawn = DrawnSupports.under([hangs], ASKED, LAYER, UNIT)
    here = hangs.places_mm[hangs.column.searchsorted(hangs.column)]
    half = replace(hangs, dense=hangs.dense & (here[:, 0] > 55.0))
    _, _, read, _ = _built(tmp_path / "h.cli", table, DrawnSupports.under([half], ASKED, LAYER, UNIT))
    assert read.unsupported_mm2(2.0) > 10.0
    assert not verdicts.down_facing(hangs, read, 2.0).passed
    through = replace(drawn, walls=tuple(w._replace(top_mm=w.top_mm + 1.0) for w in drawn.walls))
    _, _, read, _ = _built(tmp_path / "w.cli", table, through)
    with pytest.raises(QualityGateError, match="support_in_metal_mm"):
        verdicts.require([verdicts.supports_clear(read)])


def test_coupon_is_a_block_of_the_lattice_in_the_same_file(tmp_path: Path) -> None:
    block = mesh_of(manifold3d.Manifold.cube((10, 10, 5)).translate((50, 50, 1)))
    plain, _, _, part = _built(tmp_path / "p.cli", block, None, lattice=True)
    coupon = coupon_part(part, Coupon(cells=2, gap_mm=3.0))
    low, high = coupon.box_mm
    assert tuple(high - low) == pytest.approx((5.0, 5.0, 7.5)) and low[2] == pytest.approx(1.0)
    assert low[0] == pytest.approx(65.0) and low[0] % 2.5 == pytest.approx(0.0)
    sliced, found, _, _ = _built(tmp_path / "c.cli", block, None, coupon, lattice=True)
    assert sliced.layers == 150 > plain.layers
    metal = float(found.volume_per_layer.sum()) * LAYER + sliced.crumbs.volume_mm3
    own = metal - plain.column("area_mm2").sum() * LAYER - plain.crumbs.volume_mm3
    assert own == pytest.approx(5 * 5 * 7.5 * occupancy("diamond", 2.5, 0.6, 40).mean(), rel=0.002)
    limits = verdicts.IslandLimits(2.5, 2.0)
    checks = judge(sliced, found, part, MACHINE, 0.5, limits, [False] * len(found.islands), coupon)
    verdicts.require(checks)
    alone = judge(sliced, found, part, MACHINE, 0.5, limits, [False] * len(found.islands))
    assert "volume_error_pct" in {c.name for c in alone if not c.passed}
    with pytest.raises(GeometryError, match="does not repeat"):
        coupon_part(Part(*block, None, None), Coupon(cells=2, gap_mm=3.0))


def test_start_plate_and_settings(tmp_path: Path, table: Mesh) -> None:
    _, found, _, _ = _built(tmp_path / "t.cli", table, None)
    plate = {"thickness_mm": 10.0, "source": "this test", "verified": False}
    envelope = MACHINE.envelope_mm
    assert verdicts.start_plate(found, StartPlate(size_mm=(100.0, 100.0), **plate), envelope).passed
    check = verdicts.start_plate(found, StartPlate(size_mm=(98.0, 98.0), **plate), envelope)
    assert not check.passed and check.figure == pytest.approx(1.0)
    machine = MACHINE.model_dump() | {"support": None}
    with pytest.raises(ValidationError, match="no theme 'support'"):
        BuildSettings.model_validate({**BUILD, "machine": machine, "supports": SUPPORTS})


def test_the_stage_draws_and_reports_them(tmp_path: Path) -> None:
    plate = {"size_mm": [150, 150], "thickness_mm": 10, "source": "this test", "verified": False}
    wanted: dict[str, Any] = {
        "supports": SUPPORTS,
        "coupon": {"cells": 2, "gap_mm": 5.0},
        "start_plate": plate,
    }
    job = _job(tmp_path, 1, **wanted)
    build_part(job)
    build = read_json(job.outputs["build"])
    assert build["layers"] == 244, "from the plate on"
    assert build["support_m"] > 0 and build["down_facing"]["supports"]["teeth"] > 10
    assert build["start_plate"]["size_mm"] == [150, 150] and build["coupon"]["lattice"][0] == "diamond"
    checks = {c["name"]: c for c in read_json(job.outputs["checks"])["checks"]}
    assert checks["support_in_metal_mm"]["pass"] and checks["start_plate"]["pass"]
    assert CliFile(job.outputs["cli"]).labels[SUPPORT_ID] == "support"
