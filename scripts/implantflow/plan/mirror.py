"""The healthy side as a pattern: mirrored in the mid-plane, then moved rigidly onto intact surface about the tumour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import (
    FloatArray,
    Plane,
    motion,
    motion_columns,
    rotation_angle_deg,
    transform_points,
)
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid

#: The intact surface this far beyond the changed one is what the pattern is moved onto.
_SURROUNDINGS_MM = 25.0
#: Places used, rounds of the fit, share of the places kept in each (the best), and what ends it.
_PLACES, _ROUNDS, _KEPT, _STILL_MM = 6000, 40, 0.8, 1e-4
#: Fewer places do not hold six degrees of freedom.
_FEWEST = 200
_FAR_MM = 12.0


@dataclass(frozen=True)
class Pattern:
    """The mirrored bone in place.

    Attributes
    ----------
    solid : Solid
    moved : (4, 4) array
        From the mirrored bone to the pattern.
    turned_deg, shifted_mm : float
        How far that is from nothing; the shift is that of the surroundings' middle.
    residual_p50_mm, residual_p95_mm : float
        Distance of the intact surroundings to the pattern.
    """

    solid: Solid
    moved: FloatArray
    turned_deg: float
    shifted_mm: float
    residual_p50_mm: float
    residual_p95_mm: float


def pattern(
    bone: Solid, midplane: Plane, to_tumour_mm: FloatArray, changed_mm: float, side_sign: float
) -> Pattern:
    """The mirrored ``bone`` on the intact surface of the operated side.

    Parameters
    ----------
    bone : Solid
        As segmented, with triangles of a few millimetres.
    to_tumour_mm : (N,) array
        Distance of each vertex to the tumour.
    changed_mm : float
        Surface nearer than this is not trusted.
    side_sign : float
        +1 when the left side is operated.

    Raises
    ------
    GeometryError
        Too little intact surface about the tumour to fit to.
    """
    matrix = midplane.mirror_matrix()
    mirrored = Solid.of(transform_points(matrix, bone.vertices), bone.faces[:, ::-1])
    own_side = side_sign * midplane.distance(bone.vertices) > 0.0
    about = own_side & (to_tumour_mm > changed_mm) & (to_tumour_mm < changed_mm + _SURROUNDINGS_MM)
    places = bone.vertices[about]
    if len(places) < _FEWEST:
        raise GeometryError(
            f"{len(places)} places of intact bone about the tumour are too few to fit the mirrored side to",
            where="plan.mirror",
            fix="leave mirror out, or trust more of the surface (changed_within_mm)",
        )
    places = places[:: max(1, len(places) // _PLACES)]
    surface = Surface(mirrored)
    # Moving the places onto the mirrored bone keeps its tree; the pattern is moved the other way.
    towards = np.eye(4)
    for _ in range(_ROUNDS):
        now = transform_points(towards, places)
        step = _step(now, surface)
        towards = step @ towards
        if np.abs(transform_points(step, now) - now).max() < _STILL_MM:
            break
    away = np.abs(surface.signed_distance_mm(transform_points(towards, places), 50.0))
    moved = np.round(np.linalg.inv(towards), 9)
    middle = places.mean(axis=0)
    return Pattern(
        Solid.of(transform_points(moved, mirrored.vertices), mirrored.faces),
        moved,
        rotation_angle_deg(moved[:3, :3]),
        float(np.linalg.norm(transform_points(moved, middle[None])[0] - middle)),
        float(np.quantile(away, 0.5)),
        float(np.quantile(away, 0.95)),
    )


def _step(places: FloatArray, surface: Surface) -> FloatArray:
    """One point-to-plane step (4, 4) of ``places`` onto the surface, the worst fifth of them left out."""
    found = surface.nearest(places, _FAR_MM)
    hit = found.triangle >= 0
    gap = np.abs(found.distance_mm)
    hit &= gap <= np.quantile(gap[hit], _KEPT) if hit.any() else hit
    normal = surface.solid.normals[found.triangle[hit]]
    off = np.einsum("ij,ij->i", found.foot_mm[hit] - places[hit], normal)
    middle = places[hit].mean(axis=0)
    system = motion_columns(places[hit], normal, middle)
    # Directions that the surface does not hold (a sphere's turns) stay as they are.
    return motion(np.linalg.lstsq(system, off, rcond=1e-3)[0], middle)
