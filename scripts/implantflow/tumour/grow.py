"""Tumour mask grown from a seed in an enhanced MR: explicit limits, and a refusal when growth leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.tumour import GrowTimepoint
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray
from implantflow.tumour.outline import cut_out, move_to_half_level
from implantflow.volumes import Volume, from_sitk, to_sitk

Mask = NDArray[np.bool_]

#: Grid on which the bias field is estimated; it is smooth over centimetres.
_BIAS_GRID_MM = 8.0
_BIAS_ITERATIONS = (30, 20)
#: Smallest result that can be a tumour and not noise around the seed.
_MIN_VOLUME_MM3 = 200.0
#: Share of the ball around the seed that must lie within the limits.
_UNIFORM_SHARE = 0.8
#: The lower limit is lowered by this share; the volume may change by this much. On simulated patients it changed by
#: 1.4 % at most where the tumour was found whole, by 8 % where 8 % of it and by 33 % where a quarter was missed.
_LIMIT_SHIFT = 0.035
_MAX_CHANGE_PCT = 5.0


def grow(mr: Volume, settings: GrowTimepoint) -> tuple[Volume, dict[str, Any]]:
    """Grow the tumour from its seed.

    Parameters
    ----------
    mr : Volume
        Enhanced T1, any intensity scale.
    settings : GrowTimepoint
        Seed, limits relative to the seed, largest radius.

    Returns
    -------
    mask : Volume
        Bool, cubic voxels of the in-plane size of ``mr``, along its axes, around the seed only.
    facts : dict
        Intensity limits used and what was found, for the stage's JSON.

    Raises
    ------
    InputError
        The seed is outside the image, or its neighbourhood is not uniform tissue within the limits.
    GeometryError
        Growth reaches ``max_radius_mm`` (a leak) or the border of the image, or a slightly lower limit finds more.
    """
    seed = np.asarray(settings.seed_lps_mm, dtype=np.float64)
    where = f"tumour.timepoints.{settings.name}.seed_lps_mm"
    if not mr.contains_lps(seed[None])[0]:
        raise InputError(
            f"the tumour is outside the image: seed {list(settings.seed_lps_mm)} is not in {settings.series}",
            where=where,
            fix="give the seed in patient LPS mm of that series (RAS viewers: change the sign of x and y)",
        )
    crop = _cubic_crop(mr, seed, settings.max_radius_mm)
    distance = _distance_from(crop, seed)
    inside_image = mr.contains_lps(crop.index_to_lps(_all_indices(crop))).reshape(crop.array.shape)
    level = _seed_level(crop.array, distance, settings, where)
    low, high = settings.lower_of_seed * level, settings.upper_of_seed * level
    inner, outer = distance <= settings.seed_radius_mm, (distance >= settings.max_radius_mm) | ~inside_image

    def grown(lower: float) -> Mask:
        cut = cut_out(crop.array / level, lower, settings.upper_of_seed, inner, outer)
        whole = _connected(cut, crop, seed, settings, where)
        voxel_mm, slice_mm = float(crop.spacing_mm[0]), float(mr.spacing_mm.max())
        return move_to_half_level(whole, crop.array, voxel_mm, settings.edge_search_mm, slice_mm)

    mask = grown(settings.lower_of_seed)
    volume_mm3 = float(mask.sum()) * crop.voxel_volume_mm3
    _refuse_at_limits(mask, distance, inside_image, float(crop.spacing_mm[0]), volume_mm3, settings, where)
    more = float(grown(settings.lower_of_seed * (1.0 - _LIMIT_SHIFT)).sum())
    change_pct = 100.0 * (more / float(mask.sum()) - 1.0)
    _refuse_unsteady(change_pct, settings, where)
    facts = {
        "seed_intensity": level,
        "lower_intensity": low,
        "upper_intensity": high,
        "farthest_from_seed_mm": float(distance[mask].max()),
        "max_radius_mm": settings.max_radius_mm,
        "change_with_lower_limit_pct": change_pct,
        "change_limit_pct": _MAX_CHANGE_PCT,
        "bias_correction": f"N4 on a grid of {_BIAS_GRID_MM:g} mm",
    }
    return crop.like(mask), facts


def _refuse_unsteady(change_pct: float, settings: GrowTimepoint, where: str) -> None:
    """GeometryError when a little lower a limit finds more tumour: a part of it lies at the limit and is missed."""
    if abs(change_pct) > _MAX_CHANGE_PCT:
        raise GeometryError(
            f"the extent of the tumour at {settings.name} hangs on its limit: lowering lower_of_seed by "
            f"{100 * _LIMIT_SHIFT:g} % changes the volume by {change_pct:+.0f} % (limit {_MAX_CHANGE_PCT:g} %), so a "
            "part of it is missed, or it is about to leak",
            where=where,
            fix="lower lower_of_seed if part of the tumour enhances less, raise neck_mm if it leaks, or import a mask",
        )


def _cubic_crop(mr: Volume, seed: FloatArray, radius_mm: float) -> Volume:
    """Bias-corrected ``mr`` around the seed, resampled along its axes to cubes of its in-plane spacing."""
    import SimpleITK as sitk

    image = to_sitk(Volume(mr.array.astype(np.float32), mr.affine_lps))
    image = sitk.Divide(image, _bias_field(image))
    spacing = float(min(image.GetSpacing()))
    index = np.array(image.TransformPhysicalPointToContinuousIndex(seed.tolist()))
    reach = (radius_mm + 3 * spacing) / np.array(image.GetSpacing())
    corner = image.TransformContinuousIndexToPhysicalPoint((index - reach).tolist())
    size = [int(np.ceil(2 * (radius_mm + 3 * spacing) / spacing)) + 1] * 3
    crop = sitk.Resample(
        image,
        size,
        sitk.Transform(),
        sitk.sitkBSpline,
        corner,
        [spacing] * 3,
        image.GetDirection(),
        0.0,
        sitk.sitkFloat32,
    )
    return from_sitk(crop)


def _bias_field(image: Any) -> Any:
    """Smooth intensity inhomogeneity by N4 (doi:10.1109/TMI.2010.2046908), scaled to a mean of one."""
    import SimpleITK as sitk

    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    # Sums over threads would move the last digits from machine to machine (decision 7).
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        factors = [max(1, round(_BIAS_GRID_MM / s)) for s in image.GetSpacing()]
        small = sitk.Shrink(image, factors)
        body = sitk.OtsuThreshold(small, 0, 1, 64)
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations(list(_BIAS_ITERATIONS))
        n4.SetConvergenceThreshold(1e-3)
        n4.Execute(small, body)
        return sitk.Exp(n4.GetLogBiasFieldAsImage(image))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _all_indices(volume: Volume) -> FloatArray:
    k, j, i = np.indices(volume.array.shape)
    return np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1).astype(np.float64)


def _distance_from(volume: Volume, point: FloatArray) -> FloatArray:
    """Distance of every voxel centre from ``point``, mm; the grid must be orthogonal."""
    centre = volume.lps_to_index(point[None])[0]
    axes = [
        (np.arange(n) - c) * s
        for n, c, s in zip(volume.array.shape[::-1], centre, volume.spacing_mm, strict=True)
    ]
    squared = axes[2][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[0][None, None, :] ** 2
    return np.asarray(np.sqrt(squared))


def _seed_level(array: NDArray[Any], distance: FloatArray, settings: GrowTimepoint, where: str) -> float:
    """Median intensity around the seed; refuses a neighbourhood that is not one tissue within the limits."""
    ball = array[distance <= settings.seed_radius_mm]
    level = float(np.median(ball)) if len(ball) else 0.0
    within = (ball >= settings.lower_of_seed * level) & (ball <= settings.upper_of_seed * level)
    share = float(within.mean()) if level > 0 else 0.0
    if share < _UNIFORM_SHARE:
        raise InputError(
            f"the tissue around the tumour seed is not uniform: {100 * share:.0f} % of the "
            f"seed ball lies within the limits, {100 * _UNIFORM_SHARE:.0f} % are needed",
            where=where,
            fix="move the seed into the middle of enhancing tumour, lower seed_radius_mm, or import a mask",
        )
    return level


def _connected(allowed: Mask, crop: Volume, seed: FloatArray, settings: GrowTimepoint, where: str) -> Mask:
    """What hangs together with the seed through necks wider than ``neck_mm``; closed and filled."""
    from scipy import ndimage

    voxel = float(crop.spacing_mm[0])
    core = _eroded(allowed, settings.neck_mm / 2, voxel)
    labels, _ = ndimage.label(core)
    k, j, i = (int(v) for v in np.rint(crop.lps_to_index(seed[None])[0])[::-1])
    around = labels[max(k - 2, 0) : k + 3, max(j - 2, 0) : j + 3, max(i - 2, 0) : i + 3]
    hits = np.bincount(around.ravel())
    hits[0] = 0
    if hits.sum() == 0:
        raise InputError(
            "nothing grows from the tumour seed within the intensity limits and neck_mm",
            where=where,
            fix="move the seed into the middle of enhancing tumour, or make neck_mm smaller",
        )
    grown = _dilated(labels == int(hits.argmax()), settings.neck_mm / 2, voxel) & allowed
    pad = int(np.ceil(settings.closing_mm / voxel)) + 1
    padded = np.pad(grown, pad)
    closed = _eroded(_dilated(padded, settings.closing_mm, voxel), settings.closing_mm, voxel)
    closed = closed[pad:-pad, pad:-pad, pad:-pad] | grown
    filled: Mask = ndimage.binary_fill_holes(closed)
    return filled


def _eroded(mask: Mask, radius_mm: float, voxel_mm: float) -> Mask:
    """Erosion by a ball, by distance to the outside (exact for any radius)."""
    from scipy import ndimage

    if radius_mm <= 0:
        return mask
    distance = ndimage.distance_transform_edt(np.pad(mask, 1, constant_values=True), sampling=voxel_mm)
    eroded: Mask = distance[1:-1, 1:-1, 1:-1] > radius_mm
    return eroded


def _dilated(mask: Mask, radius_mm: float, voxel_mm: float) -> Mask:
    """Dilation by a ball, by distance to the mask."""
    from scipy import ndimage

    if radius_mm <= 0 or not mask.any():
        return mask
    dilated: Mask = ndimage.distance_transform_edt(~mask, sampling=voxel_mm) <= radius_mm
    return dilated


def _refuse_at_limits(
    mask: Mask,
    distance: FloatArray,
    inside_image: Mask,
    voxel_mm: float,
    volume_mm3: float,
    settings: GrowTimepoint,
    where: str,
) -> None:
    from scipy import ndimage

    if float(distance[mask].max()) > settings.max_radius_mm - 1.5 * voxel_mm:
        raise GeometryError(
            f"the tumour at {settings.name} grows {settings.max_radius_mm:g} mm away from its seed: "
            "it has leaked into other tissue, or is larger than the limit",
            where=where,
            fix="narrow lower_of_seed and upper_of_seed, raise neck_mm, or max_radius_mm if it is that large",
        )
    if (ndimage.binary_dilation(mask, iterations=2) & ~inside_image).any():
        raise GeometryError(
            f"the tumour of time point {settings.name} reaches the border of series {settings.series}: "
            "its extent is not in the image",
            where=where,
            fix="use a series that shows the whole tumour",
        )
    if volume_mm3 < _MIN_VOLUME_MM3:
        raise GeometryError(
            f"only {volume_mm3:.0f} mm3 grow from the tumour seed of time point {settings.name}",
            where=where,
            fix="move the seed into the middle of enhancing tumour or lower neck_mm",
        )
