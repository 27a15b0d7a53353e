"""Mid-sagittal plane of the sacrum: robust mirror-ICP of the bone on itself.

Each surface point is mirrored in the current plane and paired with the nearest point of the surface; the plane is
moved by the Gauss-Newton step that brings the pairs onto the tangents of the surface, and repeated until it no
longer moves, from several starts that must agree. A tumour makes one side unlike the other, so the worst tenth of
the pairs is trimmed and the rest weighted by Geman and McClure's (s^2 / (s^2 + r^2))^2: with s = 2 mm a pair that
is 6 mm off counts 1 %. The scale s starts at 10 mm and shrinks (graduated non-convexity), so that a tilted start
is not mistaken for a tumour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane, transform_points
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid, even_points
from implantflow.solids.shapes import frame_of

#: Farther than this (mm) from its mirror image a place counts as asymmetric.
ASYMMETRIC_MM = 3.0
_TRIMMED = 0.9
_SCALE_FIRST_MM, _SCALE_LAST_MM, _SCALE_STEP = 10.0, 2.0, 0.85
_COARSE, _FINE = 1200, 5000
_STARTS_DEG = ((0.0, 0.0), (8.0, 0.0), (0.0, -8.0))
_MAX_STEPS = 60


@dataclass(frozen=True)
class MidPlane:
    """The anatomical mid-plane.

    Attributes
    ----------
    plane : Plane
        Normal pointing to the patient's left (+x).
    residual_rms_mm : float
        Weighted root mean square distance of the mirrored points to the surface.
    agreement_mm, agreement_deg : float
        Largest difference between the results of the different starts (at the centre of the bone).
    asymmetry_p50_mm, asymmetry_p95_mm : float
        How far the mirrored bone lies from the bone: the patient's own asymmetry, tumour included.
    asymmetric_pct : float
        Share of the surface that is more than ASYMMETRIC_MM off its mirror image.
    """

    plane: Plane
    residual_rms_mm: float
    agreement_mm: float
    agreement_deg: float
    asymmetry_p50_mm: float
    asymmetry_p95_mm: float
    asymmetric_pct: float


def find_midplane(sacrum: Solid) -> MidPlane:
    """Mid-plane of ``sacrum`` (patient LPS, left is +x; triangles of a few millimetres).

    Raises
    ------
    GeometryError
        The starts end more than 1 mm or 1 degree apart, or the plane is more than 30 degrees off sagittal.
    """
    surface = Surface(sacrum)
    normals = sacrum.normals
    coarse = even_points(sacrum, _COARSE)
    found = [_refine(coarse, surface, normals, _start(coarse, tilt)) for tilt in _STARTS_DEG]
    nearest = min(found, key=lambda item: round(item[1], 6))
    apart = [_difference(nearest[0], other[0], coarse.mean(axis=0)) for other in found]
    agreement_mm, agreement_deg = max(a[0] for a in apart), max(a[1] for a in apart)
    fine = even_points(sacrum, _FINE)
    best = _refine(fine, surface, normals, nearest[0], _SCALE_LAST_MM)
    if agreement_mm > 1.0 or agreement_deg > 1.0:
        raise GeometryError(
            f"the mid-plane is not determined: starts differ by {agreement_mm:.2f} mm, {agreement_deg:.2f} deg",
            where="sacrum",
            fix="check the bone labels, or give the midline plane in plan.revisions[].planes.midline",
        )
    if best[0].normal[0] < np.cos(np.radians(30.0)):
        raise GeometryError(
            "the mid-plane found is more than 30 degrees off the sagittal direction",
            where="sacrum",
            fix="check that the label is the sacrum and the scan's orientation is right",
        )
    mirrored = transform_points(best[0].mirror_matrix(), fine)
    off = surface.nearest(mirrored, 30.0, signed=False).distance_mm
    p50, p95 = (float(q) for q in np.quantile(off, [0.5, 0.95]))
    share = 100.0 * float((off > ASYMMETRIC_MM).mean())
    return MidPlane(best[0], best[1], agreement_mm, agreement_deg, p50, p95, share)


def _start(points: FloatArray, tilt_deg: tuple[float, float]) -> Plane:
    about_z, about_y = np.radians(tilt_deg)
    return Plane.of(np.median(points, axis=0), [1.0, np.tan(about_z), np.tan(about_y)])


def _refine(
    points: FloatArray,
    surface: Surface,
    normals: FloatArray,
    plane: Plane,
    scale_mm: float = _SCALE_FIRST_MM,
) -> tuple[Plane, float]:
    """Best plane from ``plane`` on, and the weighted root mean square of the residuals in mm."""
    residual = np.inf
    for _ in range(_MAX_STEPS):
        mirrored = transform_points(plane.mirror_matrix(), points)
        found = surface.nearest(mirrored, 30.0, signed=False)
        off = found.distance_mm
        keep = (off <= np.quantile(off, _TRIMMED)) & (found.triangle >= 0)
        weight = (scale_mm**2 / (scale_mm**2 + off[keep] ** 2)) ** 2
        residual = float(np.sqrt(np.average(off[keep] ** 2, weights=weight)))
        tangent = normals[found.triangle[keep]]
        new = _step(plane, points[keep], mirrored[keep] - found.foot_mm[keep], tangent, weight)
        moved_mm, moved_deg = _difference(plane, new, points.mean(axis=0))
        plane = new
        settled = scale_mm <= _SCALE_LAST_MM
        scale_mm = max(_SCALE_LAST_MM, scale_mm * _SCALE_STEP)
        if settled and moved_mm < 2e-3 and moved_deg < 2e-3:
            break
    return plane, residual


def _step(
    plane: Plane, points: FloatArray, miss: FloatArray, tangent: FloatArray, weight: FloatArray
) -> Plane:
    """One Gauss-Newton step: turn and shift the plane so that ``miss`` (N, 3) along ``tangent`` vanishes.

    A mirrored point is m = p - 2 (n.(p - c)) n; turning n by d moves it by -2 ((p - c).d) n - 2 (n.(p - c)) d, and
    shifting the plane by h along n moves it by 2 h n.
    """
    normal = np.asarray(plane.normal)
    centre = np.asarray(points.mean(axis=0))
    centre = centre - plane.distance(centre[None])[0] * normal
    axes = frame_of(normal)[:, :2]
    arm = points - centre
    along = tangent @ normal
    columns = [
        -2.0 * ((arm @ axes[:, i]) * along + (arm @ normal) * (tangent @ axes[:, i])) for i in range(2)
    ]
    matrix = np.column_stack([*columns, 2.0 * along])
    wanted = -np.einsum("ij,ij->i", miss, tangent)
    root = np.sqrt(weight)
    turn_a, turn_b, shift = np.linalg.lstsq(matrix * root[:, None], wanted * root, rcond=None)[0]
    return Plane.of(centre + shift * normal, normal + turn_a * axes[:, 0] + turn_b * axes[:, 1])


def _difference(a: Plane, b: Plane, at: FloatArray) -> tuple[float, float]:
    """Offset in mm at the point ``at`` (3,) and angle in degrees between two planes."""
    away = float(abs(a.distance(at[None])[0] - b.distance(at[None])[0]))
    sine = float(np.linalg.norm(np.cross(a.normal, b.normal)))
    return away, float(np.degrees(np.arcsin(min(1.0, sine))))
