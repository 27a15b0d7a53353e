"""One comparison of scan and design at one resolution, and the steps that improve a pose by it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.followup.design import Blur
from implantflow.followup.rigid import MAD_TO_SD, Normal, blocks, tukey_weights
from implantflow.followup.sampling import Smooth
from implantflow.geometry import FloatArray, invert_rigid, motion, motion_columns, transform_points
from implantflow.volumes import Volume

#: Point spread to begin with: a soft kernel.
FIRST_GUESS = Blur(0.6, 0.6)
#: Extra Gaussians (mm) on design and scan, coarse to fine, voxels compared and steps allowed at each.
_LEVELS = ((2.5, 12_000, 25), (0.8, 25_000, 20), (0.0, 70_000, 12))
_CURVE_BINS = 48
#: Medians from here on are cut by the scanner's ceiling (3071).
CEILING_HU = 2950.0
#: What errs alike lies within cubes of this edge, mm.
BLOCK_MM = 8.0
MIN_POINTS = 500
#: A step below this ends a level; the last level goes on to a hundredth of it.
DONE_MM = 1e-3


@dataclass(frozen=True)
class Voxels:
    """Voxels of the scan around the implant at one resolution.

    Attributes
    ----------
    places : (N, 3) patient LPS mm of the scan.
    hu : (N,) grey values there, smoothed by ``extra_mm``.
    extra_mm : Gaussian that the design has to be smoothed with as well.
    steps : Gauss-Newton steps allowed.
    """

    places: FloatArray
    hu: FloatArray
    extra_mm: float
    steps: int


def voxel_levels(scan: Volume, keep: NDArray[np.bool_]) -> list[Voxels]:
    """Voxels of ``scan`` in ``keep`` (K, J, I), coarse level first, thinned evenly.

    Raises
    ------
    GeometryError
        There are too few of them.
    """
    from scipy import ndimage

    index = np.flatnonzero(keep.ravel())
    if len(index) < MIN_POINTS:
        raise GeometryError(
            "the scan does not show the region of the implant",
            where="follow-up scan",
            fix="use a scan that holds the whole sacrum",
        )
    levels = []
    for extra_mm, limit, steps in _LEVELS:
        array = scan.array.astype(np.float32)
        if extra_mm > 0:
            array = ndimage.gaussian_filter(array, extra_mm / scan.spacing_mm[::-1])
        chosen = index[:: max(1, len(index) // limit)]
        ijk = np.stack(np.unravel_index(chosen, keep.shape), axis=1)[:, ::-1]
        values = array.ravel()[chosen].astype(np.float64)
        levels.append(Voxels(scan.index_to_lps(ijk), values, extra_mm, steps))
    return levels


@dataclass(frozen=True)
class Curve:
    """HU as a rising function of the share of metal: linear between knots."""

    share: FloatArray
    hu: FloatArray
    spread: FloatArray

    @classmethod
    def through(cls, share: FloatArray, hu: FloatArray) -> Curve:
        """Medians of ``hu`` (N,) in bins of equal width of ``share`` (N,), made to rise."""
        top = max(float(share.max()), 1e-3)
        number = np.minimum((np.maximum(share, 0.0) / top * _CURVE_BINS).astype(np.int64), _CURVE_BINS - 1)
        order = np.argsort(number, kind="stable")
        ends = np.searchsorted(number[order], np.arange(_CURVE_BINS + 1))
        knots, levels, spreads = [], [], []
        for first, last in itertools.pairwise(ends):
            if last - first < 20:
                continue
            part = order[first:last]
            middle = float(np.median(hu[part]))
            knots.append(float(share[part].mean()))
            levels.append(middle)
            spreads.append(MAD_TO_SD * float(np.median(np.abs(hu[part] - middle))))
        rising = np.maximum.accumulate(np.array(levels))
        # At the ceiling nothing scatters; that must not make its rim the most trusted place.
        spread = np.array(spreads)
        return cls(np.array(knots), rising, np.maximum(spread, np.median(spread[rising < CEILING_HU])))

    def at(self, share: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """HU, its slope by share, and the spread of HU, each (N,)."""
        hu = np.interp(share, self.share, self.hu)
        slopes = np.diff(self.hu) / np.maximum(np.diff(self.share), 1e-9)
        slopes[self.hu[1:] >= CEILING_HU] = 0.0
        piece = np.clip(np.searchsorted(self.share, share) - 1, 0, len(slopes) - 1)
        inside = (share > self.share[0]) & (share < self.share[-1])
        return hu, np.where(inside, slopes[piece], 0.0), np.interp(share, self.share, self.spread)


@dataclass(frozen=True)
class Step:
    """One evaluation of a pose."""

    pose: FloatArray
    normal: Normal
    explained: float


def improve(voxels: Voxels, model: Smooth, pose: FloatArray, centre: FloatArray, done_mm: float) -> Step:
    """Gauss-Newton steps from ``pose`` (4, 4; scan_from_design), turns about ``centre`` (3,) in the scan.

    ``model`` is the share of metal as a function of the planned place.
    """
    number = blocks(voxels.places, BLOCK_MM)
    variance = max(float(np.var(voxels.hu)), 1e-9)
    for _ in range(voxels.steps):
        share, gradient = model.gradients(transform_points(invert_rigid(pose), voxels.places))
        curve = Curve.through(share, voxels.hu)
        expected, slope, spread = curve.at(share)
        residual = voxels.hu - expected
        # Moving the implant by +d moves what a voxel sees by -d: the residual grows along the gradient.
        columns = motion_columns(voxels.places, (slope[:, None] * gradient) @ pose[:3, :3].T, centre)
        weight = tukey_weights(residual, spread) / spread**2
        normal = Normal.of(columns, residual, weight, number)
        step = normal.step()
        pose = motion(step, centre) @ pose
        if length_mm(step) < done_mm:
            break
    return Step(pose, normal, 1.0 - float(np.mean(residual**2)) / variance)


def length_mm(step: FloatArray) -> float:
    """How far a step (6,; turn in rad, shift in mm) moves the part at most: its shift, or its turn 50 mm out."""
    return float(max(np.abs(step[3:]).max(), 50.0 * np.abs(step[:3]).max()))
