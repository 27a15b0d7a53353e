"""Rigid registration by mutual information on a made-up body: right pose, same digits, or a refusal."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.registration.parts import MAX_RESIDUAL_MM
from implantflow.registration.rigid import MAX_DISAGREEMENT_MM, register_rigid
from implantflow.volumes import Volume

SHAPE = (44, 56, 72)
SPACING_MM = 4.0


def affine(origin: tuple[float, float, float], spacing_mm: float = SPACING_MM) -> FloatArray:
    matrix = np.diag([spacing_mm] * 3 + [1.0])
    matrix[:3, 3] = origin
    return matrix


@cache
def body() -> tuple[Volume, Volume]:
    """(CT, bone labels) of an oval body with textured tissue, two wings and a wedge of bone."""
    rng = np.random.default_rng(4)
    z, y, x = np.indices(SHAPE)
    x, y, z = x - 35.0, y - 27.0, z - 21.0
    inside = (x / 32) ** 2 + (y / 23) ** 2 < 1
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.5)
    hu = np.where(inside, 40 + 900 * texture, -1000.0)
    hu = np.where(inside & (texture < -0.03), -100, hu)
    labels = np.zeros(SHAPE, np.uint8)
    for code, sign in ((2, 1), (3, -1)):
        wing = ((x * sign - 17 - 0.2 * z) / 3) ** 2 + ((y - 3) / 11) ** 2 + ((z - 2) / 15) ** 2 < 1
        labels[wing] = code
    labels[((x / 9) ** 2 + ((y - 9 - 0.3 * z) / 5) ** 2 + ((z + 4) / 13) ** 2) < 1] = 1
    hu = np.where(labels > 0, 450 + 800 * texture, hu)
    hu = ndimage.gaussian_filter(hu, 0.6)
    grid = affine((-140.0, -108.0, -84.0))
    return Volume(hu.astype(np.int16), grid), Volume(labels, grid)


def mr_like(ct: Volume, ct_from_mr: FloatArray) -> Volume:
    """The same body with another contrast, smaller field, other voxels, in a frame of its own."""
    grid = np.diag([3.0, 3.0, 6.0, 1.0])
    grid[:3, 3] = (-110.0, -90.0, -70.0)
    shape = (24, 62, 74)
    k, j, i = np.indices(shape)
    points = transform_points(grid, np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    index = ct.lps_to_index(transform_points(ct_from_mr, points))[:, ::-1].T
    hu = ndimage.map_coordinates(ct.array.astype(float), index, order=1, cval=-1000)
    signal = np.interp(hu, [-900, -150, -80, 0, 80, 300, 700], [2, 200, 190, 60, 110, 150, 40])
    return Volume(signal.reshape(shape).astype(np.int16), grid)


def pose(seed: int, shift_mm: float, turn_deg: float) -> FloatArray:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    axis, direction = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    matrix[:3, :3] = Rotation.from_rotvec(axis * np.radians(turn_deg)).as_matrix()
    matrix[:3, 3] = direction * shift_mm
    return matrix


@pytest.mark.parametrize(("seed", "shift_mm", "turn_deg"), [(0, 5, 3), (1, 14, 9), (2, 20, 12)])
def test_pose_is_found(seed: int, shift_mm: float, turn_deg: float) -> None:
    ct, labels = body()
    truth = pose(seed, shift_mm, turn_deg)
    found = register_rigid(ct, labels, mr_like(ct, truth))
    bone = labels.index_to_lps(np.argwhere(labels.array > 0)[:, ::-1])
    in_mr = transform_points(np.linalg.inv(truth), bone)
    error = np.linalg.norm(transform_points(found.ct_from_mr, in_mr) - bone, axis=1)
    assert error.max() < 1.0, error.max()
    assert found.agreement_mm <= MAX_DISAGREEMENT_MM and found.starts >= 3
    assert max(found.part_residual_mm.values()) < MAX_RESIDUAL_MM and len(found.part_residual_mm) >= 5
    rotation = found.ct_from_mr[:3, :3]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5) and np.linalg.det(rotation) > 0


def test_same_digits_twice() -> None:
    ct, labels = body()
    mr = mr_like(ct, pose(3, 8, 4))
    first, second = register_rigid(ct, labels, mr), register_rigid(ct, labels, mr)
    assert np.array_equal(first.ct_from_mr, second.ct_from_mr)
    assert first.agreement_mm == second.agreement_mm
    assert np.array_equal(np.round(first.ct_from_mr, 6), first.ct_from_mr)


def test_an_image_of_nothing_is_refused() -> None:
    ct, labels = body()
    noise = np.random.default_rng(0).integers(0, 200, (24, 62, 74)).astype(np.int16)
    mr = mr_like(ct, np.eye(4))
    with pytest.raises(GeometryError, match=r"not certain|overlap|of the planning CT's bones"):
        register_rigid(ct, labels, Volume(noise, mr.affine_lps), name="mr_diagnosis")


def test_no_bone_is_refused() -> None:
    ct, labels = body()
    with pytest.raises(GeometryError, match="no bone"):
        register_rigid(ct, labels.like(np.zeros_like(labels.array)), ct)


@pytest.mark.requirement("registration-other-patient")
@pytest.mark.parametrize("part", ["wing", "scale"])
def test_another_patient_is_refused(part: str) -> None:
    """All starts agree on one answer for another body too; its parts do not."""
    ct, labels = body()
    stranger = mr_like(stretched(ct, part), pose(5, 8, 4))
    with pytest.raises(GeometryError, match="does not fit the planning CT as one rigid body"):
        register_rigid(ct, labels, stranger)


def stretched(ct: Volume, part: str) -> Volume:
    """Another body: its left wing 7 mm further out, or all of it 5 % wider."""
    k, j, i = np.indices(ct.array.shape).astype(float)
    if part == "scale":
        i = 35.0 + (i - 35.0) / 1.05
    else:
        i = i - 1.75 * np.clip((i - 40.0) / 8.0, 0.0, 1.0)
    return ct.like(ndimage.map_coordinates(ct.array.astype(float), (k, j, i), order=1, mode="nearest"))


def test_too_little_bone_to_check_is_refused() -> None:
    """Half of one bone can always be laid onto something: nothing contradicts it."""
    ct, labels = body()
    tip = np.where((labels.array == 1) & (np.indices(SHAPE)[0] > 16), labels.array, 0)
    with pytest.raises(GeometryError, match=r"cannot be checked|not certain"):
        register_rigid(ct, labels.like(tip), mr_like(ct, pose(5, 8, 4)))
