"""A gap at its stated limit is found, though metal, its edge and dark bands differ between two scans."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from implantflow.followup import departure
from implantflow.followup.bloom import Doubt
from implantflow.followup.departure import departures
from implantflow.followup.lucency import Host, Reading, expected, read_patches
from implantflow.followup.profile import STEPS_MM, Profiles

SIGMA, SOFT, BONE, METAL_HU, PATCHES = 0.6, 40.0, 700.0, 8000.0, 150
LEVEL = np.full(len(STEPS_MM), BONE)
METAL = METAL_HU * ndtr(-STEPS_MM / SIGMA)
SLOPE = np.gradient(METAL, STEPS_MM)
BAND = -300.0 * np.exp(-STEPS_MM / 2.0)
NOISE = 25.0**2 * np.exp(-((np.abs(STEPS_MM[:, None] - STEPS_MM[None]) / 0.8) ** 2)) + 16.0 * np.eye(
    len(STEPS_MM)
)


def _tissue(width: float) -> np.ndarray:
    """(S,) HU: soft tissue to ``width``, then the host."""
    return expected(LEVEL, 0.3, SIGMA, np.array([width]), np.array([BONE]), SOFT).profiles[0, 0]


def _scans(width: float, rng: np.random.Generator) -> np.ndarray:
    """(P, S) HU of patches that differ from the baseline by noise, metal's brightness, place and width, and band."""
    size = rng.normal(size=(PATCHES, 4)) * [0.08, 0.035, 0.05, 0.4]
    wrong = size @ np.stack([METAL, SLOPE, STEPS_MM * SLOPE, BAND])
    return (
        _tissue(width)
        + BAND
        + wrong
        + rng.normal(size=(PATCHES, len(STEPS_MM))) @ np.linalg.cholesky(NOISE).T
    )


def _read(rows: np.ndarray, metal_hu: np.ndarray) -> Reading:
    def profiles(tissue: np.ndarray) -> Profiles:
        every = np.ones((PATCHES, 1))
        return Profiles(
            tissue, tissue, 0.0 * tissue, every * metal_hu, every * LEVEL, np.full(PATCHES, SIGMA)
        )

    host = Host(np.full(PATCHES, 0.3), np.tile(LEVEL, (PATCHES, 1)))
    base = profiles(np.tile(_tissue(0.3) + BAND, (PATCHES, 1)))
    return read_patches(profiles(rows), host, base, host, Doubt(NOISE, 50, "dense"), 0.0, SOFT, 226.0, 6.63)


def test_gap_at_the_stated_limit_is_found_and_contact_is_not_called() -> None:
    rng = np.random.default_rng(4)
    contact = _read(_scans(0.0, rng), METAL)
    limit = float(np.nanmedian(contact.limit_mm))
    assert 0.8 < limit < 2.2
    assert np.mean(contact.lucent == 1.0) <= 0.05
    gap = _read(_scans(limit, rng), METAL)
    assert np.mean(gap.lucent == 1.0) >= 0.95
    assert np.median(gap.width_mm) - limit < 0.2


def test_without_the_metal_the_limit_promises_too_much() -> None:
    """The same patches, read as if the metal could not be wrong: what the terms are there for."""
    rng = np.random.default_rng(4)
    contact = _read(_scans(0.0, rng), 0.0 * METAL)
    gap = _read(_scans(float(np.nanmedian(contact.limit_mm)), rng), 0.0 * METAL)
    assert np.mean(gap.lucent == 1.0) < 0.8


def test_departures_hold_the_errors_that_they_name() -> None:
    """Second moments of drawn errors against the stated covariance."""
    rng = np.random.default_rng(9)
    rows = np.tile(_tissue(0.3), (PATCHES, 1))
    level, metal = np.tile(LEVEL, (PATCHES, 1)), np.tile(METAL, (PATCHES, 1))
    stated = departures(NOISE, rows, level, metal, np.tile(BAND, (PATCHES, 1)), 0.0)[0]
    drawn = rng.normal(size=(20_000, 3)) * [departure._BRIGHTNESS, departure._EDGE_MM, departure._WIDTH]
    drawn = drawn @ np.stack([METAL, SLOPE, STEPS_MM * SLOPE])
    rest = (
        stated
        - NOISE
        - departures(NOISE, rows, level, 0.0 * metal, np.tile(BAND, (PATCHES, 1)), 0.0)[0]
        + NOISE
    )
    assert np.allclose(drawn.T @ drawn / len(drawn), rest, atol=0.03 * rest.max())
    assert (np.linalg.eigvalsh(stated) > 0).all()
    far = departures(NOISE, rows, level, metal, np.tile(BAND, (PATCHES, 1)), 4.0)[0] - stated
    assert np.allclose(np.diag(far), (0.4 * BAND) ** 2)
    nothing = departures(NOISE, rows * np.nan, level, metal, None, 0.0)
    assert np.isfinite(nothing).all()
