"""Registration by marked points: right pose, honest error, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.registration.landmarks import (
    LandmarkRegistration,
    refuse_misplaced,
    register_landmarks,
)
from implantflow.volumes import Volume

#: Points about a pelvis, planning CT, patient LPS mm.
POINTS = {
    "promontory": (8.0, -14.0, -576.0),
    "apex": (5.0, 31.0, -670.0),
    "asis_left": (134.0, -72.0, -584.0),
    "asis_right": (-110.0, -81.0, -593.0),
    "psis_left": (52.0, 63.0, -595.0),
    "psis_right": (-38.0, 59.0, -595.0),
    "notch_left": (77.0, 6.0, -634.0),
    "notch_right": (-60.0, 4.0, -637.0),
}
TUMOUR = np.array([[38.0, 9.0, -594.0], [55.0, 30.0, -600.0]])


def pose(turn: tuple[float, float, float] = (0.1, -0.2, 0.15)) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    matrix[:3, 3] = (12.0, -7.0, -590.0)
    return matrix


def marked(ct_from_series: FloatArray, error_mm: float, seed: int) -> dict[str, FloatArray]:
    rng = np.random.default_rng(seed)
    back = invert_rigid(ct_from_series)
    return {
        name: transform_points(back, np.array([point]))[0] + error_mm * rng.standard_normal(3) / np.sqrt(3)
        for name, point in POINTS.items()
    }


def register(series: dict[str, FloatArray], limit_mm: float = 8.0) -> LandmarkRegistration:
    targets = transform_points(invert_rigid(pose()), TUMOUR)
    ct = {name: np.array(point) for name, point in POINTS.items() if name in series}
    return register_landmarks(series, ct, targets, limit_mm, name="mr", where="landmarks")


@settings(max_examples=20, deadline=None)
@given(turn=st.tuples(*[st.floats(-0.6, 0.6)] * 3))
def test_exact_points_give_the_exact_pose(turn: tuple[float, float, float]) -> None:
    truth = pose(turn)
    found = register(marked(truth, 0.0, 0))
    assert np.allclose(found.ct_from_series, truth, atol=2e-6)
    assert max(found.predicted_mm.values()) < 1e-6 and found.target_rms_mm < 1e-6


def test_expected_error_is_the_error_on_average() -> None:
    """300 readings with 2 mm of error: the stated figure and the true one agree within a tenth."""
    truth, stated, true = pose(), [], []
    targets = transform_points(invert_rigid(truth), TUMOUR)
    for seed in range(300):
        found = register(marked(truth, 2.0, seed), limit_mm=100.0)
        stated.append(found.target_rms_mm**2)
        off = transform_points(found.ct_from_series, targets) - TUMOUR
        true.append((off**2).sum(axis=1))
    worst = float(np.sqrt(np.mean(true, axis=0).max()))
    assert np.sqrt(np.mean(stated)) == pytest.approx(worst, rel=0.1)


def test_left_and_right_exchanged_is_refused() -> None:
    series = marked(pose(), 0.0, 0)
    swapped = {
        name: series[name.replace("left", "#").replace("right", "left").replace("#", "right")]
        for name in series
    }
    with pytest.raises(GeometryError, match="do not fit together"):
        register(swapped)


#: RAS against LPS: left and back change sign, which is half a turn and no mirror image.
RAS = np.array([-1.0, -1.0, 1.0])


def test_ras_taken_for_lps_on_one_side_is_refused() -> None:
    series = {name: point * RAS for name, point in marked(pose(), 0.0, 0).items()}
    with pytest.raises(GeometryError, match="turn it by 171 degrees") as error:
        register(series)
    assert "RAS" in error.value.fix


def test_ras_taken_for_lps_on_both_sides_is_refused() -> None:
    """Both sets turned fit each other perfectly; only the images tell."""
    grid = np.diag([5.0, 5.0, 5.0, 1.0])
    grid[:3, 3] = (-160.0, -120.0, -700.0)
    k, j, i = np.indices((40, 48, 64))
    places = transform_points(grid, np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    off = np.linalg.norm(places[:, None] - np.array(list(POINTS.values())), axis=2).min(axis=1)
    bones = Volume((off < 12.0).reshape(k.shape).astype(np.uint8), grid)
    back = invert_rigid(pose())
    series = Volume(bones.array, back @ grid)
    in_series, in_ct = marked(pose(), 0.0, 0), {name: np.array(point) for name, point in POINTS.items()}
    refuse_misplaced(in_series, in_ct, series, bones, bones, name="mr", where="landmarks")
    turned = [{name: point * RAS for name, point in found.items()} for found in (in_series, in_ct)]
    wide_grid = np.diag([20.0, 20.0, 60.0, 1.0])
    wide_grid[:3, 3] = (-640.0, -480.0, -1400.0)
    wide = Volume(bones.array, wide_grid)
    with pytest.raises(GeometryError, match=r"mm and more from any bone.*limit 20 mm") as error:
        refuse_misplaced(*turned, wide, wide, bones, name="mr", where="landmarks")
    assert "RAS" in error.value.fix
    outside = in_series | {"apex": np.array([5.0, 31.0, 900.0])}
    with pytest.raises(GeometryError, match="'apex' lies outside mr"):
        refuse_misplaced(outside, in_ct, series, bones, bones, name="mr", where="landmarks")


def test_a_mirrored_set_is_refused() -> None:
    """A mirrored set has no rotation that fits it, and none is made up."""
    series = {name: point * [-1.0, 1.0, 1.0] for name, point in marked(pose(), 0.0, 0).items()}
    with pytest.raises(GeometryError, match="do not fit together"):
        register(series)


def test_one_slip_is_named() -> None:
    series = marked(pose(), 0.5, 1)
    series["notch_left"] = series["notch_left"] + [0.0, 0.0, 15.0]
    with pytest.raises(GeometryError, match="'notch_left'"):
        register(series, limit_mm=5.0)


def test_too_large_an_error_at_the_tumour_is_refused() -> None:
    series = marked(pose(), 3.0, 3)
    found = register(series, limit_mm=50.0)
    with pytest.raises(GeometryError, match=r"do not fit together|to be expected at the tumour"):
        register(series, limit_mm=0.9 * found.target_rms_mm)


def test_few_or_aligned_points_are_refused() -> None:
    series = marked(pose(), 0.0, 0)
    with pytest.raises(InputError, match="5 landmarks"):
        register(dict(list(series.items())[:5]))
    line = {f"p{n}": np.array([0.0, 0.3 * (n % 2), 20.0 * n]) for n in range(6)}
    with pytest.raises(GeometryError, match="nearly on a line"):
        register_landmarks(line, line, TUMOUR, 5.0, name="mr", where="landmarks")
