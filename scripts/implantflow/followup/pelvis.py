"""Where the pelvis lies in the follow-up scan, from bone that nobody operated on.

A coarse search over all shifts, then least squares on the bone's own grey values: every voxel near the surface of
bone says how far it must move, metal and its surroundings say nothing. Chains from several starts pushed apart on
purpose must end at one answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.followup.rigid import (
    Normal,
    blocks,
    largest_disagreement_mm,
    robust_sd,
    tukey_weights,
)
from implantflow.followup.sampling import Smooth, block_mean, crop_around, smooth
from implantflow.followup.search import best_shift
from implantflow.geometry import FloatArray, motion, motion_columns, transform_points
from implantflow.volumes import Volume

#: Pushes of the starts: turns in degrees, shifts in mm.
STARTS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((5.0, -4.0, 3.0), (5.0, -4.0, 4.0)),
    ((-4.0, 5.0, -5.0), (-5.0, 4.0, -4.0)),
    ((4.0, 4.0, 5.0), (-4.0, -5.0, 5.0)),
)
#: Resolutions, coarse to fine: Gaussian (mm) that is kept, wider Gaussian that is taken off (shading by metal and
#: scatter is wider than cortex), steps allowed.
_LEVELS = ((4.0, None, 25), (2.0, 12.0, 15), (0.8, 5.0, 12))
_POINTS = 40_000
#: Grey values beyond these are contrast agent, gas or metal, not what is compared.
_WINDOW_HU = (-150.0, 1600.0)
#: A voxel belongs to the comparison when it is this close to bone, mm.
_NEAR_BONE_MM = 3.0
#: Residuals within a cube of this edge count as one finding (streaks and trabeculae are shorter), mm.
_BLOCK_MM = 12.0
_MIN_OVERLAP = 0.4
_MIN_POINTS = 200
_METAL_HU, _METAL_AS_HU = 2200.0, 60.0
_DONE_MM = 1e-4


@dataclass(frozen=True)
class PelvisPose:
    """Pose of the pelvis.

    Attributes
    ----------
    scan_from_planning : (4, 4) float array
        Maps the planning CT's patient LPS to the follow-up scan's, mm.
    covariance : (6, 6) float array
        Of turn (rad) about ``centre_mm`` and shift (mm) in the scan's axes.
    centre_mm : (3,) point in the scan's patient LPS that turns are about.
    gain, offset_hu : follow-up HU = gain * planning HU + offset in unoperated bone and what lies around it.
    residual_hu : robust standard deviation of what is left.
    agreement_mm : largest distance between the answers of any two starts, over the bone used, before the finest
        level, which goes on from the best of them.
    overlap_fraction : share of that bone that lies inside the scan and away from metal.
    points : number of voxels compared.
    """

    scan_from_planning: FloatArray
    covariance: FloatArray
    centre_mm: FloatArray
    gain: float
    offset_hu: float
    residual_hu: float
    agreement_mm: float
    overlap_fraction: float
    points: int

    def as_json(self) -> dict[str, Any]:
        """Keys for followup.json."""
        return {
            "reference": "the hip of the other side and the sacrum that stayed, metal and its surroundings left out",
            "agreement_mm": self.agreement_mm,
            "starts": len(STARTS),
            "overlap_fraction": self.overlap_fraction,
            "points": self.points,
            "gain": self.gain,
            "offset_hu": self.offset_hu,
            "residual_hu": self.residual_hu,
            "standard_error_mm": float(np.sqrt(np.trace(self.covariance[3:, 3:]))),
        }


@dataclass(frozen=True)
class _Level:
    """What one resolution compares: the scan as a function, and places with the planning CT's values there."""

    moving: Smooth
    metal: Volume
    places: FloatArray
    values: FloatArray

    @classmethod
    def of(
        cls,
        planning: Volume,
        near: NDArray[np.bool_],
        scan: Volume,
        metal: Volume,
        keep_mm: float,
        drop_mm: float | None,
    ) -> _Level:
        """Both images smoothed alike; ``near`` (K, J, I) are the voxels of ``planning`` that are compared."""
        fixed = _filtered(planning, keep_mm, drop_mm)
        size = _bins(planning, keep_mm)
        chosen = block_mean(near.astype(np.float32), size) > 0.5
        index = np.flatnonzero(chosen.ravel())
        index = index[:: max(1, len(index) // _POINTS)]
        ijk = np.stack(np.unravel_index(index, chosen.shape), axis=1)[:, ::-1]
        values = fixed.array.ravel()[index].astype(np.float64)
        return cls(smooth(_filtered(scan, keep_mm, drop_mm)), metal, fixed.index_to_lps(ijk), values)


def _filtered(volume: Volume, keep_mm: float, drop_mm: float | None) -> Volume:
    """Grey values inside the window, on voxels no finer than the Gaussian needs, with a band of sizes kept."""
    from scipy import ndimage

    array = volume.array.astype(np.float32)
    # Metal would leave a pit of its own once the wide Gaussian is taken off.
    array[array > _METAL_HU] = _METAL_AS_HU
    np.clip(array, *_WINDOW_HU, out=array)
    size = _bins(volume, keep_mm)
    array = block_mean(array, size)
    affine = volume.affine_lps.copy()
    affine[:3, :3] *= size[::-1]
    affine[:3, 3] = volume.index_to_lps([(size[::-1] - 1) / 2.0])[0]
    spacing = volume.spacing_mm[::-1] * size
    kept = ndimage.gaussian_filter(array, keep_mm / spacing, mode="nearest", truncate=3.0)
    if drop_mm is not None:
        kept -= ndimage.gaussian_filter(array, drop_mm / spacing, mode="nearest", truncate=3.0)
    return Volume(kept, affine)


def _bins(volume: Volume, keep_mm: float) -> NDArray[np.int64]:
    """(3,) voxels per bin along k, j, i that lose nothing a Gaussian of ``keep_mm`` would keep."""
    return np.maximum((0.8 * keep_mm / volume.spacing_mm[::-1]).astype(np.int64), 1)


def locate_pelvis(
    planning: Volume,
    unoperated: NDArray[np.bool_],
    scan: Volume,
    metal: Volume,
    agreement_max_mm: float,
) -> PelvisPose:
    """Find the pelvis of ``planning`` in ``scan``.

    Parameters
    ----------
    planning : Volume
        Planning CT, HU.
    unoperated : (K, J, I) bool array on its grid
        Bone that was not operated on and lies away from the planned implant.
    scan : Volume
        Follow-up CT, HU.
    metal : Volume
        On the grid of ``scan``: above 0 where metal or its surroundings make grey values useless.
    agreement_max_mm : float
        Answers of different starts may lie this far apart.

    Raises
    ------
    GeometryError
        Too little bone in common, or starts that do not end at one answer.
    """
    bone = planning.index_to_lps(np.argwhere(unoperated)[:: max(1, int(unoperated.sum()) // 4000), ::-1])
    if len(bone) < 100:
        raise GeometryError(
            "there is no unoperated bone to compare the scans by",
            where="labels of the planning CT",
            fix="the planning CT must show the other hip and the half of the sacrum that stays",
        )
    start = best_shift(planning, unoperated, scan)
    cropped = crop_around(planning, bone, 8.0)
    near = _near_bone(crop_around(planning.like(unoperated.astype(np.uint8)), bone, 8.0))
    target = crop_around(scan, transform_points(start, bone), 18.0)
    centre = transform_points(start, bone.mean(0)[None])[0]
    found = [motion(np.r_[np.radians(turn), shift], centre) @ start for turn, shift in STARTS]
    fits: list[_Fit] = []
    agreement = np.inf
    for number, (keep_mm, drop_mm, steps) in enumerate(_LEVELS):
        if number == len(_LEVELS) - 1:
            agreement = largest_disagreement_mm(found, bone)
            found = [min(fits, key=lambda one: one.residual_hu).pose]
        level = _Level.of(cropped, near, target, metal, keep_mm, drop_mm)
        fits = [_descend(level, pose, centre, steps) for pose in found]
        found = [fit.pose for fit in fits]
    _refuse_doubt(agreement, agreement_max_mm)
    fit = fits[0]
    if fit.overlap < _MIN_OVERLAP:
        raise GeometryError(
            f"only {100 * fit.overlap:.0f} % of the unoperated bone lies inside the scan and away from metal",
            where="follow-up scan",
            fix="use a scan that shows the whole sacrum and the other hip bone",
        )
    gain, offset = _tissue_relation(cropped, near, target, metal, fit.pose)
    return PelvisPose(
        np.round(fit.pose, 9),
        fit.covariance,
        centre,
        gain,
        offset,
        fit.residual_hu,
        agreement,
        fit.overlap,
        fit.points,
    )


def _refuse_doubt(agreement_mm: float, limit_mm: float) -> None:
    if agreement_mm > limit_mm:
        raise GeometryError(
            f"the pelvis is not found with certainty: answers from {len(STARTS)} starts lie up to "
            f"{agreement_mm:.2f} mm apart at the bones (limit {limit_mm} mm)",
            where="follow-up scan",
            fix="check that the scan is this patient's pelvis and shows the hip that was not operated on",
        )


@dataclass(frozen=True)
class _Fit:
    pose: FloatArray
    covariance: FloatArray
    residual_hu: float
    overlap: float
    points: int


def _near_bone(mask: Volume) -> NDArray[np.bool_]:
    """Voxels near the surface of the bone, where grey values change most."""
    from scipy import ndimage

    size = np.maximum(np.rint(2.0 * _NEAR_BONE_MM / mask.spacing_mm[::-1]), 1).astype(int)
    share = ndimage.uniform_filter((mask.array > 0).astype(np.float32), size.tolist(), mode="constant")
    return np.asarray((share > 0.02) & (share < 0.98))


def _descend(level: _Level, pose: FloatArray, centre: FloatArray, steps: int) -> _Fit:
    """Gauss-Newton with a gain and an offset between the two images' values."""
    fit = _Fit(pose, np.full((6, 6), np.inf), np.inf, 0.0, 0)
    for _ in range(steps):
        places = transform_points(pose, level.places)
        value, gradient = level.moving.gradients(places)
        seen = np.isfinite(value) & ~_hidden(level.metal, places)
        if seen.sum() < _MIN_POINTS:
            return fit
        at, fixed, slope = places[seen], level.values[seen], gradient[seen]
        gain, offset = _grey_relation(fixed, value[seen])
        residual = value[seen] - gain * fixed - offset
        scale = robust_sd(residual)
        columns = np.concatenate(
            [motion_columns(at, slope, centre), -fixed[:, None] / 1000.0, -np.ones((len(at), 1))], axis=1
        )
        normal = Normal.of(columns, residual, tukey_weights(residual, scale), blocks(at, _BLOCK_MM))
        step = normal.step()
        pose = motion(step[:6], centre) @ pose
        fit = _Fit(pose, normal.covariance()[:6, :6], scale, float(seen.mean()), int(seen.sum()))
        if np.abs(step[3:6]).max() < _DONE_MM and np.abs(step[:3]).max() * 100.0 < _DONE_MM:
            break
    return fit


def _tissue_relation(
    planning: Volume, near: NDArray[np.bool_], scan: Volume, metal: Volume, pose: FloatArray
) -> tuple[float, float]:
    """Gain and offset between the scanners' HU, from values smoothed so much that sharpness does not matter."""
    level = _Level.of(planning, near, scan, metal, 2.0, None)
    places = transform_points(pose, level.places)
    value = level.moving.values(places)
    seen = np.isfinite(value) & ~_hidden(metal, places)
    return _grey_relation(level.values[seen], value[seen])


def _grey_relation(fixed: FloatArray, moving: FloatArray) -> tuple[float, float]:
    """Gain and offset of the robust line through (fixed, moving)."""
    gain, offset = 1.0, float(np.median(moving - fixed))
    for _ in range(5):
        residual = moving - gain * fixed - offset
        weight = tukey_weights(residual, robust_sd(residual))
        total = weight.sum()
        mean_x, mean_y = (weight * fixed).sum() / total, (weight * moving).sum() / total
        spread = (weight * (fixed - mean_x) ** 2).sum()
        gain = float((weight * (fixed - mean_x) * (moving - mean_y)).sum() / max(spread, 1e-9))
        offset = float(mean_y - gain * mean_x)
    return gain, offset


def _hidden(metal: Volume, places: FloatArray) -> NDArray[np.bool_]:
    """(N,) True where the nearest voxel of ``metal`` is marked, or there is none."""
    index = np.rint(metal.lps_to_index(places)).astype(np.int64)
    size = np.array(metal.array.shape[::-1])
    inside = ((index >= 0) & (index < size)).all(axis=1)
    out = np.ones(len(places), dtype=bool)
    i, j, k = index[inside].T
    out[inside] = metal.array[k, j, i] > 0
    return out
