"""Draws, bones and template: ranges, joints, cortex, shapes against analytic ones."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from implantflow.config.simulated import TEMPLATE_SEED
from implantflow.phantom.anatomy import Patient, Pose, bones
from implantflow.phantom.ct import simulate_ct
from implantflow.phantom.grids import BoxField, Grid, as_distance, keep_apart, occupancy, surface_points
from implantflow.phantom.landmarks import LANDMARKS, landmarks_lps
from implantflow.phantom.population import RANGES, draw_in_range, measures, out_of_range
from implantflow.phantom.scene import build_scene
from implantflow.phantom.surfaces import decimated, is_closed, mesh_volume, surface
from implantflow.phantom.template import TEMPLATE_BONES


@functools.cache
def drawn(seed: int) -> Patient:
    """A patient, drawn once for all tests of this file."""
    return draw_in_range(seed)


def sphere(radius: float, grid: Grid) -> BoxField:
    k, j, i = np.indices(grid.shape)
    points = np.stack([i, j, k], -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    box = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    return BoxField(box, (np.linalg.norm(points, axis=-1) - radius).astype(np.float32))


def test_a_sphere_keeps_volume_and_size() -> None:
    grid = Grid.spanning((-20, -21, -22), (20, 21, 22), (0.8, 0.9, 1.0))
    ball = sphere(15.0, grid)
    mesh = surface(ball, grid)
    exact = 4 / 3 * np.pi * 15.0**3
    assert is_closed(mesh[1])
    assert mesh_volume(mesh) == pytest.approx(exact, rel=0.003)
    share = occupancy(ball.values, grid.spacing_mm).sum(dtype=float)
    assert share * grid.voxel_mm3 == pytest.approx(exact, rel=0.003)
    small = decimated(mesh, 800)
    assert is_closed(small[1])
    assert mesh_volume(small) == pytest.approx(exact, rel=0.02)
    assert np.allclose(np.ptp(surface_points(ball.values) * grid.spacing_mm, axis=0), 30.0, atol=0.1)


def test_scaled_field_becomes_a_distance() -> None:
    grid = Grid.spanning((-20, -20, -20), (20, 20, 20), 1.0)
    ball = sphere(12.0, grid).values
    near = np.abs(ball) < 2
    assert np.abs(as_distance(1.7 * ball, grid.spacing_mm, 1.0, 1)[near] - ball[near]).max() < 0.25


def test_keep_apart_leaves_the_gap() -> None:
    grid = Grid.spanning((-30, -15, -15), (30, 15, 15), 1.0)
    one = sphere(10.0, grid)
    other = BoxField(one.box, np.roll(one.values, 17, axis=2))
    keep_apart(one, other, 2.0)
    assert not ((one.values < 0) & (other.values < 0)).any()
    first = np.argwhere(one.values < 0)
    second = np.argwhere(other.values < 0)
    assert second[:, 2].min() - first[:, 2].max() >= 2


@pytest.mark.parametrize("seed", [2, 7])
def test_draws_lie_in_the_ranges(seed: int) -> None:
    figures = measures(drawn(seed))
    assert not out_of_range(figures)
    assert set(figures) == set(RANGES)


def test_a_draw_out_of_range_is_named() -> None:
    figures = {name: (low + high) / 2 for name, (low, high) in RANGES.items()}
    assert out_of_range(figures | {"sacral_volume_ml": 300.0}) == ["sacral_volume_ml"]


def test_joint_space_is_as_drawn() -> None:
    """Gap between sacrum and hip across the auricular surface, measured on the fields."""
    patient = drawn(7)
    scale = patient.shape.scale
    grid = Grid.spanning((30, -20, -60), (70, 50, 5), 0.8)
    found = bones(patient, grid, Pose(np.eye(4), scale))
    sacrum, hip = (_on(grid, found[name]) for name in ("sacrum", "hip_left"))
    assert not ((sacrum < 0) & (hip < 0)).any()
    gaps = []
    for inner, outer in zip(sacrum.reshape(-1, grid.shape[2]), hip.reshape(-1, grid.shape[2]), strict=True):
        last, first = np.nonzero(inner < 0)[0], np.nonzero(outer < 0)[0]
        if len(last) and len(first) and last[-1] < first[0] < grid.shape[2] - 1:
            # Both distances taken at the sacrum's last voxel: its own depth and the way to the hip.
            gaps.append(float(outer[last[-1]] + inner[last[-1]]))
    auricular = np.array([gap for gap in gaps if gap < 4.0])
    assert len(auricular) > 800
    assert np.percentile(auricular, 5) > 1.2 and np.percentile(auricular, 60) < 3.0
    assert abs(np.median(auricular) - patient.shape.si_gap_mm * scale) < 0.5


def _on(grid: Grid, field: BoxField) -> np.ndarray:
    out = np.full(grid.shape, 10.0, np.float32)
    out[field.box] = field.values
    return out


def test_measured_cortex_peak_is_near_1000_hu() -> None:
    """Along inward normals of the left half of the sacrum and its hip bone, after point spread and sampling."""
    from scipy.ndimage import map_coordinates

    patient = drawn(7)
    pose = Pose(np.eye(4), patient.shape.scale)
    grid = Grid.spanning((2, -40, -104), (84, 78, 8), (0.8, 0.8, 1.0))
    scene = build_scene(patient, grid, pose)
    hu = simulate_ct(scene, 12.0).astype(np.float32)
    peaks = []
    for name in ("sacrum", "hip_left"):
        vertices, faces = surface(scene.bones[name], grid)
        corners = vertices[faces[::5]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
        middle = corners.mean(1)
        tumour = _on(grid, scene.tumours["diagnosis"].field)
        depths = np.arange(-0.5, 2.6, 0.25)
        points = middle[:, None] - normal[:, None] * depths[None, :, None]
        index = ((points - grid.affine[:3, 3]) / grid.spacing_mm)[..., ::-1]
        inner = (index > 3).all((1, 2)) & (index < np.array(grid.shape) - 4).all((1, 2))
        far = map_coordinates(tumour, index[:, 0].T, order=1, mode="nearest") > 5
        profile = map_coordinates(hu, index[inner & far].reshape(-1, 3).T, order=1)
        peaks.append(float(np.median(profile.reshape(-1, len(depths)).max(axis=1))))
    assert all(850 < peak < 1250 for peak in peaks), peaks
    assert 900 < np.mean(peaks) < 1100, peaks


@pytest.fixture(scope="module")
def template(template_file: Path) -> dict[str, np.ndarray]:
    with np.load(template_file) as data:
        return dict(data)


@pytest.mark.slow
def test_template_is_watertight_and_complete(template: dict[str, np.ndarray]) -> None:
    for name in TEMPLATE_BONES:
        vertices, faces = template[f"{name}_vertices"], template[f"{name}_faces"].astype(np.int64)
        assert vertices.dtype == np.float32 and template[f"{name}_faces"].dtype == np.int32
        assert is_closed(faces), name
        assert mesh_volume((vertices.astype(float), faces)) > 1000, name
        assert 1500 < len(vertices) < 6500, name
    assert tuple(template["landmark_names"]) == LANDMARKS
    assert template["landmarks_lps_mm"].shape == (len(LANDMARKS), 3)


@pytest.mark.slow
def test_template_is_not_the_demo_patient(template: dict[str, np.ndarray]) -> None:
    """After the best rigid fit of their landmarks, template and patient still differ by millimetres."""
    patient = drawn(7)
    grid = Grid.spanning((-150, -110, -125), (150, 90, 60), 2.0)
    pose = Pose(np.eye(4), patient.shape.scale)
    meshes = {name: surface(f, grid) for name, f in bones(patient, grid, pose).items()}
    mine = np.array(list(landmarks_lps(patient, meshes, pose).values()))
    other = template["landmarks_lps_mm"]
    a, b = mine - mine.mean(0), other - other.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    assert np.sqrt(np.mean(np.sum((a @ turn - b) ** 2, axis=1))) > 2.5


def test_patient_models_follow_the_seed() -> None:
    again = Patient.of(drawn(7).shape)
    assert np.array_equal(drawn(7).sacrum.solid, again.sacrum.solid)
    assert np.array_equal(drawn(7).noise, again.noise)
    assert not np.array_equal(drawn(7).sacrum.solid, drawn(2).sacrum.solid)
    assert drawn(7).shape != drawn(TEMPLATE_SEED).shape
