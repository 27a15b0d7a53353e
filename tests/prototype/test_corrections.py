"""Corrections on shapes whose change is known in closed form: distance and volume equal to what was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from synthetic_pelvis import IMPLANT, MID_X, PLAN, changed, plan_job, prototype_job

from implantflow.artifacts import read_json, write_stl
from implantflow.config.corrections import Correction, TrimBox
from implantflow.config.implant import ImplantConfig
from implantflow.errors import GeometryError, InputError
from implantflow.plan.stage import plan_resection
from implantflow.prototype.body import Hole, Shape
from implantflow.prototype.compare import difference_figures
from implantflow.prototype.corrections import Context, apply_all
from implantflow.prototype.features import corridor_axis
from implantflow.prototype.stage import make_prototype
from implantflow.solids.booleans import difference, merged, refined, union
from implantflow.solids.faces import Neighbours
from implantflow.solids.mesh import Solid, read_solid, write_solid
from implantflow.solids.shapes import box, cylinder, sphere

CORRECTIONS: TypeAdapter[list[Correction]] = TypeAdapter(list[Correction])
#: The issue's bar: what a correction does equals what it asks within this.
BAR_MM = 0.05


@pytest.fixture(scope="module")
def context(bones: Path, plan: Path) -> Context:
    solid = {n: read_solid(bones / f"{n}.stl", n) for n in ("sacrum", "hip_left", "l5")}
    specimen, remaining = (read_solid(plan / f"{n}.stl", n) for n in ("specimen", "remaining_bone"))
    neighbours = Neighbours.around(specimen, remaining, solid["hip_left"], solid["l5"])
    config = ImplantConfig.model_validate(IMPLANT)
    return Context(read_json(plan / "plan.json"), config, neighbours, solid["sacrum"])


@pytest.fixture(scope="module")
def first(rp1: Path) -> Shape:
    return Shape.load(rp1 / "shape.npz")


def block() -> Shape:
    """A cube of 40 mm with a hole of 6 mm along z."""
    return Shape(refined(box([0, 0, 0], [40, 40, 40]), 2.0), (Hole("h", (20, 20, -1), (20, 20, 41), 6.0),))


def applied(
    shape: Shape, context: Context, *asked: dict[str, Any]
) -> tuple[Shape, dict[str, Any], dict[str, Any]]:
    """New shape, its difference to the old one, and the facts of the last correction."""
    corrections = CORRECTIONS.validate_python([{**a, "reason": "asked for"} for a in asked])
    new, facts = apply_all(shape, corrections, context)
    return new, difference_figures(new.drilled(), shape.drilled()), facts[-1]


def test_painted_region_moves_by_what_is_asked(context: Context) -> None:
    stroke = {"points_lps_mm": [[16, 20, 40], [24, 20, 40]], "radius_mm": 15.0}
    ask = {"kind": "offset_region", "strokes": [stroke], "blend_mm": 0.0}
    for distance in (0.8, -0.6):
        _, figures, facts = applied(Shape(block().body, ()), context, {**ask, "distance_mm": distance})
        assert figures["hausdorff_to_parent_mm"] == pytest.approx(abs(distance), abs=BAR_MM)
        area = 8.0 * 30.0 + np.pi * 225.0
        assert figures["volume_change_mm3"] / area == pytest.approx(distance, abs=BAR_MM)
        assert facts["added_mm3" if distance > 0 else "removed_mm3"] == pytest.approx(
            abs(figures["volume_change_mm3"]), abs=0.1
        )


def test_trims(context: Context) -> None:
    plane = {"kind": "trim_plane", "plane": "given", "point_lps_mm": [0, 0, 37.5], "normal_lps": [0, 0, 1]}
    _, figures, _ = applied(block(), context, {**plane, "offset_mm": 0.5})
    assert figures["hausdorff_to_parent_mm"] == pytest.approx(2.0, abs=1e-4)
    assert figures["volume_change_mm3"] == pytest.approx(-2.0 * (1600 - 9 * np.pi), abs=0.1)
    corner = {"kind": "trim_box", "centre_lps_mm": [40, 40, 40], "size_mm": [12.0, 8.0, 6.0]}
    _, figures, _ = applied(block(), context, corner)
    assert figures["hausdorff_to_parent_mm"] == pytest.approx(3.0, abs=1e-4)
    assert figures["volume_change_mm3"] == pytest.approx(-6 * 4 * 3, abs=1e-3)
    # A long bar turned by 45 degrees about z cuts the edge x = y = 40 along a plane.
    turned = {"centre_lps_mm": [40, 40, 20], "size_mm": [6.0, 60.0, 60.0], "turn_deg": [0, 0, 45.0]}
    _, figures, _ = applied(block(), context, {"kind": "trim_box", **turned})
    assert figures["volume_change_mm3"] == pytest.approx(-9.0 * 40.0, abs=1e-2)
    assert figures["hausdorff_to_parent_mm"] == pytest.approx(3.0, abs=BAR_MM)
    with pytest.raises(ValidationError, match="longer than 0"):
        TrimBox(kind="trim_box", centre_lps_mm=(0, 0, 0), size_mm=(1, 0, 1), reason="none")


def test_holes_and_bosses(context: Context) -> None:
    ring = np.pi * 40.0
    _, figures, facts = applied(block(), context, {"kind": "resize_hole", "name": "h", "diameter_mm": 8.0})
    assert figures["volume_change_mm3"] == pytest.approx(-(16 - 9) * ring, rel=1e-3)
    assert figures["hausdorff_to_parent_mm"] == pytest.approx(1.0, abs=BAR_MM)
    _, figures, facts = applied(
        block(), context, {"kind": "move_hole", "name": "h", "shift_lps_mm": [9.0, 0, 0]}
    )
    assert facts["added_mm3"] == pytest.approx(9 * ring, rel=1e-3)
    assert facts["removed_mm3"] == pytest.approx(9 * ring, rel=1e-3)
    assert figures["volume_change_mm3"] == pytest.approx(0.0, abs=0.1)
    boss = {"kind": "add_boss", "name": "b", "hole": "h", "diameter_mm": 12.0, "length_mm": 3.0}
    shape, figures, _ = applied(block(), context, boss)
    assert figures["volume_change_mm3"] == pytest.approx(np.pi * (36 - 9) * 3.0, rel=0.01)
    assert figures["hausdorff_to_parent_mm"] == pytest.approx(3.0, abs=BAR_MM), (
        "the hole stays open through it"
    )
    _, figures, _ = applied(shape, context, {"kind": "resize_boss", "name": "b", "diameter_mm": 16.0})
    assert figures["volume_change_mm3"] == pytest.approx(np.pi * (64 - 36) * 3.0, rel=0.01)
    _, _, facts = applied(shape, context, {"kind": "move_boss", "name": "b", "shift_lps_mm": [0, 0, -1.0]})
    assert facts["added_mm3"] == pytest.approx(np.pi * (36 - 9) * 1.0, rel=0.02)


def test_saved_shape_keeps_bosses(context: Context, tmp_path: Path) -> None:
    boss = {"kind": "add_boss", "name": "b", "hole": "h", "diameter_mm": 12.0, "length_mm": 3.0}
    shape, _, _ = applied(block(), context, boss)
    shape.save(tmp_path / "shape.npz")
    assert Shape.load(tmp_path / "shape.npz").bosses == shape.bosses
    assert Shape.load(tmp_path / "shape.npz").drilled().volume_mm3 == pytest.approx(
        shape.drilled().volume_mm3
    )


def test_mirrored_side_gives_its_shape(first: Shape, context: Context) -> None:
    """The healthy side carries half a ball of 4 mm on its back; mirrored it stands on the implant."""
    bump = union(context.sacrum, sphere([MID_X - 14.0, 40.0, -36.0], 4.0, 96))
    with_bump = Context(context.plan, context.config, context.neighbours, bump)
    ask = {"kind": "mirror_region", "centre_lps_mm": [MID_X + 14.0, 40.0, -36.0], "radius_mm": 6.0}
    _, figures, facts = applied(first, with_bump, {**ask, "step_max_mm": 0.1})
    assert facts["step_at_border_mm"] < BAR_MM
    assert figures["hausdorff_to_parent_mm"] == pytest.approx(4.0, abs=BAR_MM)
    assert figures["volume_change_mm3"] == pytest.approx(2.0 / 3.0 * np.pi * 64.0, rel=0.02)
    with pytest.raises(GeometryError, match=r"mirrored side lies \d\.\d+ mm off"):
        applied(first, with_bump, {**ask, "radius_mm": 3.0, "step_max_mm": 0.1})
    with pytest.raises(GeometryError, match="does not meet the implant's surface"):
        applied(first, with_bump, {**ask, "radius_mm": 3.0, "centre_lps_mm": [200, 0, 0], "step_max_mm": 0.1})


def imported(first: Shape, context: Context, path: Path, edited: Solid, within_mm: float = 3.0) -> Any:
    write_solid(path, edited, "edited elsewhere")
    ask = CORRECTIONS.validate_python(
        [{"kind": "import_stl", "file": str(path), "within_mm": within_mm, "reason": "by hand"}]
    )
    given = Context(context.plan, context.config, context.neighbours, context.sacrum, {1: path})
    return apply_all(first, ask, given)


def test_edited_stl_comes_back(first: Shape, context: Context, tmp_path: Path) -> None:
    holed = Shape(first.body, (Hole("x", (MID_X + 12, -5, -55), (MID_X + 12, 45, -55), 5.0),))
    pit = cylinder([MID_X + 14.0, 41.0, -36.0], [MID_X + 14.0, 38.0, -36.0], 6.0)
    shape, facts = imported(holed, context, tmp_path / "e.stl", difference(holed.drilled(), pit))
    figures = difference_figures(shape.drilled(), holed.drilled())
    assert figures["hausdorff_to_parent_mm"] == pytest.approx(2.0, abs=BAR_MM)
    assert figures["volume_change_mm3"] == pytest.approx(-9 * np.pi * 2.0, rel=0.01)
    assert facts[0]["distance_max_mm"] == pytest.approx(2.0, abs=BAR_MM)
    assert facts[0]["removed_mm3"] == pytest.approx(9 * np.pi * 2.0, rel=0.01)
    _, figures, _ = applied(shape, context, {"kind": "move_hole", "name": "x", "shift_lps_mm": [-5.0, 0, 0]})
    assert figures["volume_change_mm3"] == pytest.approx(0.0, abs=30.0), (
        "the imported hole closes when it moves"
    )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda s: Solid.of(s.vertices + np.array([0.0, 6.0, 0.0]), s.faces),
            "its centre is off by 0.0, 6.0, 0.0 mm",
        ),
        (
            lambda s: Solid.of(s.vertices * [-1, 1, 1] + [2 * MID_X, 0, 0], s.faces[:, ::-1]),
            "of the other side",
        ),
        (lambda s: Solid.of(s.vertices * [-1, -1, 1], s.faces), "in RAS, not LPS"),
        (lambda s: Solid.of(s.vertices / 25.4, s.faces), "not in millimetres"),
        (lambda s: merged([s, box([90, 90, 90], [95, 95, 95])]), "falls into 2 pieces"),
        (lambda s: s, "has no effect"),
    ],
    ids=["moved", "mirrored", "RAS", "inches", "two pieces", "unchanged"],
)
def test_wrong_stl_is_refused(
    first: Shape, context: Context, tmp_path: Path, edit: Any, message: str
) -> None:
    with pytest.raises(GeometryError, match=message):
        imported(first, context, tmp_path / "e.stl", edit(first.drilled()))


def test_open_or_broken_stl_is_refused(first: Shape, context: Context, tmp_path: Path) -> None:
    path = tmp_path / "open.stl"
    given = Context(context.plan, context.config, context.neighbours, context.sacrum, {1: path})
    ask = CORRECTIONS.validate_python(
        [{"kind": "import_stl", "file": str(path), "within_mm": 3.0, "reason": "by hand"}]
    )
    write_stl(path, first.body.vertices, first.body.faces[1:], "a triangle is missing")
    with pytest.raises(GeometryError, match="is not closed"):
        apply_all(first, ask, given)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a complete binary STL"):
        apply_all(first, ask, given)
    with pytest.raises(GeometryError, match="edited under another plan"):
        apply_all(first, ask, context)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"kind": "trim_box", "centre_lps_mm": [20, 20, 60], "size_mm": [5, 5, 5]}, "has no effect"),
        ({"kind": "trim_box", "centre_lps_mm": [20, 20, 20], "size_mm": [60, 60, 5]}, "falls into 2 pieces"),
        ({"kind": "trim_box", "centre_lps_mm": [20, 20, 20], "size_mm": [90, 90, 90]}, "no triangles"),
        ({"kind": "resize_hole", "name": "h", "diameter_mm": 6.0}, "has no effect"),
        ({"kind": "resize_hole", "name": "z", "diameter_mm": 6.0}, "no hole 'z' to change"),
        ({"kind": "move_boss", "name": "b", "shift_lps_mm": [1, 0, 0]}, "no boss 'b' to change"),
        ({"kind": "add_boss", "name": "b", "hole": "z", "diameter_mm": 9.0, "length_mm": 2.0}, "no hole 'z'"),
        (
            {
                "kind": "add_boss",
                "name": "b",
                "start_lps_mm": [80, 0, 0],
                "end_lps_mm": [80, 0, 9],
                "diameter_mm": 9.0,
            },
            "falls into 2 pieces",
        ),
        (
            {
                "kind": "offset_region",
                "strokes": [{"points_lps_mm": [[99, 99, 99]], "radius_mm": 2.0}],
                "distance_mm": 1.0,
                "blend_mm": 0.0,
            },
            "touch no part",
        ),
    ],
)
def test_without_effect_or_breaking_is_an_error(context: Context, ask: dict[str, Any], message: str) -> None:
    with pytest.raises(GeometryError, match=message) as refused:
        applied(block(), context, ask)
    assert ask["kind"] in refused.value.what, "the message names the correction"


def test_a_larger_margin_moves_the_face_by_what_it_asks(
    bones: Path, plan: Path, rp1: Path, rp2: Path, tmp_path: Path
) -> None:
    """Plan p2: the midline osteotomy 2 mm across the mid-plane, so that 23 mm are kept instead of 21."""
    before = read_json(plan / "plan.json")
    midline = next(p for p in before["resection_planes"] if p["name"] == "midline")
    point = np.array(midline["point_lps_mm"]) - 2.0 * np.array(midline["normal_lps"])
    p2 = changed(
        PLAN,
        id="p2",
        margin_mm=22.5,
        planes={"midline": {"point_lps_mm": point.tolist(), "normal_lps": midline["normal_lps"]}},
    )
    plan_resection(plan_job(bones, tmp_path / "p2", p2))
    asked = [
        {"kind": "extend_margin", "margin_mm": 22.5, "reason": "final MR"},
        {"kind": "move_hole", "name": "s1", "shift_lps_mm": [0.0, 0.0, 1.0], "reason": "room"},
    ]
    iteration = {
        "id": "rp3",
        "parent": "rp2",
        "plan": "p2",
        "corrections": asked,
        "questions": ["Does it fit?"],
    }
    make_prototype(prototype_job(bones, tmp_path / "p2", tmp_path / "rp3", iteration, rp2))
    record = read_json(tmp_path / "rp3" / "prototype.json")
    old, new = record["planned_before"]["margins_mm"], record["planned"]["margins_mm"]
    assert new["midline"] - old["midline"] == pytest.approx(2.0, abs=1e-3)
    extended = record["corrections"][0]
    face = record["fit"]["faces"]["midline"]["area_mm2"]
    # The hole goes to the new plan's corridor: what is filled there is cut elsewhere.
    net = extended["added_mm3"] - extended["removed_mm3"]
    assert net / face == pytest.approx(2.0, abs=BAR_MM)
    assert extended["margins_after_mm"]["midline"] == new["midline"]
    assert record["fit"]["faces"]["midline"]["gap_p50_mm"] == pytest.approx(0.3, abs=0.01)
    assert record["fit"]["faces"]["si_joint"]["gap_p50_mm"] == pytest.approx(1.0, abs=0.03), (
        "rp2's offset is kept"
    )
    (hole,) = record["holes"]
    corridor = next(c for c in read_json(tmp_path / "p2/plan.json")["corridors"] if c["name"] == "s1_implant")
    assert hole["end_lps_mm"][2] - corridor["end_lps_mm"][2] == pytest.approx(1.0, abs=1e-5)
    text = (tmp_path / "rp3" / "sheet.html").read_text()
    for wanted in (
        "New plan: p2 instead of p1",
        "22.5 mm",
        "Images this plan keeps its margin to",
        "mr_final",
    ):
        assert wanted in text
    again = {**iteration, "corrections": asked[1:]}
    with pytest.raises(GeometryError, match="built on plan p2, its parent on p1"):
        make_prototype(prototype_job(bones, tmp_path / "p2", tmp_path / "no", again, rp2))


def test_a_hole_along_a_screw_that_does_not_fit_is_refused(context: Context) -> None:
    plan = changed(context.plan)
    plan["corridors"][0] |= {"fits": False, "reason": "3.00 mm from axis to surface, 4.00 mm needed"}
    with pytest.raises(GeometryError, match=r"'s1_implant' does not fit: 3\.00 mm from axis"):
        corridor_axis(plan, "s1_implant")
