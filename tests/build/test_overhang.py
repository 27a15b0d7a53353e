"""Down-facing surface, room for supports and the search over orientations, against figures known exactly."""

from __future__ import annotations

import math

import manifold3d
import numpy as np
import pytest
from build_bench import Mesh, mesh_of

from implantflow.build.orient import compare, directions, unbeaten, worth_a_look
from implantflow.build.overhang import Overhang, overhang
from implantflow.build.verdicts import down_facing
from implantflow.config.build import load_machine

M = manifold3d.Manifold


def _hangs(mesh: Mesh, dense: bool = True, degrees: float = 45.0, step_mm: float = 0.25) -> Overhang:
    return overhang(*mesh, np.full(len(mesh[1]), dense), degrees, step_mm)


def test_block_over_the_plate() -> None:
    found = _hangs(mesh_of(M.cube((10.0, 8.0, 5.0)).translate((3, 4, 2))))
    assert found.area_mm2(True) == pytest.approx(80.0, rel=1e-9)
    assert found.room_mm3() == pytest.approx(160.0, rel=1e-9)
    assert found.on_plate.all()
    (patch,) = found.as_json(45.0)["areas"]
    assert patch["centre_mm"] == pytest.approx([8.0, 8.0, 2.0])
    assert patch["tallest_support_mm"] == pytest.approx(2.0) and patch["on_plate_pct"] == 100.0
    on_the_plate = _hangs(mesh_of(M.cube((10.0, 8.0, 5.0))))
    assert on_the_plate.area_mm2(True) == 0.0 and on_the_plate.as_json(45.0)["areas"] == []
    assert down_facing(on_the_plate, None, 0.0).passed


def test_ball_has_the_cap_that_geometry_gives() -> None:
    r, gap = 8.0, 1.0
    found = _hangs(mesh_of(M.sphere(r, 256).translate((20, 20, r + gap))))
    cap = 2.0 * math.pi * r**2 * (1.0 - math.cos(math.pi / 4))
    assert found.area_mm2(True) == pytest.approx(cap, rel=0.02)
    # Under the cap of height h: a cylinder of the cap's radius less the segment of the ball.
    h, a = r * (1.0 - math.cos(math.pi / 4)), r * math.sin(math.pi / 4)
    room = math.pi * a**2 * (gap + h) - math.pi * h**2 * (3.0 * r - h) / 3.0
    assert found.room_mm3() == pytest.approx(room, rel=0.02)


@pytest.mark.parametrize(("lean_deg", "needs"), [(40.0, False), (44.0, False), (46.0, True), (60.0, True)])
def test_walls_are_judged_by_how_far_they_lean(lean_deg: float, needs: bool) -> None:
    profile = [(0.0, 0.0), (10.0 * math.tan(math.radians(lean_deg)), 10.0), (-5.0, 10.0), (-5.0, 0.0)]
    solid = M.extrude(manifold3d.CrossSection([profile]), 6.0).rotate((90.0, 0.0, 0.0))
    area = _hangs(mesh_of(solid)).area_mm2(True)
    exact = 60.0 / math.cos(math.radians(lean_deg)) if needs else 0.0
    assert area == pytest.approx(exact, rel=0.05)


def test_supports_on_the_part_are_told_from_those_on_the_plate() -> None:
    # A C on its back: the lower arm stands on the plate, the upper one hangs 6 mm above the lower one.
    shape = M.cube((10, 10, 10)) - M.cube((8, 10, 6)).translate((2, 0, 2))
    found = _hangs(mesh_of(shape))
    assert found.area_mm2(True) == pytest.approx(80.0, rel=1e-6)
    assert not found.on_plate.any()
    report = found.as_json(45.0)
    assert report["support_standing_on_part_mm3"] == pytest.approx(480.0, rel=1e-6)
    assert report["areas"][0]["on_plate_pct"] == 0.0 and report["supports_in_file"] is False


def test_areas_are_listed_apart_and_lattice_is_not_counted_as_dense() -> None:
    two = M.cube((4, 4, 4)).translate((0, 0, 1)) + M.cube((6, 4, 4)).translate((10, 0, 3))
    vertices, faces = mesh_of(two)
    report = overhang(vertices, faces, np.ones(len(faces), bool), 45.0, 0.25).as_json(45.0)
    assert [area["area_mm2"] for area in report["areas"]] == pytest.approx([24.0, 16.0])
    assert [area["lowest_mm"] for area in report["areas"]] == pytest.approx([3.0, 1.0])
    left = vertices[faces].mean(axis=1)[:, 0] < 5.0
    mixed = overhang(vertices, faces, left, 45.0, 0.25)
    assert mixed.area_mm2(True) == pytest.approx(16.0) and mixed.area_mm2(False) == pytest.approx(24.0)
    check = down_facing(mixed, None, 0.0)
    assert check.warning and not check.passed and check.where[0].startswith("16.0 mm2")


def test_directions_are_even_and_of_length_one() -> None:
    found = directions(200)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0)
    assert np.abs(found.mean(axis=0)).max() < 0.01
    nearest = np.sort(found @ found.T, axis=1)[:, -2]
    assert np.degrees(np.arccos(nearest)).min() > 10.0


def test_search_finds_that_a_rod_is_quicker_lying_and_needs_less_support_standing() -> None:
    machine = load_machine("arcam-a1")
    vertices, faces = mesh_of(M.cylinder(60.0, 5.0, 5.0, 64).translate((100, 100, 2)))
    dense = np.ones(len(faces), bool)
    found = compare(vertices, faces, dense, np.eye(4), 2.0, 45.0, machine, 3600.0, 100)
    rows = found["orientations"]
    assert len(rows) == 101 and rows[0]["chosen"] and not any(row["chosen"] for row in rows[1:])
    standing = rows[0]
    assert standing["height_mm"] == pytest.approx(60.0) and standing["layers"] == 1200
    assert standing["dense_area_mm2"] == pytest.approx(math.pi * 25.0, rel=0.05)
    # 25.1 s of preheating and 10 s of raking a layer, and the hour of melting that was given.
    assert standing["time_h"] == pytest.approx(
        1200 * (11 * 200 * 200 / (1.2 * 14600) + 10) / 3600 + 1.0, rel=1e-6
    )
    lying = min(rows, key=lambda row: row["time_h"])
    assert lying["height_mm"] < 15.0 and abs(lying["up_lps"][2]) < 0.15
    assert lying["dense_area_mm2"] > standing["dense_area_mm2"]
    table = worth_a_look(found)
    assert table[0]["chosen"] and [row["time_h"] for row in table[1:]] == sorted(
        row["time_h"] for row in table[1:]
    )
    # Among equally quick ones the front keeps the one with least surface to support.
    assert standing["unbeaten"] and any(row["unbeaten"] for row in rows if row["layers"] == lying["layers"])


def test_search_turns_directions_into_the_patients_frame_and_says_what_does_not_fit() -> None:
    machine = load_machine("arcam-a1")
    vertices, faces = mesh_of(M.cylinder(190.0, 3.0, 3.0, 32).rotate((0, 90, 0)).translate((5, 100, 5)))
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]  # build x, y, z = patient P, S, L
    found = compare(vertices, faces, np.ones(len(faces), bool), matrix, 2.0, 45.0, machine, 0.0, 40)
    rows = found["orientations"]
    assert rows[0]["up_lps"] == pytest.approx([1, 0, 0]) and rows[0]["fits"]
    # The rod's axis is patient P: upright it is taller than the machine.
    upright = max(rows, key=lambda row: abs(row["up_lps"][1]))
    assert upright["height_mm"] > 180.0 and not upright["fits"] and not upright["unbeaten"]


def test_unbeaten() -> None:
    def row(time_h: float, area: float, room: float, fits: bool = True) -> dict[str, object]:
        return {"time_h": time_h, "dense_area_mm2": area, "support_room_mm3": room, "fits": fits}

    rows = [row(1, 5, 5), row(2, 4, 4), row(2, 5, 5), row(0.5, 1, 1, fits=False), row(1, 5, 5)]
    assert unbeaten(rows) == [True, True, False, False, True]
