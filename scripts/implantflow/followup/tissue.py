"""The scan without the implant's own brightness: what lies beside the metal.

Metal brightens its surroundings by the scan's point spread, in a soft kernel out to two millimetres, and by
scatter and hardening further out. Both are linear in the metal, whose place is known: copies of the design, blurred
by several widths, are fitted to the scan where nothing but soft tissue surrounds the implant, and the fitted sum is
taken off everywhere. It is done voxel by voxel on the scan's own grid, so that no interpolation is made across the
steep edge of the metal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.followup.design import Coverage, Depths
from implantflow.followup.found import Found
from implantflow.followup.hardware import near_hardware
from implantflow.followup.rigid import robust_sd, tukey_weights
from implantflow.followup.sampling import Smooth
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.volumes import Volume

#: Widths of the copies: the measured point spread, its tails (a multiple of it), scatter (mm).
_TAILS = 1.4
_SCATTER_MM = 3.0
#: Where the widest copy has less than this, the implant has no influence that could be told.
_REACH = 2e-4
#: Voxels with more metal than this are metal: they show no tissue.
_MOST_METAL = 0.4
_CEILING_HU = 2900.0
#: Metal that is not the implant: HU where the design puts next to none, and how far it reaches, mm.
_FOREIGN_HU, _FOREIGN_SHARE, _FOREIGN_MM = 1800.0, 0.02, 3.0
_FAR_FROM_BONE_MM = 4.0
_SCREW_MM = 8.0
_FITTED, _FITTED_SHARE = 60_000, 0.01


@dataclass(frozen=True)
class Tissue:
    """What lies beside the implant in one scan.

    Attributes
    ----------
    hu : (K, J, I) float32 array, metal taken off; 0 where it is not known.
    known : (K, J, I) float32 array, 1 where it is.
    affine_lps : (4, 4) index to the scan's patient LPS.
    hu_per_share : HU that a full share of metal adds.
    """

    hu: NDArray[np.float32]
    known: NDArray[np.float32]
    affine_lps: FloatArray
    hu_per_share: float

    def at(self, places: FloatArray) -> FloatArray:
        """(N,) HU at (N, 3) places of the scan; NaN where fewer than half of the eight voxels around are known."""
        from scipy import ndimage

        index = transform_points(np.linalg.inv(self.affine_lps), places)[:, ::-1].T
        weight = ndimage.map_coordinates(self.known, index, output=np.float64, order=1, cval=0.0)
        value = ndimage.map_coordinates(self.hu, index, output=np.float64, order=1, cval=0.0)
        return np.asarray(np.divide(value, weight, out=np.full(len(places), np.nan), where=weight > 0.5))


def without_metal(
    part: Volume,
    found: Found,
    coverage: Coverage,
    model: Smooth,
    depths: Depths,
    regions: Mapping[str, Any],
    bone: Volume,
) -> Tissue:
    """Take the implant's brightness off ``part`` of a scan.

    Parameters
    ----------
    part : Volume
        The scan around the implant, HU.
    found, coverage, depths, regions
        Poses and point spread; the design.
    model : Smooth
        Share of metal blurred like the scan.
    bone : Volume
        Distance in mm to bone that stays, on a grid of the planning CT.
    """
    index = np.arange(part.array.size)
    wide = coverage.blurred(
        found.blur.in_plane_only(float(np.hypot(found.blur.in_plane_mm, _SCATTER_MM))), found.scan_from_design
    )
    scatter = wide.values(_design_places(part, index, found))
    index, scatter = index[scatter > _REACH], scatter[scatter > _REACH]
    places = _design_places(part, index, found)
    tails = coverage.blurred(
        found.blur.in_plane_only(found.blur.in_plane_mm * _TAILS), found.scan_from_design
    )
    copies = np.stack([model.values(places), tails.values(places), scatter], axis=1)
    hu = part.array.ravel()[index].astype(np.float64)
    share = np.zeros(part.array.size)
    share[index] = copies[:, 0]
    foreign = _foreign(part, share.reshape(part.array.shape)).ravel()
    good = (copies[:, 0] < _MOST_METAL) & (hu < _CEILING_HU) & ~foreign[index]
    chosen = np.flatnonzero(good & (copies[:, -1] > _FITTED_SHARE) & (depths.near_surface(places) > 0.0))
    there = transform_points(invert_rigid(found.scan_from_planning) @ found.scan_from_design, places[chosen])
    chosen = chosen[read_grid(bone, there) > _FAR_FROM_BONE_MM]
    chosen = chosen[~near_hardware(places[chosen], regions, _SCREW_MM)]
    chosen = chosen[:: max(1, len(chosen) // _FITTED)]
    weights = _fit(copies[chosen], hu[chosen])
    left = part.array.ravel().astype(np.float32)
    left[index] = np.where(good, hu - copies @ weights[:-1], 0.0)
    known = (~foreign & (part.array.ravel() < _CEILING_HU)).astype(np.float32)
    known[index] = good
    return Tissue(
        (left * known).reshape(part.array.shape),
        known.reshape(part.array.shape),
        part.affine_lps,
        float(weights[:-1].sum()),
    )


def _design_places(part: Volume, index: NDArray[np.int64], found: Found) -> FloatArray:
    """(N, 3) places in the planned implant of voxels given by their number."""
    ijk = np.stack(np.unravel_index(index, part.array.shape), axis=1)[:, ::-1]
    return transform_points(invert_rigid(found.scan_from_design) @ part.affine_lps, ijk)


def _foreign(part: Volume, share: FloatArray) -> NDArray[np.bool_]:
    """(K, J, I) True in and around metal that is not the implant."""
    from scipy import ndimage

    metal = (part.array > _FOREIGN_HU) & (share < _FOREIGN_SHARE)
    metal = ndimage.binary_opening(metal)
    if not metal.any():
        return np.zeros(part.array.shape, dtype=bool)
    way = ndimage.distance_transform_edt(~metal, sampling=part.spacing_mm[::-1])
    return np.asarray(way < _FOREIGN_MM)


def read_grid(volume: Volume, places: FloatArray) -> FloatArray:
    """(N,) values of ``volume`` at (N, 3) places, linear; 0 beyond it."""
    from scipy import ndimage

    index = volume.lps_to_index(places)[:, ::-1].T
    return np.asarray(ndimage.map_coordinates(volume.array, index, output=np.float64, order=1, cval=0.0))


def _fit(copies: FloatArray, hu: FloatArray) -> FloatArray:
    """Weights (C + 1,) of the copies and of soft tissue, robust."""
    columns = np.concatenate([copies, np.ones((len(copies), 1))], axis=1)
    weight = np.ones(len(hu))
    found = np.zeros(columns.shape[1])
    for _ in range(8):
        matrix = np.einsum("np,n,nq->pq", columns, weight, columns)
        # A trace of ridge: the copies are nearly collinear, and only their sum matters.
        matrix += 1e-5 * np.trace(matrix) / len(matrix) * np.eye(len(matrix))
        found = np.linalg.solve(matrix, np.einsum("np,n,n->p", columns, weight, hu))
        residual = hu - columns @ found
        weight = tukey_weights(residual, robust_sd(residual))
    return found
