"""The whole stage on a small world with known motion, gap, fusion and ingrowth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from objects_read import read_registration
from small_world import CENTRE, GROWN_HU, SOFT_HU, World
from small_world import settings as rules

from implantflow.artifacts import read_json, write_json
from implantflow.config.followup import FollowupJob
from implantflow.errors import ConfigError, GeometryError, ProvenanceError
from implantflow.followup.second_reading import read_again
from implantflow.followup.stage import read_followup
from implantflow.geometry import invert_rigid, rotation_angle_deg, transform_points


@pytest.fixture(scope="module")
def m0(world: World) -> dict:
    return world.read("m0", None, "m0")


@pytest.fixture(scope="module")
def m12(world: World, m0: dict, tmp_path_factory: pytest.TempPathFactory) -> dict:
    table = tmp_path_factory.mktemp("outcomes") / "table.csv"
    table.write_text(
        "date,months,measure,value,unit,source\n,0,VAS,8,points,a\n2030-01-01,12,VAS,3,points,b\n"
    )
    return world.read("m12", "m0", "m12", table)


def _pose(data: dict, key: str) -> np.ndarray:
    return np.array([[float(x) for x in row] for row in data["poses"][key]])


def _apart(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    shift = transform_points(a, CENTRE[None]) - transform_points(b, CENTRE[None])
    return float(np.linalg.norm(shift)), rotation_angle_deg(a[:3, :3] @ b[:3, :3].T)


def test_poses_are_those_of_the_scan(world: World, m0: dict, m12: dict) -> None:
    for name, data in (("m0", m0), ("m12", m12)):
        truth = world.truth[name]
        pelvis = _apart(_pose(data, "scan_from_planning"), truth.patient)
        implant = _apart(_pose(data, "scan_from_implant"), truth.patient @ truth.implant)
        assert pelvis[0] < 0.1 and pelvis[1] < 0.2
        assert implant[0] < 0.02 and implant[1] < 0.05
        assert data["implant"]["pose_rests_on"] == "the struts deep inside"


@pytest.mark.requirement("migration-measured")
def test_migration_is_the_motion_since_the_baseline(world: World, m12: dict) -> None:
    moved = world.truth["m12"].implant @ invert_rigid(world.truth["m0"].implant)
    place = transform_points(world.truth["m0"].implant, CENTRE[None])
    shift = (transform_points(moved, place) - place)[0]
    assert np.allclose(m12["migration"]["shift_lps_mm"], shift, atol=0.12)
    assert m12["migration_mm"] == pytest.approx(np.linalg.norm(shift), abs=0.15)
    assert m12["rotation_deg"] == pytest.approx(rotation_angle_deg(moved[:3, :3]), abs=0.2)
    error = np.linalg.norm(m12["migration"]["shift_lps_mm"] - shift)
    assert error < m12["repeatability_mm"] < 0.6
    assert m12["subsidence_flag"] is False


@pytest.mark.requirement("lucency-found")
def test_lucent_face_is_found_and_fused_one_is_not_lucent(m12: dict) -> None:
    lucent, fused = m12["faces"]["midline"], m12["faces"]["si_joint"]
    assert lucent["grade"] == "III"
    # Bone begins 2 mm behind the saw plane; the face moved away from the plane by the shift and 0.3 mm.
    assert lucent["lucency_mm"] == pytest.approx(2.5, abs=0.5)
    assert lucent["bridged_pct"] < 30
    assert fused["grade"] in ("I", "II", "contact")
    assert fused["bridged_pct"] > 70 and fused["lucency_mm"] < fused["detection_limit_mm"]
    assert m12["faces"]["l5s1"]["grade"] == "no bone contact planned"


def test_bone_in_the_lattice_lies_in_its_interval(m12: dict) -> None:
    lattice = m12["lattice"]
    low, high = lattice["interval"]
    assert lattice["status"] == "determined"
    assert low < 0.2 < high
    assert lattice["delta_bone_fraction"] == pytest.approx(0.2, abs=0.05)
    # Bone in place of soft tissue, in the pores' share of the places read.
    pores = 1.0 - lattice["metal_share"]
    assert lattice["delta_hu"] == pytest.approx(0.2 * pores * (GROWN_HU - SOFT_HU), abs=20)
    assert lattice["metal_share"] < 0.27
    # Uneven bands are read with the next down to 8 mm; none is lost, and only the deepest may still be uneven.
    bands = lattice["bands"]["si_joint"]
    assert [band["to_mm"] for band in bands[:-1]] == [band["from_mm"] for band in bands[1:]]
    assert (bands[0]["from_mm"], bands[-1]["to_mm"]) == (1.0, 16.0)
    assert not any(band["noise_limited"] for band in bands if band["to_mm"] < 8.0)
    assert lattice["struts_off_pose_mm"] < 0.1
    assert lattice["bands"]["midline"][0]["status"] == "not determinable"


def test_baseline_itself_is_as_placed(m0: dict) -> None:
    assert m0["faces"]["midline"]["grade"] == "as placed"
    # 0.3 mm planned, 0.1 mm placed further away.
    assert m0["faces"]["midline"]["gap_as_found_mm"] == pytest.approx(0.4, abs=0.15)
    assert m0["migration_mm"] is None and m0["lattice"]["interval"] is None
    assert m0["outcomes"] is None


def test_registration_object_maps_the_planning_ct_onto_the_scan(world: World, m12: dict) -> None:
    folder = world.folder / "m12" / "dicom"
    assert sorted(p.name for p in folder.iterdir()) == ["registration.dcm", "report.dcm"]
    found = read_registration(folder / "registration.dcm")
    planning = read_json(world.folder / "planning.manifest.json")["frame_of_reference_uid"]
    assert np.allclose(found[planning], _pose(m12, "scan_from_planning"), atol=1e-9)
    assert (
        m12["dicom"]["registration.dcm"]["study_instance_uid"]
        == m12["dicom"]["report.dcm"]["study_instance_uid"]
    )


def test_no_object_without_a_date(world: World, m0: dict) -> None:
    assert m0["dicom"]["status"] == "not written" and "ingest.series" in m0["dicom"]["fix"]
    assert list((world.folder / "m0" / "dicom").iterdir()) == []


@pytest.mark.slow
def test_scan_alone_says_what_cannot_be_known(world: World, m12: dict) -> None:
    alone = world.read("m12", None, "alone")
    assert alone["migration_mm"] is None and alone["migration_status"] == "not determinable"
    assert alone["against_plan"]["shift_mm"] > 0
    assert alone["lattice"]["status"] == "not determinable" and "baseline" in alone["lattice"]["reason"]
    assert len(alone["not_determinable"]) == 2
    assert {"midline", "si_joint"} <= set(alone["faces"])
    assert alone["faces"]["si_joint"]["grade"] not in ("III", "IV")
    assert alone["faces"]["midline"]["read_against"] == "this scan alone"


@pytest.mark.slow
def test_another_protocol_spares_only_what_survives_it(world: World, m12: dict) -> None:
    world.write_manifest("m12", 100.0, None)
    try:
        other = world.read("m12", "m0", "other")
    finally:
        world.write_manifest("m12", 120.0, "SOFT")
    # The same poses to the last byte: they do not depend on grey values of the baseline.
    for name in ("registration.tfm", "implant.tfm", "axial.png"):
        assert (world.folder / "m12" / name).read_bytes() == (world.folder / "other" / name).read_bytes()
    assert other["migration"] == m12["migration"]
    assert other["lattice"]["status"] == "not determinable"
    assert "kVp 120.0 at the baseline and 100.0 now" in other["lattice"]["reason"]
    assert "kernel unknown" in other["lattice"]["reason"]
    assert other["faces"]["midline"]["read_against"] == "this scan alone"


@pytest.fixture(scope="module")
def twice(world: World, m12: dict) -> dict:
    """The same scan with the second reading asked for."""
    job = world.job("m12", "m0", "twice")
    job.settings["followup"]["faces"]["second_reading"] = "nmar"
    read_followup(job)
    return read_json(job.outputs["followup"])


def test_second_reading_stands_beside_the_first_and_changes_nothing(
    world: World, m12: dict, twice: dict
) -> None:
    assert m12["second_reading"] is None
    untouched = set(m12) - {"second_reading", "rules", "outcomes", "dicom"}
    assert {key: twice[key] for key in untouched} == {key: m12[key] for key in untouched}
    found = twice["second_reading"]
    assert found["status"] == "made" and "not the scanner's data" in found["label"]
    assert set(found["faces"]) == {"midline", "si_joint"}
    for name, face in found["faces"].items():
        for reading in (face["original"], face["reduced"]):
            # Nothing about fusion: that is the first reading's, and the image cannot prove it.
            assert not {"grade", "bridged_pct", "bone_seen_pct"} & set(reading)
        assert face["original"]["lucency_mm"] == m12["faces"][name]["lucency_mm"]
    # This scan has no streaks: the gap of 2.5 mm is there in both images.
    midline = found["faces"]["midline"]
    assert midline["original"]["lucency"] == midline["reduced"]["lucency"] == "gap"
    assert midline["agree"] is True and midline["same_call_pct"] == 100.0
    assert midline["reduced"]["lucency_mm"] == pytest.approx(2.5, abs=0.7)


def test_second_reading_is_shown_below_the_original(world: World, m12: dict, twice: dict) -> None:
    from PIL import Image

    first, second = (np.asarray(Image.open(world.folder / f / "axial.png")) for f in ("m12", "twice"))
    assert (second[: len(first)] == first).all()
    # Original and reduced, side by side, differ beside the metal and hold the same metal.
    below = second[len(first) + 34 : -34]
    left, right = below[:, : below.shape[1] // 2 - 4], below[:, below.shape[1] // 2 + 4 :]
    assert left.shape == right.shape and (left != right).any()
    for name in ("faces.csv", "faces.png", "implant.tfm"):
        assert (world.folder / "m12" / name).read_bytes() == (world.folder / "twice" / name).read_bytes()


@pytest.mark.parametrize(
    ("months", "scanner", "why"), [(0.0, "none", "nothing has grown"), (12.0, "applied", "the scanner's own")]
)
def test_second_reading_says_why_it_is_not_made(months: float, scanner: str, why: str) -> None:
    point = {"name": "m", "series": "ct", "months": months, "baseline": None, "artefact_reduction": scanner}
    asked = rules() | {"timepoint": point}
    nothing = (None,) * 6
    assert read_again(*nothing, FollowupJob.model_validate(asked), None) is None
    asked["faces"]["second_reading"] = "nmar"
    found = read_again(*nothing, FollowupJob.model_validate(asked), None)
    assert found is not None and found.figures["status"] == "not made" and why in found.figures["reason"]
    assert found.image is None and "faces" not in found.figures


def test_outcomes_and_files(world: World, m12: dict) -> None:
    import SimpleITK as sitk

    assert m12["outcomes"]["changes"][0]["change"] == -5.0
    folder = world.folder / "m12"
    transform = sitk.ReadTransform(str(folder / "registration.tfm"))
    point = transform.TransformPoint([1.0, 2.0, 3.0])
    assert np.allclose(
        point, transform_points(_pose(m12, "scan_from_planning"), [[1.0, 2.0, 3.0]])[0], atol=1e-4
    )
    lines = (folder / "faces.csv").read_text().splitlines()
    assert lines[0].startswith("face,direction,from_mm,to_mm")
    assert sum(line.startswith("midline,outward") for line in lines) == 4
    for name in ("axial", "coronal", "sagittal", "faces"):
        assert (folder / f"{name}.png").stat().st_size > 5000


def test_refusals(world: World, m0: dict, tmp_path: Path) -> None:
    job = world.job("m12", "m0", "refused")
    stale = tmp_path / "followup.json"
    write_json(stale, {**m0, "name": "m3"})
    inputs = dict(job.inputs)
    inputs["baseline"] = stale
    with pytest.raises(ProvenanceError, match="m3"):
        read_followup(replace(job, inputs=inputs))
    del inputs["baseline"]
    with pytest.raises(ConfigError, match="baseline"):
        read_followup(replace(job, inputs=inputs))


@pytest.mark.slow
def test_scan_without_the_implant_is_refused(world: World) -> None:
    job = world.job("m0", None, "refused")
    inputs = {**job.inputs, "ct": world.folder / "planning.nii.gz"}
    with pytest.raises(GeometryError, match="does not show this implant"):
        read_followup(replace(job, inputs=inputs))
