"""Beyond the end of what the prior knows: marrow between thin plates is filled, the canal is not; turned or not."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.geometry import Plane
from implantflow.segment.cut import Prices
from implantflow.segment.prior import ShapePrior
from implantflow.segment.regions import Scene, _under_the_sacrum
from implantflow.segment.surface import candidate
from implantflow.volumes import Volume


@pytest.mark.parametrize("voxel_mm", [1.0, 1.5, 2.0])
def test_marrow_of_a_caudal_sacrum_is_filled_at_every_voxel_size_and_its_canal_stays_open(
    voxel_mm: float,
) -> None:
    """Two plates 6 mm apart, the front one with holes of 4 mm, a canal of 14 mm behind; the prior ends above."""
    size = (48.0, 60.0, 60.0)
    shape = tuple(int(s / voxel_mm) for s in size)
    z, y, x = (voxel_mm * (n + 0.5) for n in np.indices(shape))
    across = np.abs(x - 30.0)
    outer = (across < 24.0) & (y > 10.0) & (y < 40.0) & (z > 6.0)
    marrow = (across < 21.0) & (y > 13.0) & (y < 19.0) & (z > 9.0)
    holes = (np.abs(across - 13.0) < 2.0) & (np.abs(z % 10.0 - 5.0) < 2.0) & (y < 14.0)
    canal = (across < 7.0) & (y > 22.0) & (y < 36.0)
    beside = (across > 10.0) & (y > 22.0)
    hu = np.where(outer & ~marrow & ~canal & ~beside & ~holes, 600, 20).astype(np.int16)
    grid = Volume(hu, np.diag([voxel_mm] * 3 + [1.0]))
    seen = hu > 226
    nobody = np.zeros_like(seen)
    far = np.maximum(36.0 - z, 3.0).astype(np.float32)
    solid = candidate(grid, seen, nobody, seen, far).solid
    inner = marrow & (z > 12.0) & (z < 42.0)
    assert solid[inner].mean() > 0.99
    assert solid[canal & (z > 12.0) & (z < 42.0)].mean() < 0.15


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_caudal_of_the_sacrum_turns_with_the_patient(axis: int) -> None:
    rng = np.random.default_rng(4)
    sacrum = rng.uniform((-40, 0, 0), (40, 30, 100), (400, 3))
    mean = np.vstack([rng.uniform((60, -60, 0), (90, 40, 150), (200, 3)), sacrum])
    bone = np.repeat([0, 1, 2], [100, 100, 400])
    mean[100:200, 0] *= -1
    names = ("hip_left", "hip_right", "sacrum")
    prior = ShapePrior(
        "atlas", names, mean, np.empty((0, *mean.shape)), (), bone, covers_apex=False, members=1
    )
    a, b = [n for n in range(3) if n != axis]
    turn = np.eye(3)
    angle = np.radians(20.0)
    turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -60.0
    grid = Volume(np.zeros((40, 30, 30), np.int16), affine)
    empty = np.zeros(grid.array.shape, np.float32)
    scene = Scene(
        grid,
        empty > 0,
        {},
        Prices(empty, empty, 0.8, np.full(3, 4.0), 12.0),
        Plane.of([0.0, 0.0, 100.0], [0.0, 0.0, 1.0]),
        mean @ turn.T,
        prior,
    )
    below, off = _under_the_sacrum(scene)
    k, j, i = np.indices(grid.array.shape)
    own = grid.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], 1)) @ turn
    caudal = own[:, 2].reshape(empty.shape) - np.percentile(sacrum[:, 2], 3) - 4.0
    clear = np.abs(caudal) > 0.01
    assert (np.broadcast_to(below, empty.shape) == (caudal < 0))[clear].all()
    across = np.abs(own[:, 0] - np.median(sacrum[:, 0])).reshape(empty.shape)
    assert np.allclose(np.broadcast_to(off, empty.shape), across, atol=0.01)
