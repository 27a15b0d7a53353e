"""The final implant on the synthetic pelvis: equal to what was approved, regions on the right triangles, limits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from synthetic_pelvis import IMPLANT, MID_X, changed, implant_job, side_plane

from implantflow.artifacts import read_json, read_stl, sha256_file, write_json
from implantflow.config.implant import ImplantConfig
from implantflow.errors import GeometryError, QualityGateError, ReviewError
from implantflow.geometry import Plane
from implantflow.implant.approved import deviation_mm, require_same
from implantflow.implant.stage import design_implant, dice
from implantflow.implant.strut import plan_strut
from implantflow.solids.booleans import difference, refined
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import open_edges, read_solid, shell_count, write_solid
from implantflow.solids.shapes import box, sphere


@pytest.fixture(scope="module")
def final(bones: Path, plan: Path, rp2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("implant")
    design_implant(implant_job(bones, plan, rp2, folder))
    return folder


@pytest.fixture(scope="module")
def regions(final: Path) -> dict[str, Any]:
    data: dict[str, Any] = read_json(final / "regions.json")
    return data


def test_implant_is_one_watertight_shell(final: Path) -> None:
    _, faces = read_stl(final / "implant.stl")
    assert open_edges(faces) == 0
    assert shell_count(read_solid(final / "implant.stl", "i")) == 1
    record = read_json(final / "implant.json")
    assert record["watertight"] and record["shells"] == 1
    assert record["triangles"] == len(faces) < 150_000


def test_figures(final: Path) -> None:
    record = read_json(final / "implant.json")
    assert 0.299 < record["gap_p50_mm"] < 0.401
    assert record["gap_p95_mm"] == pytest.approx(1.0, abs=0.02)
    assert record["interpenetration_mm3"] == 0.0
    assert record["vs_approved_mm"] < 0.001
    assert 0.95 < record["vs_specimen_dice"] < 1.0
    assert record["contact_area_mm2"] == pytest.approx(
        sum(record["faces"][n]["area_mm2"] for n in ("midline", "caudal", "si_joint"))
    )


def test_region_triangles_are_those_of_the_file(final: Path, regions: dict[str, Any]) -> None:
    assert regions["implant_stl_sha256"] == sha256_file(final / "implant.stl")
    implant = read_solid(final / "implant.stl", "i")
    planes = {"midline": Plane.of([MID_X - 0.7, 0, 0], [-1, 0, 0]), "si_joint": side_plane(1, 1.0)}
    for face in regions["contact_faces"]:
        triangles = np.array(face["triangles"])
        assert implant.areas_mm2[triangles].sum() == pytest.approx(face["area_mm2"], abs=1e-3)
        assert (implant.normals[triangles] @ np.array(face["normal_lps"])).min() > 0.7
        if face["name"] in planes:
            plane = planes[face["name"]]
            assert np.abs(plane.distance(implant.centres_mm[triangles])).max() < 0.05
    assert [f["name"] for f in regions["contact_faces"]] == ["midline", "caudal", "si_joint", "l5s1"]
    assert [f["mates_with"] for f in regions["contact_faces"]] == [
        "remaining_bone",
        "remaining_bone",
        "hip",
        "l5",
    ]


def test_holes_and_passages_are_open(final: Path, regions: dict[str, Any]) -> None:
    surface = Surface(read_solid(final / "implant.stl", "i"))
    (hole,) = regions["screw_holes"]
    start, end = np.array(hole["start_lps_mm"]), np.array(hole["end_lps_mm"])
    axis = start + np.linspace(0.05, 0.9, 20)[:, None] * (end - start)
    assert surface.signed_distance_mm(axis).min() > hole["diameter_mm"] / 2 - 0.1
    assert hole["boss_diameter_mm"] == 11.0
    (passage,) = regions["cable_passages"]
    line = np.array(passage["polyline_lps_mm"])
    assert surface.signed_distance_mm(line).min() > passage["diameter_mm"] / 2 - 0.1


def test_strut_runs_inside(final: Path, regions: dict[str, Any]) -> None:
    surface = Surface(read_solid(final / "implant.stl", "i"))
    assert len(regions["strut"]["segments"]) == 2
    for segment in regions["strut"]["segments"]:
        start, end = np.array(segment["start_lps_mm"]), np.array(segment["end_lps_mm"])
        inner = start + np.linspace(0.25, 0.75, 20)[:, None] * (end - start)
        assert abs(surface.signed_distance_mm(start[None])[0]) < 0.05
        assert abs(surface.signed_distance_mm(end[None])[0]) < 0.05
        assert surface.signed_distance_mm(inner).max() < 0


def test_same_bytes_twice(bones: Path, plan: Path, rp2: Path, final: Path, tmp_path: Path) -> None:
    design_implant(implant_job(bones, plan, rp2, tmp_path))
    for name in ("implant.stl", "regions.json", "implant.json"):
        assert sha256_file(tmp_path / name) == sha256_file(final / name)


@pytest.mark.requirement("implant-as-approved")
def test_a_change_after_approval_is_found() -> None:
    approved = refined(box([0, 0, 0], [30, 30, 30]), 2.0)
    dented = difference(approved, sphere([30, 15, 15], 1.0))
    hole = (np.array([[15.0, 15.0, -5.0], [15.0, 15.0, 35.0]]), 3.0)
    assert deviation_mm(approved, approved, [hole]) < 1e-9
    found = deviation_mm(dented, approved, [hole])
    assert found == pytest.approx(1.0, abs=0.05)
    with pytest.raises(QualityGateError, match="differs from the approved model"):
        require_same(found)
    listed = (np.array([[28.0, 15.0, 15.0], [32.0, 15.0, 15.0]]), 1.0)
    assert deviation_mm(dented, approved, [hole, listed]) < 1e-6


def test_unsigned_or_foreign_gates_are_refused(bones: Path, plan: Path, rp2: Path, tmp_path: Path) -> None:
    copy = tmp_path / "rp2"
    shutil.copytree(rp2, copy)
    digest = sha256_file(copy / "implant.stl")
    for gate, message in (
        ({"decision": "revise", "subject_sha256": digest}, "says 'revise'"),
        ({"decision": "approved", "subject_sha256": "0" * 64}, "opened for another file"),
    ):
        write_json(copy / "gate.json", gate)
        with pytest.raises(ReviewError, match=message):
            design_implant(implant_job(bones, plan, copy, tmp_path / "o"))
    write_json(copy / "gate.json", {"decision": "auto-approved (demo, unsigned)", "subject_sha256": digest})
    job = implant_job(bones, plan, copy, tmp_path / "o")
    clinical = type(job)(**{**job.__dict__, "settings": {**job.settings, "purpose": "clinical"}})
    with pytest.raises(ReviewError, match="not approved"):
        design_implant(clinical)
    edited = difference(read_solid(copy / "implant.stl", "i"), sphere([20, 5, -10], 3.0))
    write_solid(copy / "implant.stl", edited, "edited")
    write_json(
        copy / "gate.json", {"decision": "approved", "subject_sha256": sha256_file(copy / "implant.stl")}
    )
    with pytest.raises(ReviewError, match=r"prototype\.json of rp2 is about another file"):
        design_implant(implant_job(bones, plan, copy, tmp_path / "o"))


STOCK = {"midline_mm": 0.5, "caudal_mm": 0.0, "si_joint_mm": 0.0, "l5s1_mm": 0.0, "bores_mm": 0.4}


def test_machining_stock_is_a_layer_on_the_same_implant(
    final: Path, bones: Path, plan: Path, rp2: Path, tmp_path: Path
) -> None:
    design_implant(implant_job(bones, plan, rp2, tmp_path, changed(IMPLANT, machining=STOCK)))
    assert sha256_file(tmp_path / "implant.stl") == sha256_file(final / "implant.stl")
    stock = read_json(tmp_path / "implant.json")["machining_stock"]
    assert list(stock["faces"]) == ["midline"]
    area_mm2 = read_json(final / "implant.json")["faces"]["midline"]["area_mm2"]
    assert stock["faces"]["midline"]["stock_mm"] == 0.5
    assert stock["faces"]["midline"]["volume_mm3"] == pytest.approx(0.5 * area_mm2, rel=0.02)
    assert [b["stock_mm"] for b in stock["bores"].values()] == [0.4] * len(stock["bores"])
    assert stock["volume_mm3"] > stock["faces"]["midline"]["volume_mm3"]
    assert read_json(tmp_path / "regions.json")["machining"]["bores_mm"] == 0.4
    assert read_json(final / "implant.json")["machining_stock"] is None


@pytest.mark.parametrize(
    ("stock", "message"),
    [
        ({"si_joint_mm": 0.5}, "lattice cannot be machined"),
        ({"midline_mm": 1.9, "l5s1_mm": 1.6}, "l5s1"),
        ({"bores_mm": 3.0}, "less than or equal"),
    ],
)
def test_stock_that_cannot_be_machined_is_refused(stock: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImplantConfig.model_validate(changed(IMPLANT, machining={**STOCK, **stock}))
    for key in STOCK:
        with pytest.raises(ValidationError, match=key):
            left_out = {k: v for k, v in STOCK.items() if k != key}
            ImplantConfig.model_validate(changed(IMPLANT, machining=left_out))


@pytest.mark.parametrize(
    ("limit", "message"),
    [({"gap_p95_mm": 0.5}, "gap p95"), ({"contact_area_min_mm2": 99999.0}, "contact area")],
)
def test_limits_refuse(
    bones: Path, plan: Path, rp2: Path, tmp_path: Path, limit: dict[str, float], message: str
) -> None:
    config = changed(IMPLANT, limits={**IMPLANT["limits"], **limit})
    with pytest.raises(QualityGateError, match=message):
        design_implant(implant_job(bones, plan, rp2, tmp_path, config))
    assert not (tmp_path / "regions.json").exists()


@pytest.mark.requirement("implant-fits")
def test_interpenetration_is_refused(bones: Path, plan: Path, rp2: Path, tmp_path: Path) -> None:
    closer = tmp_path / "bones"
    shutil.copytree(bones, closer)
    hip = read_solid(bones / "hip_left.stl", "hip")
    moved = type(hip).of(hip.vertices - [3.0, 0.0, 0.0], hip.faces)
    write_solid(closer / "hip_left.stl", moved, "hip")
    with pytest.raises((QualityGateError, GeometryError), match="interpenetration"):
        design_implant(implant_job(closer, plan, rp2, tmp_path / "o"))


def test_dice_of_half_overlapping_boxes() -> None:
    assert dice(box([0, 0, 0], [2, 1, 1]), box([1, 0, 0], [3, 1, 1])) == pytest.approx(0.5)


def test_a_strut_that_has_no_room_is_refused() -> None:
    bent = refined(difference(box([0, 0, 0], [40, 40, 40]), box([5, -1, 5], [41, 41, 35])), 3.0)
    faces = {
        "l5s1": np.flatnonzero(
            (bent.normals[:, 2] > 0.9) & (bent.centres_mm[:, 2] > 39) & (bent.centres_mm[:, 0] > 20)
        ),
        "si_joint": np.flatnonzero(
            (bent.normals[:, 0] > 0.9) & (bent.centres_mm[:, 0] > 39) & (bent.centres_mm[:, 2] < 5)
        ),
        "midline": np.flatnonzero(bent.normals[:, 0] < -0.9),
    }
    with pytest.raises(GeometryError, match="no straight strut"):
        plan_strut(Surface(bent), faces, 2.0)
