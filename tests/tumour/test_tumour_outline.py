"""The outline at the middle of its edge: a rim that enhances most, thick slices, another tissue on each side."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from implantflow.tumour.outline import move_to_half_level

VOXEL_MM, SLICE_MM, RADIUS_MM = 0.9, 4.0, 16.0
VOLUME_MM3 = 4 / 3 * np.pi * RADIUS_MM**3


def ball(rim: float) -> tuple[np.ndarray, np.ndarray]:
    """Image (K, J, I) of a blurred ball between fat and muscle, and depth (mm) inside the ball."""
    at = (np.arange(56) - 27.3) * VOXEL_MM
    k, j, i = np.meshgrid(at, at, at, indexing="ij")
    depth = RADIUS_MM - np.sqrt(k**2 + j**2 + i**2)
    inside = 345.0 + rim * np.clip(1.0 - depth / 4.0, 0.0, 1.0)
    beside = np.where(i > 0, 250.0, 105.0)
    share = np.clip(depth / VOXEL_MM + 0.5, 0.0, 1.0)
    sigma = np.array([SLICE_MM / np.sqrt(12), 0.8, 0.8]) / VOXEL_MM
    noise = np.random.default_rng(3).normal(0, 6, depth.shape)
    return ndimage.gaussian_filter(share * inside + (1 - share) * beside, sigma) + noise, depth


@pytest.mark.parametrize("start_mm", [-0.8, 0.5])
@pytest.mark.parametrize("rim", [0.0, 75.0])
def test_a_bright_rim_does_not_carry_the_outline_outward(rim: float, start_mm: float) -> None:
    image, depth = ball(rim)
    found = move_to_half_level(depth > -start_mm, image, VOXEL_MM, 2.5, SLICE_MM)
    assert found.sum() * VOXEL_MM**3 == pytest.approx(VOLUME_MM3, rel=0.02)
    wrong = found != (depth > 0)
    assert np.abs(depth[wrong]).max() < 1.2, "the outline follows each side's own edge"


def test_without_reach_the_outline_stays() -> None:
    image, depth = ball(75.0)
    start = depth > 1.0
    assert move_to_half_level(start, image, VOXEL_MM, 0.0, SLICE_MM) is start
