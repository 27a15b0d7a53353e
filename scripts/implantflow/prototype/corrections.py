"""The typed corrections between two iterations, applied in order, each with proof that it did something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.implant import ImplantConfig
from implantflow.config.prototype import (
    AddHole,
    Clearance,
    Correction,
    MoveHole,
    OffsetFace,
    SmoothRegion,
    TrimPlane,
)
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane, unit
from implantflow.prototype.body import Hole, Shape, even, keep_clear, one_piece
from implantflow.prototype.displace import offset_patch, smooth_ball
from implantflow.solids.booleans import to_manifold, trim
from implantflow.solids.faces import Neighbours, contact_faces, plan_plane
from implantflow.solids.mesh import IntArray, Solid, require_closed

#: A correction that moves less metal than this did nothing that anyone could see.
_NO_EFFECT_MM3 = 0.5
#: A hole along a corridor starts this far outside the surface, so that it opens cleanly.
_RUN_OUT_MM = 12.0


@dataclass(frozen=True)
class Context:
    """What corrections may refer to."""

    plan: dict[str, Any]
    config: ImplantConfig
    neighbours: Neighbours

    def faces(self, solid: Solid) -> dict[str, IntArray]:
        """Contact faces of ``solid`` by name."""
        return contact_faces(
            solid, self.plan, self.neighbours, self.config.joint_space_max_mm, self.config.disc_space_max_mm
        )


def apply_all(
    shape: Shape, corrections: Sequence[Correction], context: Context
) -> tuple[Shape, list[dict[str, Any]]]:
    """Apply ``corrections`` in order; returns the new shape and one entry of facts per correction.

    Raises
    ------
    GeometryError
        A correction has no effect, names something that does not exist, or breaks the solid.
    """
    facts = []
    before = shape.drilled()
    for number, correction in enumerate(corrections, start=1):
        where = f"correction {number} ({correction.kind})"
        try:
            new = _apply(shape, correction, context)
            after = new.drilled()
            require_closed(after, "the corrected implant")
        except GeometryError as error:
            raise GeometryError(f"{where}: {error.what}", where=error.where, fix=error.fix) from error
        added, removed = _changed_mm3(before, after, correction)
        if added + removed < _NO_EFFECT_MM3:
            raise GeometryError(
                f"{where} has no effect: it changes {added + removed:.2f} mm3",
                where="prototype.iterations[].corrections",
                fix="remove it, or ask for more than the model already has",
            )
        facts.append({**correction.model_dump(mode="json"), "added_mm3": added, "removed_mm3": removed})
        shape, before = new, after
    return shape, facts


def _changed_mm3(before: Solid, after: Solid, correction: Correction) -> tuple[float, float]:
    """Volumes added and removed in mm3.

    Most kinds only add or only remove, so the change of volume says it; smoothing and moving a hole do both, and what
    either shape has beyond their common part is measured.
    """
    if isinstance(correction, SmoothRegion | MoveHole):
        shared = float((to_manifold(before) ^ to_manifold(after)).volume())
        return max(0.0, after.volume_mm3 - shared), max(0.0, before.volume_mm3 - shared)
    change = after.volume_mm3 - before.volume_mm3
    return max(0.0, change), max(0.0, -change)


def _apply(shape: Shape, correction: Correction, context: Context) -> Shape:
    if isinstance(correction, OffsetFace):
        triangles = context.faces(shape.body)[correction.face]
        body = offset_patch(shape.body, triangles, correction.distance_mm, correction.blend_mm)
        return _with_body(shape, body)
    if isinstance(correction, TrimPlane):
        cut = _trim_plane(correction, context)
        return _with_body(shape, trim(shape.body, [cut]))
    if isinstance(correction, Clearance):
        neighbour = context.neighbours.by_name(correction.neighbour)
        return _with_body(shape, keep_clear(shape.body, neighbour, correction.clearance_mm)[0])
    if isinstance(correction, SmoothRegion):
        faces = context.faces(shape.body)
        fixed = np.concatenate([faces["midline"], faces["caudal"]])
        centre = _smooth_centre(correction, shape.body, context)
        body = smooth_ball(shape.body, centre, correction.radius_mm, correction.passes, fixed)
        return _with_body(shape, body)
    if isinstance(correction, AddHole):
        return Shape(shape.body, (*shape.holes, _new_hole(correction, shape, context)))
    return _moved_hole(shape, correction)


def _with_body(shape: Shape, body: Solid) -> Shape:
    return Shape(even(one_piece(body, "the implant body")[0]), shape.holes)


def _trim_plane(correction: TrimPlane, context: Context) -> Plane:
    """Plane whose positive side is kept."""
    if correction.point_lps_mm is not None and correction.normal_lps is not None:
        point, normal = np.asarray(correction.point_lps_mm), unit(correction.normal_lps)
    else:
        disc = plan_plane(context.plan, correction.plane)
        point, normal = np.asarray(disc.point), np.asarray(disc.normal)
    return Plane.of(point + correction.offset_mm * normal, -normal)


def _smooth_centre(correction: SmoothRegion, body: Solid, context: Context) -> FloatArray:
    if correction.centre_lps_mm is not None:
        return np.asarray(correction.centre_lps_mm)
    disc = plan_plane(context.plan, "l5s1")
    behind = (body.vertices - np.asarray(disc.point))[:, 1] > 0.0
    height = np.where(behind, disc.distance(body.vertices), -np.inf)
    return np.asarray(body.vertices[int(np.argmax(height))])


def _new_hole(correction: AddHole, shape: Shape, context: Context) -> Hole:
    if any(hole.name == correction.name for hole in shape.holes):
        raise GeometryError(f"there is a hole '{correction.name}' already", fix="use move_hole")
    if correction.corridor is not None:
        start, end = corridor_axis(context.plan, correction.corridor)
    else:
        start, end = np.asarray(correction.start_lps_mm), np.asarray(correction.end_lps_mm)
    a, b = [float(x) for x in start], [float(x) for x in end]
    return Hole(correction.name, (a[0], a[1], a[2]), (b[0], b[1], b[2]), correction.diameter_mm)


def corridor_axis(plan: dict[str, Any], name: str) -> tuple[FloatArray, FloatArray]:
    """Axis (start (3,), end (3,)) of a hole along a corridor of ``plan.json``, run out beyond the surface."""
    for corridor in plan["corridors"]:
        if corridor["name"] == name:
            start, end = np.asarray(corridor["start_lps_mm"]), np.asarray(corridor["end_lps_mm"])
            return start - _RUN_OUT_MM * unit(end - start), end
    known = ", ".join(c["name"] for c in plan["corridors"]) or "none"
    raise GeometryError(f"the plan has no corridor '{name}'", where="plan.json", fix=f"corridors: {known}")


def _moved_hole(shape: Shape, correction: MoveHole) -> Shape:
    if all(hole.name != correction.name for hole in shape.holes):
        known = ", ".join(hole.name for hole in shape.holes) or "none"
        raise GeometryError(f"there is no hole '{correction.name}' to move", fix=f"holes: {known}")
    shift = np.asarray(correction.shift_lps_mm)
    holes = tuple(h.moved(shift) if h.name == correction.name else h for h in shape.holes)
    return Shape(shape.body, holes)
