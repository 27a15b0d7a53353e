"""Bone edges that a prior is fitted to: where they are, how far, and which way they face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import InputError
from implantflow.geometry import FloatArray
from implantflow.segment.filters import fill_cavities
from implantflow.segment.grid import crop
from implantflow.segment.masks import bounding_box, grown, largest_component, shrunk
from implantflow.volumes import Volume

#: Gaps in the cortex up to about twice this are closed before the outer edge is taken.
CLOSING_MM = 3.0
#: Less bone than this (cm3) above the fit threshold is no pelvis; the vhf CT, cut off below, has over 700.
MIN_BONE_CM3 = 100.0


@dataclass(frozen=True)
class Edges:
    """Outer edge of the largest bony body in a smoothed isotropic copy of the CT.

    Attributes
    ----------
    image : smoothed copy (HU), cropped around the bone.
    near_mm : (K, J, I) float32, distance to the nearest edge voxel.
    points_lps_mm : (E, 3) edge voxel centres; normals : (E, 3) outward, from the intensity gradient.
    """

    image: Volume
    near_mm: NDArray[np.float32]
    points_lps_mm: FloatArray
    normals: FloatArray


def find_edges(image: Volume, threshold_hu: float) -> Edges:
    """Outer edges of the largest body above ``threshold_hu``, cavities closed slice by slice.

    Raises
    ------
    InputError
        There is less bone than a pelvis has.
    """
    from scipy import ndimage

    spacing = float(image.spacing_mm[0])
    body = largest_component(image.array > threshold_hu)
    bone_cm3 = float(body.sum()) * image.voxel_volume_mm3 / 1000.0
    if bone_cm3 < MIN_BONE_CM3:
        raise InputError(
            f"the largest body above {threshold_hu:g} HU has {bone_cm3:.0f} cm3; a pelvis has more than "
            f"{MIN_BONE_CM3:.0f} cm3",
            where="planning CT",
            fix="check that the series is a CT of the pelvis in HU",
        )
    box = bounding_box(body, margin=round(12.0 / spacing))
    image, body = crop(image, box), body[box.slices]
    rounds = max(1, round(CLOSING_MM / spacing))
    padded = np.pad(body, rounds)
    closed = shrunk(grown(padded, rounds), rounds, border=False)
    closed = closed[rounds:-rounds, rounds:-rounds, rounds:-rounds]
    closed |= body
    closed = fill_cavities(closed, planes=True)
    edge = closed & ~shrunk(closed, border=True)
    near = ndimage.distance_transform_edt(~edge, sampling=spacing).astype(np.float32)
    voxels = np.argwhere(edge)
    gradient = _gradient(image.array, voxels)
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    normals = -np.divide(gradient, length, out=np.zeros_like(gradient), where=length > 1e-6)
    return Edges(image, near, image.index_to_lps(voxels[:, ::-1]), normals)


def _gradient(array: NDArray[Any], voxels: NDArray[np.int64]) -> FloatArray:
    """Central differences (N, 3) along i, j, k at voxels given as k, j, i."""
    out = np.empty((len(voxels), 3))
    for axis in range(3):
        ahead, behind = voxels.copy(), voxels.copy()
        ahead[:, axis] = np.minimum(ahead[:, axis] + 1, array.shape[axis] - 1)
        behind[:, axis] = np.maximum(behind[:, axis] - 1, 0)
        out[:, 2 - axis] = array[tuple(ahead.T)] - array[tuple(behind.T)]
    return out
