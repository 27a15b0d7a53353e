"""The whole stage on a coarse phantom, against its truth; the template is another draw than the patient."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from implantflow.artifacts import read_json, read_stl, sha256_file, write_json
from implantflow.config.segment import PriorConfig, SegmentConfig
from implantflow.config.simulated import SimulatedConfig
from implantflow.errors import QualityGateError
from implantflow.jobs import Job
from implantflow.phantom.ct import simulate_ct
from implantflow.phantom.simulate import make_scene
from implantflow.phantom.truth import write_truth
from implantflow.segment.core import SURFACED, segment_volume
from implantflow.segment.labels import LABELS
from implantflow.segment.mesh import is_closed
from implantflow.segment.prior import read_template
from implantflow.segment.stage import segment_bones
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.volumes import Volume, read_volume, write_volume

pytestmark = pytest.mark.slow
CASE = Path(__file__).parents[2] / "config" / "cases" / "tiny.yaml"


@dataclass(frozen=True)
class Phantom:
    """Files of one simulated patient, its truth, and what the stage made of it."""

    folder: Path
    ct: Volume
    truth: Volume
    landmarks: dict[str, tuple[float, float, float]]
    job: Job


def settings(landmarks: dict[str, tuple[float, float, float]]) -> SegmentConfig:
    return SegmentConfig(threshold_hu=226.0, prior=PriorConfig(kind="template", landmarks=landmarks))


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory, template_file: Path) -> Phantom:
    import yaml

    folder = tmp_path_factory.mktemp("phantom")
    config = SimulatedConfig.model_validate(yaml.safe_load(CASE.read_text())["simulated"])
    scene, _ = make_scene(config, 2)
    ct = Volume(simulate_ct(scene, config.ct_noise_hu, 2), scene.grid.affine)
    write_volume(folder / "ct.nii.gz", ct)
    write_truth(folder / "truth", scene, {})
    shutil.copyfile(template_file, folder / "template.npz")
    write_json(folder / "manifest.json", {"modality": "CT"})
    landmarks = read_json(folder / "truth" / "truth.json")["landmarks_lps_mm"]
    outputs = {n: folder / f"{n}.stl" for n in SURFACED}
    outputs |= {"labels": folder / "labels.nii.gz", "segment": folder / "segment.json"}
    outputs["confidence"] = folder / "confidence.nii.gz"
    inputs = {
        "volume": folder / "ct.nii.gz",
        "manifest": folder / "manifest.json",
        "prior": [folder / "template.npz"],
    }
    job = Job(
        rule="segment_bones",
        case_dir=folder,
        wildcards={"case": "tiny"},
        inputs=inputs,
        outputs=outputs,
        settings={"segment": settings(landmarks).model_dump(mode="json"), "side": "left"},
        function="implantflow.segment.stage:segment_bones",
        code_digest="-",
        threads=2,
    )
    segment_bones(job)
    return Phantom(folder, ct, read_volume(folder / "truth" / "labels.nii.gz"), landmarks, job)


@pytest.mark.requirement("bones-from-ct")
def test_every_bone_overlaps_its_truth(phantom: Phantom) -> None:
    labels = read_volume(phantom.folder / "labels.nii.gz")
    assert np.allclose(labels.affine_lps, phantom.ct.affine_lps, atol=1e-4)
    for name in SURFACED:
        a, b = labels.array == LABELS[name], phantom.truth.array == LABELS[name]
        # At 1.6 x 1.6 x 2 mm; the full phantom (0.8 x 0.8 x 1 mm) gives 0.98 and more.
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) >= 0.96, name
    both = np.isin(phantom.truth.array, (1, 2, 3, 4)) & np.isin(labels.array, (1, 2, 3, 4))
    assert (labels.array == phantom.truth.array)[both].mean() >= 0.995


@pytest.mark.requirement("bone-surfaces")
def test_surfaces_are_watertight_single_and_near_the_truth(phantom: Phantom) -> None:
    report = read_json(phantom.folder / "segment.json")
    for name in SURFACED:
        entry = report["labels"][name]
        assert entry["watertight"] is True and entry["shells"] == 1
        assert 0.0 < entry["remeshing_measured_max_mm"] <= entry["remeshing_proven_max_mm"] <= 0.1, name
        assert entry["triangles"] < 0.8 * entry["triangles_before_remeshing"], name
        vertices, faces = read_stl(phantom.folder / f"{name}.stl")
        assert len(faces) == entry["triangles"] and is_closed(faces.astype(np.int64)), name
        truth, _ = read_stl(phantom.folder / "truth" / f"{name}.stl")
        found = Surface(Solid.of(vertices, faces)).nearest(truth, 20.0, signed=False)
        assert np.median(found.distance_mm) < 0.3, name
    budget = report["error_budget"]
    assert (
        0.0
        < budget["remeshing_mean_mm"]
        < 0.02
        < budget["remeshing_max_mm"]
        <= budget["remeshing_bound_mm"]
        == 0.1
    )
    assert report["labels"]["sacrum"]["filled_from_prior_mm3"] > 500.0  # the tumour's hole
    assert report["threshold_hu"] == 226.0 and report["threshold_volume_mm3"] > 5e5
    assert 0.0 < report["disputed_pct"] < 50.0
    assert report["coverage"]["l5"]["inside_scan"] == "whole"
    assert report["coverage"]["hip_left"]["touches_border"] == ["caudal"]
    assert report["fit"]["explained_fraction"] > 0.8


@pytest.mark.requirement("landmarks-robust")
def test_landmarks_5_mm_off_change_less_than_half_a_percent(phantom: Phantom) -> None:
    rng = np.random.default_rng(11)
    moved = {}
    for name, point in phantom.landmarks.items():
        direction = rng.normal(size=3)
        shifted = np.array(point) + 5.0 * direction / np.linalg.norm(direction)
        moved[name] = (float(shifted[0]), float(shifted[1]), float(shifted[2]))
    prior = read_template(phantom.folder / "template.npz")
    points = {n: np.array(p) for n, p in moved.items()}
    again = segment_volume(phantom.ct, prior, settings(moved), points).labels.array
    before = read_volume(phantom.folder / "labels.nii.gz").array
    bone = np.isin(before, (1, 2, 3, 4)) | np.isin(again, (1, 2, 3, 4))
    assert (before != again)[bone].mean() < 0.005


def test_same_bytes_again(phantom: Phantom, tmp_path: Path) -> None:
    outputs = {n: tmp_path / p.name for n, p in phantom.job.outputs.items()}
    segment_bones(Job(**{**phantom.job.__dict__, "outputs": outputs}))
    for name, path in outputs.items():
        assert sha256_file(path) == sha256_file(phantom.job.outputs[name]), name


def test_a_pelvis_on_its_head_is_refused(phantom: Phantom) -> None:
    prior = read_template(phantom.folder / "template.npz")
    upside_down = Volume(np.ascontiguousarray(phantom.ct.array[::-1]), phantom.ct.affine_lps)
    points = {n: np.array(p) for n, p in phantom.landmarks.items()}
    with pytest.raises(QualityGateError, match="does not fit"):
        segment_volume(upside_down, prior, settings(phantom.landmarks), points)
