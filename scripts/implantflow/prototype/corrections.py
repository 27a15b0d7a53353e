"""The typed corrections between two iterations, applied in order, each with proof that it did something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.config.corrections import (
    Clearance,
    Correction,
    ExtendMargin,
    ImportStl,
    MirrorRegion,
    MoveBoss,
    MoveHole,
    OffsetFace,
    OffsetRegion,
    PlanCorrection,
    SmoothRegion,
    TrimBox,
    TrimPlane,
)
from implantflow.config.implant import ImplantConfig
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane, unit
from implantflow.prototype.body import Shape, even, keep_clear, one_piece
from implantflow.prototype.borrowed import import_stl, mirror_region
from implantflow.prototype.displace import offset_patch, painted, smooth_ball
from implantflow.prototype.features import apply_feature
from implantflow.solids.booleans import difference, overlap_mm3, refined, trim
from implantflow.solids.faces import Neighbours, contact_faces, plan_plane
from implantflow.solids.mesh import IntArray, Solid, require_closed
from implantflow.solids.shapes import oriented_box

#: A correction that moves less metal than this did nothing that anyone could see.
NO_EFFECT_MM3 = 0.5
#: Kinds that may add metal and remove some at once.
_BOTH_WAYS = (SmoothRegion, MoveHole, MoveBoss, MirrorRegion, ImportStl, ExtendMargin)
#: Edges within a painted region: its border runs along triangles.
_PAINT_EDGE_MM = 1.0


@dataclass(frozen=True)
class Context:
    """What corrections may refer to.

    Attributes
    ----------
    sacrum : as it was before the resection; the mirrored side is taken from it.
    edited : number of a correction (from 1) -> its edited STL.
    """

    plan: dict[str, Any]
    config: ImplantConfig
    neighbours: Neighbours
    sacrum: Solid
    edited: Mapping[int, Path] = field(default_factory=dict)

    def faces(self, solid: Solid) -> dict[str, IntArray]:
        """Contact faces of ``solid`` by name."""
        return contact_faces(
            solid, self.plan, self.neighbours, self.config.joint_space_max_mm, self.config.disc_space_max_mm
        )


def apply_all(
    shape: Shape, corrections: Sequence[Correction], context: Context, first: int = 1, *, judged: bool = True
) -> tuple[Shape, list[dict[str, Any]]]:
    """Apply ``corrections`` in order, the first being number ``first``; new shape and facts per correction.

    With ``judged`` off (corrections of ancestors, made again on another plan) one without effect passes: what the
    ancestor lacked the new plan's shape may have.

    Raises
    ------
    GeometryError
        A correction has no effect, names something that does not exist, or breaks the solid.
    """
    facts = []
    before = shape.drilled()
    for number, correction in enumerate(corrections, start=first):
        where = f"correction {number} ({correction.kind})"
        try:
            new, found = _apply(shape, correction, context, number)
            if not judged:
                shape = new
                continue
            after = new.drilled()
            require_closed(after, "the corrected implant")
            one_piece(after, "the corrected implant")
        except GeometryError as error:
            raise GeometryError(f"{where}: {error.what}", where=error.where, fix=error.fix) from error
        facts.append(
            {**correction.model_dump(mode="json"), **effect(where, before, after, correction), **found}
        )
        shape, before = new, after
    return shape, facts


def effect(where: str, before: Solid, after: Solid, correction: Correction) -> dict[str, Any]:
    """Volumes added and removed in mm3.

    Most kinds only add or only remove, so the change of volume says it; of those that do both, what either solid has
    beyond their common part is measured.

    Raises
    ------
    GeometryError
        Nothing changed that anyone could see.
    """
    both_ways = isinstance(correction, _BOTH_WAYS)
    shared = overlap_mm3(before, after) if both_ways else min(before.volume_mm3, after.volume_mm3)
    added, removed = max(0.0, after.volume_mm3 - shared), max(0.0, before.volume_mm3 - shared)
    if added + removed < NO_EFFECT_MM3:
        raise GeometryError(
            f"{where} has no effect: it changes {added + removed:.2f} mm3",
            where="prototype.iterations[].corrections",
            fix="remove it, or ask for more than the model already has",
        )
    return {"added_mm3": added, "removed_mm3": removed}


def _apply(
    shape: Shape, correction: Correction, context: Context, number: int
) -> tuple[Shape, dict[str, Any]]:
    """New shape, and what there is to tell beyond the volumes."""
    if isinstance(correction, MirrorRegion):
        return mirror_region(
            shape,
            correction,
            context.sacrum,
            context.plan,
            context.config.clearance,
            context.neighbours,
        )
    if isinstance(correction, ImportStl):
        if number not in context.edited:
            raise GeometryError(
                "an STL edited under another plan does not fit this one",
                where="prototype.iterations[].corrections",
                fix="edit the model of the new plan and import it anew",
            )
        return import_stl(shape, correction, context.edited[number], context.plan)
    if isinstance(correction, PlanCorrection):
        raise GeometryError(f"{correction.kind} comes before all other corrections")
    body = _body(shape.body, correction, context)
    if body is None:
        return apply_feature(shape, correction, context.plan), {}  # type: ignore[arg-type]
    return replace(shape, body=even(one_piece(body, "the implant body")[0])), {}


def _body(body: Solid, correction: Correction, context: Context) -> Solid | None:
    """The corrected body; None for a correction of holes or bosses."""
    if isinstance(correction, OffsetFace):
        triangles = context.faces(body)[correction.face]
        return offset_patch(body, triangles, correction.distance_mm, correction.blend_mm)
    if isinstance(correction, OffsetRegion):
        fine = refined(body, _PAINT_EDGE_MM)
        return offset_patch(
            fine, painted(fine, correction.strokes), correction.distance_mm, correction.blend_mm
        )
    if isinstance(correction, TrimPlane):
        return trim(body, [_trim_plane(correction, context)])
    if isinstance(correction, TrimBox):
        return difference(
            body, oriented_box(correction.centre_lps_mm, _turned(correction.turn_deg), correction.size_mm)
        )
    if isinstance(correction, Clearance):
        return keep_clear(body, context.neighbours.by_name(correction.neighbour), correction.clearance_mm)[0]
    if isinstance(correction, SmoothRegion):
        faces = context.faces(body)
        fixed = np.concatenate([faces["midline"], faces["caudal"]])
        centre = _smooth_centre(correction, body, context)
        return smooth_ball(body, centre, correction.radius_mm, correction.passes, fixed)
    return None


def _turned(turn_deg: tuple[float, float, float]) -> FloatArray:
    """Rotation (3, 3): about x, then y, then z of patient LPS."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix())


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
