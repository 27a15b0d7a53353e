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

#: Blur in voxels before the outline is refined, distance (mm) over which its level is averaged, and rounds: each
#: moves the outline out by another 1 to 2 % of the volume, because fainter edges lie beyond; the cut begins inside.
_EDGE_BLUR = 0.4
_LEVEL_MM = 1.5
_EDGE_ROUNDS = 2


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


def move_to_half_level(mask: Mask, intensity: NDArray[Any], voxel_mm: float, reach_mm: float) -> Mask:
    """Move the outline, at most ``reach_mm`` a round, to where the intensity is half-way up its own edge: one limit
    for fat, muscle and marrow alike would put it too far in beside one and too far out beside another."""
    from scipy import ndimage

    if reach_mm <= 0:
        return mask
    array = ndimage.gaussian_filter(intensity.astype(np.float32), _EDGE_BLUR)
    for _ in range(_EDGE_ROUNDS):
        inward = ndimage.distance_transform_edt(mask, sampling=voxel_mm).astype(np.float32)
        outward = ndimage.distance_transform_edt(~mask, sampling=voxel_mm).astype(np.float32)
        band = (inward <= reach_mm) & (outward <= reach_mm)
        level = _edge_level(array, inward - outward, band, voxel_mm)
        parts, _ = ndimage.label(np.where(band, array > level, mask))
        deepest = parts[np.unravel_index(int(inward.argmax()), inward.shape)]
        mask = ndimage.binary_fill_holes(parts == deepest)
    return mask


def _edge_level(
    array: NDArray[np.float32], depth_mm: NDArray[np.float32], band: Mask, voxel_mm: float
) -> NDArray[np.float32]:
    """Level half-way up the edge near each voxel: the mean intensity of ``band``, weighted by the square of its rise.

    A blurred edge is as steep above its middle as below, so this needs neither the blur (a thick slice blurs one way
    more than the others) nor a place that shows the plain tumour: a rim that enhances most is brighter than what lies
    deeper, and thin. Only what rises toward the inside counts, so an edge between two neighbours does not.

    Parameters
    ----------
    array : (K, J, I) intensity.
    depth_mm : (K, J, I) signed distance to the outline so far, positive inside.
    band : (K, J, I) voxels in question.
    """
    from scipy import ndimage

    rise = np.zeros_like(array)
    for axis in range(3):
        normal = ndimage.gaussian_filter(depth_mm, 1.0, order=[int(axis == n) for n in range(3)])
        rise += np.gradient(array, axis=axis) * normal
    weight = np.where(band, np.clip(rise, 0.0, None) ** 2, np.float32(0))
    sigma = _LEVEL_MM / voxel_mm
    amount = ndimage.gaussian_filter(weight, sigma)
    total = ndimage.gaussian_filter(weight * array, sigma)
    level: NDArray[np.float32] = total / np.maximum(amount, np.float32(1e-12))
    return level
