"""A simulated follow-up scan, read back from its DICOM, against its own truth."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from followup_case import (
    BONE_HU,
    CENTRE,
    HALF,
    SPHERE,
    SPHERE_RADIUS,
    Case,
    job_of,
    make_case,
    settings,
)
from pydantic import ValidationError
from simulated_patient import SETTINGS

from implantflow import artifacts
from implantflow.config.simulated_followup import SimulatedFollowupConfig
from implantflow.errors import GeometryError, InputError, ProvenanceError
from implantflow.geometry import transform_points
from implantflow.phantom.followup_scan import simulate_followup


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("followup_case"))


class Scanned:
    """One scan read back: HU, places and truth."""

    def __init__(self, folder: Path, series: str) -> None:
        import pydicom

        self.headers = [pydicom.dcmread(path) for path in sorted((folder / series).glob("*.dcm"))]
        self.hu = np.stack([h.pixel_array for h in self.headers]).astype(float) - 1024
        first = self.headers[0]
        self.origin = np.array(first.ImagePositionPatient, float)
        self.spacing = np.array([*map(float, first.PixelSpacing), float(first.SliceThickness)])
        self.truth: dict[str, Any] = artifacts.read_json(folder / f"truth_{series}.json")

    def at(self, points: np.ndarray) -> np.ndarray:
        from scipy.ndimage import map_coordinates

        index = (points - self.origin) / self.spacing
        return np.asarray(map_coordinates(self.hu, index[:, ::-1].T, order=1))

    def in_implant(self, offsets: np.ndarray) -> np.ndarray:
        """HU at offsets from the implant's planned centre, carried along with the implant."""
        return self.at(transform_points(self.truth["scan_from_implant"], CENTRE + offsets))

    def beside(self, distance: float, axis: int, sign: float) -> float:
        """Mean HU at ``distance`` outside a face of the implant, over its middle."""
        u, v = np.meshgrid(np.linspace(-5, 5, 21), np.linspace(-4, 4, 17))
        offsets = np.zeros((u.size, 3))
        others = [n for n in range(3) if n != axis]
        offsets[:, others[0]], offsets[:, others[1]] = u.ravel(), v.ravel()
        offsets[:, axis] = sign * (HALF[axis] + distance)
        return float(self.in_implant(offsets).mean())


def scanned(case: Case, out: Path, series: str, threads: int = 2, **changes: Any) -> Scanned:
    simulate_followup(job_of(case, out, series, settings(**changes), threads, simulated=SETTINGS))
    return Scanned(out, series)


@pytest.fixture(scope="module")
def month0(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    return scanned(case, tmp_path_factory.mktemp("m0"), "ct_m0")


@pytest.fixture(scope="module")
def month12(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    return scanned(case, tmp_path_factory.mktemp("m12"), "ct_m12")


def test_headers_say_simulated_and_belong_to_the_patient(month0: Scanned, month12: Scanned) -> None:
    first, second = month0.headers[0], month12.headers[0]
    assert "SIMULATED" in first.SeriesDescription and "SIMULATED" in str(first.PatientName)
    assert first.PatientID == second.PatientID == "SIM-000007"
    assert (first.StudyDate, second.StudyDate) == ("20250605", "20260608")
    assert (first.KVP, first.ConvolutionKernel) == (120, "SIM-SOFT")
    assert first.FrameOfReferenceUID != second.FrameOfReferenceUID
    assert month0.truth["simulated"] is True


def test_ingest_reads_it(month12: Scanned, case: Case, tmp_path: Path) -> None:
    from implantflow.ingest.read import take_series

    simulate_followup(job_of(case, tmp_path, "ct_m0", settings(), simulated=SETTINGS))
    found = take_series(tmp_path / "ct_m0", None, "CT")
    volume, manifest = found.volume, found.manifest
    assert manifest["verdict"] == "ok"
    assert volume.array.min() >= -1024 and volume.array.max() == 3071


def test_the_marker_lies_where_the_truth_says(month12: Scanned) -> None:
    """A sphere of the pelvis, found by its brightness, against the pelvis transform."""
    place = transform_points(month12.truth["scan_from_planning"], SPHERE[None])[0]
    k, j, i = np.indices(month12.hu.shape)
    points = month12.origin + month12.spacing * np.stack([i, j, k], -1)
    near = np.linalg.norm(points - place, axis=-1) < SPHERE_RADIUS + 4
    weight = np.clip(month12.hu[near] - 150, 0, None)
    found = (points[near] * weight[:, None]).sum(0) / weight.sum()
    assert found == pytest.approx(place, abs=0.25)


def test_the_implant_lies_where_the_truth_says(month12: Scanned) -> None:
    """Centre of the metal's box against the implant transform: its faces are half-way up the edge profile."""
    distances = np.linspace(-3, 3, 61)
    for axis, sign in ((1, 1.0), (1, -1.0)):
        profile = np.array([month12.beside(d, axis, sign) for d in distances])
        inside, outside = profile[:10].mean(), profile[-10:].mean()
        edge = distances[np.argmax(profile < (inside + outside) / 2)]
        assert abs(edge) < 0.35, (axis, sign, edge)


def test_truth_of_motion(month0: Scanned, month12: Scanned) -> None:
    moved = month12.truth["relative_to_baseline"]
    assert moved["migration_mm"] == pytest.approx([0.6, -0.4, 0.8], abs=1e-5)
    assert moved["rotation_deg"] == pytest.approx([0.5, 0, -0.5], abs=0.01)
    assert month0.truth["relative_to_baseline"]["migration_length_mm"] == 0
    motion = np.array(month12.truth["implant_motion_in_planning"])
    pelvis = np.array(month12.truth["scan_from_planning"])
    assert pelvis @ motion == pytest.approx(np.array(month12.truth["scan_from_implant"]), abs=1e-3)
    centre = np.array(month12.truth["implant_centroid_planned_mm"])
    assert centre == pytest.approx(CENTRE, abs=1e-3)
    assert transform_points(motion, centre[None])[0] - centre == pytest.approx([0.6, -0.4, 0.8], abs=1e-3)


def test_the_lucent_face_is_dark_and_the_fused_one_bright(month0: Scanned, month12: Scanned) -> None:
    """Caudal: bone resorbed over 3 mm; midline: the kerf of 1 mm filled; outside both the bone stays."""
    assert month12.beside(1.6, 2, -1.0) < 300 < 450 < month12.beside(6.0, 2, -1.0)
    assert month0.beside(2.6, 2, -1.0) > 400
    assert month12.beside(7.0, 0, -1.0) == pytest.approx(BONE_HU, abs=120)
    assert month12.truth["faces"]["caudal"]["lucency_mm"] == 3.0
    assert month12.truth["faces"]["si_joint"]["state"] == "as_placed"
    assert month12.beside(1.1, 0, -1.0) > month0.beside(1.1, 0, -1.0)


def test_truth_of_the_pores(month12: Scanned) -> None:
    pores = month12.truth["pores"]
    bands = {name: [b["bone_fraction"] for b in entry] for name, entry in pores["regions"].items()}
    # 0.05 + 0.35 exp(-depth / 5), averaged over the band.
    mean = [
        0.05 + 0.35 * 5 * (np.exp(-a / 5) - np.exp(-b / 5)) / (b - a)
        for a, b in ((0, 1), (1, 2), (2, 4), (4, 8))
    ]
    assert bands["si_joint"] == pytest.approx(mean, abs=0.01)
    assert bands["midline"][:2] == [None, None] and "dense" in pores["regions"]["midline"][0]["reason"]
    whole = 0.05 + 0.35 * 5 * (1 - np.exp(-20 / 5)) / 20
    assert pores["bone_fraction"] == pytest.approx(whole, abs=0.01)
    assert pores["titanium_fraction"] == pytest.approx(0.2963, abs=1e-3)
    assert pores["porous_volume_mm3"] == pytest.approx(20 * 18 * 16, rel=0.05)


def test_bone_in_the_pores_adds_what_the_recipe_measured(case: Case, tmp_path: Path, month0: Scanned) -> None:
    """About 86 HU per 0.10 bone at 75 % porosity; here the porosity is 70 % and the block small."""
    cfg = copy.deepcopy(settings())
    cfg["scans"]["ct_m0"]["pores"]["core_fraction"] = 0.2
    simulate_followup(job_of(case, tmp_path, "ct_m0", cfg, simulated=SETTINGS))
    grown = Scanned(tmp_path, "ct_m0")
    grid = np.stack(np.meshgrid(*[np.arange(-5, 5.1, 0.5)] * 2, [-4.0, 0.0, 4.0], indexing="ij"), -1)
    offsets = grid.reshape(-1, 3)
    offsets = offsets[np.abs(offsets[:, 0] - 4) > 4]
    change = float((grown.in_implant(offsets) - month0.in_implant(offsets)).mean())
    # Measured 85 HU per 0.10.
    assert 150 < change < 190
    assert 2000 < month0.in_implant(offsets).mean() < 2800


@pytest.mark.parametrize("series", ["ct_m12"])
def test_same_bytes_on_one_and_two_threads(case: Case, tmp_path: Path, month12: Scanned, series: str) -> None:
    digests = []
    for threads in (1, 2):
        out = tmp_path / str(threads)
        scanned(case, out, series, threads=threads)
        digests.append(
            (artifacts.sha256_path(out / series), artifacts.sha256_file(out / f"truth_{series}.json"))
        )
    assert digests[0] == digests[1]


def test_another_seed_changes_noise_only(case: Case, tmp_path: Path, month0: Scanned) -> None:
    other = scanned(case, tmp_path, "ct_m0", seed=4)
    difference = other.hu - month0.hu
    assert difference.any()
    assert abs(difference.mean()) < 1.0


def test_identity_of_a_real_patient_comes_from_the_planning_ct(case: Case, tmp_path: Path) -> None:
    import pydicom

    planning = tmp_path / "planning"
    simulate_followup(job_of(case, tmp_path, "ct_m0", settings(), simulated=SETTINGS))
    (tmp_path / "ct_m0").rename(planning)
    job = job_of(case, tmp_path / "real", "ct_m0", settings(), inputs={"identity": planning})
    simulate_followup(job)
    header = pydicom.dcmread(tmp_path / "real" / "ct_m0" / "0001.dcm")
    assert header.PatientID == "SIM-000007" and str(header.PatientName) == "SIMULATED^FOLLOW-UP"
    with pytest.raises(InputError, match="whose it is"):
        simulate_followup(job_of(case, tmp_path, "ct_m0", settings()))


def test_refusals(case: Case, tmp_path: Path) -> None:
    def attempt(cfg: dict[str, Any], series: str = "ct_m0", **inputs: Path) -> None:
        simulate_followup(job_of(case, tmp_path, series, cfg, simulated=SETTINGS, inputs=inputs))

    with pytest.raises(InputError, match="no simulated follow-up scan"):
        attempt(settings(), "ct_m6")
    with pytest.raises(InputError, match="cut the implant off"):
        attempt(settings(field_offset_mm=[-40, 0]))
    with pytest.raises(GeometryError, match="beyond the planning CT"):
        attempt(settings(cranial_mm=60))
    unknown = copy.deepcopy(settings())
    unknown["scans"]["ct_m0"]["faces"] = {"l5s1": {"state": "lucent", "width_mm": 1.0}}
    with pytest.raises(InputError, match="l5s1"):
        attempt(unknown)
    other = tmp_path / "other.stl"
    artifacts.write_stl(other, np.eye(3) * 30, np.array([[0, 1, 2]]), "not the implant")
    with pytest.raises(ProvenanceError, match="regions"):
        attempt(settings(), implant=other)
    with pytest.raises(ProvenanceError, match=r"field\.npz"):
        attempt(settings(), field_data=case.inputs["plan"])


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        ({"state": "lucent"}, "width_mm"),
        ({"state": "as_placed", "width_mm": 1.0}, "width_mm"),
        ({"state": "fused", "width_mm": 1.0}, "bone_fraction"),
    ],
)
def test_config_refuses_half_a_face(face: dict[str, Any], reason: str) -> None:
    cfg = copy.deepcopy(settings())
    cfg["scans"]["ct_m0"]["faces"] = {"caudal": face}
    with pytest.raises(ValidationError, match=reason):
        SimulatedFollowupConfig.model_validate(cfg)


@pytest.mark.parametrize(("spacing", "reason"), [([0.7, 0.8, 1.0], "square"), ([0.7, 0.7, 1.5], "1 or 2 mm")])
def test_config_refuses_what_the_detector_cannot_do(spacing: list[float], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SimulatedFollowupConfig.model_validate(settings(spacing_mm=spacing))
