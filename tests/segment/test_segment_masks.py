"""Masks: the quick ways against scipy's, on masks that reach the border of the array."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from implantflow.segment.evidence import hidden_border
from implantflow.segment.filters import TRUNCATE, fill_cavities, gaussian, signed_depth, spread
from implantflow.segment.kernels import sample_linear, sample_lines
from implantflow.segment.labels import LABELS
from implantflow.segment.mask_kernels import keep_off
from implantflow.segment.masks import bodies, bounding_box, counts, grown, largest_component, shrunk
from implantflow.segment.mesh_kernels import near_any
from implantflow.segment.surface import fill_cut_faces
from implantflow.volumes import Volume


def blobs(seed: int, share: float = 0.55) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((14, 17, 19)), 1.5)
    return np.asarray(noise > np.quantile(noise, share))


@pytest.mark.parametrize("rounds", [1, 3])
def test_rims_are_those_of_scipy(rounds: int) -> None:
    mask = blobs(1)
    assert mask[0].any() and mask[:, :, -1].any(), "the border must be part of the test"
    assert (grown(mask, rounds) == ndimage.binary_dilation(mask, iterations=rounds)).all()
    for border in (False, True):
        expected = ndimage.binary_erosion(mask, iterations=rounds, border_value=int(border))
        assert (shrunk(mask, rounds, border=border) == expected).all()
    assert (mask == blobs(1)).all(), "the mask given must not change"


def test_bodies_are_counted_and_the_largest_is_found() -> None:
    mask = blobs(2, 0.8)
    numbers, sizes = bodies(mask)
    assert len(sizes) > 3 and (sizes == np.bincount(numbers.ravel())).all()
    assert (counts(numbers, 500)[: len(sizes)] == sizes).all()
    best = largest_component(mask)
    assert best.sum() == sizes[1:].max() and ndimage.label(best)[1] == 1
    nothing = np.zeros_like(mask)
    assert not largest_component(nothing).any()


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("share", [0.0, 0.35, 0.7, 1.0])
def test_bodies_and_voids_are_those_of_scipy(share: float, axes: tuple[int, int, int]) -> None:
    rough = np.random.default_rng(9).standard_normal((11, 13, 9)) > 0.4
    for mask in (blobs(6, share), rough, blobs(7, share)[:1], blobs(8, share)[:, :, :1]):
        turned = mask.transpose(axes)
        for corners in (False, True):
            numbers, sizes = bodies(turned, corners=corners)
            expected, count = ndimage.label(turned, np.ones((3, 3, 3)) if corners else None)
            assert (numbers == expected).all() and len(sizes) == count + 1
            assert (sizes == np.bincount(expected.ravel(), minlength=count + 1)).all()
        assert (fill_cavities(turned) == ndimage.binary_fill_holes(turned)).all()
        each = np.array([ndimage.binary_fill_holes(plane) for plane in turned])
        assert (fill_cavities(turned, planes=True) == each).all()


def test_voids_are_filled_and_the_mask_given_stays() -> None:
    mask = np.zeros((7, 8, 9), bool)
    mask[1:6, 1:7, 1:8], mask[2:5, 2:6, 2:7] = True, False
    kept = mask.copy()
    assert fill_cavities(mask)[1:6, 1:7, 1:8].all() and (mask == kept).all()
    mask[3, 3, :2] = False  # a way out
    assert (fill_cavities(mask) == mask).all()


def test_spread_is_the_gaussian_of_scipy() -> None:
    field = np.random.default_rng(5).random((12, 5, 21))
    sigma = np.array([1.0, 1.4, 0.7])
    expected = ndimage.gaussian_filter(field, sigma, mode="constant")
    assert np.abs(spread(field, sigma) - expected).max() < 1e-14


@pytest.mark.parametrize("shape", [(9, 6, 31), (4, 3, 2), (5, 7, 9)])
def test_smoothing_goes_on_with_the_border_value(shape: tuple[int, int, int]) -> None:
    volume = Volume(np.random.default_rng(6).normal(0, 100, shape), np.diag([0.8, 1.0, 2.0, 1.0]))
    expected = volume.array
    for axis, sigma in enumerate(0.9 / volume.spacing_mm[::-1]):
        reach = int(np.ceil(TRUNCATE * sigma))
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        expected = ndimage.correlate1d(expected, taps / taps.sum(), axis, mode="nearest")
    assert np.abs(gaussian(volume, 0.9) - expected).max() < 1e-3


def test_a_field_is_kept_off_other_bones() -> None:
    others = blobs(4, 0.7)
    field = np.random.default_rng(3).uniform(-0.5, 0.5, others.shape).astype(np.float32)
    taps = np.array([1.0, 2.0, 1.0]) / 4.0
    share = others.astype(float)
    for axis in range(3):
        share = ndimage.correlate1d(share, taps, axis, mode="nearest")
    expected = np.minimum(field, 0.5 - share)
    expected[others] = np.minimum(expected[others], -0.1)
    keep_off(field, others.view(np.uint8))
    assert np.abs(field - expected).max() < 1e-6 and (field[others] < 0).all()


def test_points_near_others_are_those_of_a_tree() -> None:
    rng = np.random.default_rng(8)
    points, others = rng.normal(0, 20, (700, 3)), rng.normal(8, 20, (500, 3))
    distance, _ = cKDTree(others).query(points)
    found = near_any(points, others, 4.0)
    assert (found == (distance < 4.0)).all() and 50 < found.sum() < 650


def test_box_holds_the_mask_and_stops_at_the_border() -> None:
    mask = np.zeros((6, 9, 12), bool)
    mask[0, 4, 3], mask[2, 6, 11] = True, True
    box = bounding_box(mask, 2)
    assert box.start == (0, 2, 1) and box.stop == (5, 9, 12)


def test_a_short_reach_gives_the_same_depths_within_it() -> None:
    mask = blobs(3)
    grid = Volume(mask, np.diag([0.7, 0.9, 1.3, 1.0]))
    far, near = signed_depth(mask, grid), signed_depth(mask, grid, 3.0)
    within = np.abs(far) < 2.5
    assert within.any() and (far[within] == near[within]).all()
    assert (np.abs(near[~within]) >= 2.5).all()


def test_lines_are_sampled_as_points_are() -> None:
    rng = np.random.default_rng(4)
    array = rng.normal(0, 300, (9, 8, 7)).astype(np.float32)
    start, along = rng.uniform(-1, 8, (40, 3)), rng.normal(0, 1, (40, 3))
    steps = np.linspace(-2, 2, 9)
    points = start[:, None] + along[:, None] * steps[None, :, None]
    expected = sample_linear(array, points.reshape(-1, 3), np.float32(-5)).reshape(40, 9)
    found = sample_lines(array, start, along, steps, np.float32(-5))
    assert (found == expected).all() and (found == -5).any() and (found != -5).any()


def test_hidden_border_is_the_area_of_faces_bright_on_both_sides() -> None:
    region = np.zeros((4, 5, 6), np.uint8)
    region[:, :, :3], region[:, :, 3:] = LABELS["sacrum"], LABELS["hip_left"]
    hu = np.full(region.shape, 400.0, np.float32)
    hu[0] = 100.0  # too dark
    region[1, :, 3:] = LABELS["other_bone"]  # no bone that could be bridged to
    area = hidden_border(Volume(hu, np.diag([0.5, 2.0, 3.0, 1.0])), region, 226.0)
    assert area.sum() == pytest.approx(2 * 5 * 6.0) and (area[2:, :, 2] == 6.0).all()


def test_marrow_on_a_cut_face_is_filled_and_an_open_ring_is_not() -> None:
    mask = np.zeros((8, 12, 20), bool)
    mask[:3, 2:10, 2:9], mask[:3, 3:9, 3:8] = True, False
    mask[:3, 2:10, 11:18], mask[:3, 3:9, 12:17] = True, False
    mask[:3, 5, 17] = False  # the second ring is open
    filled = fill_cut_faces(mask)
    assert filled[0, 3:9, 3:8].all() and not filled[0, 3:9, 12:17].any()
    assert (filled[1:] == mask[1:]).all()
