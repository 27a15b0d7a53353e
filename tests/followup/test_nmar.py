"""Metal artefact reduction on a made slice: analytic rays of three energies, back-projected by numpy in this file."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from implantflow.followup.nmar import Box, correction, prior

FloatArray = NDArray[np.float64]
SIZE, PIXEL_MM = 150, 1.0
SOFT_HU, BONE_HU = 40.0, 700.0
#: Two rods of titanium left and right, and a block of bone on the outer side of the right one.
RODS, ROD_MM = ((-20.0, 0.0), (20.0, 0.0)), 5.0
BONE_MM = (9.0, 14.0)
#: Attenuation of water, bone of 1000 HU and titanium at three energies, 1/mm, and their share of the signal: round
#: figures of this test, so that a ray through metal reads far too little.
WATER, BONE, METAL = (
    np.array([0.025, 0.020, 0.017]),
    np.array([0.062, 0.036, 0.026]),
    np.array([0.50, 0.20, 0.09]),
)
WEIGHT = np.array([0.3, 0.4, 0.3])


def _chords(
    centre: tuple[float, float], axes: tuple[float, float], angles: FloatArray, t: FloatArray
) -> FloatArray:
    """(V, N) lengths of rays ``x cos + y sin = t`` inside an ellipse."""
    c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
    wide = (axes[0] * c) ** 2 + (axes[1] * s) ** 2
    away = t[None] - centre[0] * c - centre[1] * s
    return 2.0 * axes[0] * axes[1] * np.sqrt(np.maximum(wide - away**2, 0.0)) / wide


def _bone_at(gap_mm: float) -> tuple[float, float]:
    return RODS[1][0] + ROD_MM + gap_mm + BONE_MM[0], 0.0


@functools.cache
def scan(gap_mm: float, metal: bool = True) -> NDArray[np.float32]:
    """(J, I) HU of a disc of soft tissue with both rods, and bone ``gap_mm`` beside the right one."""
    angles = (np.arange(240) + 0.5) * np.pi / 240
    t = (np.arange(241) - 120) * 0.75
    body = _chords((0.0, 0.0), (65.0, 50.0), angles, t)
    bone = _chords(_bone_at(gap_mm), BONE_MM, angles, t)
    rods = sum(_chords(rod, (ROD_MM, ROD_MM), angles, t) for rod in RODS) if metal else np.zeros_like(body)
    water = (body - bone - rods) * (1.0 + SOFT_HU / 1000.0)
    shares = [
        w
        * np.exp(
            -(mu * water + b * bone * BONE_HU / 1000.0 + mu * bone * (1.0 - BONE_HU / 1000.0) + m * rods)
        )
        for w, mu, b, m in zip(WEIGHT, WATER, BONE, METAL, strict=True)
    ]
    reading = -np.log(sum(shares))
    # The scanner's own correction for water: what a ray would read in water of this length.
    length = np.linspace(0.0, 600.0, 6001)
    table = -np.log(np.sum(WEIGHT[:, None] * np.exp(-WATER[:, None] * length), axis=0))
    return _back(np.interp(reading, table, length), angles, t)


def _back(lengths: FloatArray, angles: FloatArray, t: FloatArray) -> NDArray[np.float32]:
    """Filtered back-projection with the plain ramp, in numpy."""
    step, count = t[1] - t[0], 1024
    taps = np.zeros(count)
    taps[0], odd = 0.25 / step, np.arange(1, count // 2, 2)
    taps[odd] = taps[-odd] = -1.0 / (np.pi**2 * odd**2 * step)
    ramp = np.fft.fft(taps).real
    filtered = np.fft.ifft(np.fft.fft(lengths, count, axis=1) * ramp, axis=1).real[:, : len(t)]
    place = (np.arange(SIZE) - (SIZE - 1) / 2) * PIXEL_MM
    x, y = np.meshgrid(place, place)
    total = np.zeros_like(x)
    for angle, view in zip(angles, filtered, strict=True):
        total += np.interp(x * np.cos(angle) + y * np.sin(angle), t, view)
    return np.asarray(np.clip(total * np.pi / len(angles) * 1000.0 - 1000.0, -1024, 3071), dtype=np.float32)


def metal() -> NDArray[np.bool_]:
    """(J, I) pixels of the rods and of their blurred rim."""
    x, y = _places()
    return np.asarray(np.any([np.hypot(x - a, y - b) < ROD_MM + 1.0 for a, b in RODS], axis=0))


def _places() -> tuple[FloatArray, FloatArray]:
    place = (np.arange(SIZE) - (SIZE - 1) / 2) * PIXEL_MM
    x, y = np.meshgrid(place, place)
    return x, y


WHOLE = Box(np.array([0, 0, 0]), np.array([SIZE, SIZE, 1]))
SPACING = np.array([PIXEL_MM, PIXEL_MM, 1.0])


@functools.cache
def reduced(gap_mm: float) -> NDArray[np.float32]:
    """The slice with its correction."""
    hu = scan(gap_mm)
    return np.asarray(hu + correction(hu[None], metal()[None], SPACING, WHOLE)[0])


def _between() -> NDArray[np.bool_]:
    """Soft tissue on the line between the rods, where the dark band lies."""
    x, y = _places()
    return np.asarray((np.abs(x) < 11.0) & (np.abs(y) < 3.0))


def test_dark_band_between_rods_is_reduced() -> None:
    before, after = (hu[_between()] - SOFT_HU for hu in (scan(3.0), reduced(3.0)))
    assert before.mean() < -150.0  # the band is there
    assert np.sqrt(np.mean(after**2)) < np.sqrt(np.mean(before**2)) / 4.0


def test_tissue_far_from_metal_stays() -> None:
    """Away from the rays that graze both rods the correction moves nothing by much."""
    x, y = _places()
    far = (np.hypot(x, y * 65.0 / 50.0) < 58.0) & (np.abs(y) > 20.0)
    assert np.abs((reduced(3.0) - scan(3.0))[far]).mean() < 30.0


def _profile(hu: NDArray[np.float32]) -> FloatArray:
    """HU outward from the right rod into the bone, at 1, 2, ... mm from its surface, mean over three rows."""
    middle = (SIZE - 1) / 2
    start = round(middle + RODS[1][0] + ROD_MM)
    rows = slice(round(middle) - 1, round(middle) + 2)
    return np.asarray(hu[rows, start + 1 : start + 9].mean(axis=0), dtype=np.float64)


def test_no_gap_is_invented_and_none_is_filled() -> None:
    fused, open_ = _profile(reduced(0.0)), _profile(reduced(4.0))
    half = (SOFT_HU + BONE_HU) / 2.0
    # One pixel beside the mask of metal on.
    assert (fused[1:] > half).all(), fused
    assert (open_[1:3] < half).all() and (open_[5:] > half).all(), open_


def test_metal_and_slices_without_it_are_not_touched() -> None:
    hu = np.stack([scan(3.0, False), scan(3.0), scan(3.0, False)])
    masks = np.stack([np.zeros((SIZE, SIZE), bool), metal(), np.zeros((SIZE, SIZE), bool)])
    change = correction(hu, masks, SPACING, Box(np.array([0, 0, 0]), np.array([SIZE, SIZE, 3])))
    assert np.abs(change[1]).max() > 100.0
    assert (change[1][metal()] == 0.0).all()
    assert (hu + change)[[0, 2]].tobytes() == hu[[0, 2]].tobytes()


def test_without_metal_there_is_no_effect() -> None:
    hu = scan(3.0, False)[None]
    change = correction(hu, np.zeros_like(hu, dtype=bool), SPACING, WHOLE)
    assert not change.any() and change.shape == hu.shape


def test_same_bytes_and_what_stands_at_metal_is_not_used() -> None:
    hu, box = scan(3.0)[None].copy(), Box(np.array([30, 40, 0]), np.array([120, 110, 1]))
    first = correction(hu, metal()[None], SPACING, box)
    hu[0][metal()] = -500.0
    assert correction(hu, metal()[None], SPACING, box).tobytes() == first.tobytes()
    # A part of the slice gets what it gets within the whole, but for the prior, made of what the part reduces.
    whole = (reduced(3.0) - scan(3.0))[40:110, 30:120]
    assert np.sqrt(np.mean((first[0] - whole) ** 2)) < 0.2 * np.sqrt(np.mean(whole**2))


def test_a_slice_as_the_prior_says_is_not_changed() -> None:
    """Where image and prior are one, there is nothing to take off."""
    x, y = _places()
    hu = np.where(np.hypot(x, y) < 60.0, 0.0, -1000.0).astype(np.float32)
    assert np.unique(prior(hu, metal(), SPACING[:2])).tolist() == [-1000.0, 0.0]
    guess = prior(hu, metal(), SPACING[:2])
    change = correction(guess[None], metal()[None], SPACING, WHOLE)
    assert np.abs(change).max() < 1.0


def test_prior_has_air_one_soft_tissue_and_bone() -> None:
    guess = prior(scan(3.0), metal(), SPACING[:2])
    x, y = _places()
    assert (guess[np.hypot(x, y * 65.0 / 50.0) > 72.0] == -1000.0).all()
    assert len(np.unique(guess[(guess > -1000.0) & (guess < 226.0)])) == 1
    centre = _bone_at(3.0)
    inside = np.hypot((x - centre[0]) / BONE_MM[0], (y - centre[1]) / BONE_MM[1]) < 0.6
    shown = scan(3.0, False)[inside].mean()
    assert (guess[inside] >= 226.0).all() and guess[inside].mean() == pytest.approx(shown, rel=0.15)
    rods = np.any([np.hypot(x - a, y - b) < ROD_MM for a, b in RODS], axis=0)
    assert len(np.unique(guess[rods])) == 1 and guess[rods][0] < 226.0
