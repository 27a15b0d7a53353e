"""Noise: measured against what was added, calmed only where there is too much, and then to what was promised."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.segment.noise import BORNE_HU, calmed, noise_hu
from implantflow.volumes import Volume


def body(spacing_mm: tuple[float, float, float], noise: float) -> tuple[Volume, Volume]:
    """A bone (700 HU) with marrow in soft tissue in air: with noise, and as it truly is."""
    shape = (60, 70, 80)
    _, j, i = np.indices(shape)
    off = np.hypot((j - 35) / 30, (i - 40) / 34)
    hu = np.where(off < 1.0, 40.0, -1000.0)
    ring = np.hypot(j - 35, i - 40)
    hu[ring < 14] = 700.0
    hu[ring < 9] = 150.0
    truth = Volume(hu.astype(np.float32), np.diag([*spacing_mm, 1.0]))
    grain = np.random.default_rng(3).normal(0.0, noise, shape)
    return truth.like(np.rint(hu + grain).astype(np.int16)), truth


@pytest.mark.parametrize("spacing_mm", [(0.8, 0.8, 1.0), (0.9, 0.9, 3.0)])
@pytest.mark.parametrize("noise", [12.0, 80.0])
def test_noise_is_measured(spacing_mm: tuple[float, float, float], noise: float) -> None:
    assert noise_hu(body(spacing_mm, noise)[0]) == pytest.approx(noise, rel=0.06)


def test_anatomy_along_coarse_slices_is_not_noise() -> None:
    scan, _ = body((1.0, 1.0, 5.0), 10.0)
    ripple = scan.array + np.where(np.arange(60) % 2, 60, -60)[:, None, None]
    assert noise_hu(scan.like(ripple.astype(np.int16))) == pytest.approx(10.0, rel=0.1)


def test_ordinary_noise_is_left_alone() -> None:
    scan, _ = body((1.0, 1.0, 1.0), 40.0)
    same, told = calmed(scan)
    assert same is scan and told["smoothed_sigma_mm"] == 0.0
    nothing = Volume(np.full((12, 12, 12), -1000, np.int16), np.eye(4))
    assert calmed(nothing) == (nothing, {"noise_hu": 0.0, "smoothed_sigma_mm": 0.0})


@pytest.mark.parametrize("spacing_mm", [(0.8, 0.8, 1.0), (0.9, 0.9, 3.0)])
@pytest.mark.parametrize("noise", [60.0, 80.0])
def test_much_noise_is_brought_to_what_is_borne(spacing_mm: tuple[float, float, float], noise: float) -> None:
    scan, truth = body(spacing_mm, noise)
    quiet, told = calmed(scan)
    _, j, i = np.indices(truth.array.shape)
    ring = np.hypot(j - 35, i - 40)
    soft = (ring > 18) & (ring < 25)
    left = float((quiet.array - truth.array)[soft].std())
    assert left == pytest.approx(BORNE_HU, rel=0.08) and told["noise_hu"] == pytest.approx(noise, rel=0.06)
    assert 0.0 < told["smoothed_sigma_mm"] < 0.8 * max(spacing_mm)
