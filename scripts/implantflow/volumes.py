"""A scalar volume with its place in the patient, and its NIfTI file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.artifacts import temporary
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray, transform_points


@dataclass(frozen=True)
class Volume:
    """An image in patient space.

    Attributes
    ----------
    array : (K, J, I) array
        Voxels in slice-row-column order.
    affine_lps : (4, 4) float array
        Maps the index (i, j, k) of a voxel centre to patient LPS in mm.
    """

    array: NDArray[Any]
    affine_lps: FloatArray

    @property
    def spacing_mm(self) -> FloatArray:
        """Voxel size (3,) along i, j, k in mm."""
        return np.asarray(np.linalg.norm(self.affine_lps[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm3."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3])))

    def index_to_lps(self, ijk: ArrayLike) -> FloatArray:
        """(N, 3) voxel indices (i, j, k) -> (N, 3) patient LPS mm."""
        return transform_points(self.affine_lps, ijk)

    def lps_to_index(self, lps: ArrayLike) -> FloatArray:
        """(N, 3) patient LPS mm -> (N, 3) continuous voxel indices (i, j, k)."""
        return transform_points(np.linalg.inv(self.affine_lps), lps)

    def contains_lps(self, lps: ArrayLike) -> NDArray[np.bool_]:
        """(N, 3) points -> (N,) True where a point lies within the outer voxel faces."""
        index = self.lps_to_index(lps)
        size = np.array(self.array.shape[::-1])
        return np.asarray(((index >= -0.5) & (index <= size - 0.5)).all(axis=1))

    def like(self, array: NDArray[Any]) -> Volume:
        """Another array on the same grid."""
        if array.shape != self.array.shape:
            raise GeometryError(f"array {array.shape} does not fit the grid {self.array.shape}")
        return Volume(array, self.affine_lps)


def to_sitk(volume: Volume) -> Any:
    """SimpleITK image of ``volume``; GeometryError if its axes are not orthogonal (ITK cannot hold shear)."""
    import SimpleITK as sitk

    spacing = volume.spacing_mm
    direction = volume.affine_lps[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise GeometryError(
            "the image axes are not orthogonal (sheared or tilted stack), which NIfTI via ITK cannot hold",
            fix="export the series again as an upright (untilted) stack",
        )
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(o) for o in volume.affine_lps[:3, 3]])
    image.SetDirection([float(d) for d in direction.ravel()])
    return image


def from_sitk(image: Any) -> Volume:
    """Volume of a SimpleITK image (ITK's physical space is patient LPS)."""
    import SimpleITK as sitk

    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image), affine)


def write_volume(path: Path, volume: Volume) -> None:
    """Write ``.nii.gz`` (or any suffix ITK knows) under a temporary name, then rename."""
    import SimpleITK as sitk

    with temporary(path) as tmp:
        sitk.WriteImage(to_sitk(volume), str(tmp), True, 1)


def read_volume(path: Path) -> Volume:
    """Read an image file in patient space; InputError when it is missing or damaged."""
    import SimpleITK as sitk

    if not path.exists():
        raise InputError("an image file is missing", where=str(path))
    try:
        return from_sitk(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise InputError("an image file cannot be read", where=str(path)) from error
