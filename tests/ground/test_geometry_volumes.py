"""Frames, planes and volumes in patient LPS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from implantflow.errors import GeometryError, InputError
from implantflow.geometry import (
    Plane,
    invert_rigid,
    perpendiculars,
    polyline_distance,
    rotation_angle_deg,
    segment_distance,
    transform_points,
    unit,
)
from implantflow.volumes import Volume, read_volume, to_sitk, write_volume

coordinate = st.floats(-300, 300)
points = st.tuples(coordinate, coordinate, coordinate)
direction = points.filter(lambda v: np.linalg.norm(v) > 1e-3)


@given(points, direction, points)
def test_mirror_keeps_the_plane_and_swaps_sides(point: tuple, normal: tuple, other: tuple) -> None:
    plane = Plane.of(point, normal)
    mirrored = transform_points(plane.mirror_matrix(), [other])
    assert plane.distance(mirrored)[0] == pytest.approx(-plane.distance([other])[0], abs=1e-6)
    assert np.allclose(transform_points(plane.mirror_matrix(), mirrored), [other], atol=1e-6)


def test_plane_json_round_trip_and_zero_normal() -> None:
    plane = Plane.of([1, 2, 3], [0, 0, 5])
    assert Plane.from_json(plane.as_json()) == plane
    with pytest.raises(GeometryError, match="no length"):
        unit([0, 0, 0])


def test_rigid_inverse_and_angle() -> None:
    angle = np.radians(20)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [5, -7, 9]
    assert np.allclose(invert_rigid(matrix) @ matrix, np.eye(4))
    assert rotation_angle_deg(matrix[:3, :3]) == pytest.approx(20)


@given(st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1))
def test_perpendiculars_make_a_right_handed_frame(vector: tuple[float, ...]) -> None:
    axis = unit(np.array(vector))
    u, v = perpendiculars(axis)
    frame = np.stack([axis, u, v])
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1.0)


def test_distance_to_segment_and_polyline() -> None:
    start, end = np.array([0.0, 0.0, 0.0]), np.array([10.0, 0.0, 0.0])
    points = np.array(
        [[5.0, 3.0, 0.0], [-3.0, 4.0, 0.0], [13.0, 0.0, 4.0]]
    )  # beside it, before it, beyond it
    assert segment_distance(points, start, end) == pytest.approx([3.0, 5.0, 5.0])
    assert segment_distance(points[:1], start, start) == pytest.approx([np.sqrt(34.0)])
    bent = np.array([start, end, [10.0, 10.0, 0.0]])
    assert polyline_distance(np.array([[12.0, 6.0, 0.0], [4.0, 1.0, 0.0]]), bent) == pytest.approx([2.0, 1.0])
    assert np.isinf(polyline_distance(points, bent[:1])).all()


def oblique() -> Volume:
    rng = np.random.default_rng(3)
    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = q * [0.8, 0.7, 1.5]
    affine[:3, 3] = [-100.5, 20.25, 7]
    return Volume(rng.integers(-1000, 3000, (4, 5, 6)).astype(np.int16), affine)


def test_nifti_keeps_place_and_values_and_itk_agrees(tmp_path: Path) -> None:
    volume = oblique()
    write_volume(tmp_path / "v.nii.gz", volume)
    again = read_volume(tmp_path / "v.nii.gz")
    assert np.array_equal(again.array, volume.array)
    assert np.allclose(again.affine_lps, volume.affine_lps, atol=1e-4)
    image = sitk.ReadImage(str(tmp_path / "v.nii.gz"))
    assert np.allclose(
        image.TransformIndexToPhysicalPoint((5, 4, 3)), volume.index_to_lps([[5, 4, 3]])[0], atol=1e-4
    )
    write_volume(tmp_path / "w.nii.gz", volume)
    assert (tmp_path / "v.nii.gz").read_bytes() == (tmp_path / "w.nii.gz").read_bytes()


def test_contains_and_voxel_volume() -> None:
    volume = oblique()
    assert volume.voxel_volume_mm3 == pytest.approx(0.8 * 0.7 * 1.5)
    inside = volume.index_to_lps([[-0.4, 0, 0], [-0.6, 0, 0], [5.4, 4.4, 3.4]])
    assert volume.contains_lps(inside).tolist() == [True, False, True]


def test_sheared_volume_is_refused_not_straightened() -> None:
    affine = np.eye(4)
    affine[1, 2] = 0.2
    with pytest.raises(GeometryError, match="not orthogonal"):
        to_sitk(Volume(np.zeros((2, 2, 2), np.int16), affine))


def test_damaged_nifti_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "v.nii.gz").write_bytes(b"not an image")
    with pytest.raises(InputError, match="cannot be read"):
        read_volume(tmp_path / "v.nii.gz")
    with pytest.raises(InputError, match="missing"):
        read_volume(tmp_path / "none.nii.gz")
