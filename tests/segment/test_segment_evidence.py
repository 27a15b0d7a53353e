"""How sure labels are: bridges are found where two bones are one in the image, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.segment.evidence import bridges, changes, hidden_border, shares
from implantflow.segment.filters import fill_cavities, gaussian, resampled, signed_depth
from implantflow.segment.labels import HIP_LEFT, L5, SACRUM
from implantflow.volumes import Volume


def two_bones() -> tuple[Volume, np.ndarray]:
    """Two blocks with a gap of 2 mm, joined over 6 x 8 mm."""
    hu = np.full((30, 30, 40), 40.0, np.float32)
    region = np.zeros(hu.shape, np.uint8)
    hu[5:25, 5:25, 5:19] = hu[5:25, 5:25, 21:35] = 800.0
    hu[10:16, 10:18, 19:21] = 600.0
    region[5:25, 5:25, 5:20], region[5:25, 5:25, 20:35] = SACRUM, HIP_LEFT
    affine = np.eye(4)
    affine[:3, 3] = (100.0, 200.0, 300.0)
    return Volume(hu, affine), region


def test_a_bridge_is_named_placed_and_measured() -> None:
    hu, region = two_bones()
    area = hidden_border(hu, region, 226.0)
    assert area.sum() == pytest.approx(48.0)
    (found,) = bridges(hu, region, area)
    assert found["between"] == ["sacrum", "hip_left"]
    assert found["border_mm2"] == pytest.approx(48.0) and found["mean_hu"] == pytest.approx(600.0)
    x, y, z = found["place_lps_mm"]
    assert x == pytest.approx(119.0) and 210.0 <= y < 218.0 and 310.0 <= z < 316.0
    hu.array[10:16, 10:18, 19:21] = 40.0
    assert bridges(hu, region, hidden_border(hu, region, 226.0)) == []


def test_changes_and_shares_add_up() -> None:
    _, region = two_bones()
    after = region.copy()
    after[5:25, 5:25, 19] = HIP_LEFT
    after[5, 5:25, 5:15] = L5
    assert changes(region, after, 0.5) == [
        {"from": "sacrum", "to": "hip_left", "volume_mm3": 200.0},
        {"from": "sacrum", "to": "l5", "volume_mm3": 100.0},
    ]
    codes = np.array([0, 4, 4, 4, 1, 2, 3, 4], np.uint8)
    assert sum(shares(codes).values()) == pytest.approx(100.0)
    assert shares(codes)["clear"] == pytest.approx(400.0 / 7.0)


def test_filters_equal_the_textbook_ones() -> None:
    from scipy import ndimage

    rng = np.random.default_rng(4)
    affine = np.diag([0.7, 0.9, 2.0, 1.0])
    volume = Volume(rng.normal(0, 100, (9, 14, 17)).astype(np.float32), affine)
    wanted = ndimage.gaussian_filter(
        volume.array, 0.9 / volume.spacing_mm[::-1], mode="nearest", truncate=3.5
    )
    assert np.abs(gaussian(volume, 0.9) - wanted).max() < 2.0
    mask = ndimage.gaussian_filter(rng.normal(size=(9, 14, 17)), 2.0) > 0
    rim = mask & ~ndimage.binary_erosion(mask, border_value=1)
    exact = ndimage.distance_transform_edt(~rim, sampling=volume.spacing_mm[::-1])
    depth = signed_depth(mask, volume) - np.float32(0.5 * volume.spacing_mm.mean())
    assert np.allclose(np.abs(depth), np.minimum(exact, 8.0), atol=1e-4)
    assert (depth[mask] >= 0).all() and (depth[~mask] < 0).all()
    shifted = affine.copy()
    shifted[:3, 3] = (0.35, 0.0, 0.0)
    half = resampled(volume, (9, 14, 16), shifted, 0.0).array
    assert np.allclose(half, 0.5 * (volume.array[:, :, :16] + volume.array[:, :, 1:]), atol=1e-3)
    ring = np.zeros((4, 9, 9), bool)
    ring[:, 2:7, 2:7] = True
    ring[:, 4, 4] = False
    assert (fill_cavities(ring) == ring).all()  # open at both ends
    assert fill_cavities(ring, planes=True)[:, 4, 4].all()
    ring[[0, 3]] = False
    ring[0, 2:7, 2:7] = ring[3, 2:7, 2:7] = True
    assert fill_cavities(ring)[1, 4, 4]
