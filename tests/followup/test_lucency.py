"""Known gaps in blurred slabs through the reader of profiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from implantflow.followup.bloom import Doubt
from implantflow.followup.design import Blur
from implantflow.followup.lucency import Host, expected, host_level, read_patches
from implantflow.followup.profile import STEPS_MM, Profiles

SIGMA, SOFT, BONE = 0.6, 40.0, 500.0


def _slab(width: float, bone: float = BONE) -> np.ndarray:
    """Soft tissue to ``width``, bone beyond, blurred, by fine numerical convolution of what is not metal."""
    fine = np.arange(-8.0, 16.0, 0.01)
    tissue = np.where(fine < width, SOFT, bone) * (fine >= 0)
    kernel = np.exp(-0.5 * (np.arange(-4, 4.005, 0.01) / SIGMA) ** 2)
    blurred = np.convolve(tissue, kernel / kernel.sum(), mode="same")
    seen = np.interp(STEPS_MM, fine, blurred)
    return seen / np.maximum(ndtr(STEPS_MM / SIGMA), 0.5)


def _profiles(rows: np.ndarray) -> Profiles:
    level = np.full_like(rows, BONE)
    return Profiles(rows, rows, np.zeros_like(rows), np.zeros_like(rows), level, np.full(len(rows), SIGMA))


def _doubt(sd: float) -> Doubt:
    apart = np.abs(STEPS_MM[:, None] - STEPS_MM[None])
    return Doubt(sd**2 * np.exp(-((apart / 0.9) ** 2)) + 9.0 * np.eye(len(STEPS_MM)), 50, "dense")


def _read(rows: np.ndarray, sd: float, base: np.ndarray | None = None):
    host = Host(np.full(len(rows), 0.3), np.full((len(rows), len(STEPS_MM)), BONE))
    before = None if base is None else _profiles(base)
    return read_patches(
        _profiles(rows), host, before, None if base is None else host, _doubt(sd), 0.0, SOFT, 226.0, 6.63
    )


def _noise(count: int, sd: float, seed: int) -> np.ndarray:
    root = np.linalg.cholesky(_doubt(sd).covariance)
    return np.random.default_rng(seed).normal(size=(count, len(STEPS_MM))) @ root.T


@pytest.mark.parametrize("width", [1.0, 1.6, 2.4, 3.5])
def test_width_of_a_known_gap(width: float) -> None:
    reading = _read(_slab(width) + _noise(60, 25.0, 1), 25.0)
    assert np.mean(reading.lucent) > 0.9
    assert np.median(reading.width_mm) == pytest.approx(width, abs=0.2)


@pytest.mark.parametrize(("noise", "short_mm"), [(8.0, 0.5), (25.0, 1.6)])
def test_least_width_that_fits_holds_the_true_one(noise: float, short_mm: float) -> None:
    reading = _read(_slab(2.4) + _noise(80, noise, 4), noise)
    lucent = reading.lucent == 1.0
    least = reading.at_least_mm[lucent]
    assert lucent.sum() > 60 and np.mean(least <= 2.4 + 0.1) > 0.97  # widths are tried in steps of 0.1 mm
    assert np.median(least) > 2.4 - short_mm
    assert (reading.at_least_mm[~lucent] == 0.0).all()


def test_fused_face_is_not_lucent_whatever_its_density() -> None:
    for bone in (300.0, 500.0, 900.0):
        rows = np.tile(_slab(0.0, bone), (60, 1))
        rows[:, STEPS_MM > 3.2] = _slab(0.0)[STEPS_MM > 3.2]
        reading = _read(rows + _noise(60, 25.0, 2), 25.0)
        if bone >= 500.0:
            assert np.mean(reading.lucent) < 0.05
        assert np.nanmax(reading.width_mm) < 3.5


def test_gap_below_the_limit_cannot_be_told_from_contact() -> None:
    reading = _read(_slab(0.2) + _noise(60, 60.0, 3), 60.0)
    assert np.nanmedian(reading.limit_mm) > 0.3
    assert np.mean(reading.lucent) < 0.1
    found = _read(_slab(0.2 + float(np.nanmedian(reading.limit_mm)) * 1.5) + _noise(60, 60.0, 4), 60.0)
    assert np.mean(found.lucent) > 0.6


def test_more_doubt_means_a_higher_limit() -> None:
    limits = [
        float(np.nanmedian(_read(_slab(0.0) + _noise(40, sd, 5), sd).limit_mm)) for sd in (10.0, 30.0, 60.0)
    ]
    assert limits[0] < limits[1] < limits[2]


def test_baseline_takes_shading_away() -> None:
    shading = -300.0 * np.exp(-STEPS_MM / 2.0)
    fluid, gap = _slab(0.3) + shading, _slab(2.0) + shading
    count = np.ones((60, 1))
    fused = _read(_slab(0.0) + shading + _noise(60, 20.0, 6), 20.0, fluid * count + _noise(60, 20.0, 7))
    lucent = _read(gap + _noise(60, 20.0, 8), 20.0, fluid * count + _noise(60, 20.0, 9))
    assert np.mean(fused.lucent) < 0.1
    assert np.mean(lucent.lucent) > 0.9
    assert np.median(lucent.width_mm) == pytest.approx(2.0, abs=0.3)


def test_no_bone_opposite_and_hidden_profiles_are_not_read() -> None:
    rows = _slab(1.5) + _noise(3, 20.0, 10)
    rows[2, :20] = np.nan
    host = Host(np.array([np.nan, 0.3, 0.3]), np.full((3, len(STEPS_MM)), BONE))
    reading = read_patches(_profiles(rows), host, None, None, _doubt(20.0), 0.0, SOFT, 226.0, 6.63)
    assert np.isnan(reading.lucent[0]) and reading.lucent[1] == 1.0 and np.isnan(reading.lucent[2])
    assert reading.readable(1.8).tolist() == [False, True, False]


def test_joint_host_is_continued_outward() -> None:
    before = np.where(STEPS_MM < 2.0, 60.0, 700.0)[None]
    level = host_level(before, np.array([1.0]), np.array([0.6]), sawn=False)
    assert np.allclose(level[0, STEPS_MM < 1.7], before[0, (STEPS_MM >= 1.72) & (STEPS_MM <= 2.72)].mean())
    assert host_level(before, np.array([1.0]), np.array([0.6]), sawn=True) is before


def test_expected_profiles_end_in_the_host() -> None:
    host = np.full(len(STEPS_MM), 500.0)
    models = expected(host, 1.0, 0.5, np.array([0.0, 2.0]), np.array([226.0, 900.0]), 40.0)
    assert models.profiles.shape == (2, len(models.fills), len(STEPS_MM))
    assert np.allclose(models.profiles[:, :, STEPS_MM > 5.5], 500.0, atol=1.0)
    assert models.profiles[1, 0, STEPS_MM == 1.0] == pytest.approx(40.0 + 460 * ndtr(-2.0), abs=8.0)


def test_profile_between_coarse_slices_is_as_blurred_as_said() -> None:
    """An edge sampled every 2 mm and read linearly between, over all places of the slices against it."""
    blur, steps = Blur(0.5, 0.4), np.arange(-4.0, 4.01, 0.25)
    shown = np.zeros(len(steps))
    phases = np.arange(0.0, 2.0, 0.05)
    for phase in phases:
        slices = np.arange(-10.0, 10.0, 2.0) + phase
        shown += np.interp(steps, slices, ndtr(slices / blur.axial_mm)) / len(phases)
    said = blur.read_linearly(np.array([0.7, 0.7, 2.0]))
    assert np.abs(shown - ndtr(steps / said.axial_mm)).max() < 0.03
    assert np.abs(shown - ndtr(steps / blur.axial_mm)).max() > 0.1
    assert said.in_plane_mm == pytest.approx(np.hypot(0.5, 0.7 / np.sqrt(6.0)))
    assert blur.in_plane_only(3.0) == Blur(3.0, 0.4)


def test_dark_bands_at_the_baseline_raise_the_limit() -> None:
    limits = []
    for depth in (0.0, -300.0):
        shading = depth * np.exp(-STEPS_MM / 2.0)
        base = _slab(0.3) + shading + _noise(40, 20.0, 12)
        reading = _read(_slab(0.0) + shading + _noise(40, 20.0, 11), 20.0, base)
        limits.append(float(np.nanmedian(reading.limit_mm)))
        assert np.nanmean(reading.lucent) < 0.1
    assert limits[1] > limits[0] + 0.2


def test_wide_gap_with_bone_seen_in_it_is_not_told() -> None:
    wide = _slab(3.5) + _noise(40, 25.0, 13)
    assert np.nanmean(_read(wide, 25.0).lucent) > 0.9
    # A fused patch of a simulated patient whose host is thinner than planned: 4.4 mm of gap fit best.
    level = np.interp(STEPS_MM, np.arange(7.0), [422, 422, 422, 443, 338, 189, 131])
    values = [160, 218, 258, 303, 221, 168, 172, 194, 209, 213, 208, 192, 156]
    seen = np.interp(STEPS_MM, np.arange(0.0, 6.1, 0.5), values)
    host = Host(np.array([2.2]), level[None])
    reading = read_patches(_profiles(seen[None]), host, None, None, _doubt(20.0), 0.0, SOFT, 226.0, 6.63)
    assert reading.evidence[0] > 6.63 and np.isnan(reading.lucent[0])
