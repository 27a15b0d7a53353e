"""Rods, connectors, cables and their collisions on shapes whose answers are known."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from fixation_sizes import CABLE, FIXATION
from pydantic import ValidationError
from synthetic_pelvis import PLAN as REVISION
from synthetic_pelvis import changed

from implantflow.config.fixation import CableConfig, ConstructConfig
from implantflow.config.plan import PlanRevision
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray, segment_distance
from implantflow.plan import connectors
from implantflow.plan.anatomy import Anatomy
from implantflow.plan.cables import cable_loop
from implantflow.plan.collisions import between, collisions
from implantflow.plan.connectors import join, too_near_mm
from implantflow.plan.construct_checks import bone_near, is_recess, require_buildable
from implantflow.plan.heads import Screw
from implantflow.plan.metal import meant_to_meet, parts
from implantflow.plan.rods import Rod, Search, curvature_per_mm
from implantflow.plan.room import Room
from implantflow.plan.screws import within_scan
from implantflow.plan.spine import Vertebra
from implantflow.solids.booleans import difference, union
from implantflow.solids.mesh import Solid, require_closed
from implantflow.solids.shapes import box, cylinder, sphere

SIZES = ConstructConfig.model_validate(FIXATION)
BACK = np.array([0.0, 1.0, 0.0])
#: A wall of bone 20 mm thick; its back is the plane y = 0.
WALL = box([-60.0, -40.0, -60.0], [60.0, 0.0, 60.0])


def screw(name: str, z: float, x: float = 0.0) -> Screw:
    return Screw(name, 6.0, np.array([x, 0.0, z]), np.array([x, -35.0, z]))


def room_about(bone: Solid) -> Room:
    return Room({"bone": bone}, [-40.0, -20.0, -60.0], [40.0, 45.0, 60.0])


def found(bone: Solid, sizes: ConstructConfig = SIZES) -> tuple[Rod, Room]:
    room = room_about(bone)
    search = Search([screw("a", 30.0), screw("b", -30.0)], np.empty((0, 3)), sizes, room, BACK)
    return search.rod("one", search.best()[0]), room


@pytest.fixture(scope="module")
def straight() -> tuple[Rod, Room]:
    return found(WALL)


def test_a_rod_over_a_flat_wall_is_straight(straight: tuple[Rod, Room]) -> None:
    rod, room = straight
    assert np.isinf(rod.bend_radius_mm)
    written = rod.as_json(5.0)
    assert (written["shape"], written["bend_radius_min_mm"]) == ("straight", None)
    away, names = room.exactly(rod.path_mm)
    assert away.min() - 2.5 >= 1.0
    assert set(names) == {"bone"}
    for head in rod.heads:
        assert np.linalg.norm(rod.path_mm - head.saddle_mm, axis=1).min() < 1.1
        assert head.slot_tilt_deg(rod.along(head.saddle_mm)) <= 6.0
        assert room.exactly(head.skin_mm())[0].min() >= 0.0
    # From head to head and 5 mm beyond either.
    assert rod.length_mm == pytest.approx(
        np.linalg.norm(rod.heads[0].saddle_mm - rod.heads[1].saddle_mm) + 10, abs=0.1
    )


def test_a_rod_rises_over_a_ridge_within_its_bend() -> None:
    ridge = union(WALL, cylinder([-60.0, 3.0, 0.0], [60.0, 3.0, 0.0], 16.0))
    rod, room = found(ridge)
    assert room.exactly(rod.path_mm)[0].min() - 2.5 >= 0.9
    assert rod.bend_radius_mm >= 20.0
    assert rod.as_json(5.0)["shape"] == "bent"
    assert rod.path_mm[:, 1].max() > 14.0


def test_curvature_is_that_of_a_circle() -> None:
    turn = np.linspace(0.0, 1.0, 30)
    path = 25.0 * np.column_stack([np.cos(turn), np.sin(turn), 0 * turn])
    assert curvature_per_mm(path) == pytest.approx(1.0 / 25.0)


def test_a_head_at_its_limit_begins_the_search_again() -> None:
    began: list[float] = []
    told: list[tuple[float, float]] = []

    class Told(Search):
        def _from(self, start: FloatArray) -> tuple[FloatArray, float]:
            ended = start.copy()
            ended[0], price = told[len(began)]
            began.append(float(start[0]))
            return ended, price

    search = Told([screw("a", 30.0), screw("b", -30.0)], np.empty((0, 3)), SIZES, room_about(WALL), BACK)
    most = SIZES.head.proud_max_mm
    for ends, answers, starts, price in (
        ([most, 5.0], [9.0, 8.0], [1.0, 4.0], 8.0),
        ([most, 5.0], [8.0, 9.0], [1.0, 4.0], 8.0),
        ([2.0], [8.0], [1.0], 8.0),
    ):
        began.clear()
        told[:] = zip(ends, answers, strict=True)
        assert search.best()[1] == price
        assert began == starts


def test_high_heads_are_tried_where_low_ones_end_in_bone() -> None:
    began: list[float] = []

    class Told(Search):
        def _from(self, start: FloatArray) -> tuple[FloatArray, float]:
            began.append(float(start[0]))
            return start, answers[len(began) - 1]

    search = Told([screw("a", 30.0), screw("b", -30.0)], np.empty((0, 3)), SIZES, room_about(WALL), BACK)
    for answers, high in (([200.0, 30.0], True), ([200.0, 300.0], False), ([3.0], False)):
        began.clear()
        best, price = search.best()
        assert price == min(answers) and len(began) == len(answers)
        assert best[0] == (SIZES.head.proud_max_mm if high else 1.0)


def test_a_connector_holds_two_rods_side_by_side(
    straight: tuple[Rod, Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The place whose first guess is cheapest is good here; more are searched where room is scarce.
    monkeypatch.setattr(connectors, "_SEARCHED", 1)
    main, room = straight
    rod, connector = join("two", main, [screw("c", -45.0, 25.0)], [main], SIZES, room, BACK)
    bore = connector.beside_mm()
    assert segment_distance(connector.middle_mm[None], *bore)[0] == pytest.approx(5.5)
    assert np.linalg.norm(main.path_mm - connector.middle_mm, axis=1).min() == pytest.approx(5.5, abs=0.3)
    assert too_near_mm(rod.path_mm, [main], SIZES).max() <= 0.0
    screws = {s.name: s for s in (screw("a", 30.0), screw("b", -30.0), screw("c", -45.0, 25.0))}
    metal = parts(screws, [main, rod], [connector], {}, SIZES)
    for name, solid in metal.items():
        require_closed(solid, name)
    joined = meant_to_meet(screws, [main, rod], {name: ["bone"] for name in screws})
    assert collisions(metal, {"bone": WALL}, joined) == []
    rooms = bone_near([main, rod], [connector], room, 5.0)
    assert min(mm for mm, _ in rooms.values()) >= 1.0
    require_buildable([main, rod], [], rooms, [], SIZES, "p1")
    with pytest.raises(QualityGateError, match=r"rod one passes bone at 0\.4 mm, 1\.0 mm are kept free"):
        require_buildable([main], [], {"rod one": (0.4, "bone")}, [], SIZES, "p1")
    root = [{"root": "right S1", "distance_mm": 2.0, "nearest": "screw a"}]
    with pytest.raises(QualityGateError, match=r"screw a passes the foramen right S1 at 2\.0 mm"):
        require_buildable([main], [], {}, root, SIZES, "p1")
    sharp = dataclasses.replace(main, bend_radius_mm=12.0)
    with pytest.raises(QualityGateError, match=r"bent to 12\.0 mm, 20\.0 mm is the least"):
        require_buildable([sharp], [], {}, [], SIZES, "p1")
    # The same rod moved into the wall is told with its depth.
    sunk = Solid.of(metal["rod one"].vertices - [0.0, main.path_mm[:, 1].mean(), 0.0], metal["rod one"].faces)
    (told,) = collisions({"rod one": sunk}, {"bone": WALL}, set())
    assert (told.first, told.second) == ("rod one", "bone")
    assert told.depth_mm == pytest.approx(2.5, abs=0.3)
    # A head in its own bone is bone to take away, as far as the config allows; never in the implant, never a rod.
    head = dataclasses.replace(told, first="head a", depth_mm=1.5)
    generous = SIZES.model_copy(update={"head": SIZES.head.model_copy(update={"recess_max_mm": 2.0})})
    homes = {"a": ("bone",)}
    assert is_recess(head, homes, generous) and not is_recess(head, homes, SIZES)
    assert not is_recess(dataclasses.replace(head, depth_mm=2.1), homes, generous)
    assert not is_recess(dataclasses.replace(head, second="implant"), {"a": ("implant",)}, generous)
    assert not is_recess(told, homes, generous)


def test_depth_of_a_collision() -> None:
    one, other = sphere([0.0, 0.0, 0.0], 10.0), sphere([17.0, 0.0, 0.0], 10.0)
    hit = between("one", one, "other", other)
    assert hit is not None
    assert hit.depth_mm == pytest.approx(3.0, abs=0.05)
    assert "one lies 3.0 mm deep in other" in str(hit)
    assert between("one", one, "other", sphere([20.5, 0.0, 0.0], 10.0)) is None


# A cable in the x-y plane: sacrum 0-30 mm lateral with a foramen at 10, ilium 34-70 mm.
SACRUM = difference(
    box([0.0, -12.0, -20.0], [30.0, 12.0, 20.0]), cylinder([10.0, -20.0, 0.0], [10.0, 20.0, 0.0], 8.0)
)
ILIUM = box([34.0, -6.0, -30.0], [70.0, 16.0, 30.0])
PLAN: dict[str, Any] = {
    "side": "left",
    "foramina": [{"name": "left S2", "centre_lps_mm": [10.0, 0.0, 0.0]}],
    "midline_plane": {"point_lps_mm": [0.0, 0.0, 0.0], "normal_lps": [1.0, 0.0, 0.0]},
    "resection_planes": [
        {"name": "si_joint", "point_lps_mm": [32.0, 0.0, 0.0], "normal_lps": [1.0, 0.0, 0.0]}
    ],
}


def cable(**changes: float) -> CableConfig:
    return CableConfig.model_validate(CABLE | changes)


def test_a_cable_runs_taut_with_its_bends() -> None:
    loop = cable_loop(cable(), PLAN, SACRUM, ILIUM)
    path = loop.path_mm
    assert path[0] == pytest.approx(path[-1])
    assert curvature_per_mm(_even(path)).max() <= 1.0 / (0.95 * 6.0)
    # Legs in foramen and hole, 20 mm lateral to the joint.
    assert path[:, 0].min() == pytest.approx(10.0)
    assert path[:, 0].max() == pytest.approx(52.0)
    assert loop.facts["ilium_hole"]["length_mm"] == pytest.approx(22.0)
    assert loop.facts["ilium_hole"]["least_bone_beside_mm"] == pytest.approx(18.0 - 1.5)
    assert loop.facts["to_bore_in_implant_mm"] == 0.0
    # Before the sacrum it lies on the bone, since its bend begins within the foramen; behind the ilium it comes out of
    # solid bone, so the whole bend stands out.
    assert path[:, 1].min() == pytest.approx(-12.0 - 1.3, abs=0.3)
    assert path[:, 1].max() == pytest.approx(16.0 + 6.0, abs=0.3)
    bored = difference(ILIUM, cylinder([52.0, -20.0, 0.0], [52.0, 30.0, 0.0], 3.0))
    from implantflow.solids.shapes import tube

    metal = {"cable c": tube(path, 2.0)}
    assert collisions(metal, {"sacrum": SACRUM, "ilium": bored}, set()) == []


def test_a_cable_that_cannot_be_laid_is_refused() -> None:
    with pytest.raises(QualityGateError, match=r"42\.0 mm between foramen and hole leave bends of 21\.0 mm"):
        cable_loop(cable(bend_radius_min_mm=25.0), PLAN, SACRUM, ILIUM)
    with pytest.raises(GeometryError, match="no ilium"):
        cable_loop(cable(lateral_mm=45.0), PLAN, SACRUM, ILIUM)
    with pytest.raises(QualityGateError, match="bone beside the hole"):
        cable_loop(cable(lateral_mm=37.0), PLAN, SACRUM, ILIUM)
    with pytest.raises(GeometryError, match="no foramen left S3"):
        cable_loop(CableConfig.model_validate(CABLE | {"foramen": "S3"}), PLAN, SACRUM, ILIUM)


def _even(path: FloatArray) -> FloatArray:
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.arange(0.0, run[-1], 1.5)
    return np.column_stack([np.interp(at, run, path[:, c]) for c in range(3)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "connector": None,
                "rod": {
                    "rods": [
                        {"name": "one", "screws": ["a", "b"]},
                        {"name": "t", "screws": ["c"], "beside": "one"},
                    ]
                },
            },
            "needs connector",
        ),
        ({"rod": {"rods": [{"name": "one", "screws": ["a"]}]}}, "needs beside"),
        ({"rod": {"rods": [{"name": "t", "screws": ["c"], "beside": "one"}]}}, "not listed before"),
        ({"head": {"saddle_mm": 14.0}}, "above the head"),
    ],
)
def test_config_refuses(changes: dict[str, Any], words: str) -> None:
    data = {**FIXATION}
    for key, value in changes.items():
        data[key] = {**FIXATION[key], **value} if isinstance(value, dict) else value
    with pytest.raises(ValidationError, match=words):
        ConstructConfig.model_validate(data)


def test_a_rod_without_its_screws_is_left_out_or_refused() -> None:
    two = changed(FIXATION, rod={**FIXATION["rod"], "rods": [{"name": "one", "screws": ["a", "b", "c"]}]})
    sizes = ConstructConfig.model_validate(two)
    assert sizes.without({"a"}).rod.rods[0].screws == ["b", "c"]
    with pytest.raises(ValidationError, match="needs beside"):
        sizes.without({"a", "b"})


PEDICLE: dict[str, Any] = {
    "kind": "pedicle",
    "side": "healthy",
    "diameter_mm": 6.0,
    "length_min_mm": 30.0,
    "length_max_mm": 40.0,
    "wall_mm": 0.5,
}


def _missing(
    say: str, why: str = "L4 is cut off by the scan's upper end"
) -> tuple[list[str], list[dict[str, Any]]]:
    """Names planned and entries left out, of screws in L4 (missing) and L5."""
    corridors = [{"name": "a", "level": "L4", **PEDICLE}, {"name": "b", "level": "L5", **PEDICLE}]
    revision = PlanRevision.model_validate(changed(REVISION, corridors=corridors))
    there = {"L4": Vertebra(None, why), "L5": Vertebra(WALL, "")}
    wanted, left_out = within_scan(revision, cast(Anatomy, SimpleNamespace(vertebrae=there)), say)
    return [config.name for config in wanted], left_out


def test_a_level_outside_the_scan_is_left_out_only_when_asked() -> None:
    with pytest.raises(GeometryError, match="a: L4 is cut off by the scan's upper end"):
        _missing("refuse")
    wanted, left_out = _missing("leave_out")
    assert wanted == ["b"]
    assert left_out == [{"name": "a", "level": "L4", "why": "L4 is cut off by the scan's upper end"}]
    # A vertebra that is taken out is no matter of the scan.
    with pytest.raises(GeometryError, match="leaves with the specimen"):
        _missing("leave_out", "the body of L4 leaves with the specimen")


def test_other_rods_or_another_outer_shape_repeat_no_resection() -> None:
    corridors = [{"name": n, "level": "L5", **PEDICLE} for n in ("a", "b")]
    fixation = changed(FIXATION, levels=["L5"])
    mirror = {"changed_within_mm": 2.0, "blend_mm": 10.0, "step_max_mm": 1.0, "residual_max_mm": 1.5}
    bare = PlanRevision.model_validate(changed(REVISION, corridors=corridors))
    full = PlanRevision.model_validate(
        changed(REVISION, corridors=corridors, fixation=fixation, mirror=mirror)
    )
    assert full.of_resection() == bare.of_resection()
    assert PlanRevision.model_validate(full.of_resection()) == bare
    wider = PlanRevision.model_validate(changed(REVISION, corridors=corridors, margin_mm=99.0 / 4.0))
    assert wider.of_resection() != bare.of_resection()
    # Screws depend on what becomes of a vertebra outside the scan, and on nothing else of the fixation.
    assert bare.missing_levels == full.missing_levels == "refuse"
    gone = changed(FIXATION, levels=["L5"], missing_levels="leave_out")
    kept = PlanRevision.model_validate(changed(REVISION, corridors=corridors, fixation=gone))
    assert kept.missing_levels == "leave_out"


def test_a_level_without_screws_is_told_in_the_config() -> None:
    with pytest.raises(ValidationError, match=r"fixation\.levels holds L3"):
        PlanRevision.model_validate(
            changed(
                REVISION,
                corridors=[{"name": n, "level": "L5", **PEDICLE} for n in ("a", "b")],
                fixation=changed(FIXATION, levels=["L3"]),
            )
        )
