"""Iterations of a prototype on a pelvis of known gaps: fit, corrections, refusals, printable files, bytes."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import lib3mf
import numpy as np
import pytest
from synthetic_pelvis import IMPLANT, JOINT_MM, RP1, RP2, changed, prototype_job, side_plane

from implantflow.artifacts import read_json, sha256_file, write_json
from implantflow.config.implant import ImplantConfig
from implantflow.config.prototype import Iteration
from implantflow.errors import ConfigError, GeometryError, ProvenanceError
from implantflow.geometry import Plane
from implantflow.prototype.body import Hole, Shape
from implantflow.prototype.compare import difference_figures
from implantflow.prototype.corrections import Context, apply_all
from implantflow.prototype.displace import offset_patch, smooth_ball
from implantflow.prototype.stage import make_prototype
from implantflow.solids.booleans import difference, refined, union
from implantflow.solids.contact import plane_triangles
from implantflow.solids.faces import Neighbours
from implantflow.solids.mesh import Solid, read_solid, require_closed, shell_count
from implantflow.solids.shapes import box, cylinder, sphere


def corrected(base: dict[str, Any], *corrections: dict[str, Any]) -> dict[str, Any]:
    return changed(base, corrections=list(corrections))


@pytest.fixture(scope="module")
def context(bones: Path, plan: Path) -> Context:
    named = {n: read_solid(p, n) for n, p in (("specimen", plan / "specimen.stl"), ("l5", bones / "l5.stl"))}
    remaining = read_solid(plan / "remaining_bone.stl", "remaining")
    sacrum = read_solid(bones / "sacrum.stl", "sacrum")
    hip = read_solid(bones / "hip_left.stl", "hip")
    neighbours = Neighbours.around(named["specimen"], remaining, hip, named["l5"])
    return Context(read_json(plan / "plan.json"), ImplantConfig.model_validate(IMPLANT), neighbours, sacrum)


@pytest.fixture(scope="module")
def first(rp1: Path) -> Shape:
    return Shape(read_solid(rp1 / "implant.stl", "rp1"), ())


def test_gaps_of_the_first_iteration(rp1: Path) -> None:
    faces = read_json(rp1 / "prototype.json")["fit"]["faces"]
    assert faces["midline"]["gap_p50_mm"] == pytest.approx(0.3, abs=0.01)
    assert faces["caudal"]["gap_p95_mm"] == pytest.approx(0.4, abs=0.01)
    assert faces["si_joint"]["gap_p50_mm"] == pytest.approx(JOINT_MM, abs=0.02)
    assert faces["l5s1"]["gap_p50_mm"] == pytest.approx(8.0, abs=0.1)
    assert np.dot(faces["si_joint"]["normal_lps"], side_plane(1).normal) > 0.9999
    assert read_json(rp1 / "prototype.json")["fit"]["interpenetration_mm3"] == 0.0


def test_offset_and_hole_of_the_second(plan: Path, rp1: Path, rp2: Path) -> None:
    record = read_json(rp2 / "prototype.json")
    assert record["fit"]["faces"]["si_joint"]["gap_p50_mm"] == pytest.approx(JOINT_MM - 1.0, abs=0.02)
    assert record["fit"]["faces"]["midline"]["gap_p50_mm"] == pytest.approx(0.3, abs=0.01)
    first, second = (read_solid(p / "implant.stl", "i") for p in (rp1, rp2))
    offset, hole = record["corrections"]
    assert offset["added_mm3"] == pytest.approx(
        read_json(rp1 / "prototype.json")["fit"]["faces"]["si_joint"]["area_mm2"], rel=0.03
    )
    (screw,) = read_json(plan / "plan.json")["corridors"]
    assert hole["removed_mm3"] == pytest.approx(np.pi * 9 * screw["length_mm"], rel=0.1)
    assert record["hausdorff_to_parent_mm"] > 1.0
    assert second.volume_mm3 - first.volume_mm3 == pytest.approx(
        record["change"]["volume_change_mm3"], abs=1e-3
    )
    assert record["listed_regions"]["screw_holes"] == []


def test_subject_is_the_file(rp2: Path) -> None:
    assert read_json(rp2 / "prototype.json")["subject_sha256"] == sha256_file(rp2 / "implant.stl")


def test_model_opens_in_lib3mf(rp2: Path) -> None:
    model = lib3mf.get_wrapper().CreateModel()
    model.QueryReader("3mf").ReadFromFile(str(rp2 / "model.3mf"))
    assert model.GetUnit() == lib3mf.ModelUnit.MilliMeter
    meshes = model.GetMeshObjects()
    found = {}
    while meshes.MoveNext():
        mesh = meshes.GetCurrentMeshObject()
        assert mesh.IsManifoldAndOriented()
        vertices = np.array([[*v.Coordinates] for v in mesh.GetVertices()])
        faces = np.array([[*t.Indices] for t in mesh.GetTriangleIndices()])
        found[mesh.GetName()] = Solid.of(vertices, faces)
    assert set(found) == {"implant", "bone"}
    plain = read_solid(rp2 / "implant.stl", "implant")
    label = read_json(rp2 / "prototype.json")["embossed"]
    assert label["text"] in {"L RP2", "SYNTHETIC L RP2"} and label["bone"]["text"].startswith("SYNTHETIC")
    raised = found["implant"].volume_mm3 - plain.volume_mm3
    assert 20.0 < raised < 300.0, "the letters are on the model, not on implant.stl"
    on_bone = found["bone"].volume_mm3 - read_solid(rp2 / "bone.stl", "bone").volume_mm3
    assert 20.0 < on_bone < 600.0


def test_bytes_are_the_same_twice(bones: Path, plan: Path, rp1: Path, rp2: Path, tmp_path: Path) -> None:
    make_prototype(prototype_job(bones, plan, tmp_path, RP2, rp1))
    for path in sorted(rp2.glob("*")):
        if path.name != "gate.json":
            assert sha256_file(path) == sha256_file(tmp_path / path.name), path.name
    with zipfile.ZipFile(rp2 / "model.3mf") as archive:
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_sheet_is_offline_and_complete(rp2: Path) -> None:
    text = (rp2 / "sheet.html").read_text(encoding="utf-8")
    assert "http" not in text.replace("http-equiv", "")
    for wanted in (
        "NOT FOR CLINICAL USE",
        "SIMULATED PATIENT",
        "Fit: axial cut, seen from the feet",
        "gap too wide",
        "Is the gap right?",
        "at most 2.5 mm",
    ):
        assert wanted in text
    assert "review synthetic rp2 --decision approve" in text
    assert text.count("data:image/png;base64,") >= 10


def test_moving_a_hole_closes_the_old_one(
    bones: Path, plan: Path, rp1: Path, rp2: Path, tmp_path: Path
) -> None:
    move = {"kind": "move_hole", "name": "s1", "shift_lps_mm": [3.0, 0.0, 0.0], "reason": "nearer to the ala"}
    rp3 = changed(RP2, id="rp3", parent="rp2", corrections=[move])
    make_prototype(prototype_job(bones, plan, tmp_path, rp3, rp2))
    (old,) = read_json(rp2 / "prototype.json")["holes"]
    (new,) = read_json(tmp_path / "prototype.json")["holes"]
    assert np.allclose(np.array(new["start_lps_mm"]) - old["start_lps_mm"], [3, 0, 0])
    assert [h["iteration"] for h in read_json(tmp_path / "prototype.json")["history"]] == [
        "rp1",
        "rp2",
        "rp3",
    ]
    before, after = (read_solid(p / "implant.stl", "i") for p in (rp2, tmp_path))
    closed = union(after, cylinder(new["start_lps_mm"], new["end_lps_mm"], 6.2))
    reopened = union(before, cylinder(old["start_lps_mm"], old["end_lps_mm"], 6.2))
    both = [cylinder(h["start_lps_mm"], h["end_lps_mm"], 6.4) for h in (old, new)]
    assert difference(closed, *both).volume_mm3 == pytest.approx(
        difference(reopened, *both).volume_mm3, rel=1e-4
    )


def test_a_parent_that_is_not_what_it_says_is_refused(
    bones: Path, plan: Path, rp1: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "fake"
    fake.mkdir()
    record = read_json(rp1 / "prototype.json")
    write_json(fake / "prototype.json", record)
    body = read_solid(rp1 / "implant.stl", "i")
    from implantflow.solids.mesh import write_solid

    write_solid(fake / "implant.stl", difference(body, sphere([20, 0, -10], 5.0)), "edited")
    shutil.copy(rp1 / "shape.npz", fake)
    with pytest.raises(ProvenanceError, match=r"implant\.stl of parent rp1 is not the file"):
        make_prototype(prototype_job(bones, plan, tmp_path / "o", RP2, fake))
    shutil.copy(rp1 / "implant.stl", fake)
    Shape(box([0, 0, 0], [9, 9, 9]), ()).save(fake / "shape.npz")
    with pytest.raises(ProvenanceError, match=r"shape\.npz of parent rp1 is not the file"):
        make_prototype(prototype_job(bones, plan, tmp_path / "o", RP2, fake))
    write_json(fake / "prototype.json", {**record, "id": "rp9"})
    with pytest.raises(ProvenanceError, match="rp9 instead of rp1"):
        make_prototype(prototype_job(bones, plan, tmp_path / "o", RP2, fake))


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        ({"kind": "trim_plane", "plane": "l5s1", "offset_mm": 19.0}, "has no effect"),
        ({"kind": "clearance", "neighbour": "hip", "clearance_mm": 0.6}, "has no effect"),
        ({"kind": "move_hole", "name": "s1", "shift_lps_mm": [1, 0, 0]}, "no hole 's1' to change"),
        (
            {"kind": "add_hole", "name": "a", "corridor": "nowhere", "diameter_mm": 5.0},
            "no corridor 'nowhere'",
        ),
        (
            {
                "kind": "trim_plane",
                "plane": "given",
                "offset_mm": 0.0,
                "point_lps_mm": [0, 0, 50],
                "normal_lps": [0, 0, -1],
            },
            "no triangles|removed everything",
        ),
    ],
)
def test_corrections_without_sense_are_refused(
    first: Shape, context: Context, correction: dict[str, Any], message: str
) -> None:
    iteration = Iteration.model_validate(corrected(RP2, {**correction, "reason": "because"}))
    with pytest.raises(GeometryError, match=message):
        apply_all(first, iteration.corrections, context)


def test_trim_and_clearance_do_what_they_say(first: Shape, context: Context) -> None:
    trim = {"kind": "trim_plane", "plane": "l5s1", "offset_mm": -6.0, "reason": "lower it"}
    clear = {"kind": "clearance", "neighbour": "hip", "clearance_mm": 2.5, "reason": "looser"}
    iteration = Iteration.model_validate(corrected(RP2, trim, clear))
    shape, facts = apply_all(first, iteration.corrections, context)
    assert shape.body.bounds_mm[1, 2] == pytest.approx(-2.0, abs=0.25)
    assert np.abs(context.neighbours.hip.signed_distance_mm(shape.body.vertices)).min() == pytest.approx(
        2.5, abs=0.05
    )
    assert [f["kind"] for f in facts] == ["trim_plane", "clearance"]
    require_closed(shape.body, "body")


def test_offset_of_a_flat_face_is_exact() -> None:
    block = refined(box([0, 0, 0], [20, 20, 20]), 2.0)
    top = plane_triangles(block, Plane.of([0, 0, 20], [0, 0, 1]), -0.1, 0.1)
    for distance in (1.3, -0.8):
        moved = offset_patch(block, top, distance, 0.0)
        figures = difference_figures(moved, block)
        assert figures["hausdorff_to_parent_mm"] == pytest.approx(abs(distance), abs=1e-6)
        assert figures["volume_change_mm3"] == pytest.approx(400 * distance, abs=1e-6)
    blended = offset_patch(block, top, 1.0, 5.0)
    assert blended.bounds_mm[1, 2] == pytest.approx(21.0)
    edge = np.abs(blended.vertices[:, 0]) < 1e-9
    assert blended.vertices[edge, 2].max() == pytest.approx(20.0)


def test_an_offset_that_folds_is_refused() -> None:
    slotted = refined(difference(box([0, 0, 0], [20, 20, 20]), box([-1, -1, 18], [21, 21, 18.5])), 2.0)
    floor = plane_triangles(slotted, Plane.of([0, 0, 18], [0, 0, 1]), -0.1, 0.1)
    with pytest.raises(GeometryError, match="folds"):
        offset_patch(slotted, floor, 2.0, 0.0)


def test_smoothing_rounds_an_edge_and_keeps_the_rest() -> None:
    block = refined(box([0, 0, 0], [20, 20, 20]), 1.0)
    bottom = plane_triangles(block, Plane.of([0, 0, 0], [0, 0, -1]), -0.1, 0.1)
    smooth = smooth_ball(block, np.array([20.0, 20.0, 20.0]), 6.0, 10, bottom)
    require_closed(smooth, "block")
    assert shell_count(smooth) == 1
    far = np.linalg.norm(block.vertices - 20.0, axis=1) > 6.0
    assert np.array_equal(smooth.vertices[far], block.vertices[far])
    assert np.linalg.norm(smooth.vertices - 20.0, axis=1).min() > 0.3


def test_holes_are_cut_from_the_whole_body() -> None:
    shape = Shape(box([0, 0, 0], [20, 20, 20]), (Hole("a", (10, 10, -1), (10, 10, 21), 4.0),))
    assert shape.drilled().volume_mm3 == pytest.approx(8000 - np.pi * 4 * 20)
    moved = shape.holes[0].moved(np.array([1.0, 2.0, 3.0]))
    assert moved.start_lps_mm == (11.0, 12.0, 2.0)


def test_wrong_plan_and_wrong_side_are_refused(bones: Path, plan: Path, tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="built on plan p2"):
        make_prototype(prototype_job(bones, plan, tmp_path, changed(RP1, plan="p2")))
    job = prototype_job(bones, plan, tmp_path, RP1)
    wrong = type(job)(**{**job.__dict__, "settings": {**job.settings, "side": "right"}})
    with pytest.raises(GeometryError, match="config says side: right"):
        make_prototype(wrong)


@pytest.mark.parametrize(
    ("procedure", "ilium", "said"),
    [("spondylectomy", False, "is a spondylectomy"), ("hemisacrectomy", True, "takes part of the ilium")],
)
def test_a_specimen_that_no_implant_is_designed_for_is_one_clear_refusal(
    bones: Path, plan: Path, tmp_path: Path, procedure: str, ilium: bool, said: str
) -> None:
    other = tmp_path / "plan"
    shutil.copytree(plan, other)
    record = read_json(other / "plan.json") | {"procedure": procedure}
    if ilium:
        record["resection_planes"].append({**record["resection_planes"][0], "name": "ilium_left"})
    write_json(other / "plan.json", record)
    with pytest.raises(ConfigError, match=f"plan p1 {said}: a model and an implant are made for a hemi"):
        make_prototype(prototype_job(bones, other, tmp_path / "rp1", RP1))
    assert not (tmp_path / "rp1/implant.stl").exists()
