"""Tumour masks in the space of the planning CT: one cropped grid, their union, and what must agree there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points, unit
from implantflow.volumes import Volume

#: Cubic voxels along patient LPS: finer than the slices of any MR, fine enough for a millimetre of margin.
GRID_MM = 1.0
_PAD_MM = 6.0

#: Labels of the bones that the stage segment writes.
SACRUM, HIP_LEFT, HIP_RIGHT = 1, 2, 3
RING_NAMES = {SACRUM: "the sacrum", HIP_LEFT: "the left hip bone", HIP_RIGHT: "the right hip bone"}


def pelvic_ring(labels: Volume) -> Volume:
    """Sacrum and hip bones only: femora and lumbar vertebrae move against them from scan to scan."""
    return labels.like(np.where(np.isin(labels.array, (SACRUM, HIP_LEFT, HIP_RIGHT)), labels.array, 0))


def common_grid(masks: Sequence[Volume], to_planning: Sequence[FloatArray]) -> Volume:
    """An empty bool volume along LPS, on whole millimetres, that holds every mask after its transform."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for mask, matrix in zip(masks, to_planning, strict=True):
        found = np.argwhere(mask.array)
        ends = np.array([found.min(axis=0) - 1, found.max(axis=0) + 1])[:, ::-1]
        corners = np.array(
            [[ends[a, 0], ends[b, 1], ends[c, 2]] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
        )
        points = transform_points(matrix, mask.index_to_lps(corners))
        low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
    first = np.floor((low - _PAD_MM) / GRID_MM) * GRID_MM
    size = np.ceil((high + _PAD_MM - first) / GRID_MM).astype(int) + 1
    affine = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
    affine[:3, 3] = first
    return Volume(np.zeros(tuple(size[::-1]), dtype=np.bool_), affine)


def resample_mask(mask: Volume, to_planning: FloatArray, grid: Volume) -> Volume:
    """``mask`` on ``grid`` after the rigid ``to_planning``, by its signed distance.

    Interpolating the distance rather than the mask keeps thick slices from turning into steps.
    """
    from scipy import ndimage

    box = _box(mask.array, 3)
    cut = np.pad(mask.array[box], 2)
    offset = np.array([b.start - 2 for b in box], dtype=np.float64)
    sampling = mask.spacing_mm[::-1]
    inside = ndimage.distance_transform_edt(cut, sampling=sampling)
    outside = ndimage.distance_transform_edt(~cut, sampling=sampling)
    signed = (outside - inside).astype(np.float64)
    # grid index (i, j, k) -> planning LPS -> the mask's LPS -> its index; all in array order (k, j, i)
    chain = np.linalg.inv(to_planning @ mask.affine_lps) @ grid.affine_lps
    matrix, shift = chain[:3, :3][::-1, ::-1], chain[:3, 3][::-1] - offset
    sampled = ndimage.affine_transform(
        signed, matrix, shift, output_shape=grid.array.shape, order=1, mode="nearest"
    )
    return grid.like(sampled < 0)


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    found = np.argwhere(mask)
    low = np.maximum(found.min(axis=0) - margin, 0)
    high = np.minimum(found.max(axis=0) + margin + 1, mask.shape)
    return (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))


def mask_points(mask: Volume) -> FloatArray:
    """Centres of the voxels of a bool mask, patient LPS mm, (N, 3)."""
    return mask.index_to_lps(np.argwhere(mask.array)[:, ::-1])


def refuse_outside(union: Volume, ct: Volume) -> None:
    """GeometryError unless all of the tumour lies inside the planning CT."""
    points = mask_points(union)
    outside = ~ct.contains_lps(points)
    if outside.any():
        raise GeometryError(
            f"the tumour lies outside the planning CT with {100 * float(outside.mean()):.0f} % of its volume "
            f"(centre {np.round(points.mean(axis=0), 1).tolist()} mm, patient LPS)",
            where="tumour.timepoints",
            fix="check the seed or the ellipsoid's centre, and that the CT covers the tumour",
        )


def refuse_no_bone(union: Volume, labels: Volume, max_gap_mm: float) -> float:
    """Distance in mm of the tumour to the sacrum (0: they meet); GeometryError beyond the limit."""
    from scipy import ndimage

    bone = _nearest(labels, mask_points_around(union, max_gap_mm)) == SACRUM
    distance = ndimage.distance_transform_edt(~union.array, sampling=GRID_MM)
    near = distance <= max_gap_mm + GRID_MM
    gaps = distance[near][bone]
    gap_mm = float(gaps.min()) if len(gaps) else float("inf")
    if gap_mm > max_gap_mm:
        raise GeometryError(
            f"the tumour touches no bone: no sacrum within {max_gap_mm:g} mm of it",
            where="tumour.timepoints",
            fix="check the seed, the registration and the sacrum's label",
        )
    return gap_mm


def mask_points_around(union: Volume, reach_mm: float) -> FloatArray:
    """Centres of the voxels within ``reach_mm`` (and one voxel) of the mask, the mask included."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(~union.array, sampling=GRID_MM)
    return union.index_to_lps(np.argwhere(distance <= reach_mm + GRID_MM)[:, ::-1])


def _nearest(labels: Volume, points: FloatArray) -> NDArray[np.integer]:
    """Label at each point, 0 outside."""
    index = np.rint(labels.lps_to_index(points)).astype(np.int64)
    size = np.array(labels.array.shape[::-1])
    valid = ((index >= 0) & (index < size)).all(axis=1)
    found = np.zeros(len(points), dtype=labels.array.dtype)
    i, j, k = index[valid].T
    found[valid] = labels.array[k, j, i]
    return found


def side_of(union: Volume, labels: Volume) -> tuple[str, float]:
    """Which side of the sacrum the tumour's centroid lies on, and how far from its middle in mm.

    The middle passes through the sacrum's label at the tumour's own height, across the line between the two
    hip bones, so that a patient who lies askew is not taken for the other side.
    """
    centroid = mask_points(union).mean(axis=0)
    towards_left = _left_direction(labels)
    sacrum = labels.index_to_lps(np.argwhere(labels.array == SACRUM)[:, ::-1])
    if len(sacrum) == 0:
        raise GeometryError("the label map holds no sacrum", where="segment/labels.nii.gz")
    across = sacrum @ towards_left
    middle = float(np.percentile(across, 1) + np.percentile(across, 99)) / 2
    offset = float(centroid @ towards_left) - middle
    return ("left" if offset > 0 else "right"), abs(offset)


def _left_direction(labels: Volume) -> FloatArray:
    """From the right to the left hip bone; +x where one of them is not labelled."""
    left, right = (np.argwhere(labels.array == code)[:, ::-1] for code in (HIP_LEFT, HIP_RIGHT))
    if len(left) == 0 or len(right) == 0:
        return np.array([1.0, 0.0, 0.0])
    return unit(labels.index_to_lps(left).mean(axis=0) - labels.index_to_lps(right).mean(axis=0))


def refuse_wrong_side(union: Volume, labels: Volume, side: str) -> tuple[str, float]:
    """GeometryError when the tumour is not on the configured side; otherwise its side and offset in mm."""
    found, offset_mm = side_of(union, labels)
    if found != side:
        raise GeometryError(
            f"side mismatch: the config says '{side}', the tumour lies {offset_mm:.1f} mm to the patient's "
            f"{found} of the sacrum's middle",
            where="side, tumour.timepoints",
            fix=f"if the operation is on the {found}, set side: {found}; if not, check the seed and the "
            "image's orientation before anything else",
        )
    return found, offset_mm
