"""The local half-maximum: the HU half-way between a bone's cortex and what lies outside it, place by place.

A fixed threshold lies far down the flank of a blurred cortex and moves the surface outward (0.68 mm at
226 HU on simulated CT); half-way up is where the edge is, whatever the blur. A cortex thinner than the blur
does not reach its full height, so half of what is seen lies outside the edge: a sheet of full contrast A and
width w, blurred by a Gaussian, peaks at p A with p = erf(x) and has e A at its true edge with e = erf(2 x) / 2
(x = w / (2 sqrt(2) sigma)). The level is therefore e(p) A, with A the contrast of this scan's thick cortex;
for a thick cortex e is one half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.segment.filters import gaussian, spread
from implantflow.segment.masks import BoolArray
from implantflow.volumes import Volume

STEP_MM = 0.25
#: The profile runs from here to here (mm) along the outward normal of the threshold surface.
INNER_MM, OUTER_MM = 3.0, 4.0
#: The peak is looked for up to here (mm) outside the threshold surface, the steepest drop this far beyond it.
PEAK_MM, DROP_MM = 0.75, 2.5
#: The outside is read within this (mm) beyond the steepest drop: past the blur, before the next tissue.
OUTSIDE_MM = 1.75
#: Lower contrast (HU) than this is no cortex.
MIN_CONTRAST_HU = 100.0
#: Share of places whose cortex is thinner in this scan than the one taken as full.
FULL_QUANTILE = 0.97
#: The level stays below this share of the local peak, so that noise cannot bore holes into a thin cortex, and at
#: half of it where the peak has less than the second share of full contrast: there a sheet may as well be thick
#: and of low density (an osteopenic sacrum) as thin, and half of what is seen is the cautious reading.
MAX_HEIGHT, THIN_FRACTION, THICK_FRACTION = 0.75, 0.25, 0.45
#: Edges at least this sharp (share of all) show the blur of the scan; the others are oblique or thin.
SHARP_QUANTILE = 0.25
#: Levels are averaged with a Gaussian of this width (mm) over the surface, on cells of this size (mm).
SPREAD_MM, CELL_MM = 2.0, 2.0
#: Profiles read at a time: few enough to stay in the processor's cache.
PIECE = 8192


@dataclass(frozen=True)
class Profiles:
    """Cortex seen along the normals of a surface.

    Attributes
    ----------
    voxels : (N, 3) int k, j, i on the surface where a cortex was met.
    outside_hu, contrast_hu : (N,) HU beyond the edge, and of the peak above it.
    slope_hu_per_mm : (N,) steepest fall of HU outward.
    """

    voxels: NDArray[np.int64]
    outside_hu: NDArray[np.float64]
    contrast_hu: NDArray[np.float64]
    slope_hu_per_mm: NDArray[np.float64]

    def edge_sigma_mm(self) -> float:
        """Width (standard deviation, mm) of the blur that turns a step into the steepest fall of sharp edges."""
        sigma = self.contrast_hu / (self.slope_hu_per_mm * np.sqrt(2.0 * np.pi))
        return float(np.quantile(sigma, SHARP_QUANTILE)) if len(sigma) else float("nan")

    def mm_per_100_hu(self) -> float:
        """How far (mm) the surface moves when its level is wrong by 100 HU."""
        return float(np.median(100.0 / self.slope_hu_per_mm)) if len(self.slope_hu_per_mm) else float("nan")


def surface_voxels(solid: BoolArray) -> NDArray[np.int64]:
    """Voxels (N, 3) of a mask that have a face outside it; the border of the array is not outside."""
    inner = solid.copy()
    for axis in range(3):
        here: list[slice] = [slice(None)] * 3
        there: list[slice] = [slice(None)] * 3
        here[axis], there[axis] = slice(0, -1), slice(1, None)
        inner[tuple(here)] &= solid[tuple(there)]
        inner[tuple(there)] &= solid[tuple(here)]
    return np.argwhere(solid & ~inner)


def cortex_profiles(hu: Volume, solid: BoolArray) -> Profiles:
    """Peak of the cortex and what lies outside it, along the outward normals of ``solid``.

    Parameters
    ----------
    hu : crop of the CT; solid : (K, J, I) bool, filled bone at the threshold.
    """
    voxels = surface_voxels(solid)
    direction = _outward(hu, solid, voxels) @ np.linalg.inv(hu.affine_lps[:3, :3]).T
    several = [slice(n, n + PIECE) for n in range(0, len(voxels), PIECE)]
    parts = [_read_profiles(hu, voxels[piece], direction[piece]) for piece in several]
    return Profiles(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _read_profiles(
    hu: Volume, voxels: NDArray[np.int64], direction: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Columns of :class:`Profiles` where a cortex is met along ``direction`` (N, 3), in voxels per mm."""
    from implantflow.segment.kernels import sample_lines

    steps = np.arange(-INNER_MM, OUTER_MM + 1e-9, STEP_MM)
    value = sample_lines(hu.array, voxels[:, ::-1].astype(np.float64), direction, steps, np.float32(-1000.0))
    # Three samples averaged: a single one would make the peak of the noise the peak of the cortex.
    calm = (value[:, :-2] + value[:, 1:-1] + value[:, 2:]) / np.float32(3.0)
    place = steps[1:-1]
    rows = np.arange(len(calm))
    top = np.where(place <= PEAK_MM, calm, -np.inf).argmax(axis=1)
    along = np.arange(calm.shape[1])[None]
    drop = calm[:, :-1] - calm[:, 1:]
    near = (along[:, :-1] >= top[:, None]) & (along[:, :-1] <= top[:, None] + int(DROP_MM / STEP_MM))
    steep = np.where(near, drop, -np.inf)
    edge = steep.argmax(axis=1)[:, None]
    slope = steep.max(axis=1).astype(np.float64) / STEP_MM
    beyond = (along > edge) & (along <= edge + int(OUTSIDE_MM / STEP_MM))
    outside = np.where(beyond, calm, np.inf).min(axis=1).astype(np.float64)
    contrast = calm[rows, top].astype(np.float64) - outside
    valid = np.isfinite(contrast) & (contrast > MIN_CONTRAST_HU) & (outside > -500.0) & (slope > 1.0)
    return voxels[valid], outside[valid], contrast[valid], slope[valid]


def full_contrast(profiles: list[Profiles]) -> float:
    """Contrast (HU) of this scan's thick cortex, from all bones together."""
    return float(np.quantile(np.concatenate([p.contrast_hu for p in profiles]), FULL_QUANTILE))


def edge_fraction(peak_fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of full contrast at the true edge of a blurred sheet whose peak has ``peak_fraction`` of it."""
    from implantflow.segment.kernels import half_erf_of_twice

    return np.asarray(half_erf_of_twice(np.clip(peak_fraction, 0.0, 1.0 - 1e-9)))


def level_at(
    hu: Volume, profiles: Profiles, full_hu: float, fallback_hu: float, voxels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Level (HU) of the edge, and the contrast there, at ``voxels`` (N, 3) near the surface.

    Values of the profiles are averaged over 2 mm cells and a Gaussian of 2 mm, then interpolated; a voxel
    with no profile near it gets ``fallback_hu``.
    """
    from implantflow.segment.kernels import sample_linear

    size = np.maximum(1, np.round(CELL_MM / hu.spacing_mm[::-1])).astype(np.int64)
    shape = tuple(int(n) for n in -(-np.array(hu.array.shape) // size))
    cell = np.ravel_multi_index(tuple((profiles.voxels // size).T), shape)
    fraction = profiles.contrast_hu / full_hu
    trust = np.clip((fraction - THIN_FRACTION) / (THICK_FRACTION - THIN_FRACTION), 0.0, 1.0)
    ceiling = 0.5 + (MAX_HEIGHT - 0.5) * trust
    height = np.minimum(edge_fraction(fraction) * full_hu, ceiling * profiles.contrast_hu)
    level = profiles.outside_hu + height
    sigma = SPREAD_MM / (size * hu.spacing_mm[::-1])
    centre = (voxels[:, ::-1] + 0.5) / size[::-1] - 0.5
    n = int(np.prod(shape))

    def around(weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        field = np.bincount(cell, weights, minlength=n).reshape(shape).astype(np.float64)
        return np.asarray(sample_linear(spread(field, sigma), centre, np.float32(0.0)), dtype=np.float64)

    amount = around(None)
    trace = 1e-4  # keeps the quotient defined where nothing was measured
    half = (around(level) + trace * fallback_hu) / (amount + trace)
    contrast = (around(profiles.contrast_hu) + trace * 2.0 * fallback_hu) / (amount + trace)
    return half.astype(np.float32), np.maximum(contrast, MIN_CONTRAST_HU).astype(np.float32)


def _outward(hu: Volume, solid: BoolArray, voxels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Outward unit normals (N, 3) in LPS of a mask, from its smoothed indicator."""
    soft = gaussian(hu.like(solid.astype(np.float32)), 1.2 * float(hu.spacing_mm.max()))
    slope = np.empty((len(voxels), 3))
    for axis in range(3):
        ahead, behind = voxels.copy(), voxels.copy()
        ahead[:, axis] = np.minimum(ahead[:, axis] + 1, soft.shape[axis] - 1)
        behind[:, axis] = np.maximum(behind[:, axis] - 1, 0)
        slope[:, 2 - axis] = soft[tuple(ahead.T)] - soft[tuple(behind.T)]
    gradient = slope @ np.linalg.inv(hu.affine_lps[:3, :3])
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    unit = np.divide(gradient, length, out=np.zeros_like(gradient), where=length > 1e-9)
    return np.asarray(-unit)
