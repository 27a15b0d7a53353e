"""Priors and their pose: readers, statistics, sides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from implantflow.artifacts import write_npz
from implantflow.config.segment import PriorConfig, SegmentConfig
from implantflow.errors import ConfigError, GeometryError, InputError, QualityGateError
from implantflow.segment.command import segment_file
from implantflow.segment.fit import Fit
from implantflow.segment.judge import MAX_TURNED_DEG, check_fit, turned_deg
from implantflow.segment.landmarks import from_config, read_points
from implantflow.segment.mesh import is_closed, volume_mm3
from implantflow.segment.pose import check_landmark_sides, landmark_pose
from implantflow.segment.prior import ShapePrior, read_atlas, read_atlas_surface, read_template, similarity
from implantflow.segment.stage import check_modality, read_prior
from implantflow.volumes import Volume

OCTAHEDRON = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
FACES = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
PLACE = {"LeftHip": (80.0, -20.0, 0.0), "RightHip": (-80.0, -20.0, 0.0), "Sacrum": (0.0, 40.0, 10.0)}


def write_vtk(path: Path, vertices: np.ndarray, faces: np.ndarray = FACES) -> None:
    lines = ["# vtk DataFile Version 4.0", "vtk output", "ASCII", "DATASET POLYDATA"]
    lines += [f"POINTS {len(vertices)} float", *(" ".join(f"{v:.6f}" for v in row) for row in vertices)]
    lines += [f"POLYGONS {len(faces)} {4 * len(faces)}", *("3 " + " ".join(map(str, f)) for f in faces)]
    path.write_text("\n".join(lines) + "\n")


def atlas(folder: Path, mirror: bool = False) -> list[Path]:
    rng = np.random.default_rng(5)
    files = []
    for member in range(6):
        size = 30.0 + 2.0 * rng.normal()
        for name, place in PLACE.items():
            at = np.array(place) * ((-1, 1, 1) if mirror else 1)
            path = folder / f"{name}{member}_cpd.vtk"
            write_vtk(path, OCTAHEDRON * size + at + rng.normal(0, 0.1, 3))
            files.append(path)
    return files


def template(path: Path) -> ShapePrior:
    arrays: dict[str, np.ndarray] = {}
    for name, at in zip(("hip_left", "hip_right", "sacrum"), PLACE.values(), strict=True):
        arrays[f"{name}_vertices"] = (OCTAHEDRON * 30 + np.array(at)).astype(np.float32)
        arrays[f"{name}_faces"] = FACES.astype(np.int32)
    arrays["landmark_names"] = np.array(
        ["asis_left", "asis_right", "psis_left", "psis_right", "promontory", "apex"]
    )
    arrays["landmarks_lps_mm"] = np.array(
        [[110, -40, 10], [-110, -40, 10], [50, 60, 5], [-50, 60, 5], [0, -10, 20], [0, 40, -80]], float
    )
    write_npz(path, arrays)
    return read_template(path)


def test_atlas_becomes_a_model_whose_first_mode_is_size(tmp_path: Path) -> None:
    prior = read_atlas(atlas(tmp_path))
    assert prior.names == ("hip_left", "hip_right", "sacrum")
    assert prior.modes.shape == (5, 18, 3) and prior.members == 6
    assert all(is_closed(f) and volume_mm3(prior.mean, f) > 0 for f in prior.faces)
    lengths = np.linalg.norm(prior.modes.reshape(5, -1), axis=1)
    assert (np.diff(lengths) <= 1e-9).all()
    grown = volume_mm3(prior.mean + prior.modes[0], prior.faces[2])
    assert abs(grown / volume_mm3(prior.mean, prior.faces[2]) - 1) > 0.05


def test_mirrored_atlas_and_too_few_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="mirrored"):
        read_atlas(atlas(tmp_path, mirror=True))
    with pytest.raises(InputError, match="complete members"):
        read_atlas(atlas(tmp_path)[:6])
    with pytest.raises(InputError, match="no file"):
        read_prior("atlas", [])


def test_damaged_surface_is_refused_by_name(tmp_path: Path) -> None:
    good = tmp_path / "Sacrum1_cpd.vtk"
    write_vtk(good, OCTAHEDRON)
    bad = tmp_path / "Sacrum2_cpd.vtk"
    bad.write_text(good.read_text()[:200])
    with pytest.raises(InputError) as caught:
        read_atlas_surface(bad)
    assert "Sacrum2" in str(caught.value)
    with pytest.raises(InputError, match="not a template"):
        read_template(good)


def test_similarity_recovers_scale_turn_and_shift() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(0, 40, (50, 3))
    a = np.radians(25)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    scale, rotation, shift = similarity(points, 1.1 * points @ turn.T + [5, -6, 700])
    assert scale == pytest.approx(1.1) and np.allclose(rotation, turn) and np.allclose(shift, [5, -6, 700])


def test_landmarks_pose_the_template_and_slips_are_named(tmp_path: Path) -> None:
    prior = template(tmp_path / "template.npz")
    moved = np.array([10.0, 20.0, 600.0])
    given = {n: p + moved for n, p in prior.landmarks.items()}
    pose, residual = landmark_pose(prior, given, 6)
    assert np.allclose(pose.apply(prior.mean), prior.mean + moved, atol=1e-5)
    assert max(residual.values()) < 1e-5
    with pytest.raises(ConfigError, match="usable landmarks"):
        landmark_pose(prior, {n: given[n] for n in list(given)[:4]}, 6)
    with pytest.raises(ConfigError, match="asis_lft"):
        landmark_pose(prior, {**given, "asis_lft": given["asis_left"]}, 6)
    swapped = {**given, "asis_left": given["asis_right"], "asis_right": given["asis_left"]}
    with pytest.raises(GeometryError, match="left and right are exchanged"):
        landmark_pose(prior, swapped, 6)
    with pytest.raises(GeometryError, match="do not form a pelvis"):
        landmark_pose(prior, {**given, "apex": given["apex"] + [0, 0, 250.0]}, 6)
    check_landmark_sides({"promontory": np.zeros(3)})


def test_a_fit_of_another_size_is_refused_and_one_that_is_right_is_not(tmp_path: Path) -> None:
    prior = template(tmp_path / "template.npz")
    settings = SegmentConfig(threshold_hu=226.0, prior=PriorConfig(kind="atlas", path="a"))
    every = np.ones(len(prior.mean), bool)

    def fit(scale: float) -> Fit:
        return Fit(scale * prior.mean, every, every, np.zeros(len(every)), 0.9, 1.0, 0)

    assert check_fit(prior, fit(1.1), settings)["size_to_prior"] == pytest.approx(1.1)
    for scale in (0.6, 1.6):
        with pytest.raises(QualityGateError, match="times the size"):
            check_fit(prior, fit(scale), settings)


def test_a_fit_folded_where_the_model_cannot_go_is_refused(tmp_path: Path) -> None:
    prior = read_atlas(atlas(tmp_path))
    settings = SegmentConfig(threshold_hu=226.0, prior=PriorConfig(kind="atlas", path="a"))
    every = np.ones(len(prior.mean), bool)
    turn = np.radians(20.0)
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]]
    )

    def fit(vertices: np.ndarray) -> Fit:
        return Fit(vertices, every, every, np.zeros(len(every)), 0.9, 1.0, 0)

    of_the_model = 1.1 * (prior.mean + 2.0 * prior.modes[0] - prior.modes[1]) @ rotation.T + [
        5.0,
        -6.0,
        700.0,
    ]
    assert turned_deg(prior, fit(of_the_model)) < 0.5
    folded = prior.mean.copy()
    # Left and right ends of both hips drawn through each other.
    folded[[0, 1, 6, 7]] = prior.mean[[1, 0, 7, 6]]
    assert turned_deg(prior, fit(folded)) > MAX_TURNED_DEG
    with pytest.raises(QualityGateError, match="turned by"):
        check_fit(prior, fit(folded), settings)


def test_slicer_markups_are_read_in_both_systems(tmp_path: Path) -> None:
    def markups(system: str, x: float) -> Path:
        point = {"label": "asis_left", "position": [x, x, 5.0], "positionStatus": "defined"}
        path = tmp_path / f"{system}.mrk.json"
        path.write_text(json.dumps({"markups": [{"coordinateSystem": system, "controlPoints": [point]}]}))
        return path

    assert np.allclose(read_points(markups("LPS", 7.0))["asis_left"], [7, 7, 5])
    assert np.allclose(read_points(markups("RAS", -7.0))["asis_left"], [7, 7, 5])
    with pytest.raises(InputError, match="not LPS or RAS"):
        read_points(markups("IJK", 1.0))
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps({"promontory": [1, 2, 3]}))
    assert np.allclose(read_points(plain)["promontory"], [1, 2, 3])
    plain.write_text(json.dumps({"promontory": [1, 2]}))
    with pytest.raises(InputError, match="three finite numbers"):
        read_points(plain)
    assert np.allclose(from_config({"a": (1.0, 2.0, 3.0)})["a"], [1, 2, 3])


def test_threshold_and_prior_have_limits_with_a_reason() -> None:
    prior = PriorConfig(kind="atlas", path="atlas")
    for wrong in (-3000.0, 99.0, 501.0, float("nan")):
        with pytest.raises(ValidationError):
            SegmentConfig(threshold_hu=wrong, prior=prior)
    with pytest.raises(ValidationError, match="needs landmarks"):
        PriorConfig(kind="template")
    with pytest.raises(ValidationError, match="needs path"):
        PriorConfig(kind="atlas")
    with pytest.raises(ValidationError, match="not both"):
        PriorConfig(kind="template", landmarks={"a": (0.0, 0.0, 0.0)}, landmarks_file="x.json")


def test_command_says_what_is_missing(tmp_path: Path) -> None:
    ct, points = tmp_path / "ct.nii.gz", tmp_path / "points.json"
    with pytest.raises(InputError, match="either --atlas or --landmarks"):
        segment_file(ct, tmp_path, 226.0)
    with pytest.raises(InputError, match="no such volume"):
        segment_file(ct, tmp_path, 226.0, atlas=tmp_path)
    ct.write_bytes(b"not read")
    with pytest.raises(InputError, match="no such file of landmarks"):
        segment_file(ct, tmp_path, 226.0, landmarks=points)
    points.write_text('{"a": [0, 0, 0]}')
    with pytest.raises(InputError, match="template has not been made"):
        segment_file(ct, tmp_path, 226.0, landmarks=points, template=tmp_path / "t.npz")
    with pytest.raises(InputError, match="no such label map"):
        segment_file(ct, tmp_path, 226.0, labels=tmp_path / "none.nii.gz")
    with pytest.raises(ConfigError, match="-3000"):
        segment_file(ct, tmp_path, -3000.0, labels=ct)


def test_mr_and_numbers_that_are_not_hu_are_refused() -> None:
    settings = SegmentConfig(threshold_hu=226.0, prior=PriorConfig(kind="atlas", path="a"))
    ct = Volume(np.array([[[-1000.0, 900.0]]]), np.eye(4))
    check_modality("CT", ct, settings)
    with pytest.raises(ConfigError, match="cortical bone is black"):
        check_modality("MR", ct, settings)
    with pytest.raises(InputError, match="not CT numbers"):
        check_modality("CT", Volume(np.array([[[0.0, 900.0]]]), np.eye(4)), settings)
    opted = SegmentConfig(
        threshold_hu=226.0,
        prior=PriorConfig(kind="label_map", path="a"),
        modality_opt_in="mr_without_cortex",
    )
    check_modality("MR", ct, opted)
