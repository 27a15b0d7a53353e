"""Shape that comes from elsewhere: the mirrored healthy side, or an STL that somebody edited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import sha256_file
from implantflow.config.corrections import ImportStl, MirrorRegion
from implantflow.config.implant import Clearances
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import Plane, transform_points
from implantflow.prototype.body import Shape, even, first_shape, one_piece
from implantflow.solids.booleans import difference, intersection, refined, union
from implantflow.solids.distance import Surface, hausdorff_mm
from implantflow.solids.faces import Neighbours
from implantflow.solids.mesh import Solid, read_solid
from implantflow.solids.shapes import sphere

_SEGMENTS = 96
_BORDER_SAMPLE_MM = 1.0
_PLUG_WIDER_MM = 0.02
#: Drilling the known holes again may change an edited STL by this much (rounding of its corners).
_REDRILLED_MM3 = 2.0
#: Same as the contract's range for an imported mesh.
_SIZE_MM = (20.0, 400.0)


def mirrored(solid: Solid, plane: Plane) -> Solid:
    """``solid`` seen in a mirror; triangles turned so that it stays right side out."""
    return Solid.of(transform_points(plane.mirror_matrix(), solid.vertices), solid.faces[:, ::-1])


def mirror_region(
    shape: Shape,
    correction: MirrorRegion,
    sacrum: Solid,
    plan: dict[str, Any],
    clearance: Clearances,
    neighbours: Neighbours,
) -> tuple[Shape, dict[str, Any]]:
    """``shape`` whose body is, within the ball, what the mirrored sacrum would have given.

    Raises
    ------
    GeometryError
        Along the ball's border the two surfaces are further apart than ``step_max_mm``.
    """
    other = first_shape(
        mirrored(sacrum, Plane.from_json(plan["midline_plane"])), plan, clearance, neighbours
    )[0]
    centre = np.asarray(correction.centre_lps_mm)
    step = _step_mm(shape.body, other.body, centre, correction.radius_mm)
    if step > correction.step_max_mm:
        raise GeometryError(
            f"the mirrored side lies {step:.2f} mm off along the ball's border ({correction.step_max_mm:g} mm allowed)",
            where="prototype corrections",
            fix="choose a ball whose border runs where both sides agree, or allow the step and smooth it",
        )
    ball = sphere(centre, correction.radius_mm, _SEGMENTS)
    body = union(difference(shape.body, ball), intersection(other.body, ball))
    new = Shape(even(one_piece(body, "the implant body")[0]), shape.holes, shape.bosses)
    return new, {"step_at_border_mm": step}


def _step_mm(here: Solid, there: Solid, centre: Any, radius_mm: float) -> float:
    """Largest distance between two surfaces near the ball's border, both ways."""
    worst = 0.0
    found = False
    for one, other in ((here, there), (there, here)):
        points = refined(one, _BORDER_SAMPLE_MM).vertices
        rim = points[np.abs(np.linalg.norm(points - centre, axis=1) - radius_mm) < _BORDER_SAMPLE_MM]
        if len(rim):
            found = True
            worst = max(worst, float(np.abs(Surface(other).signed_distance_mm(rim, 50.0)).max()))
    if not found:
        raise GeometryError(
            "the ball's border does not meet the implant's surface",
            where="prototype corrections",
            fix="move centre_lps_mm to the implant's surface, or change radius_mm",
        )
    return worst


def import_stl(
    shape: Shape, correction: ImportStl, path: Path, plan: dict[str, Any]
) -> tuple[Shape, dict[str, Any]]:
    """``shape`` as edited elsewhere: a closed solid near the model so far, in its frame and on its side.

    Holes stay named: they are filled in the body and drilled again, so a later iteration can still move them.

    Raises
    ------
    GeometryError, InputError
        Not closed, more than one piece, not in millimetres, of the other side, elsewhere, or further away than
        ``within_mm`` from the model so far.
    """
    before = shape.drilled()
    edited = _read(path)
    distance = hausdorff_mm(edited, before)
    if distance > correction.within_mm:
        raise GeometryError(
            f"the edited STL lies up to {distance:.2f} mm from the model so far ({correction.within_mm:g} mm allowed)"
            + _why_apart(edited, before, Plane.from_json(plan["midline_plane"]), distance),
            where="import_stl",
            fix="export it in the frame of the parent's implant.stl, or allow more with within_mm",
        )
    # A hair wider than the hole: walls that coincide would leave films without thickness.
    plugs = [
        intersection(shape.body, replace(hole, diameter_mm=hole.diameter_mm + _PLUG_WIDER_MM).as_solid())
        for hole in shape.holes
    ]
    filled = union(edited, *plugs) if plugs else edited
    new = Shape(even(one_piece(filled, "the edited STL")[0]), shape.holes, ())
    lost = edited.volume_mm3 - new.drilled().volume_mm3
    if abs(lost) > _REDRILLED_MM3:
        raise GeometryError(
            f"drilling the model's holes again changes the edited STL by {-lost:.1f} mm3: it closes or moves a hole",
            where="import_stl",
            fix="leave holes as they are and change them with move_hole or resize_hole",
        )
    return new, {"sha256": sha256_file(path), "distance_max_mm": distance}


def _read(path: Path) -> Solid:
    try:
        edited = read_solid(path, "the edited STL")
    except InputError as error:
        raise InputError(error.what, where="import_stl", fix=error.fix) from error
    size = edited.bounds_mm[1] - edited.bounds_mm[0]
    if size.max() < _SIZE_MM[0] or size.max() > _SIZE_MM[1]:
        raise GeometryError(
            f"the edited STL is {size.max():.4g} mm long: not in millimetres",
            where="import_stl",
            fix="export it again in millimetres",
        )
    return one_piece(edited, "the edited STL", speck_mm3=0.0)[0]


def _why_apart(edited: Solid, model: Solid, middle: Plane, distance_mm: float) -> str:
    """What may be wrong with a mesh that is not where it should be."""
    reflected = hausdorff_mm(mirrored(edited, middle), model)
    if reflected < 0.5 * distance_mm:
        return f": it is of the other side (mirrored it would lie within {reflected:.2f} mm)"
    flipped = Solid.of(edited.vertices * np.array([-1.0, -1.0, 1.0]), edited.faces)
    if hausdorff_mm(flipped, model) < 0.5 * distance_mm:
        return ": it is in RAS, not LPS (x and y have the opposite sign)"
    shift = edited.bounds_mm.mean(axis=0) - model.bounds_mm.mean(axis=0)
    if float(np.linalg.norm(shift)) > 0.5 * distance_mm:
        return f": its centre is off by {', '.join(f'{x:.1f}' for x in shift)} mm, another frame"
    return ""
