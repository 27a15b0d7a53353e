"""Holes and bosses: named round features that a later iteration can move or resize."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from implantflow.config.corrections import AddBoss, AddHole, MoveBoss, MoveHole, ResizeBoss, ResizeHole
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, unit
from implantflow.prototype.body import Hole, Shape
from implantflow.solids.distance import Surface

#: A hole along a corridor starts this far outside the surface, so that it opens cleanly.
_RUN_OUT_MM = 12.0
#: A hole begins this far outside the boss around it.
_BOSS_RUN_OUT_MM = 5.0
#: A boss reaches this far into the metal, so that it is one piece with it.
_ROOT_MM = 4.0

FeatureCorrection = AddHole | MoveHole | ResizeHole | AddBoss | MoveBoss | ResizeBoss


def apply_feature(shape: Shape, correction: FeatureCorrection, plan: dict[str, Any]) -> Shape:
    """``shape`` with a hole or boss added, moved or resized.

    Raises
    ------
    GeometryError
        The name is taken, or there is no feature of that name.
    """
    if isinstance(correction, AddHole):
        return replace(shape, holes=_added(shape.holes, _new_hole(correction, plan), "hole"))
    if isinstance(correction, AddBoss):
        boss = _new_boss(correction, shape)
        holes = tuple(_open_through(h, boss) if h.name == correction.hole else h for h in shape.holes)
        return replace(shape, bosses=_added(shape.bosses, boss, "boss"), holes=holes)
    if isinstance(correction, MoveHole | ResizeHole):
        return replace(shape, holes=_changed(shape.holes, correction, "hole"))
    return replace(shape, bosses=_changed(shape.bosses, correction, "boss"))


def _added(features: tuple[Hole, ...], new: Hole, kind: str) -> tuple[Hole, ...]:
    if any(feature.name == new.name for feature in features):
        raise GeometryError(
            f"there is a {kind} '{new.name}' already", fix=f"use move_{kind} or resize_{kind}"
        )
    return (*features, new)


def _changed(
    features: tuple[Hole, ...], correction: MoveHole | ResizeHole | MoveBoss | ResizeBoss, kind: str
) -> tuple[Hole, ...]:
    if all(feature.name != correction.name for feature in features):
        known = ", ".join(feature.name for feature in features) or "none"
        raise GeometryError(f"there is no {kind} '{correction.name}' to change", fix=f"{kind} names: {known}")
    return tuple(_edited(f, correction) if f.name == correction.name else f for f in features)


def _edited(feature: Hole, correction: MoveHole | ResizeHole | MoveBoss | ResizeBoss) -> Hole:
    if isinstance(correction, MoveHole | MoveBoss):
        return feature.moved(np.asarray(correction.shift_lps_mm))
    return replace(feature, diameter_mm=correction.diameter_mm)


def along(name: str, start: FloatArray, end: FloatArray, diameter_mm: float) -> Hole:
    """A feature from ``start`` (3,) to ``end`` (3,)."""
    a, b = [float(x) for x in start], [float(x) for x in end]
    return Hole(name, (a[0], a[1], a[2]), (b[0], b[1], b[2]), diameter_mm)


def _new_hole(correction: AddHole, plan: dict[str, Any]) -> Hole:
    if correction.corridor is not None:
        start, end = corridor_axis(plan, correction.corridor)
    else:
        start, end = np.asarray(correction.start_lps_mm), np.asarray(correction.end_lps_mm)
    return along(correction.name, start, end, correction.diameter_mm)


def _new_boss(correction: AddBoss, shape: Shape) -> Hole:
    if correction.hole is None:
        start, end = np.asarray(correction.start_lps_mm), np.asarray(correction.end_lps_mm)
        return along(correction.name, start, end, correction.diameter_mm)
    hole = next((h for h in shape.holes if h.name == correction.hole), None)
    if hole is None or correction.length_mm is None:
        known = ", ".join(h.name for h in shape.holes) or "none"
        raise GeometryError(f"there is no hole '{correction.hole}' for the boss", fix=f"hole names: {known}")
    start, end = np.asarray(hole.start_lps_mm), np.asarray(hole.end_lps_mm)
    mouth = _mouth(shape, start, end)
    into = unit(end - start)
    return along(
        correction.name, mouth - correction.length_mm * into, mouth + _ROOT_MM * into, correction.diameter_mm
    )


def _open_through(hole: Hole, boss: Hole) -> Hole:
    """``hole`` begun far enough out to stay open through a boss along its axis."""
    start, top = np.asarray(hole.start_lps_mm), np.asarray(boss.start_lps_mm)
    into = unit(np.asarray(hole.end_lps_mm) - start)
    missing = float((start - top) @ into) + _BOSS_RUN_OUT_MM
    if missing <= 0.0:
        return hole
    return along(hole.name, start - missing * into, np.asarray(hole.end_lps_mm), hole.diameter_mm)


def _mouth(shape: Shape, start: FloatArray, end: FloatArray) -> FloatArray:
    """Where the axis enters the body."""
    steps = np.linspace(0.0, 1.0, max(2, int(np.linalg.norm(end - start) / 0.05)))
    points = start + steps[:, None] * (end - start)
    inside = Surface(shape.body).signed_distance_mm(points, 60.0) < 0.0
    if not inside.any():
        raise GeometryError("the hole's axis does not meet the implant", where="add_boss")
    return np.asarray(points[int(np.argmax(inside))])


def corridor_axis(plan: dict[str, Any], name: str) -> tuple[FloatArray, FloatArray]:
    """Axis (start (3,), end (3,)) of a hole along a corridor of ``plan.json``, run out beyond the surface."""
    for corridor in plan["corridors"]:
        if corridor["name"] == name:
            if not corridor["fits"]:
                raise GeometryError(
                    f"the corridor '{name}' does not fit: {corridor['reason']}",
                    where="plan.json",
                    fix="use a thinner or shorter screw in a new plan revision",
                )
            start, end = np.asarray(corridor["start_lps_mm"]), np.asarray(corridor["end_lps_mm"])
            return start - _RUN_OUT_MM * unit(end - start), end
    known = ", ".join(c["name"] for c in plan["corridors"]) or "none"
    raise GeometryError(f"the plan has no corridor '{name}'", where="plan.json", fix=f"corridors: {known}")
