"""Small motions, splines and robust steps against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from implantflow.errors import GeometryError
from implantflow.followup.rigid import (
    Normal,
    blocks,
    tukey_weights,
)
from implantflow.followup.sampling import block_mean, crop_around, smooth
from implantflow.geometry import motion, motion_columns, rotation, rotation_vector, transform_points
from implantflow.volumes import Volume

ANGLES = st.floats(-1.5, 1.5)


@given(ANGLES, ANGLES, ANGLES)
def test_rotation_vector_inverts_rotation(x: float, y: float, z: float) -> None:
    vector = np.array([x, y, z])
    matrix = rotation(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.allclose(rotation_vector(matrix), vector, atol=1e-7)


def test_motion_columns_are_the_derivative() -> None:
    rng = np.random.default_rng(1)
    places, gradient, centre = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), np.array([3.0, -2.0, 1.0])
    columns = motion_columns(places, gradient, centre)
    for axis in range(6):
        step = np.zeros(6)
        step[axis] = 1e-6
        moved = transform_points(motion(step, centre), places)
        assert np.allclose(((moved - places) * gradient).sum(axis=1) / 1e-6, columns[:, axis], atol=1e-5)


def test_step_solves_least_squares_and_knows_its_error() -> None:
    rng = np.random.default_rng(2)
    truth, errors = np.array([0.3, -0.2, 0.5]), []
    for _ in range(200):
        jacobian = rng.normal(size=(400, 3))
        # Residuals that are alike in blocks of ten: counting them one by one would promise too much.
        residual = -jacobian @ truth + np.repeat(rng.normal(size=40), 10)
        jacobian = np.repeat(jacobian[::10], 10, axis=0)
        residual = -jacobian @ truth + np.repeat(rng.normal(size=40), 10)
        normal = Normal.of(jacobian, residual, np.ones(400), np.arange(400) // 10)
        errors.append(normal.step() - truth)
    # At the answer, where the covariance is asked for, the residuals are the noise alone.
    noise = np.repeat(rng.normal(size=40), 10)
    promised = np.sqrt(np.diag(Normal.of(jacobian, noise, np.ones(400), np.arange(400) // 10).covariance()))
    assert np.allclose(np.mean(errors, axis=0), 0.0, atol=0.05)
    assert np.all(promised > 0.5 * np.std(errors, axis=0)) and np.all(promised < 2.0 * np.std(errors, axis=0))


def test_tukey_forgets_outliers() -> None:
    weight = tukey_weights(np.array([0.0, 1.0, 100.0]), 1.0)
    assert weight[0] == 1.0 and 0.8 < weight[1] < 1.0 and weight[2] == 0.0


def test_blocks_number_cubes() -> None:
    number = blocks(np.array([[0.0, 0, 0], [4.9, 0, 0], [5.1, 0, 0], [0, 5.1, 0]]), 5.0)
    assert number[0] == number[1] and len(set(number.tolist())) == 3


@pytest.fixture
def wave() -> Volume:
    affine = np.diag([0.8, 1.0, 1.5, 1.0])
    affine[:3, 3] = [-10, 5, 30]
    k, j, i = np.indices((30, 36, 40))
    places = transform_points(affine, np.stack([i, j, k], -1).reshape(-1, 3))
    return Volume((100 * np.sin(places @ [0.2, 0.15, -0.1])).reshape(k.shape), affine)


def test_spline_gives_value_and_gradient(wave: Volume) -> None:
    places = np.array([[0.3, 20.1, 50.2], [4.4, 18.7, 55.0]])
    value, gradient = smooth(wave).gradients(places)
    phase = places @ [0.2, 0.15, -0.1]
    assert np.allclose(value, 100 * np.sin(phase), atol=0.2)
    assert np.allclose(gradient, 100 * np.cos(phase)[:, None] * [0.2, 0.15, -0.1], atol=0.3)
    assert np.isnan(smooth(wave).values(np.array([[900.0, 0, 0]]))[0])


def test_crop_keeps_places(wave: Volume) -> None:
    places = np.array([[0.0, 20.0, 50.0], [5.0, 22.0, 52.0]])
    part = crop_around(wave, places, 2.0)
    assert part.array.size < wave.array.size
    assert np.allclose(smooth(part).values(places), smooth(wave).values(places), atol=0.5)
    with pytest.raises(GeometryError, match="outside the scan"):
        crop_around(wave, places + 500.0, 2.0)


def test_block_mean() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert block_mean(array, np.array([2, 1, 2]))[0, 0, 0] == pytest.approx(np.mean([0, 1, 12, 13]))
