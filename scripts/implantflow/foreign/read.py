"""The door for volumes and label maps from other programs, and onto the grid of the image they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError, InputError
from implantflow.foreign import headers
from implantflow.foreign.seg import read_seg
from implantflow.geometry import FloatArray
from implantflow.volumes import Volume, read_volume, to_sitk

#: Voxel centres of one grid, seen through two headers, differ by less than this.
SAME_GRID_MM = 0.02

#: Grids this near to each other's mirror image are taken for a mirrored import.
_MIRROR_MM = 0.5

_MIRRORS = (
    ((-1, -1, 1), "RAS taken for LPS"),
    ((-1, 1, 1), "left and right"),
    ((1, -1, 1), "front and back"),
)

#: Largest part of the labelled volume that resampling or cropping may lose.
MAX_LOST = 0.02

How = Literal["same grid", "same voxels in another order", "part of the grid", "resampled, nearest neighbour"]


@dataclass(frozen=True)
class Foreign:
    """An image from another program.

    Attributes
    ----------
    volume : (K, J, I) in patient LPS mm, as the file says
    name : base name of the file
    unit_stated : the file says millimetres; otherwise it says nothing, and only the very grid of an image whose
        unit is known shows that it is mm
    """

    volume: Volume
    name: str
    unit_stated: bool


def read_foreign(path: Path) -> Foreign:
    """Read NIfTI, NRRD, MetaImage or a DICOM Segmentation; nothing about its frame or unit is assumed.

    Raises
    ------
    InputError, GeometryError
        Missing, damaged, another format, more than one volume, no or contradicting orientation, another unit.
    """
    if not path.is_file():
        raise InputError("an image file is missing", where=path.name)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        placement = headers.nifti(path)
    elif name.endswith((".nrrd", ".nhdr")):
        placement = headers.nrrd(path)
    elif name.endswith((".mha", ".mhd")):
        placement = headers.metaimage(path)
    elif _is_dicom(path):
        return Foreign(read_seg(path), path.name, unit_stated=True)
    else:
        raise InputError(
            "a kind of image file that is not read",
            where=path.name,
            fix="export it as NIfTI (.nii.gz), NRRD, MetaImage (.mha) or a DICOM Segmentation",
        )
    try:
        volume = read_volume(path)
    except (RuntimeError, ValueError) as error:
        raise InputError("an image file cannot be read", where=path.name) from error
    array = volume.array.reshape(volume.array.shape[-3:])
    affine = volume.affine_lps if placement.affine_lps is None else placement.affine_lps
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise GeometryError("the orientation in the header is no orientation", where=path.name)
    return Foreign(Volume(array, affine), path.name, placement.unit_stated)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(132)[128:] == b"DICM"


def labels_on(foreign: Foreign, image: Volume, *, resample: bool) -> tuple[NDArray[Any], How]:
    """A label map on the grid of ``image``, and how it got there.

    Parameters
    ----------
    foreign : values are whole numbers, 0 is nothing
    resample : bring a map on another grid onto this one, by nearest neighbour, instead of refusing it

    Returns
    -------
    labels : (K, J, I) of ``image``; how : to be told to the user

    Raises
    ------
    InputError, GeometryError
        No whole numbers; the grid is another (without ``resample``), or its mirror image; of an unknown unit; too
        much of it lies outside the image.
    """
    labels = foreign.volume
    values = labels.array
    if values.dtype.kind not in "iub" and not np.array_equal(values, np.rint(values)):
        raise InputError(
            "the values are no whole numbers: an image, or a mask that was smoothed",
            where=foreign.name,
            fix="export a label map",
        )
    _refuse_mirrored(labels, image, foreign.name)
    to_image = np.linalg.inv(image.affine_lps) @ labels.affine_lps
    order = _permutation(to_image, labels, image)
    if order is not None and (resample or _lies_within(to_image, labels, image)):
        return _placed(values, order, to_image, image, foreign.name)
    if not foreign.unit_stated:
        raise GeometryError(
            "the file states no unit, and its grid is not that of the image it belongs to",
            where=foreign.name,
            fix="export it in millimetres and let the file say so (NIfTI: xyzt_units), or on the image's own grid",
        )
    if not resample:
        raise GeometryError(
            f"the label map is on another grid: {labels.array.shape[::-1]} voxels against "
            f"{image.array.shape[::-1]}, or another position or direction",
            where=foreign.name,
            fix="export it on the grid of the series it was drawn on, without resampling",
        )
    return _resampled(labels, image, foreign.name), "resampled, nearest neighbour"


def _permutation(to_image: FloatArray, labels: Volume, image: Volume) -> NDArray[np.int64] | None:
    """Signed permutation (3, 3) that takes voxels of ``labels`` exactly to voxels of ``image``, if one does."""
    exact = np.rint(to_image)
    turn = exact[:3, :3]
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        return None
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in labels.array.shape[::-1]])).reshape(3, -1)
    corners = np.vstack([ends, np.ones(ends.shape[1])])
    apart = image.affine_lps[:3, :3] @ ((to_image - exact) @ corners)[:3]
    return turn.astype(np.int64) if float(np.abs(apart).max()) <= SAME_GRID_MM else None


def _lies_within(to_image: FloatArray, labels: Volume, image: Volume) -> bool:
    """True when every voxel of ``labels`` is one of ``image``: a whole map, or one that was cropped."""
    far = np.array([[0, 0, 0], [n - 1 for n in labels.array.shape[::-1]]], dtype=np.float64)
    ends = np.rint(far @ to_image[:3, :3].T + to_image[:3, 3])
    return bool((ends >= 0).all() and (ends <= np.array(image.array.shape[::-1]) - 1).all())


def _placed(
    values: NDArray[Any], turn: NDArray[np.int64], to_image: FloatArray, image: Volume, name: str
) -> tuple[NDArray[Any], How]:
    """Voxels reordered, and put where they belong when the map covers more or less than the image."""
    ijk = values.transpose(2, 1, 0)
    axes = np.abs(turn).argmax(axis=1)
    ordered = ijk.transpose(axes)
    start = np.rint(to_image[:3, 3]).astype(np.int64)
    for axis in range(3):
        if turn[axis, axes[axis]] < 0:
            ordered = np.flip(ordered, axis)
            start[axis] -= ordered.shape[axis] - 1
    size = image.array.shape[::-1]
    if tuple(ordered.shape) == size and not start.any():
        same = np.array_equal(turn, np.eye(3, dtype=np.int64))
        how: How = "same grid" if same else "same voxels in another order"
        return np.ascontiguousarray(ordered.transpose(2, 1, 0)), how
    out = np.zeros(size, dtype=values.dtype)
    low = [max(int(s), 0) for s in start]
    high = [min(int(s) + n, m) for s, n, m in zip(start, ordered.shape, size, strict=True)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        inner = tuple(slice(a - int(s), b - int(s)) for a, b, s in zip(low, high, start, strict=True))
        out[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = ordered[inner]
    _refuse_lost(float((values != 0).sum()), float((out != 0).sum()), name)
    return np.ascontiguousarray(out.transpose(2, 1, 0)), "part of the grid"


def _resampled(labels: Volume, image: Volume, name: str) -> NDArray[Any]:
    import SimpleITK as sitk

    whole = labels.like(labels.array.astype(np.int32))
    moved = sitk.Resample(
        to_sitk(whole), to_sitk(image), sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkInt32
    )
    out: NDArray[Any] = sitk.GetArrayFromImage(moved).astype(labels.array.dtype)
    before = float((labels.array != 0).sum()) * labels.voxel_volume_mm3
    _refuse_lost(before, float((out != 0).sum()) * image.voxel_volume_mm3, name)
    return out


def _refuse_lost(before: float, after: float, name: str) -> None:
    if after < (1.0 - MAX_LOST) * before:
        raise GeometryError(
            f"{100 * (1 - after / before):.0f} % of the label map falls outside the scan or between its voxels",
            where=name,
            fix="export it on the grid of the image it was drawn on",
        )


def _refuse_mirrored(labels: Volume, image: Volume, name: str) -> None:
    """GeometryError when the map would lie on the image's grid if left and right, or front and back, were swapped."""
    far = np.array([[0, 0, 0], [n - 1 for n in labels.array.shape[::-1]]], dtype=np.float64)
    box = np.sort(labels.index_to_lps(far), axis=0)
    ends = np.array([[0, 0, 0], [n - 1 for n in image.array.shape[::-1]]], dtype=np.float64)
    target = np.sort(image.index_to_lps(ends), axis=0)
    if np.abs(box - target).max() <= _MIRROR_MM:
        return
    for signs, words in _MIRRORS:
        if np.abs(np.sort(box * np.array(signs), axis=0) - target).max() <= _MIRROR_MM:
            raise GeometryError(
                f"the label map is mirrored against the image ({words})",
                where=name,
                fix="export it again with the orientation of the image; do not flip it by hand",
            )
