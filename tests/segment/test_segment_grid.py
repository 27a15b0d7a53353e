"""Orientation: whatever the axes of the file, the same voxels end up in the same place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from implantflow.errors import GeometryError
from implantflow.segment.grid import Box, box_around, canonical, crop, isotropic_lps, restore
from implantflow.volumes import Volume

SHAPE = (5, 7, 9)


def oriented(order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    affine = np.eye(4)
    for column, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, column] = 0.0
        affine[axis, column] = sign * (0.8, 1.1, 2.0)[column]
    affine[:3, 3] = (10.0, -20.0, 300.0)
    return Volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), affine)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_canonical_keeps_every_voxel_in_its_place(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    volume = oriented(order, signs)
    view, axes, flips = canonical(volume)
    assert (np.diag(view.affine_lps)[:3] > 0).all()
    at = np.array([[1, 2, 3], [8, 6, 4], [0, 0, 0]])
    lps = volume.index_to_lps(at)
    there = np.rint(view.lps_to_index(lps)).astype(int)
    assert (view.array[tuple(there[:, ::-1].T)] == volume.array[tuple(at[:, ::-1].T)]).all()
    assert (restore(view.array, axes, flips) == volume.array).all()


def test_oblique_beyond_45_degrees_is_refused() -> None:
    turn = np.eye(4)
    a = np.radians(46.0)
    turn[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    b = np.radians(44.0)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(b), -np.sin(b)], [np.sin(b), np.cos(b)]]
    with pytest.raises(GeometryError, match="left from right"):
        canonical(Volume(np.zeros(SHAPE, np.int16), turn @ tilt))


def test_box_crop_and_copy_stay_in_patient_space() -> None:
    volume = oriented((0, 1, 2), (1, 1, 1))
    part = crop(volume, Box((1, 2, 3), (4, 6, 8)))
    assert np.allclose(part.index_to_lps([[0, 0, 0]]), volume.index_to_lps([[3, 2, 1]]))
    box = box_around(volume, volume.index_to_lps([[4, 3, 2]]), 0.9)
    assert box.start == (1, 2, 2) and box.stop == (4, 5, 7)
    with pytest.raises(GeometryError, match="outside the scan"):
        box_around(volume, np.array([[500.0, 0.0, 0.0]]), 1.0)
    # A linear ramp survives resampling exactly.
    k, j, i = np.indices(SHAPE)
    lps = volume.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], 1)).reshape(*SHAPE, 3)
    ramp = Volume((lps @ [1.0, 2.0, 3.0]).astype(np.float32), volume.affine_lps)
    copy = isotropic_lps(ramp, 1.0, 0.0)
    k, j, i = np.indices(copy.array.shape)
    lps = copy.index_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], 1)).reshape(*copy.array.shape, 3)
    inside = copy.array > -1000
    assert inside.mean() > 0.9
    assert np.abs(copy.array - lps @ [1.0, 2.0, 3.0])[inside].max() < 0.01
