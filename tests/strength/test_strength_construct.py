"""Rods and screws: beams against closed forms, load shared as springs in parallel share it, equilibrium, refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from strength_block import Room

from implantflow.artifacts import read_json, sha256_file, write_json
from implantflow.config.strength import StrengthConfig
from implantflow.errors import InputError
from implantflow.strength.frame import Frame, beam_matrix
from implantflow.strength.stage import strength_solid


@pytest.mark.parametrize("axis", [[0, 0, 40.0], [13.0, -20.0, 30.0]])
def test_cantilever_of_any_direction(axis: list[float]) -> None:
    end = np.array(axis)
    length, e, d = float(np.linalg.norm(end)), 110e3, 5.5
    k = beam_matrix(np.zeros(3), end, d, e)
    assert k == pytest.approx(k.T)
    across = np.cross(end, [0.3, 1.0, 0.2])
    across /= np.linalg.norm(across)
    tip = np.linalg.solve(k[6:, 6:], np.concatenate([7.0 * across, np.zeros(3)]))
    inertia, area = np.pi * d**4 / 64, np.pi * d**2 / 4
    exact = 7 * length**3 / (3 * e * inertia) + 7 * length / (0.9 * area * e / 2.68)
    assert tip[:3] @ across == pytest.approx(exact, rel=1e-9)
    pulled = np.linalg.solve(k[6:, 6:], np.concatenate([7.0 * end / length, np.zeros(3)]))
    assert np.linalg.norm(pulled[:3]) == pytest.approx(7 * length / (e * area), rel=1e-9)
    moved = np.concatenate([np.zeros(6), tip])
    frame = Frame()
    frame.beam("rod", frame.node(np.zeros(3)), frame.node(end), d, e)
    assert frame.largest_stress(moved)["rod"] == pytest.approx(7 * length * 32 / (np.pi * d**3), rel=1e-9)


def test_rigid_motion_of_a_beam_costs_nothing() -> None:
    k = beam_matrix(np.array([1.0, 2, 3]), np.array([11.0, -4, 9]), 6.0, 110e3)
    values = np.sort(np.abs(np.linalg.eigvalsh(k)))
    assert (values[:6] < 1e-6).all()
    assert values[6] > 1.0


FITS: dict[str, Any] = {"fits": True, "reason": None, "level": None, "kind": "iliac"}
L5: dict[str, Any] = {**FITS, "kind": "pedicle", "level": "L5"}
L4: dict[str, Any] = {**FITS, "kind": "pedicle", "level": "L4"}
CORRIDORS: list[dict[str, Any]] = [
    {"name": "s1", "start_lps_mm": [10, 20, 15], "end_lps_mm": [10, 4, 15], "diameter_mm": 4.0, **FITS}
    | {"kind": "implant_s1"},
    {"name": "iliac", "start_lps_mm": [45, 20, 15], "end_lps_mm": [45, -40, 15], "diameter_mm": 8.0, **FITS},
    {
        "name": "below",
        "start_lps_mm": [10, 20, -15],
        "end_lps_mm": [10, -20, -15],
        "diameter_mm": 6.5,
        **FITS,
    },
    {"name": "l5", "start_lps_mm": [10, 20, 45], "end_lps_mm": [10, -20, 45], "diameter_mm": 6.5, **L5},
    {"name": "l4", "start_lps_mm": [10, 20, 75], "end_lps_mm": [10, -20, 75], "diameter_mm": 6.5, **L4},
]

SOURCE = {"source": "a test", "verified": False}


def construct(*screws: tuple[str, str], diameter_mm: float = 6.0) -> dict[str, Any]:
    """One rod through the screws given as (name, held by)."""
    rod = {
        "name": "rod",
        "screws": [{"name": name, "held_by": held_by} for name, held_by in screws],
        "diameter_mm": diameter_mm,
        "modulus_gpa": 110.0,
        **SOURCE,
    }
    return {
        "rods": [rod],
        "screw_modulus_gpa": 110.0,
        "stand_off_mm": 10.0,
        "bone_bed_n_per_mm2": 500.0,
        "vertebra_bed_n_per_mm3": 50.0,
        **SOURCE,
    }


def run(
    room: Room, screws: dict[str, Any] | None, threads: int = 1, made: dict[str, Any] | None = None
) -> dict[str, Any]:
    room.settings["fixation"] = screws
    room.regions["strut"]["segments"] = []
    room.regions["screw_holes"] = [
        {
            "name": "s1",
            "start_lps_mm": [10, 20, 15],
            "end_lps_mm": [10, 4, 15],
            "diameter_mm": 4.0,
            "boss_diameter_mm": 8.0,
        }
    ]
    write_json(room.path("plan.json"), {"corridors": CORRIDORS})
    job = room.job("solid", threads)
    job.inputs["plan"] = room.path("plan.json")  # type: ignore[index]
    if made is not None:
        write_json(room.path("construct.json"), made)
        job.inputs["construct"] = room.path("construct.json")  # type: ignore[index]
    strength_solid(job)
    return dict(read_json(room.path("solid.json")))


def test_a_screw_that_does_not_fit_carries_no_rod(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CORRIDORS[1], "fits", False)
    monkeypatch.setitem(CORRIDORS[1], "reason", "its axis leaves bone")
    with pytest.raises(InputError, match="'iliac', which does not fit: its axis leaves bone"):
        run(room, construct(("s1", "implant"), ("iliac", "pelvis")))


def test_forces_and_moments_balance_and_the_parts_add_up(room: Room) -> None:
    figures = run(room, construct(("l5", "vertebra"), ("s1", "implant"), ("iliac", "pelvis")))
    for case in figures["load_cases"]:
        assert case["force_residual_pct"] < 1e-3
        assert case["moment_residual_pct"] < 0.5
        shared = case["fixation"]
        total = case["share_of_load_to_bone_faces"] + shared["share_of_screws_in_pelvis"]
        assert total == pytest.approx(1.0, abs=1e-6)
        assert 0.0 < shared["share_of_screws_in_pelvis"] < 0.5
        assert shared["share_on_load_face"] < 1.0
        assert set(shared["largest_stress_mpa"]) == {"rod", "s1", "iliac", "l5"}
    assert "straight beams" in " ".join(figures["limitations"])


def test_a_thicker_rod_relieves_the_implant(room: Room) -> None:
    alone = run(room, None)["load_cases"][0]
    faces, stress = [1.0], [alone["max_strut_stress_mpa"]]
    for diameter in (4.0, 8.0):
        upright = construct(("l5", "vertebra"), ("below", "pelvis"), diameter_mm=diameter)
        case = run(room, upright)["load_cases"][0]
        faces.append(case["fixation"]["share_on_load_face"])
        stress.append(case["max_strut_stress_mpa"])
    assert faces == sorted(faces, reverse=True)
    assert stress == sorted(stress, reverse=True)
    assert faces[2] < 0.95
    assert stress[2] / stress[0] == pytest.approx(faces[2], rel=0.05)


def test_two_paths_share_like_springs_in_parallel(room: Room) -> None:
    figures = run(room, construct(("l5", "vertebra"), ("below", "pelvis")))
    standing = figures["load_cases"][0]
    alone = run(room, None)["load_cases"][0]
    face = 1.0 / (1.0 / alone["stiffness_n_per_mm"] + 1.0 / (50.0 * 400.0))
    frame = Frame()
    tips = []
    for z in (45.0, -15.0):
        nodes = [
            frame.node(np.array([10.0, y, z])) for y in (30.0, *(20 - (n + 0.5) * 5.0 for n in range(8)))
        ]
        for one, other in itertools.pairwise(nodes):
            frame.beam("screw", one, other, 6.5, 110e3)
        tips.append(nodes)
    frame.beam("rod", tips[0][0], tips[1][0], 6.0, 110e3)
    k = frame.matrix()
    held = np.zeros(len(k))
    for nodes in tips:
        for node in nodes[1:]:
            k[range(6 * node, 6 * node + 3), range(6 * node, 6 * node + 3)] += 2500.0
            held[6 * node + 2] = 2500.0 if nodes is tips[0] else 0.0
    # The upper screw's bone moves down by 1 mm and the lower one's stays.
    moved = np.linalg.solve(k, -held)
    rods = float(held @ (-1.0 - moved)) * -1.0
    assert standing["fixation"]["share_on_load_face"] == pytest.approx(face / (face + rods), rel=0.01)


def test_same_bytes_with_rods_on_one_and_two_threads(room: Room) -> None:
    digests = set()
    for threads in (1, 2):
        run(room, construct(("s1", "implant"), ("iliac", "pelvis")), threads)
        digests.add(sha256_file(room.path("solid.json")))
    assert len(digests) == 1


def test_screws_that_do_not_exist_are_refused(room: Room) -> None:
    with pytest.raises(InputError, match="'s9', which the plan does not have"):
        run(room, construct(("s9", "pelvis"), ("iliac", "pelvis")))
    with pytest.raises(InputError, match="no hole for the screw 'iliac'"):
        run(room, construct(("iliac", "implant"), ("l5", "vertebra")))


def test_a_screw_on_two_rods_is_refused(room: Room) -> None:
    room.settings["fixation"] = construct(("s1", "pelvis"), ("s1", "pelvis"))
    with pytest.raises(ValidationError, match="name of its own"):
        StrengthConfig.model_validate(room.settings)


PLANNED: dict[str, Any] = {
    "rod_modulus_gpa": 110.0,
    "screw_modulus_gpa": 110.0,
    "bone_bed_n_per_mm2": 500.0,
    "vertebra_bed_n_per_mm3": 50.0,
    **SOURCE,
}


def made_rod(name: str, path: list[list[float]], *screws: str) -> dict[str, Any]:
    return {"name": name, "screws": list(screws), "diameter_mm": 6.0, "path_lps_mm": path}


def made_head(name: str) -> dict[str, Any]:
    """A head 10 mm behind the entry, as `construct` has it."""
    x, y, z = next(c["start_lps_mm"] for c in CORRIDORS if c["name"] == name)
    return {"name": name, "head_foot_lps_mm": [x, y + 1.0, z], "saddle_lps_mm": [x, y + 10.0, z]}


def shares(figures: dict[str, Any]) -> list[float]:
    return [case["fixation"]["share_on_load_face"] for case in figures["load_cases"]]


def test_a_planned_construct_carries_as_the_same_rods_drawn_by_hand(room: Room) -> None:
    straight = shares(run(room, construct(("l5", "vertebra"), ("s1", "implant"), ("below", "pelvis"))))
    heads = [made_head(name) for name in ("l5", "s1", "below", "l4", "iliac")]
    path = [[10.0, 30.0, z] for z in (45.0, 30.0, 15.0, 0.0, -15.0)]
    rods = [made_rod("left", path, "l5", "s1", "below")]
    made: dict[str, Any] = {"rods": rods, "screws": heads, "connectors": []}
    figures = run(room, PLANNED, made=made)
    assert shares(figures) == pytest.approx(straight, abs=1e-4)
    assert "planned bends" in " ".join(figures["limitations"])
    # A screw above the vertebra that rests on the implant carries nothing.
    higher = [made_rod("left", [[10.0, 30.0, 75.0], [10.0, 30.0, 60.0], *path], "l4", "l5", "s1", "below")]
    assert shares(run(room, PLANNED, made=made | {"rods": higher})) == pytest.approx(straight, abs=1e-4)
    # A bent rod is softer, so the implant carries more.
    bent = [[10.0, 30.0, 45.0], [10.0, 30.0, 15.0], [10.0, 60.0, 0.0], [10.0, 30.0, -15.0]]
    weak = shares(run(room, PLANNED, made=made | {"rods": [made_rod("left", bent, "l5", "s1", "below")]}))
    assert weak[0] > straight[0] + 0.01


def test_a_connector_passes_load_from_rod_to_rod(room: Room) -> None:
    heads = [made_head(name) for name in ("l5", "s1", "iliac")]
    rods = [
        made_rod("left", [[10.0, 30.0, z] for z in (45.0, 30.0, 15.0)], "l5", "s1"),
        made_rod("iliac", [[45.0, 30.0, z] for z in (30.0, 22.0, 15.0)], "iliac"),
    ]
    joined = {"joins": ["left", "iliac"], "centre_lps_mm": [27.5, 30.0, 30.0], "size_mm": [40.0, 12.0, 9.0]}
    made: dict[str, Any] = {"rods": rods, "screws": heads, "connectors": [joined]}
    case = run(room, PLANNED, made=made)["load_cases"][0]
    assert case["fixation"]["share_of_screws_in_pelvis"] > 0.01
    assert "connector left+iliac" in case["fixation"]["largest_stress_mpa"]
    assert case["force_residual_pct"] < 1e-3
    alone = run(room, PLANNED, made=made | {"connectors": []})["load_cases"][0]
    assert alone["fixation"]["share_of_screws_in_pelvis"] == pytest.approx(0.0, abs=1e-9)


def test_rods_come_from_the_config_or_from_the_plan_never_from_both(room: Room) -> None:
    for spoilt in (
        PLANNED | {"stand_off_mm": 10.0},
        construct(("s1", "implant"), ("iliac", "pelvis")) | {"rod_modulus_gpa": 110.0},
        {key: value for key, value in PLANNED.items() if key != "rod_modulus_gpa"},
    ):
        room.settings["fixation"] = spoilt
        with pytest.raises(ValidationError, match="give rods and stand_off_mm, or rod_modulus_gpa alone"):
            StrengthConfig.model_validate(room.settings)
