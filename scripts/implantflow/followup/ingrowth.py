"""Bone in the pores: change of HU against the baseline in the same places of the lattice.

An absolute bone share cannot be had: one per cent of metal more or less outweighs ten of bone. In the difference of
two scans of one protocol the metal is the same and cancels, and what is left is what has come into the pores. It is
read where the design puts little metal: a strut's voxel is at the scanner's ceiling or near it, and what changes there
is cut off. Which places these are is decided by the design, not by their HU, so that noise does not choose them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.followup.attenuation import Sensitivity, sensitivity
from implantflow.followup.design import Depths
from implantflow.followup.evenness import block_error, unevenness, within_blocks
from implantflow.followup.faces import Face
from implantflow.followup.interval import SURE, Doubts, Errors, Shown, share_of_bone
from implantflow.followup.profile import Scan
from implantflow.geometry import FloatArray, motion, transform_points

#: Places are this far apart, mm; no divisor of the usual cells.
_STEP_MM = 0.9
_CEILING_HU = 2950.0
#: Places are read up to the share of metal that shows this many HU at the baseline: struts beside them, noise and
#: bone that comes stay below the ceiling. At least this share of the core is read.
_READ_HU, _READ_SHARE = 2200.0, 0.25
#: With fewer places of the core at the ceiling its mean is not cut.
_FEW_CLIPPED = 0.02
_MIN_PLACES = 100
#: Nearer to the surface the point spread mixes in what lies outside; nearer to dense metal, its bloom. mm
_OFF_SURFACE_MM, _OFF_DENSE_MM = 1.0, 2.0
BANDS_MM = ((1.0, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, 16.0))
#: Bands are joined up to this depth; how rays along a face show bone is worked out down to it, mm.
LAYERS_MM = 8.0
#: A band whose unevenness alone makes an error larger than this (95 %, share of the pores) is read with the next.
_NOISE_MAX = 0.03


@dataclass(frozen=True)
class Region:
    """Places in the porous part, planned patient LPS.

    Attributes
    ----------
    places : (N, 3) mm.
    core : (N,) True far from dense metal, screws and the surface.
    face : (N,) number of the nearest contact face within the deepest band, -1: none.
    depth_mm : (N,) distance to it; where the wall is dense, pores begin only behind the wall.
    """

    places: FloatArray
    core: NDArray[np.bool_]
    face: NDArray[np.int64]
    depth_mm: FloatArray


def porous_region(
    places: FloatArray,
    depths: Depths,
    faces: list[Face],
    near_hardware: NDArray[np.bool_],
    margins_mm: tuple[float, float],
) -> Region:
    """Sort ``places`` (N, 3) of the porous part; ``margins_mm`` of the core from dense metal and from the surface.

    Places ``near_hardware`` (N,), at dense metal and at the surface belong to nothing: they are dropped.
    """
    from scipy.spatial import cKDTree

    places = places[~near_hardware]
    dense, surface = depths.to_dense(places), depths.below_surface(places)
    clear = (dense >= _OFF_DENSE_MM) & (surface >= _OFF_SURFACE_MM)
    places, dense, surface = places[clear], dense[clear], surface[clear]
    core = (dense >= margins_mm[0]) & (surface >= margins_mm[1])
    number = np.full(len(places), -1, dtype=np.int64)
    depth = np.full(len(places), np.inf)
    deepest = BANDS_MM[-1][1]
    for index, face in enumerate(faces):
        way, _ = cKDTree(face.lines.points).query(places, distance_upper_bound=deepest)
        nearer = (way < depth) & (way < deepest)
        number[nearer], depth[nearer] = index, way[nearer]
    return Region(places, core, number, depth)


def porous_places(depths: Depths, bounds_mm: FloatArray) -> FloatArray:
    """(N, 3) regular places inside the porous part, planned patient LPS; ``bounds_mm`` (2, 3) of the implant."""
    low, high = bounds_mm
    axes = [np.arange(low[a] + 0.37 * _STEP_MM, high[a], _STEP_MM) for a in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    places = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    places = places[depths.near_surface(places) < 0]
    return places[~depths.is_dense(places)]


@dataclass(frozen=True)
class Sampled:
    """HU at the region's places: (N,) arrays, NaN where the scan ends or is at its ceiling."""

    now: FloatArray
    base: FloatArray | None
    share: FloatArray

    @classmethod
    def of(cls, region: Region, now: Scan, base: Scan | None) -> Sampled:
        """Read both scans at the same places of the implant."""
        first = _capped(now, region.places)
        second = None if base is None else _capped(base, region.places)
        share = now.model.values(region.places)
        return cls(first, second, share)


def _capped(scan: Scan, places: FloatArray) -> FloatArray:
    value = scan.smooth.values(transform_points(scan.scan_from_design, places))
    with np.errstate(invalid="ignore"):
        value[value > _CEILING_HU] = np.nan
    return value


def change(
    region: Region,
    sampled: Sampled,
    chosen: NDArray[np.bool_],
    doubts: Doubts,
    gauge: Sensitivity,
    shown: Shown,
    usual_hu: float,
    pose_hu: float,
    tissue_drift_hu: float,
    shift_hu: float = 0.0,
) -> dict[str, Any]:
    """Change of HU and of the share of bone over ``chosen`` (N,) places, with its interval.

    The interval holds, at 95 %: noise and unevenness (blocks of 10 mm), error of the poses, drift between the scans
    and of their stray signal; then what :func:`share_of_bone` adds. ``usual_hu`` is :func:`usual_unevenness_hu`,
    ``pose_hu`` the standard error from the poses' own errors, ``shift_hu`` what the struts' own displacement against
    the pose (:mod:`struts`) makes of it.
    """
    if sampled.base is None:
        raise ValueError("change needs a baseline")
    low_metal = chosen & (sampled.share <= gauge.read_share_max)
    both = low_metal & np.isfinite(sampled.now) & np.isfinite(sampled.base)
    share_used = float(both.sum()) / max(int(low_metal.sum()), 1)
    if both.sum() < _MIN_PLACES or share_used < 0.5:
        return not_determinable(
            f"only {int(both.sum())} of {int(low_metal.sum())} places with little metal are inside both scans and "
            "below the scanner's ceiling"
        )
    pores = 1.0 - float(sampled.share[both].mean())
    delta = sampled.now[both] - sampled.base[both]
    errors = Errors(
        SURE * block_error(delta, region.places[both], usual_hu),
        SURE * pose_hu,
        float(np.hypot(doubts.drift_hu, tissue_drift_hu)),
        doubts.stray_drift * abs(shown.local.stray_hu),
        abs(shift_hu),
    )
    found = share_of_bone(float(delta.mean()), pores, errors, doubts, gauge, shown)
    return {
        "status": "determined",
        "delta_hu": float(delta.mean()),
        **found,
        "noise_limited": found["noise_fraction"] > _NOISE_MAX,
        "places": int(both.sum()),
        "metal_share": 1.0 - pores,
        "clipped_or_outside_fraction": 1.0 - share_used,
        "mean_hu": float(sampled.now[both].mean()),
        "baseline_mean_hu": float(sampled.base[both].mean()),
    }


def usual_unevenness_hu(region: Region, sampled: Sampled, share_max: float) -> float:
    """How much the change of HU differs between parts of the lattice that lie nearest to one face, HU (one sd)."""
    if sampled.base is None:
        raise ValueError("unevenness needs a baseline")
    delta = sampled.now - sampled.base
    used = np.isfinite(delta) & (sampled.share <= share_max)
    return unevenness(delta[used], region.places[used], region.face[used] + 1)


def not_determinable(reason: str) -> dict[str, Any]:
    """The answer that there is none, with the contract's keys."""
    return {
        "status": "not determinable",
        "reason": reason,
        "delta_hu": None,
        "delta_bone_fraction": None,
        "interval": None,
    }


def pose_error_hu(places: FloatArray, now: Scan, covariance: FloatArray, metal_hu: float) -> float:
    """Standard error of the mean HU over (N, 3) ``places`` from the error of the implant's pose (both scans')."""
    centre = places.mean(0)
    start = float(now.model.values(places).mean())
    values, vectors = np.linalg.eigh(covariance)
    total = 0.0
    for value, vector in zip(values, vectors.T, strict=True):
        moved = transform_points(motion(np.sqrt(max(value, 0.0)) * vector, centre), places)
        total += (float(now.model.values(moved).mean()) - start) ** 2
    return metal_hu * float(np.sqrt(total))


def gauge_of(sampled: Sampled, region: Region, doubts: Doubts) -> Sensitivity:
    """Sensitivity from the baseline's HU in the core of the lattice.

    Where the scan does not resolve the struts nothing is cut off, and the mean level holds whatever the point spread.
    Where it does, struts are at the ceiling and the mean is too low: the rise of HU with the share of metal is taken,
    as far as nothing is cut off.

    Raises
    ------
    GeometryError
        Too little of the core is in the scan, or no energy explains it.
    """
    source = sampled.now if sampled.base is None else sampled.base
    good = region.core & np.isfinite(source)
    if good.sum() < _MIN_PLACES:
        raise GeometryError(
            "the scan shows too little of the lattice's core below the scanner's ceiling",
            where="lattice region",
            fix="use a scan that holds the whole implant",
        )
    share, hu = sampled.share[good], source[good]
    clipped = 1.0 - float(good.sum()) / float(region.core.sum())
    limit, slope = _below_ceiling(share, hu, region.places[good])
    mean_share = float(sampled.share[region.core].mean())
    level = float(hu.mean()) if clipped < _FEW_CLIPPED else doubts.fluid_hu + slope * mean_share
    return sensitivity(level, mean_share, doubts.fluid_hu, doubts.metal_share_error, limit)


def _below_ceiling(share: FloatArray, hu: FloatArray, places: FloatArray) -> tuple[float, float]:
    """Share of metal up to which the lattice shows less than :data:`_READ_HU`, and the rise of HU with it there.

    The rise is that between neighbours: over the whole lattice thick struts may lie where shading is darkest.
    """
    least, limit, slope = float(np.quantile(share, _READ_SHARE)), float(share.max()), 0.0
    for _ in range(8):
        chosen = share <= limit
        struts, shown = within_blocks(np.column_stack([share[chosen], hu[chosen]]), places[chosen]).T
        slope = float(struts @ shown / max(struts @ struts, 1e-12))
        above = _READ_HU - float(hu[chosen].mean())
        reached = float(share[chosen].mean()) + above / slope if slope > 0 else np.inf
        limit = max(min(reached, 1.0), least)
    return limit, slope


def _no_bone_planned(face: Face) -> dict[str, Any]:
    """Below a wall at a disc space: shading there changed by as much as 0.26 of bone in simulated scans."""
    return not_determinable(
        f"it faces {face.mates_with} across a disc space, and shading below it is not constant"
    )


def bands(
    region: Region,
    faces: list[Face],
    mating: Collection[str],
    make: Callable[[NDArray[np.bool_], int], dict[str, Any]],
) -> dict[str, list[dict[str, Any]]]:
    """``make(chosen, number)`` for every depth band below a face that mates with one of ``mating``, by its name.

    Bands too uneven to be read alone are read together with the next deeper one, down to :data:`LAYERS_MM`.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for number, face in enumerate(faces):
        if face.mates_with not in mating:
            found[face.name] = [
                {"from_mm": BANDS_MM[0][0], "to_mm": BANDS_MM[-1][1], **_no_bone_planned(face)}
            ]
            continue
        entries: list[dict[str, Any]] = []
        start: float | None = None
        for low, high in BANDS_MM:
            low = low if start is None else start
            chosen = (region.face == number) & (region.depth_mm >= low) & (region.depth_mm < high)
            entry = make(chosen, number)
            limited = bool(entry.get("noise_limited", False)) and high < LAYERS_MM
            start = low if limited else None
            if not limited:
                entries.append({"from_mm": low, "to_mm": high, **entry})
        found[face.name] = entries
    return found
