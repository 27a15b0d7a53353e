"""How far the spheres of an image lie from where they are, and how round they are: the measure of every reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from synthetic_series import BACKGROUND_HU, SPHERES

#: Rays from each true centre, evenly over the sphere.
_RAYS = 300
#: Along each ray this far on either side of the surface, in such steps.
_REACH_MM = 4.0
_STEP_MM = 0.25


@dataclass(frozen=True)
class Found:
    """Errors in mm over the spheres: largest of the centres, the same after the best rigid fit, and of the shape.

    The shape error is the 95th percentile over directions of the distance between surface and sphere about the
    found centre; infinite when a surface is not found.
    """

    centre_mm: float
    fitted_mm: float
    shape_mm: float


def directions() -> np.ndarray:
    """(N, 3) unit vectors, evenly spread."""
    n = np.arange(_RAYS) + 0.5
    polar, around = np.arccos(1 - 2 * n / _RAYS), np.pi * (1 + 5**0.5) * n
    return np.column_stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)])


def measure(array: np.ndarray, affine: np.ndarray) -> Found:
    """Spheres of a (K, J, I) volume with ``affine`` index (i, j, k) -> patient LPS mm."""
    inverse, array = np.linalg.inv(affine), array.astype(np.float64)
    smooth = ndimage.spline_filter(array, 3)
    centres, shapes = [], []
    for truth, radius, value in SPHERES:
        centre = _bright_centre(array, affine, np.array(truth), radius)
        surface = _surface(smooth, inverse, centre, radius, (value - BACKGROUND_HU) / 2, BACKGROUND_HU)
        centre = _fitted_centre(surface) if np.isfinite(surface).all() else centre
        centres.append(centre)
        shapes.append(float(np.percentile(np.abs(np.linalg.norm(surface - centre, axis=1) - radius), 95)))
    shape = max(shapes)
    return Found(
        *centre_errors(centres, [np.array(s[0]) for s in SPHERES]), shape if shape == shape else np.inf
    )


def centre_errors(found: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> tuple[float, float]:
    """Largest distance of the centres, as they are and after the best rigid motion."""
    a, b = np.array(found), np.array(truth)
    if not np.isfinite(a).all():
        return float("inf"), float("inf")
    u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    fitted = (a - a.mean(0)) @ (u @ flip @ vt) + b.mean(0)
    return float(np.linalg.norm(a - b, axis=1).max()), float(np.linalg.norm(fitted - b, axis=1).max())


def _bright_centre(array: np.ndarray, affine: np.ndarray, truth: np.ndarray, radius: float) -> np.ndarray:
    """Centre of mass of what differs from the background like this sphere, wherever it went."""
    level = next(value for centre, _, value in SPHERES if np.allclose(centre, truth))
    near = np.abs(array - level) < 0.15 * abs(level - BACKGROUND_HU)
    near = ndimage.binary_opening(near)  # shells of brighter balls and padded corners pass this value too
    labels, count = ndimage.label(near)
    if count == 0:
        return np.full(3, np.inf)
    sizes = ndimage.sum_labels(near, labels, np.arange(1, count + 1))
    kji = np.array(ndimage.center_of_mass(near, labels, int(sizes.argmax()) + 1))
    return np.asarray(affine[:3, :3] @ kji[::-1] + affine[:3, 3])


def _surface(
    smooth: np.ndarray, inverse: np.ndarray, centre: np.ndarray, radius: float, half: float, base: float
) -> np.ndarray:
    """(N, 3) points where the value is half-way, along rays from ``centre``; nan where there is none."""
    if not np.isfinite(centre).all():
        return np.full((_RAYS, 3), np.nan)
    rays, t = directions(), np.arange(max(radius - _REACH_MM, 0), radius + _REACH_MM, _STEP_MM)
    points = centre + rays[:, None] * t[:, None]
    index = points.reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3]
    values = ndimage.map_coordinates(smooth, index[:, ::-1].T, order=3, prefilter=False, mode="nearest")
    above = (values.reshape(len(rays), -1) - base) / half - 1.0
    crossing = (above[:, :-1] > 0) & (above[:, 1:] <= 0)
    first = crossing.argmax(axis=1)
    n = np.arange(len(rays))
    before, after = above[n, first], above[n, first + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = t[first] + _STEP_MM * before / (before - after)
    reach[~crossing.any(axis=1)] = np.nan
    return np.asarray(centre + rays * reach[:, None])


def _fitted_centre(surface: np.ndarray) -> np.ndarray:
    """Centre of the sphere through the points, least squares."""
    a = np.column_stack([2 * surface, np.ones(len(surface))])
    return np.asarray(np.linalg.lstsq(a, (surface**2).sum(axis=1), rcond=None)[0][:3])
