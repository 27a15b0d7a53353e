"""The struts' own place, against a made scan whose shading and grading pull at a pose by the level of its HU."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.followup.evenness import within_blocks
from implantflow.followup.metal_fit import Voxels, improve
from implantflow.followup.sampling import Smooth, smooth
from implantflow.followup.texture import LOOKED_FOR_MM, by_texture, texture_left
from implantflow.geometry import FloatArray, motion, transform_points
from implantflow.volumes import Volume

CELL_MM, STEP_MM = 2.5, 0.4
CENTRE = np.array([20.0, 20.0, 20.0])


def _graded() -> Smooth:
    """Share of metal of struts that grow thicker along z, on 40 mm."""
    at = np.arange(100) * STEP_MM
    wave = np.cos(2.0 * np.pi * at / CELL_MM)
    pattern = wave[:, None, None] * wave[None, :, None] + wave[None, :, None] * wave[None, None, :]
    share = (0.2 + 0.004 * at)[:, None, None] * (1.0 + 0.3 * pattern)
    return smooth(Volume(share.astype(np.float32), np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])))


def _scan(model: Smooth, true: FloatArray) -> Voxels:
    """Voxels of a scan with the implant moved by ``true``: darker where struts are thicker, noise of 40 HU."""
    random = np.random.default_rng(5)
    design = random.uniform(6.0, 34.0, (20_000, 3))
    places = transform_points(true, design)
    shading = -60.0 * (design[:, 2] - 20.0) + 15.0 * design[:, 0]
    hu = 900.0 + 3500.0 * model.values(design) + shading + random.normal(0.0, 40.0, len(design))
    return Voxels(places, hu, 0.0, 20)


def _everywhere(places: FloatArray) -> np.ndarray:
    return np.ones(len(places), dtype=bool)


def _off_mm(pose: FloatArray, true: FloatArray) -> float:
    corners = CENTRE + 14.0 * np.array([[1, 1, 1], [-1, 1, -1], [1, -1, -1.0]])
    return float(
        np.linalg.norm(transform_points(pose, corners) - transform_points(true, corners), axis=1).max()
    )


@pytest.mark.parametrize("shift", [(0.1, -0.2, 0.15), (0.35, 0.3, -0.4)])
def test_struts_are_found_whatever_shades_them(shift: tuple[float, float, float]) -> None:
    model, true = _graded(), motion(np.r_[0.004, -0.003, 0.005, shift], CENTRE)
    voxels = _scan(model, true)
    found = by_texture(voxels, model, np.eye(4), _everywhere, CENTRE, LOOKED_FOR_MM)
    assert found is not None and _off_mm(found.pose, true) < 0.01
    assert np.sqrt(np.trace(found.normal.covariance()[3:, 3:])) < 0.005


def test_a_pose_by_the_level_alone_is_pulled_away() -> None:
    model, true = _graded(), motion(np.r_[0.0, 0.0, 0.0, 0.1, -0.1, 0.1], CENTRE)
    voxels = _scan(model, true)
    by_level = improve(voxels, model, true, CENTRE, 1e-5)
    by_struts = by_texture(voxels, model, by_level.pose, _everywhere, CENTRE)
    assert by_struts is not None
    assert _off_mm(by_struts.pose, true) < 0.2 * _off_mm(by_level.pose, true)


def test_struts_that_do_not_show_give_no_pose() -> None:
    model = _graded()
    voxels = _scan(model, np.eye(4))
    blurred = Voxels(voxels.places, voxels.hu - 3500.0 * model.values(voxels.places), 0.0, 20)
    assert by_texture(blurred, model, np.eye(4), _everywhere, CENTRE) is None
    assert by_texture(voxels, model, np.eye(4), lambda places: places[:, 0] < 6.2, CENTRE) is None


def test_another_strut_that_looks_the_same_is_not_taken() -> None:
    model, true = _graded(), motion(np.r_[0.0, 0.0, 0.0, CELL_MM / 2, CELL_MM / 2, 0.0], CENTRE)
    found = by_texture(_scan(model, true), model, np.eye(4), _everywhere, CENTRE, LOOKED_FOR_MM)
    assert found is None or _off_mm(found.pose, np.eye(4)) < 0.85


def test_rise_flattens_towards_the_ceiling() -> None:
    model = _graded()
    places = np.random.default_rng(6).uniform(6.0, 34.0, (5000, 3))
    share = model.values(places)
    hu = within_blocks((4000.0 * share - 2500.0 * share**2)[:, None], places)[:, 0]
    left, slope = texture_left(share, hu, places)
    assert np.abs(left).max() < 1e-6
    assert slope == pytest.approx(4000.0 - 5000.0 * share)
