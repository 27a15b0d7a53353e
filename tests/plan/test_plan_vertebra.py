"""Spondylectomy of an L5 of flat faces: body, two pedicles and an arch of known sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_pelvis import DISC_MM, MID_X, PLAN, changed, plan_job, plane_named, write_bones

from implantflow.artifacts import read_json, sha256_file
from implantflow.errors import ConfigError, GeometryError, QualityGateError
from implantflow.plan.stage import plan_resection
from implantflow.solids.booleans import refined, union
from implantflow.solids.mesh import Solid, read_solid, require_closed, write_solid
from implantflow.solids.shapes import box, sphere

#: Body 50 x 32 x 25 mm, pedicles 10 x 14 x 14 mm, arch 44 x 16 x 30 mm (of a larger section than the body, as real
#: facets may have), spinous process 6 x 20 x 14 mm.
BODY_MM3, PEDICLE_MM2, ARCH_MM3, PROCESS_MM3 = 50 * 32 * 25, 10 * 14, 44 * 16 * 30, 6 * 20 * 14
PEDICLE_Y = (32.0, 46.0)
L5_MM3 = BODY_MM3 + 2 * PEDICLE_MM2 * 14 + ARCH_MM3 + PROCESS_MM3
TUMOUR = ([MID_X + 14, 16, DISC_MM + 12], 7.0)
WHOLE: dict[str, Any] = changed(
    PLAN, procedure="spondylectomy", caudal_level=None, corridors=[], margin_mm=5.0
)


def vertebra(pedicles: bool = True) -> Solid:
    """The synthetic L5; without pedicles its body is as wide behind as before."""
    z = DISC_MM
    body = box([MID_X - 25, 0, z], [MID_X + 25, 32, z + 25])
    if not pedicles:
        return refined(box([MID_X - 25, 0, z], [MID_X + 25, 70, z + 25]), 3.0)
    parts = [box([MID_X + low, 31, z + 10], [MID_X + low + 10, 47, z + 24]) for low in (-22.0, 12.0)]
    parts += [
        box([MID_X - 22, 46, z - 4], [MID_X + 22, 62, z + 26]),
        box([MID_X - 3, 61, z + 8], [MID_X + 3, 82, z + 22]),
    ]
    return refined(union(body, *parts), 3.0)


@pytest.fixture(scope="module")
def spine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bones with this L5 and a tumour in the left half of its body."""
    folder = tmp_path_factory.mktemp("spine")
    write_bones(folder)
    write_solid(folder / "l5.stl", vertebra(), "l5")
    write_solid(folder / "tumour.stl", sphere(*TUMOUR, 48), "tumour")
    return folder


@pytest.fixture(scope="module")
def whole(spine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    plan_resection(plan_job(spine, folder, WHOLE))
    return folder


def test_the_bone_of_the_test_is_what_it_says() -> None:
    solid = vertebra()
    require_closed(solid, "l5")
    assert solid.volume_mm3 == pytest.approx(L5_MM3, rel=1e-6)


def test_the_cut_runs_through_the_pedicles(whole: Path) -> None:
    entry = plane_named(whole / "plan.json", "pedicle")
    assert entry["normal_lps"][1] < -np.cos(np.radians(0.5)), "the specimen lies in front"
    assert PEDICLE_Y[0] < entry["point_lps_mm"][1] < PEDICLE_Y[1]
    assert entry["face_area_mm2"] == pytest.approx(2 * PEDICLE_MM2, rel=0.01)
    assert entry["source"] == "where the pedicles are thinnest" and entry["origin"] == "computed"


def test_margin_is_the_way_from_the_sphere_to_the_plane(whole: Path) -> None:
    record = read_json(whole / "plan.json")
    y = plane_named(whole / "plan.json", "pedicle")["point_lps_mm"][1]
    assert record["osteotomy_margins_mm"]["pedicle"] == pytest.approx(y - TUMOUR[0][1] - TUMOUR[1], abs=0.2)
    assert record["soft_tissue_room_mm"]["sacrum"] == pytest.approx(12 + DISC_MM - TUMOUR[1], abs=0.1)


def test_body_arch_and_kerf_add_up(whole: Path) -> None:
    record = read_json(whole / "plan.json")
    y = plane_named(whole / "plan.json", "pedicle")["point_lps_mm"][1]
    specimen, arch = (read_solid(whole / f"{name}.stl", name) for name in ("specimen", "remaining_bone"))
    require_closed(specimen, "specimen")
    require_closed(arch, "arch")
    before = BODY_MM3 + 2 * PEDICLE_MM2 * (y - PEDICLE_Y[0])
    assert specimen.volume_mm3 == pytest.approx(before, rel=1e-3)
    assert record["specimen_volume_mm3"] == pytest.approx(specimen.volume_mm3, rel=1e-4)
    assert record["volumes"]["kerf_volume_mm3"] == pytest.approx(2 * PEDICLE_MM2 * 1.0, rel=0.01)
    assert specimen.volume_mm3 + arch.volume_mm3 + record["volumes"]["kerf_volume_mm3"] == pytest.approx(
        L5_MM3, rel=1e-3
    )
    assert abs(record["volumes"]["volume_error_pct"]) < 0.1
    assert record["volumes"]["interpenetration_mm3"] == 0.0


def test_the_disc_below_and_the_roots(whole: Path) -> None:
    record = read_json(whole / "plan.json")
    disc = plane_named(whole / "plan.json", "l5s1")
    assert disc["normal_lps"][2] < -0.999, "out of the specimen: downwards"
    assert disc["point_lps_mm"][2] == pytest.approx(DISC_MM / 2, abs=0.2)
    assert disc["tumour_distance_min_mm"] == pytest.approx(DISC_MM / 2 + 12 - TUMOUR[1], abs=0.3)
    assert {root["name"] for root in record["foramina"]} == {"left L4", "left L5", "right L4", "right L5"}
    assert record["roots_sacrificed"] == []


def test_half_of_the_body(spine: Path, tmp_path: Path) -> None:
    plan_resection(plan_job(spine, tmp_path, changed(WHOLE, vertebral_body="half")))
    record = read_json(tmp_path / "plan.json")
    y = plane_named(tmp_path / "plan.json", "pedicle")["point_lps_mm"][1]
    left = BODY_MM3 / 2 + PEDICLE_MM2 * (y - PEDICLE_Y[0])
    assert record["specimen_volume_mm3"] == pytest.approx(left, rel=5e-3)
    specimen = read_solid(tmp_path / "specimen.stl", "specimen").vertices
    assert specimen[:, 0].min() == pytest.approx(MID_X, abs=0.2)
    assert abs(record["volumes"]["volume_error_pct"]) < 0.1
    assert record["osteotomy_margins_mm"]["midline"] == pytest.approx(7.0, abs=0.3)


def test_half_needs_the_tumour_on_its_side_and_the_margin(spine: Path, tmp_path: Path) -> None:
    half = changed(WHOLE, vertebral_body="half")
    with pytest.raises(GeometryError, match=r"config says side: right, but the tumour lies .* left"):
        plan_resection(plan_job(spine, tmp_path, half, side="right"))
    with pytest.raises(QualityGateError, match=r"midline osteotomy leaves [67]\.\d mm"):
        plan_resection(plan_job(spine, tmp_path, changed(half, margin_mm=8.0)))
    assert not list(tmp_path.glob("*.stl"))


def test_given_planes_are_the_surgeons(spine: Path, tmp_path: Path) -> None:
    planes = {
        "pedicle": {"point_lps_mm": [MID_X, 36.0, 20.0], "normal_lps": [0.0, -1.0, 0.0]},
        "l5s1": {"point_lps_mm": [MID_X, 20.0, 3.0], "normal_lps": [0.0, 0.0, 1.0]},
    }
    plan_resection(plan_job(spine, tmp_path, changed(WHOLE, planes=planes)))
    record = read_json(tmp_path / "plan.json")
    assert record["specimen_volume_mm3"] == pytest.approx(BODY_MM3 + 2 * PEDICLE_MM2 * 4.0, rel=1e-4)
    assert plane_named(tmp_path / "plan.json", "l5s1")["tumour_distance_min_mm"] == pytest.approx(
        12 + DISC_MM - TUMOUR[1] - 3.0, abs=0.1
    )
    assert {"resection_planes.pedicle", "resection_planes.l5s1"} <= set(record["origins"]["surgeon"])


def test_refusals(spine: Path, tmp_path: Path) -> None:
    screw = {**PLAN["corridors"][0], "name": "l5", "kind": "pedicle", "level": "L5"}
    with pytest.raises(GeometryError, match="the body of L5 leaves with the specimen"):
        plan_resection(plan_job(spine, tmp_path, changed(WHOLE, corridors=[screw])))
    with pytest.raises(ConfigError, match="no root left S1 at L5"):
        plan_resection(plan_job(spine, tmp_path, changed(WHOLE, roots_sacrificed=["left S1"])))
    with pytest.raises(QualityGateError, match="pedicle osteotomy leaves"):
        plan_resection(plan_job(spine, tmp_path, changed(WHOLE, margin_mm=30.0)))


def test_a_bone_without_a_waist_is_refused(spine: Path, tmp_path: Path) -> None:
    bones = tmp_path / "bones"
    bones.mkdir()
    for path in spine.iterdir():
        (bones / path.name).write_bytes(path.read_bytes())
    write_solid(bones / "l5.stl", vertebra(pedicles=False), "l5")
    with pytest.raises(GeometryError, match="the pedicles of L5 are not found"):
        plan_resection(plan_job(bones, tmp_path / "p", WHOLE))


def test_a_tumour_that_grows_into_the_sacrum_is_refused(spine: Path, tmp_path: Path) -> None:
    bones = tmp_path / "bones"
    bones.mkdir()
    for path in spine.iterdir():
        (bones / path.name).write_bytes(path.read_bytes())
    write_solid(bones / "tumour.stl", sphere([MID_X + 10, 16, 6.0], 9.0, 48), "tumour")
    with pytest.raises(QualityGateError, match="the tumour enters the sacrum by"):
        plan_resection(plan_job(bones, tmp_path / "p", WHOLE))


def test_same_bytes_twice(spine: Path, whole: Path, tmp_path: Path) -> None:
    plan_resection(plan_job(spine, tmp_path, WHOLE))
    for name in ("plan.json", "specimen.stl", "remaining_bone.stl"):
        assert sha256_file(tmp_path / name) == sha256_file(whole / name)
