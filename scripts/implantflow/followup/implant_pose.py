"""Where the implant lies in the scan, from all of its metal.

Design and scan are compared voxel by voxel: the share of metal that the design, blurred like the scan, puts into a
voxel must explain its HU. How HU grows with that share is read from the scan itself (a rising curve that ends at
the scanner's ceiling), so beam hardening, scatter and the clip at 3071 HU need no model; where the curve is flat a
voxel says nothing. The lattice's own texture and every edge of the part add to the answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.followup.design import Blur, Coverage
from implantflow.followup.evenness import within_blocks
from implantflow.followup.rigid import (
    MAD_TO_SD,
    Normal,
    blocks,
    largest_disagreement_mm,
    robust_sd,
    tukey_weights,
)
from implantflow.followup.sampling import Smooth
from implantflow.geometry import FloatArray, invert_rigid, motion, motion_columns, transform_points
from implantflow.volumes import Volume

#: Point spread to begin with: a soft kernel.
FIRST_GUESS = Blur(0.6, 0.6)
#: Pushes of the starts about the planned pose: turns in degrees, shifts in mm.
STARTS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((2.0, -1.5, 2.0), (2.0, -1.5, 1.5)),
    ((-2.0, 2.0, -1.5), (-1.5, 2.0, -2.0)),
)
#: Extra Gaussians (mm) on design and scan, coarse to fine, voxels compared and steps allowed at each.
_LEVELS = ((2.5, 12_000, 25), (0.8, 25_000, 20), (0.0, 70_000, 12))
_CURVE_BINS = 48
#: Medians from here on are cut by the scanner's ceiling (3071).
CEILING_HU = 2950.0
_BLOCK_MM = 8.0
#: A step below this ends a level; the last level goes on to a hundredth of it.
_DONE_MM = 1e-3
_MIN_POINTS = 500
#: The struts show when they place the implant this well (standard error, mm) and explain this share of the
#: variance inside; an answer further from that of all metal than a strut is thick has slipped to the next cell.
_SHOWN_MM, _SHOWN_EXPLAINED, _SAME_STRUT_MM = 0.02, 0.1, 0.5
#: Least share of the variance of HU around the implant that the design must explain.
_MIN_EXPLAINED = 0.5


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
    if len(index) < _MIN_POINTS:
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
class ImplantPose:
    """Pose of the implant.

    Attributes
    ----------
    scan_from_design : (4, 4) float array
        Maps the planned implant (planning CT's patient LPS) to the scan's patient LPS, mm.
    covariance : (6, 6) float array
        Of turn (rad) about ``centre_mm`` and shift (mm) in the scan's axes.
    centre_mm : (3,) the implant's centroid in the scan.
    blur : width of the scan's point spread.
    explained : share of the variance of HU around the implant that the design explains.
    agreement_mm : largest distance between the answers of any two starts, over the implant, before the finest
        level, which goes on from the best of them.
    points : number of voxels compared.
    by_texture : True where the pose is that of the struts deep inside, False where it is that of all metal.
    texture_apart_mm : largest distance over the implant between the two, None where struts do not show.
    """

    scan_from_design: FloatArray
    covariance: FloatArray
    centre_mm: FloatArray
    blur: Blur
    explained: float
    agreement_mm: float
    points: int
    by_texture: bool
    texture_apart_mm: float | None

    def as_json(self) -> dict[str, Any]:
        """Keys for followup.json."""
        in_plane, axial = self.blur.fwhm_mm
        return {
            "agreement_mm": self.agreement_mm,
            "starts": len(STARTS),
            "explained_fraction": self.explained,
            "points": self.points,
            "pose_rests_on": "the struts deep inside" if self.by_texture else "all metal",
            "struts_against_all_metal_mm": self.texture_apart_mm,
            "point_spread_fwhm_mm": [in_plane, in_plane, axial],
            "standard_error_mm": float(np.sqrt(np.trace(self.covariance[3:, 3:]))),
        }


@dataclass(frozen=True)
class Step:
    """One evaluation of a pose."""

    pose: FloatArray
    normal: Normal
    curve: Curve
    explained: float


def improve(
    voxels: Voxels, model: Smooth, pose: FloatArray, centre: FloatArray, done_mm: float, fine: bool = False
) -> Step:
    """Gauss-Newton steps from ``pose`` (4, 4; scan_from_design), turns about ``centre`` (3,) in the scan.

    ``model`` is the share of metal as a function of the planned place. ``fine``: only what differs between places a
    few struts apart counts; shading, and struts that grow thicker along the part, are left out.
    """
    number = blocks(voxels.places, _BLOCK_MM)
    shown = within_blocks(voxels.hu[:, None], voxels.places)[:, 0] if fine else voxels.hu
    variance = max(float(np.var(shown)), 1e-9)
    for _ in range(voxels.steps):
        share, gradient = model.gradients(transform_points(invert_rigid(pose), voxels.places))
        curve = Curve.through(share, voxels.hu)
        expected, slope, spread = curve.at(share)
        residual = voxels.hu - expected
        # Moving the implant by +d moves what a voxel sees by -d: the residual grows along the gradient.
        columns = motion_columns(voxels.places, (slope[:, None] * gradient) @ pose[:3, :3].T, centre)
        if fine:
            rest = within_blocks(np.column_stack([columns, residual]), voxels.places)
            columns, residual = rest[:, :-1], rest[:, -1]
            spread = np.full(len(residual), robust_sd(residual))
        weight = tukey_weights(residual, spread) / spread**2
        normal = Normal.of(columns, residual, weight, number)
        step = normal.step()
        pose = motion(step, centre) @ pose
        if np.abs(step[3:]).max() < done_mm and np.abs(step[:3]).max() * 50.0 < done_mm:
            break
    return Step(pose, normal, curve, 1.0 - float(np.mean(residual**2)) / variance)


def locate_implant(
    coverage: Coverage,
    levels: list[Voxels],
    core_of: Callable[[FloatArray], NDArray[np.bool_]],
    blur_of: Callable[[FloatArray], Blur],
    planned: FloatArray,
    surface_lps: FloatArray,
    agreement_max_mm: float,
) -> ImplantPose:
    """Find the implant.

    Parameters
    ----------
    coverage : Coverage
        The design.
    levels : list of Voxels
        Around the implant, other metal left out, coarse first.
    core_of : function of (N, 3) planned places
        True deep in the lattice, far from dense metal and from the surface.
    blur_of : function of a (4, 4) pose
        Measures the scan's point spread once the pose is nearly known.
    planned : (4, 4)
        Where it would lie as planned (the pelvis' pose).
    surface_lps : (N, 3)
        Points of its surface as planned.
    agreement_max_mm : float
        Answers of different starts may lie this far apart.

    Raises
    ------
    GeometryError
        The scan does not show this implant, or starts do not end at one answer.
    """
    centre = transform_points(planned, surface_lps.mean(0)[None])[0]
    found = [motion(np.r_[np.radians(turn), shift], centre) @ planned for turn, shift in STARTS]
    blur, agreement = FIRST_GUESS, np.inf
    steps: list[Step] = []
    for number, voxels in enumerate(levels):
        last = number == len(levels) - 1
        if last:
            agreement = largest_disagreement_mm(found, surface_lps)
            found = [max(steps, key=lambda step: step.explained).pose]
            blur = blur_of(found[0])
        model = coverage.blurred(blur.wider_by(voxels.extra_mm), planned)
        done = _DONE_MM / 100.0 if last else _DONE_MM
        steps = [improve(voxels, model, pose, centre, done) for pose in found]
        found = [step.pose for step in steps]
    best = steps[0]
    _refuse_doubt(agreement, agreement_max_mm, best.explained)
    texture = _by_texture(levels[-1], model, best.pose, core_of, centre)
    used, apart = best, None
    if texture is not None:
        apart = largest_disagreement_mm([best.pose, texture.pose], surface_lps)
        if apart < _SAME_STRUT_MM:
            used = texture
    return ImplantPose(
        np.round(used.pose, 9),
        used.normal.covariance(),
        centre,
        blur,
        best.explained,
        agreement,
        len(levels[-1].places),
        used is texture,
        apart,
    )


def _by_texture(
    voxels: Voxels,
    model: Smooth,
    pose: FloatArray,
    core_of: Callable[[FloatArray], NDArray[np.bool_]],
    centre: FloatArray,
) -> Step | None:
    """The pose that the struts themselves say, deep inside; None where the scan does not show them.

    Bone, gaps, streaks and bloom change what the outer surface looks like, and pull at a pose that rests on it; the
    struts' pattern inside keeps its place whatever fills the pores.
    """
    core = core_of(transform_points(invert_rigid(pose), voxels.places))
    if core.sum() < _MIN_POINTS:
        return None
    inner = replace(voxels, places=voxels.places[core], hu=voxels.hu[core])
    step = improve(inner, model, pose, centre, _DONE_MM / 100.0, fine=True)
    error = float(np.sqrt(np.trace(step.normal.covariance()[3:, 3:])))
    return step if error < _SHOWN_MM and step.explained > _SHOWN_EXPLAINED else None


def _refuse_doubt(agreement_mm: float, limit_mm: float, explained: float) -> None:
    if explained < _MIN_EXPLAINED:
        raise GeometryError(
            f"the scan does not show this implant where it was planned: its design explains "
            f"{100 * max(explained, 0.0):.0f} % of the grey values there (at least {100 * _MIN_EXPLAINED:.0f} %)",
            where="follow-up scan",
            fix="check that the scan was taken after the operation and is this patient's",
        )
    if agreement_mm > limit_mm:
        raise GeometryError(
            f"the implant is not found with certainty: answers from {len(STARTS)} starts lie up to "
            f"{agreement_mm:.2f} mm apart (limit {limit_mm} mm)",
            where="follow-up scan",
            fix="check the scan for motion and for heavy artefacts",
        )
