"""Does the answer hold for every part of the pelvis? Each bone, and each half of it, registered alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.registration.images import (
    BONE_MARGIN_MM,
    FINE_MM,
    Pair,
    binned,
    bone_points,
    crop,
    from_matrix,
    matrix_of,
    near_bone,
)
from implantflow.volumes import Volume

#: A part, registered alone, may lie this far from where the whole answer puts it (mean over the part). Measured on
#: simulated patients (docs/validation/registration.md): the right patient's parts stay below, another's do not.
MAX_RESIDUAL_MM = 1.0
#: One bone alone is a rigid body in any patient: it cannot contradict itself.
_MIN_BONES = 2
#: Share of a part that both images must show for it to be tried.
_MIN_INSIDE = 0.9
_MIN_PART_MM3 = 4000.0
_SAMPLES = 20_000


def part_residuals_mm(
    window: Any, bones: Volume, moving: Volume, image: Any, matrix: FloatArray, names: Mapping[int, str]
) -> dict[str, float]:
    """How far each part goes when it is registered alone, starting from the answer.

    Parameters
    ----------
    window, image : SimpleITK images
        The planning CT as the metric sees it, and the moving image.
    bones : label map of the CT; moving : the moving image
    matrix : (4, 4) answer, planning CT's patient LPS to the moving image's.
    names : label -> name of the bone.

    Returns
    -------
    part -> mean distance in mm between where its own answer and ``matrix`` put its points; parts that the moving
    image does not show are left out
    """
    found = {}
    for name, part in _parts(bones, names):
        points = bone_points(part)
        there = transform_points(matrix, points)
        if float(moving.contains_lps(there).mean()) < _MIN_INSIDE:
            continue
        fine = binned(crop(window, points, margin_mm=2 * BONE_MARGIN_MM), FINE_MM)
        pair = Pair(fine, image, near_bone(part, fine), _SAMPLES)
        start = from_matrix(matrix, points.mean(axis=0))
        alone, _ = pair.optimise(start, step_mm=1.0, last_step_mm=0.01, shrink=(1,))
        moved = transform_points(matrix_of(alone), points) - there
        found[name] = float(np.linalg.norm(moved, axis=1).mean())
    return found


def _parts(bones: Volume, names: Mapping[int, str]) -> Iterator[tuple[str, Volume]]:
    """Each labelled bone and its cranial and caudal half."""
    from scipy import ndimage

    for code, box in enumerate(ndimage.find_objects(bones.array.astype(np.int32)), start=1):
        if box is None:
            continue
        name = names.get(code, f"bone {code}")
        corner = np.array([s.start for s in box[::-1]], dtype=np.float64)
        affine = bones.affine_lps.copy()
        affine[:3, 3] = bones.index_to_lps(corner[None])[0]
        inside = bones.array[box] == code
        index = np.argwhere(inside)
        height = Volume(inside, affine).index_to_lps(index[:, ::-1])[:, 2]
        upper = np.zeros_like(inside)
        upper[tuple(index[height >= np.median(height)].T)] = True
        for words, mask in (
            (name, inside),
            (f"{name}, cranial half", upper),
            (f"{name}, caudal half", inside & ~upper),
        ):
            part = Volume(mask.astype(np.uint8), affine)
            if float(mask.sum()) * part.voxel_volume_mm3 >= _MIN_PART_MM3:
                yield words, part


def refuse_parts(name: str, residual_mm: Mapping[str, float]) -> None:
    """GeometryError when parts do not stay where the answer puts them, or those of one bone only could be tried."""
    if len({part.split(",")[0] for part in residual_mm}) < _MIN_BONES:
        raise GeometryError(
            f"the registration of {name} cannot be checked: of the planning CT's bones it shows "
            f"{', '.join(residual_mm) or 'none'} whole, and parts of {_MIN_BONES} bones are needed to contradict each "
            "other",
            where=name,
            fix="use a series that shows sacrum and both hip bones, or give landmarks for this time point",
        )
    worst = max(residual_mm, key=lambda part: residual_mm[part])
    if residual_mm[worst] > MAX_RESIDUAL_MM:
        raise GeometryError(
            f"{name} does not fit the planning CT as one rigid body: {worst}, registered alone, lies "
            f"{residual_mm[worst]:.2f} mm from where the whole pelvis puts it (limit {MAX_RESIDUAL_MM:g} mm)",
            where=name,
            fix="check that both scans are of the same patient; a distorted image or a fracture between the "
            "scans looks the same: then use another series, or give landmarks for this time point",
        )
