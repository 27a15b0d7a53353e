"""The simulated patient against its own claims: files, geometry, anatomy, tumour, poses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from simulated_patient import SERIES, SETTINGS, Simulated, simulate

from implantflow import artifacts
from implantflow.config.simulated import TEMPLATE_SEED, SimulatedConfig
from implantflow.geometry import Plane, rotation_angle_deg, transform_points
from implantflow.volumes import read_volume


def headers(folder: Path) -> list[Any]:
    import pydicom

    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def affine_of(slices: list[Any]) -> np.ndarray:
    """Affine from the headers, by the standard's equation and nothing of the writer's."""
    first, last = slices[0], slices[-1]
    row = np.array(first.ImageOrientationPatient[:3], float)
    column = np.array(first.ImageOrientationPatient[3:], float)
    out = np.eye(4)
    out[:3, 0] = row * float(first.PixelSpacing[1])
    out[:3, 1] = column * float(first.PixelSpacing[0])
    ends = [np.array(s.ImagePositionPatient, float) for s in (first, last)]
    out[:3, 2] = (ends[1] - ends[0]) / (len(slices) - 1)
    out[:3, 3] = ends[0]
    return out


def pixels(slices: list[Any]) -> np.ndarray:
    slope = float(getattr(slices[0], "RescaleSlope", 1))
    intercept = float(getattr(slices[0], "RescaleIntercept", 0))
    return np.stack([s.pixel_array for s in slices]).astype(float) * slope + intercept


def truth_of(patient: Simulated) -> dict[str, Any]:
    found: dict[str, Any] = artifacts.read_json(patient.truth / "truth.json")
    return found


@pytest.mark.slow
def test_same_bytes_on_one_and_two_threads(tiny: Simulated, tmp_path: Path) -> None:
    again = simulate(tmp_path, threads=1)
    for name in SERIES:
        assert artifacts.sha256_path(again.dicom / name) == artifacts.sha256_path(tiny.dicom / name), name
    assert artifacts.sha256_path(again.truth) == artifacts.sha256_path(tiny.truth)


@pytest.mark.parametrize("name", SERIES)
def test_dicom_geometry_is_regular_and_complete(tiny: Simulated, name: str) -> None:
    slices = headers(tiny.dicom / name)
    affine = affine_of(slices)
    for k, item in enumerate(slices):
        expected = affine[:3, 3] + k * affine[:3, 2]
        assert np.abs(np.array(item.ImagePositionPatient, float) - expected).max() < 1e-4
        assert item.InstanceNumber == k + 1
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert np.linalg.det(axes) > 0.999
    assert len({s.SOPInstanceUID for s in slices}) == len(slices)
    assert len({s.SeriesInstanceUID for s in slices}) == 1
    spacing = SETTINGS["ct_spacing_mm" if name == "ct_planning" else "mr_spacing_mm"]
    assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing, atol=1e-5)
    assert slices[0].file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_patient_is_invented_and_the_same_in_every_series(tiny: Simulated) -> None:
    first = [headers(tiny.dicom / name)[0] for name in SERIES]
    assert all(str(ds.PatientName).startswith("SIMULATED^") for ds in first)
    assert len({(ds.PatientID, ds.PatientBirthDate, ds.PatientSex) for ds in first}) == 1
    assert len({ds.FrameOfReferenceUID for ds in first}) == 3
    assert [ds.StudyDate for ds in first] == ["20250424", "20250113", "20250422"]
    assert (first[0].KVP, first[0].ConvolutionKernel) == (120, "STANDARD")


def test_ct_shows_the_labelled_bones_where_the_truth_says(tiny: Simulated) -> None:
    slices = headers(tiny.dicom / "ct_planning")
    hu, affine = pixels(slices), affine_of(slices)
    labels = read_volume(tiny.truth / "labels.nii.gz")
    assert np.allclose(labels.affine_lps, affine, atol=1e-5)
    assert labels.array.shape == hu.shape
    bone = labels.array > 0
    assert np.mean(hu[bone] > 100) > 0.8
    assert np.mean(hu[~bone] > 226) < 0.05
    assert np.median(hu[0, 0]) < -950


def test_label_codes_and_sides(tiny: Simulated) -> None:
    labels = read_volume(tiny.truth / "labels.nii.gz")
    assert set(np.unique(labels.array)) == set(range(8))
    left, right = (
        labels.index_to_lps(np.argwhere(labels.array == code)[:, ::-1])[:, 0].mean() for code in (2, 3)
    )
    assert left > 40 and right < -40
    for code in (1, 2, 3, 4):
        dilated = _grown(labels.array == code)
        touching = {int(v) for v in np.unique(labels.array[dilated])} - {0, code}
        assert not touching & {1, 2, 3, 4}, f"label {code} touches {touching}"


def _grown(mask: np.ndarray) -> np.ndarray:
    out = mask.copy()
    for axis in range(3):
        for step in (1, -1):
            moved = np.roll(mask, step, axis)
            edge = [slice(None)] * 3
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            moved[tuple(edge)] = False
            out |= moved
    return out


def test_tumour_extents_volume_and_side(tiny: Simulated) -> None:
    truth = truth_of(tiny)
    for name, axes in (("diagnosis", (50, 47, 34)), ("preoperative", (44, 42, 32))):
        figures = truth["tumour"][name]
        assert np.allclose(figures["axes_mm"], axes, atol=0.4)
        assert np.allclose(truth["figures"][f"tumour.timepoints.{name}.axes_mm"], figures["axes_mm"])
        mask = read_volume(tiny.truth / f"tumour_{name}.nii.gz")
        counted = float(mask.array.sum()) * mask.voxel_volume_mm3
        assert counted == pytest.approx(figures["volume_mm3"], rel=0.02)
        ellipsoid = np.pi / 6 * np.prod(figures["axes_mm"])
        assert 0.85 * ellipsoid < figures["volume_mm3"] < 1.02 * ellipsoid
        plane = truth["midline_plane"]
        offset = np.array(figures["centre_lps_mm"]) - plane["point_lps_mm"]
        assert float(offset @ plane["normal_lps"]) > 20  # the patient's left
    labels = read_volume(tiny.truth / "labels.nii.gz").array
    diagnosis = read_volume(tiny.truth / "tumour_diagnosis.nii.gz").array > 0
    outside = np.mean(labels[diagnosis] == 0)
    assert 0.25 < outside < 0.75, "it bulges out of the bone"
    assert not np.isin(labels[diagnosis], (2, 3, 4)).any(), "joints and L5 are spared"


def test_mr_pose_truth_carries_landmarks_to_the_same_tissue(tiny: Simulated) -> None:
    """The tumour's centre, taken to MR space by the truth, lies in bright tissue; a wrong pose would miss it."""
    truth = truth_of(tiny)
    for timepoint in ("diagnosis", "preoperative"):
        slices = headers(tiny.dicom / f"mr_{timepoint}")
        signal, affine = pixels(slices), affine_of(slices)
        ct_from_mr = np.array(truth["registrations"][f"mr_{timepoint}"])
        assert rotation_angle_deg(ct_from_mr[:3, :3]) > 3.9
        assert np.allclose(ct_from_mr[:3, :3] @ ct_from_mr[:3, :3].T, np.eye(3), atol=1e-5)
        index_from_ct = np.linalg.inv(ct_from_mr @ affine)
        mask = read_volume(tiny.truth / f"tumour_{timepoint}.nii.gz")
        inside = mask.index_to_lps(np.argwhere(_shrunk(mask.array > 0))[:, ::-1])
        i, j, k = np.rint(transform_points(index_from_ct, inside)).astype(int).T
        shell = mask.index_to_lps(np.argwhere(_ring(mask.array > 0))[:, ::-1])
        a, b, c = np.rint(transform_points(index_from_ct, shell)).astype(int).T
        assert np.median(signal[k, j, i]) > 1.4 * np.median(signal[c, b, a])


def _shrunk(mask: np.ndarray) -> np.ndarray:
    return ~_grown(_grown(~mask))


def _ring(mask: np.ndarray) -> np.ndarray:
    near = mask
    for _ in range(3):
        near = _grown(near)
    return _grown(_grown(near)) & ~near


def test_truth_surfaces_are_closed_and_agree_with_the_figures(tiny: Simulated) -> None:
    from implantflow.phantom.surfaces import is_closed, mesh_volume

    figures = truth_of(tiny)["figures"]
    for name in ("sacrum", "hip_left", "hip_right", "l5"):
        vertices, faces = artifacts.read_stl(tiny.truth / f"{name}.stl")
        assert is_closed(faces)
        expected = figures[f"segment.labels.{name}.volume_mm3"]
        assert mesh_volume((vertices.astype(float), faces)) == pytest.approx(expected, rel=1e-4)
    assert 180e3 < figures["segment.labels.sacrum.volume_mm3"] < 230e3


def test_landmarks_lie_on_their_bones(tiny: Simulated) -> None:
    landmarks = {k: np.array(v) for k, v in truth_of(tiny)["landmarks_lps_mm"].items()}
    on = {"asis": "hip", "psis": "hip", "notch": "hip", "ala": "sacrum", "s1": "sacrum", "l5": "l5"}
    for name, point in landmarks.items():
        bone = on.get(name.split("_")[0], "sacrum")
        bone = f"{bone}_{name.rsplit('_', 1)[1]}" if bone == "hip" else bone
        vertices, _ = artifacts.read_stl(tiny.truth / f"{bone}.stl")
        assert np.linalg.norm(vertices - point, axis=1).min() < 0.2, name
    mirror = Plane.from_json(truth_of(tiny)["midline_plane"]).mirror_matrix()
    for name in ("asis", "psis", "ala_si", "notch"):
        mirrored = transform_points(mirror, landmarks[f"{name}_left"][None])[0]
        assert np.linalg.norm(mirrored - landmarks[f"{name}_right"]) < 9, name
    assert landmarks["promontory"][1] < landmarks["s1_endplate_posterior"][1]
    assert landmarks["asis_left"][0] > landmarks["asis_right"][0] + 220
    assert landmarks["sacral_apex"][2] < landmarks["promontory"][2] - 80


def test_the_template_is_refused_as_a_patient() -> None:
    with pytest.raises(ValidationError, match="template"):
        SimulatedConfig.model_validate(SETTINGS | {"seed": TEMPLATE_SEED})


def test_studies_must_be_in_order() -> None:
    dates = SETTINGS["study_dates"] | {"mr_preoperative": "2024-01-01"}
    with pytest.raises(ValidationError, match="later than mr_diagnosis"):
        SimulatedConfig.model_validate(SETTINGS | {"study_dates": dates})
