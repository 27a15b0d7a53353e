"""Where the tumour ends: a minimal cut around the seed, then the half-way intensity along its outline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

# Tried on the project's phantom at 0.9x0.9x4 and 1.8x1.8x5 mm: cost 2 to 10, step 0.04 to 0.06 and width 0.1
# to 0.2 move the volume by less than 1 % each.

#: Gaussian blur in voxels before intensities are compared: noise must not look like an edge.
_CUT_BLUR = 0.7
#: An intensity this far from the limit (share of the seed's median) is taken for tumour, or not, as firmly
#: as ``_FIRMEST`` times this.
_LIMIT_WIDTH = 0.1
_FIRMEST = 3.0
#: Cost of a cut between voxels of equal intensity, and the step (share of the seed's median) that makes it
#: cheap: a tumour may be patchy inside, its outline is the sharpest way around.
_CUT_COST = 5.0
_CUT_STEP = 0.06

#: Blur in voxels before the outline is refined; over how much (mm) levels are averaged, and how deep the shells are
#: in which they are taken; where the outer one begins; rounds.
_EDGE_BLUR = 0.4
_LEVEL_MM = 3.0
_INNER_SHELL_MM, _OUTER_SHELL_MM = 3.5, 3.0
_OUTER_GAP_MM = 2.2
_EDGE_ROUNDS = 2
#: The inner shell begins where the blur of the widest voxel edge (a box: its width over the root of 12) is two standard
#: deviations away, and no nearer than this (mm).
_LEAST_GAP_MM = 1.5
#: Holds the slope of the intensity back where the shell is too thin to tell one (mm2).
_SLOPE_RIDGE_MM2 = 0.3


def cut_out(relative: NDArray[Any], lower: float, upper: float, inner: Mask, outer: Mask) -> Mask:
    """Separate tumour from the rest by a minimal cut.

    Parameters
    ----------
    relative : (K, J, I) array
        Intensity as a share of the seed's, cubic voxels.
    lower, upper : float
        Limits of the tumour's intensity; at them a voxel is as likely tumour as not.
    inner, outer : (K, J, I) bool arrays
        Certainly tumour; certainly not.

    Returns
    -------
    (K, J, I) bool array, the tumour's side of the cut
    """
    import maxflow
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(relative.astype(np.float64), _CUT_BLUR)
    odds = np.clip(np.minimum(smooth - lower, upper - smooth) / _LIMIT_WIDTH, -_FIRMEST, _FIRMEST)
    certain = 1e6
    odds = np.where(outer, -certain, np.where(inner, certain, odds))
    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(smooth.shape)
    for axis in range(3):
        step = np.zeros_like(smooth)
        ahead: list[slice] = [slice(None)] * 3
        ahead[axis] = slice(0, -1)
        step[tuple(ahead)] = np.diff(smooth, axis=axis)
        neighbour = np.zeros((3, 3, 3))
        neighbour[tuple(2 if a == axis else 1 for a in range(3))] = 1
        cost = _CUT_COST * np.exp(-(step**2) / (2 * _CUT_STEP**2))
        graph.add_grid_edges(nodes, cost, structure=neighbour, symmetric=True)
    graph.add_grid_tedges(nodes, np.maximum(odds, 0), np.maximum(-odds, 0))
    graph.maxflow()
    tumour: Mask = ~graph.get_grid_segments(nodes)
    return tumour


def move_to_half_level(
    mask: Mask, intensity: NDArray[Any], voxel_mm: float, reach_mm: float, slice_mm: float
) -> Mask:
    """Move the outline, at most ``reach_mm`` a round, to where the intensity is half-way between the tumour's edge
    and whatever lies just outside.

    One limit for fat, muscle and marrow alike would put it too far in beside one and too far out beside another. A rim
    that enhances most is brighter than what is seen beyond the blur, so the tumour's intensity is carried on to the
    outline in a straight line.

    Parameters
    ----------
    mask, intensity : (K, J, I) on cubic voxels of ``voxel_mm``.
    slice_mm : widest voxel edge of the image as it was taken.
    """
    from scipy import ndimage

    if reach_mm <= 0:
        return mask
    array = ndimage.gaussian_filter(intensity.astype(np.float32), _EDGE_BLUR)
    gap_mm = max(_LEAST_GAP_MM, 2.0 * slice_mm / np.sqrt(12.0))
    for _ in range(_EDGE_ROUNDS):
        inward = ndimage.distance_transform_edt(mask, sampling=voxel_mm).astype(np.float32)
        outward = ndimage.distance_transform_edt(~mask, sampling=voxel_mm).astype(np.float32)
        core = (inward > gap_mm) & (inward <= gap_mm + _INNER_SHELL_MM)
        shell = (outward > _OUTER_GAP_MM) & (outward < _OUTER_GAP_MM + _OUTER_SHELL_MM)
        if not core.any():
            return mask
        # A voxel's own centre lies half a voxel inside the outline that its outer face is.
        inner = _level_at_edge(array, inward - np.float32(voxel_mm / 2), core, voxel_mm)
        level = (inner + _local_mean(array, shell, voxel_mm)) / 2
        band = (inward <= reach_mm) & (outward <= reach_mm)
        parts, _ = ndimage.label(np.where(band, array > level, mask))
        deepest = parts[np.unravel_index(int(inward.argmax()), inward.shape)]
        mask = ndimage.binary_fill_holes(parts == deepest)
    return mask


def _local_mean(array: NDArray[np.float32], where: Mask, voxel_mm: float) -> NDArray[np.float32]:
    """Mean of ``array`` over the voxels of ``where`` near each voxel."""
    from scipy import ndimage

    sigma = _LEVEL_MM / voxel_mm
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(where, array, np.float32(0)), sigma)
    mean: NDArray[np.float32] = total / np.maximum(weight, np.float32(1e-4))
    return mean


def _level_at_edge(
    array: NDArray[np.float32], depth_mm: NDArray[np.float32], where: Mask, voxel_mm: float
) -> NDArray[np.float32]:
    """Intensity at depth 0 by a straight line through the voxels of ``where`` near each voxel."""
    depth, level = _local_mean(depth_mm, where, voxel_mm), _local_mean(array, where, voxel_mm)
    together = _local_mean(array * depth_mm, where, voxel_mm) - level * depth
    spread = np.maximum(_local_mean(depth_mm**2, where, voxel_mm) - depth**2, np.float32(0))
    at_edge: NDArray[np.float32] = level - depth * together / (spread + np.float32(_SLOPE_RIDGE_MM2))
    return at_edge
