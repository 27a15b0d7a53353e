"""Cuts: the cheapest dark sheet wins, the prior only where it is sure."""

from __future__ import annotations

import numpy as np

from implantflow.segment.cut import Prices, two_way_cut
from implantflow.segment.kernels import pose_costs, sample_linear, valley_hu
from implantflow.segment.mask_kernels import keep_off


def slabs(gap_at: int, gap_hu: float) -> np.ndarray:
    hu = np.full((12, 16, 40), 700.0, dtype=np.float32)
    hu[:, :, gap_at] = gap_hu
    return hu


def prices(hu: np.ndarray) -> Prices:
    return Prices(hu, hu, 0.8, np.ones(3), 12.0)


def test_cut_runs_through_the_gap_and_not_where_the_prior_ends() -> None:
    hu = slabs(gap_at=24, gap_hu=80.0)
    lean = np.broadcast_to((19.5 - np.arange(40.0)).astype(np.float32), hu.shape).copy()
    first = two_way_cut(np.ones(hu.shape, bool), lean, 8.0, prices(hu))
    assert first[:, :, :24].all()
    assert not first[:, :, 25:].any()


def test_outside_the_band_the_prior_decides() -> None:
    hu = slabs(gap_at=34, gap_hu=0.0)
    lean = np.broadcast_to((19.5 - np.arange(40.0)).astype(np.float32), hu.shape).copy()
    first = two_way_cut(np.ones(hu.shape, bool), lean, 8.0, prices(hu))
    assert not first[:, :, 28:].any()
    nothing = two_way_cut(np.zeros(hu.shape, bool), lean, 8.0, prices(hu))
    assert not nothing.any()


def test_valley_equals_eigenvalues_of_the_hessian() -> None:
    rng = np.random.default_rng(3)
    hu = rng.normal(0, 50, (7, 7, 7)).astype(np.float32)
    spacing = np.array([1.0, 0.8, 0.7])
    found = float(valley_hu(hu, np.array([[3, 3, 3]]), spacing, 0.8)[0])
    h = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            up, down = np.eye(3, dtype=int)[a], np.eye(3, dtype=int)[b]
            at = np.array([3, 3, 3])
            if a == b:
                second = hu[tuple(at + up)] + hu[tuple(at - up)] - 2 * hu[3, 3, 3]
                h[a, a] = second * 0.64 / spacing[a] ** 2
            else:
                mixed = (
                    hu[tuple(at + up + down)] - hu[tuple(at + up - down)]
                    - hu[tuple(at - up + down)] + hu[tuple(at - up - down)]
                )  # fmt: skip
                h[a, b] = mixed * 0.64 / (4 * spacing[a] * spacing[b])
    low, middle, high = np.linalg.eigvalsh(h)
    assert low <= middle <= high
    assert abs(found - max(high - 0.5 * abs(middle), 0.0)) < 1e-2


def test_samples_are_trilinear_and_mark_the_outside() -> None:
    k, j, i = np.indices((4, 5, 6))
    ramp = (2.0 * i + 3.0 * j - k).astype(np.float32)
    index = np.array([[1.25, 2.5, 0.75], [-0.4, 0.0, 0.0], [9.0, 0.0, 0.0]])
    value = sample_linear(ramp, index, np.float32(-7.0))
    assert np.allclose(value, [2.5 + 7.5 - 0.75, 0.0, -7.0])


def test_the_surface_stays_off_the_neighbour_by_its_share() -> None:
    others = np.zeros((5, 5, 5), np.uint8)
    others[:, :, 3:] = 1
    field = np.full(others.shape, 0.5, np.float32)
    keep_off(field, others)
    assert np.allclose(field[2, 2], [0.5, 0.5, 0.25, -0.25, -0.5])
    far = np.full(others.shape, -0.5, np.float32)
    keep_off(far, others)
    assert (far == -0.5).all()


def test_pose_cost_is_the_capped_mean_distance() -> None:
    near = np.full((10, 10, 10), 30.0, np.float32)
    near[5, 5, 5] = 2.0
    shapes = np.zeros((1, 2, 3))
    shapes[0, 1] = (50.0, 0.0, 0.0)
    shifts = np.array([[5.0, 5.0, 5.0], [200.0, 0.0, 0.0]])
    cost = pose_costs(near, np.zeros(3), 1.0, shapes, shifts, 25.0, 8.0, 0.4)
    assert cost[0, 0] == (2.0 + 8.0) / 2
    assert np.isinf(cost[0, 1])
