"""Places on the fitted bones that the cuts need: the S1 endplate, the discs above it, the sacrum's ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray, Plane, unit
from implantflow.segment.kernels import sample_linear
from implantflow.segment.mesh import vertex_normals
from implantflow.segment.prior import ShapePrior, similarity
from implantflow.volumes import Volume


def endplate_vertices(prior: ShapePrior) -> NDArray[np.int64]:
    """Indices of the prior's vertices on the S1 endplate.

    The promontory is the midline vertex that reaches farthest forward and up; the endplate is the patch
    behind it whose normals agree, found by fitting a plane three times over.
    """
    sacrum = prior.index("sacrum")
    own = np.flatnonzero(prior.bone == sacrum)
    normals = vertex_normals(prior.mean, prior.faces[sacrum])[own]
    points = prior.mean[own]
    across = points[:, 0] - np.median(points[:, 0])
    midline = np.abs(across) < 20.0
    promontory = points[midline][(points[midline, 2] - points[midline, 1]).argmax()]
    near = midline & (np.linalg.norm(points - promontory, axis=1) < 34.0)
    normal = unit([0.0, -0.6, 0.8])
    chosen = near & (normals @ normal > 0.75)
    for _ in range(3):
        centre = points[chosen].mean(axis=0)
        normal = unit(np.round(normals[chosen].mean(axis=0), 9))
        chosen = near & (normals @ normal > 0.85) & (np.abs((points - centre) @ normal) < 3.0)
    return np.asarray(own[chosen])


def pelvic_axes(prior: ShapePrior, vertices_lps_mm: FloatArray) -> FloatArray:
    """Left, posterior and cranial of the fitted bones themselves: columns (3, 3) of unit vectors in patient LPS.

    A patient who lies turned is turned in the scan's LPS; what is caudal of a sacrum is so along the sacrum.
    """
    return similarity(prior.mean, vertices_lps_mm)[1]


def plane_through(points: FloatArray, toward: FloatArray) -> Plane:
    """Least-squares plane of (N, 3) points, its normal on the side of ``toward``."""
    centre = points.mean(axis=0)
    offset = points - centre
    scatter = np.round(np.einsum("ni,nj->ij", offset, offset), 6)
    normal = np.linalg.eigh(scatter)[1][:, 0]
    return Plane.of(np.round(centre, 6), np.round(normal * np.sign(normal @ toward), 9))


@dataclass(frozen=True)
class Disc:
    """The plane of a disc and how much darker (HU) it is than the bone on both sides."""

    plane: Plane
    contrast_hu: float
    height_mm: float


def disc_above(image: Volume, endplate: Plane) -> Disc | None:
    """The L4/L5 disc: the dark sheet 22 to 48 mm above the S1 endplate, across the vertebral column.

    All planes with a pitch of -15 to 35 degrees (lordosis) and a roll of +-15 degrees are tried; the score is
    the mean HU 5 mm above and below the plane less the mean on it, over a disc of 13 mm radius.

    Returns
    -------
    None when the scan ends below it or no sheet stands out by 40 HU.
    """
    up = np.asarray(endplate.normal)
    right = unit(np.cross([0.0, 1.0, 0.0], up))
    right = right if right[0] > 0 else -right
    back = np.cross(up, right)
    back = back if back[1] > 0 else -back
    ring = np.array([(r, a) for r in (0.0, 4.0, 7.0, 10.0, 13.0) for a in np.radians(np.arange(0, 360, 30))])
    best: Disc | None = None
    for pitch in np.radians(np.arange(-15.0, 36.0, 5.0)):
        for roll in np.radians(np.arange(-15.0, 16.0, 5.0)):
            normal = unit(up + np.tan(pitch) * back + np.tan(roll) * right)
            # The column leaves the endplate half-way between its own axis and that of the next disc.
            axis = unit(up + normal)
            u = unit(right - (right @ normal) * normal)
            v = np.cross(normal, u)
            disc = ring[:, :1] * (np.cos(ring[:, 1:]) * u + np.sin(ring[:, 1:]) * v)
            heights = np.arange(22.0, 48.5, 1.0)
            centres = np.asarray(endplate.point) + heights[:, None] * axis
            levels = [
                _mean_hu(image, centres[:, None] + disc[None] + offset * normal)
                for offset in (-6.0, 0.0, 6.0)
            ]
            contrast = np.minimum(levels[0], levels[2]) - levels[1]
            contrast = np.where(np.isfinite(contrast), contrast, -np.inf)
            n = int(contrast.argmax())
            if contrast[n] > (best.contrast_hu if best else 40.0):
                best = Disc(Plane.of(centres[n], normal), float(contrast[n]), float(heights[n]))
    return best


def _mean_hu(image: Volume, points: FloatArray) -> FloatArray:
    """Mean over the second axis of HU at (H, P, 3) points; NaN where more than a fifth lies outside."""
    index = np.ascontiguousarray(image.lps_to_index(points.reshape(-1, 3)))
    value = sample_linear(image.array, index, np.float32(np.nan)).reshape(points.shape[:2]).astype(np.float64)
    missing = np.isnan(value)
    total = np.where(missing, 0.0, value).sum(axis=1)
    count = (~missing).sum(axis=1)
    enough = count >= 0.8 * points.shape[1]
    return np.where(enough, total / np.maximum(count, 1), np.nan)
