"""Label maps from other programs: read in their frame and unit, placed on a grid, or refused with the cause."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from implantflow.errors import GeometryError, ImplantflowError, InputError
from implantflow.foreign.read import labels_on, read_foreign
from implantflow.volumes import Volume, to_sitk, write_volume

CENTRE = np.array([22.0, -14.0, 131.0])


def image() -> Volume:
    """A scan that is oblique, anisotropic and nowhere symmetric."""
    a = np.radians(20)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.5, 1.2, 2.0]
    affine[:3, 3] = (-5.0, -45.0, 100.0)
    return Volume(np.zeros((30, 40, 36), np.int16), affine)


def ball(grid: Volume) -> Volume:
    """Label 3 within 9 mm of the centre."""
    k, j, i = np.indices(grid.array.shape)
    points = grid.index_to_lps(np.column_stack([i.ravel(), j.ravel(), k.ravel()]))
    inside = np.linalg.norm(points - CENTRE, axis=1) < 9
    return grid.like((3 * inside.reshape(grid.array.shape)).astype(np.uint8))


def centre_of(array: np.ndarray, grid: Volume) -> np.ndarray:
    k, j, i = np.nonzero(array)
    return grid.index_to_lps(np.column_stack([i, j, k])).mean(axis=0)


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.nrrd", "m.mha"])
def test_formats_in_place(name: str, tmp_path: Path) -> None:
    scan = image()
    write_volume(tmp_path / name, ball(scan))
    labels, how = labels_on(read_foreign(tmp_path / name), scan, resample=False)
    assert how == "same grid" and np.array_equal(labels, ball(scan).array)


@pytest.mark.parametrize("order", ["LPS", "RAS", "RPI", "SAL", "AIR", "PSL"])
def test_another_storage_order_is_the_same_voxels(order: str, tmp_path: Path) -> None:
    """A file may keep its axes in any order and direction: voxels are put back without resampling."""
    scan = image()
    write_volume(tmp_path / "m.nii.gz", ball(scan))
    sitk.WriteImage(
        sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "m.nii.gz")), order), str(tmp_path / "o.nii.gz")
    )
    labels, how = labels_on(read_foreign(tmp_path / "o.nii.gz"), scan, resample=False)
    assert how.startswith("same") and np.array_equal(labels, ball(scan).array)


def test_part_of_the_grid(tmp_path: Path) -> None:
    scan, whole = image(), ball(image())
    part = sitk.RegionOfInterest(to_sitk(whole), [30, 34, 22], [4, 3, 5])
    sitk.WriteImage(part, str(tmp_path / "m.nrrd"))
    labels, how = labels_on(read_foreign(tmp_path / "m.nrrd"), scan, resample=False)
    assert how == "part of the grid" and np.array_equal(labels, whole.array)
    sitk.WriteImage(sitk.RegionOfInterest(to_sitk(whole), [30, 34, 22], [4, 3, 5]), str(tmp_path / "b.nrrd"))
    shifted = scan.affine_lps.copy()
    shifted[:3, 3] += shifted[:3, 0]  # a whole voxel beside: no crop, another place
    with pytest.raises(GeometryError, match="states no unit"):
        labels_on(read_foreign(tmp_path / "b.nrrd"), Volume(scan.array[:20], shifted), resample=False)
    small = Volume(scan.array[:18], scan.affine_lps)
    with pytest.raises(GeometryError, match="outside the scan"):
        labels_on(read_foreign(tmp_path / "b.nrrd"), small, resample=True)


def test_another_grid_is_refused_or_resampled_and_said(tmp_path: Path) -> None:
    scan = image()
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = CENTRE - 15
    fine = Volume(np.zeros((31, 31, 31), np.int16), affine)
    write_volume(tmp_path / "m.nii.gz", ball(fine))
    foreign = read_foreign(tmp_path / "m.nii.gz")
    with pytest.raises(GeometryError, match="on another grid"):
        labels_on(foreign, scan, resample=False)
    labels, how = labels_on(foreign, scan, resample=True)
    assert how == "resampled, nearest neighbour" and set(np.unique(labels)) == {0, 3}
    assert np.linalg.norm(centre_of(labels, scan) - CENTRE) < 0.3


def rewritten(path: Path, offset: int, value: np.ndarray) -> Path:
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[offset : offset + value.nbytes] = value.tobytes()
    path.write_bytes(gzip.compress(bytes(data)))
    return path


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    write_volume(tmp_path / "m.nii.gz", ball(image()))
    return tmp_path / "m.nii.gz"


def test_sform_and_qform_must_agree(nifti: Path) -> None:
    """The offset of the sform alone is moved by 3 mm."""
    with pytest.raises(GeometryError, match=r"sform and qform\) differ by 3.00 mm"):
        read_foreign(rewritten(nifti, 280 + 12, np.float32(5.0 + 3.0)))


def test_either_form_alone_is_enough(nifti: Path, tmp_path: Path) -> None:
    for code in (252, 254):
        write_volume(nifti, ball(image()))
        labels, how = labels_on(read_foreign(rewritten(nifti, code, np.int16(0))), image(), resample=False)
        assert how == "same grid" and np.array_equal(labels, ball(image()).array)
    with pytest.raises(GeometryError, match="no orientation"):
        read_foreign(rewritten(rewritten(nifti, 252, np.int16(0)), 254, np.int16(0)))


@pytest.mark.parametrize(("code", "unit"), [(1, "metres"), (3, "micrometres")])
def test_another_unit_is_refused(code: int, unit: str, nifti: Path) -> None:
    with pytest.raises(GeometryError, match=f"the unit is {unit}, not mm"):
        read_foreign(rewritten(nifti, 123, np.uint8(code)))


def test_no_unit_is_accepted_on_the_very_grid_only(nifti: Path) -> None:
    foreign = read_foreign(rewritten(nifti, 123, np.uint8(0)))
    assert labels_on(foreign, image(), resample=False)[1] == "same grid"
    other = image().affine_lps.copy()
    other[0, 3] += 0.7
    with pytest.raises(GeometryError, match="states no unit"):
        labels_on(foreign, Volume(image().array, other), resample=True)


@pytest.mark.parametrize(
    ("flip", "words"),
    [((-1, -1, 1), "RAS taken for LPS"), ((-1, 1, 1), "left and right"), ((1, -1, 1), "front")],
)
def test_a_mirrored_import_is_caught(flip: tuple[int, ...], words: str, tmp_path: Path) -> None:
    affine = np.diag([1.5, 1.5, 2.0, 1.0])
    affine[:3, 3] = (-5.0, -45.0, 100.0)
    scan = Volume(np.zeros((30, 40, 36), np.int16), affine)
    mirrored = np.diag([*flip, 1.0]) @ affine
    if np.linalg.det(mirrored) < 0:  # ITK writes right-handed grids only: turn the storage of one axis
        mirrored[:3, 3] += mirrored[:3, 0] * 35
        mirrored[:3, 0] *= -1
    write_volume(tmp_path / "m.nii.gz", Volume(ball(scan).array, mirrored))
    for resample in (False, True):
        with pytest.raises(GeometryError, match=f"mirrored.*{words}"):
            labels_on(read_foreign(tmp_path / "m.nii.gz"), scan, resample=resample)


def nrrd_with(tmp_path: Path, old: bytes, new: bytes) -> Path:
    path = tmp_path / "m.nrrd"
    sitk.WriteImage(to_sitk(ball(image())), str(path), useCompression=False)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def test_nrrd_must_name_space_and_unit(tmp_path: Path) -> None:
    space = b"space: left-posterior-superior\n"
    assert read_foreign(nrrd_with(tmp_path, space, space + b'space units: "mm" "mm" "mm"\n')).unit_stated
    assert not read_foreign(nrrd_with(tmp_path, space, space)).unit_stated
    for new, cause in (
        (space + b'space units: "cm" "cm" "cm"\n', "not mm"),
        (b"space: scanner-xyz\n", "no anatomical space"),
        (b"space dimension: 3\n", "no anatomical space"),
    ):
        with pytest.raises(GeometryError, match=cause):
            read_foreign(nrrd_with(tmp_path, space, new))


def test_metaimage_must_be_oriented_and_in_mm(tmp_path: Path) -> None:
    path = tmp_path / "m.mha"
    sitk.WriteImage(to_sitk(ball(image())), str(path), useCompression=False)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"TransformMatrix", b"CommentOnMatrix"))
    with pytest.raises(GeometryError, match="lacks transformmatrix"):
        read_foreign(path)
    path.write_bytes(good.replace(b"NDims = 3\n", b"NDims = 3\nDistanceUnits = cm\n"))
    with pytest.raises(GeometryError, match="not mm"):
        read_foreign(path)


def test_what_is_no_label_map(tmp_path: Path) -> None:
    scan = image()
    soft = scan.like((ball(scan).array / 7.0).astype(np.float32))
    write_volume(tmp_path / "soft.nii.gz", soft)
    with pytest.raises(InputError, match="no whole numbers"):
        labels_on(read_foreign(tmp_path / "soft.nii.gz"), scan, resample=False)
    write_volume(tmp_path / "float.nii.gz", scan.like(ball(scan).array.astype(np.float32)))
    assert labels_on(read_foreign(tmp_path / "float.nii.gz"), scan, resample=False)[1] == "same grid"
    four = sitk.JoinSeries([to_sitk(ball(scan)), to_sitk(ball(scan))])
    sitk.WriteImage(four, str(tmp_path / "4d.nii.gz"))
    with pytest.raises(InputError, match="4 dimensions"):
        read_foreign(tmp_path / "4d.nii.gz")
    (tmp_path / "x.stl").write_bytes(b"solid")
    with pytest.raises(InputError, match="not read"):
        read_foreign(tmp_path / "x.stl")
    with pytest.raises(InputError, match="missing"):
        read_foreign(tmp_path / "absent.nii")


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii", "m.nrrd", "m.mha"])
def test_damage_is_refused_or_harmless(name: str, tmp_path: Path) -> None:
    """Cut short anywhere, or a bit turned over in the header: an error of ours, or a map on the very grid."""
    scan, path = image(), tmp_path / name
    write_volume(path, ball(scan))
    good, rng = path.read_bytes(), np.random.default_rng(5)
    for number in range(60):
        damaged = bytearray(good)
        if number % 3 == 0:
            damaged = damaged[: int(rng.integers(0, len(good)))]
        else:
            damaged[int(rng.integers(0, min(len(good), 400)))] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bytes(damaged))
        try:
            labels, _ = labels_on(read_foreign(path), scan, resample=False)
        except ImplantflowError:
            continue
        assert labels.shape == scan.array.shape
