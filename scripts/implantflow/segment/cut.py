"""Exact two-way cuts through the cheapest dark sheet, inside a small domain of disputed voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.segment.kernels import valley_hu
from implantflow.segment.masks import BoolArray, bounding_box, grown

#: HU at which cutting bone costs one unit per mm2 of face; brighter bone costs no more.
FULL_PRICE_HU = 450.0
#: Price of cutting where there is no bone at all, so that of two empty ways the shorter one wins.
BASE_PRICE = 0.03
#: Weight per mm3 of the prior where image and prior disagree: small, the image decides.
PRIOR_WEIGHT = 0.06
_HARD = 1e6


@dataclass(frozen=True)
class Prices:
    """What a cut costs, from the image.

    Attributes
    ----------
    smooth_hu : (K, J, I) float32 smoothed lightly, for brightness.
    sheet_hu : (K, J, I) float32 smoothed at ``sheet_scale_mm``, for dark sheets (joint spaces).
    spacing_mm : (3,) along k, j, i.
    valley_scale_hu : strength of a dark sheet that halves the price.
    """

    smooth_hu: NDArray[np.float32]
    sheet_hu: NDArray[np.float32]
    sheet_scale_mm: float
    spacing_mm: NDArray[np.float64]
    valley_scale_hu: float

    def at(self, voxels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Price per mm2 (N,) at voxels (N, 3) given as k, j, i."""
        valley = valley_hu(self.sheet_hu, voxels, self.spacing_mm, self.sheet_scale_mm).astype(np.float64)
        hu = self.smooth_hu[tuple(voxels.T)].astype(np.float64)
        brightness = BASE_PRICE + np.clip(hu, 0.0, FULL_PRICE_HU) / FULL_PRICE_HU
        return np.asarray(brightness / (1.0 + (valley / self.valley_scale_hu) ** 2))


def two_way_cut(domain: BoolArray, lean: NDArray[np.float32], band: float, prices: Prices) -> BoolArray:
    """Split ``domain`` in two by the cheapest surface.

    Parameters
    ----------
    domain : (K, J, I) bool
    lean : (K, J, I) float32
        Above ``band`` a voxel is fixed to the first side, below ``-band`` to the second; between, the image
        decides and ``lean`` has a small say.
    band : float
    prices : Prices

    Returns
    -------
    (K, J, I) bool, True where the voxel of the domain belongs to the first side.
    """
    import maxflow

    disputed = domain & (np.abs(lean) < band)
    result = domain & (lean > 0)
    if not disputed.any():
        return result
    box = bounding_box(disputed, 1)
    disputed, lean = disputed[box.slices], lean[box.slices]
    # Fixed voxels matter only where they touch a disputed one; all others would be dead weight in the graph.
    nodes = grown(disputed) & domain[box.slices]
    voxels = np.argwhere(nodes)
    number = np.full(nodes.shape, -1, dtype=np.int32)
    number[nodes] = np.arange(len(voxels), dtype=np.int32)
    price = prices.at(voxels + box.start)
    spacing = prices.spacing_mm
    graph: Any = maxflow.GraphFloat(len(voxels), 3 * len(voxels))
    graph.add_nodes(len(voxels))
    for axis in range(3):
        behind: list[slice] = [slice(None)] * 3
        ahead: list[slice] = [slice(None)] * 3
        behind[axis], ahead[axis] = slice(0, -1), slice(1, None)
        a, b = number[tuple(behind)], number[tuple(ahead)]
        joined = (a >= 0) & (b >= 0)
        first, second = a[joined], b[joined]
        area_mm2 = float(np.prod(spacing) / spacing[axis])
        capacity = np.minimum(price[first], price[second]) * area_mm2
        graph.add_edges(first, second, capacity, capacity)
    own = lean[nodes].astype(np.float64)
    volume_mm3 = float(np.prod(spacing))
    soft = np.clip(own / band, -1.0, 1.0) * PRIOR_WEIGHT * volume_mm3
    source = np.where(own >= band, _HARD, np.clip(soft, 0.0, None))
    sink = np.where(own <= -band, _HARD, np.clip(-soft, 0.0, None))
    ids = np.arange(len(voxels))
    graph.add_grid_tedges(ids, source, sink)
    graph.maxflow()
    result[box.slices][nodes] = ~graph.get_grid_segments(ids)
    return result
