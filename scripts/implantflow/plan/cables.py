"""Cables around the sacroiliac joint: through a sacral foramen and a hole in the ilium, taut about the bone between.

The loop lies in one plane: across the sacrum at the foramen, from the mid-plane to the side. Two straight legs run from
behind to the front, one through the foramen, one through the hole. Before and behind the bone each bend is a circle of
the least radius, and between the bends the cable is the tightest convex line of that radius over what is in its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.fixation import CableConfig
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray, unit
from implantflow.solids.booleans import to_manifold
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import frame_of

_REACH_MM = 90.0
#: Rays that look for bone across the loop's plane, and steps of a bend in degrees.
_RAY_MM, _BEND_DEG = 1.0, 7.5
#: The cable keeps this off the bone that it runs over.
_SPARE_MM = 0.3
#: Directions in which the bone beside a hole is measured.
_AROUND = 24


@dataclass(frozen=True)
class Loop:
    """A closed cable: points (N, 3), first and last the same, and its figures.

    ``hole_mm`` and ``leg_mm`` (2, 3 each) are the axes of the hole in the ilium and of the leg through the foramen.
    """

    path_mm: FloatArray
    hole_mm: FloatArray
    leg_mm: FloatArray
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Frame:
    """The loop's plane: ``origin`` in the foramen, ``lateral`` and ``front`` unit vectors, all (3,)."""

    origin: FloatArray
    lateral: FloatArray
    front: FloatArray

    def at(self, flat: FloatArray) -> FloatArray:
        """Places (N, 3) of (lateral, front) pairs (N, 2)."""
        return np.asarray(self.origin + flat[:, :1] * self.lateral + flat[:, 1:] * self.front)

    def through(self, bone: Solid, x: float, aside: float = 0.0) -> list[float]:
        """Heights along ``front`` where the ray at ``x`` enters and leaves a bone, ascending.

        ``aside`` moves the ray out of the loop's plane, mm.
        """
        middle = self.origin + x * self.lateral + aside * np.cross(self.lateral, self.front)
        start, end = middle - _REACH_MM * self.front, middle + _REACH_MM * self.front
        hits = to_manifold(bone).ray_cast(start.tolist(), end.tolist())
        return sorted(_REACH_MM * (2.0 * hit.distance - 1.0) for hit in hits)


def cable_loop(config: CableConfig, plan: Mapping[str, Any], implant: Solid, hip: Solid) -> Loop:
    """The loop of one cable.

    Raises
    ------
    GeometryError
        The plan has no such foramen or joint, or there is no ilium where the hole should be.
    QualityGateError
        Foramen and hole are too near to each other for the radius, or bone beside the hole is too thin.
    """
    where = f"fixation.cables.{config.name}"
    frame, width = _frame(config, plan, where)
    bores = frame.through(hip, width)
    if len(bores) < 2:
        raise GeometryError(
            f"{config.lateral_mm:.0f} mm lateral to the joint there is no ilium at the level of {config.foramen}",
            where=where,
            fix="another lateral_mm, or another foramen",
        )
    radius = config.bend_radius_min_mm
    if width < 2.0 * radius:
        raise QualityGateError(
            f"cable {config.name}: {width:.1f} mm between foramen and hole leave bends of {width / 2.0:.1f} mm, "
            f"{radius:.1f} mm is the least",
            where=where,
            fix="a larger lateral_mm, or a cable that bends more",
        )
    inside = [h for h in frame.through(implant, 0.0) if abs(h) < _REACH_MM]
    off = config.diameter_mm / 2.0 + _SPARE_MM
    ring = _ring(_bone_mm(frame, (implant, hip), width, off), width, radius, off)
    hole = frame.at(np.array([[width, bores[0]], [width, bores[-1]]]))
    wall = _wall_mm(hip, hole, config.hole_diameter_mm)
    if wall < config.hole_wall_mm:
        raise QualityGateError(
            f"cable {config.name}: {wall:.1f} mm of bone beside the hole in the ilium, {config.hole_wall_mm:.1f} mm "
            "are needed",
            where=where,
            fix="another lateral_mm",
        )
    path = frame.at(ring)
    return Loop(
        path,
        hole,
        frame.at(ring[[0, -2]]),
        {
            "name": config.name,
            "foramen": f"{plan['side']} {config.foramen}",
            "diameter_mm": config.diameter_mm,
            "bend_radius_min_mm": radius,
            "length_mm": float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum()),
            "ilium_hole": {
                "start_lps_mm": hole[0],
                "end_lps_mm": hole[1],
                "diameter_mm": config.hole_diameter_mm,
                "length_mm": float(bores[-1] - bores[0]),
                "least_bone_beside_mm": wall,
            },
            # 0 where the foramen is open all the way; what is not must be bored in the implant.
            "to_bore_in_implant_mm": float(
                sum(b - a for a, b in zip(inside[::2], inside[1::2], strict=False))
            ),
            "path_lps_mm": path,
        },
    )


def _frame(config: CableConfig, plan: Mapping[str, Any], where: str) -> tuple[_Frame, float]:
    """The loop's plane, and how far lateral of the foramen the hole lies, mm."""
    side = plan["side"]
    named = next((f for f in plan["foramina"] if f["name"] == f"{side} {config.foramen}"), None)
    joint = next((p for p in plan["resection_planes"] if p["name"] == "si_joint"), None)
    if named is None or "centre_lps_mm" not in named or joint is None:
        missing = "sacroiliac joint" if joint is None else f"foramen {side} {config.foramen}"
        raise GeometryError(f"the plan has no {missing} for the cable {config.name}", where=where)
    centre = np.array(named["centre_lps_mm"])
    lateral = np.array(plan["midline_plane"]["normal_lps"]) * (1.0 if side == "left" else -1.0)
    front = unit(np.array([0.0, -1.0, 0.0]) + lateral[1] * lateral)
    normal = np.array(joint["normal_lps"])
    to_joint = float((np.array(joint["point_lps_mm"]) - centre) @ normal / (lateral @ normal))
    return _Frame(centre, lateral, front), to_joint + config.lateral_mm


def _bone_mm(frame: _Frame, bones: tuple[Solid, ...], width: float, off: float) -> FloatArray:
    """Where bone begins and ends along rays across the loop, (N, 2) of (lateral, front).

    The cable is ``off`` thick to every side: so far beyond its plane and its legs bone is in its way too.
    """
    found = []
    for x in np.linspace(-off, width + off, round((width + 2.0 * off) / _RAY_MM) + 1):
        heights = [h for bone in bones for z in (-off, 0.0, off) for h in frame.through(bone, float(x), z)]
        if heights:
            found += [(x, min(heights)), (x, max(heights))]
    return np.array(found)


def _ring(places: FloatArray, width: float, radius: float, off: float) -> FloatArray:
    """The loop (N, 2): two legs, and the taut convex line over ``places`` before and behind them.

    All bends are of ``radius``: the line is the hull of circles of that radius. Each leg's circle lies where the leg
    leaves the bone or farther out, so that no bone within reach of its bend comes nearer than ``off``.
    """
    halves = []
    for sign in (1.0, -1.0):
        x, h = places[:, 0], sign * places[:, 1]
        ends = []
        for middle, leg in ((radius, 0.0), (width - radius, width)):
            at_leg = np.abs(x - leg) <= off + _RAY_MM
            away = np.abs(x - middle)
            near = (away < radius - off) & (np.abs(x - leg) <= radius)
            over = h[near] - np.sqrt((radius - off) ** 2 - away[near] ** 2)
            ends.append((middle, max([*h[at_leg], *over], default=0.0)))
        between = (x > radius) & (x < width - radius)
        circles = [*ends, *zip(x[between], h[between] + off - radius, strict=True)]
        halves.append(_taut(circles, radius) * [1.0, sign])
    front, back = halves
    ring = np.vstack([front, back[::-1]])
    return np.vstack([ring, ring[:1]])


def _taut(circles: list[tuple[float, float]], radius: float) -> FloatArray:
    """Upper hull (N, 2) of circles of one radius with centres (x, height), from the left leg to the right one."""
    hull: list[tuple[float, float]] = []
    for point in sorted(circles):
        while len(hull) > 1 and _left_turn(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    centres = np.array(hull)
    step = np.diff(centres, axis=0)
    # Directions square to the hull's sides, from straight left to straight right.
    turn = np.concatenate([[np.pi], np.arctan2(step[:, 0], -step[:, 1]), [0.0]])
    out = []
    for centre, begin, end in zip(centres, turn[:-1], turn[1:], strict=True):
        count = max(2, int(np.ceil((begin - end) / np.radians(_BEND_DEG))) + 1)
        angle = np.linspace(begin, end, count)
        out.append(centre + radius * np.column_stack([np.cos(angle), np.sin(angle)]))
    return np.vstack(out)


def _left_turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) >= 0.0


def _wall_mm(hip: Solid, hole: FloatArray, diameter_mm: float) -> float:
    """Least bone beside a hole through the ilium, half-way between its cortices, mm."""
    middle, axes = hole.mean(axis=0), frame_of(hole[1] - hole[0])
    found = _REACH_MM
    for turn in np.arange(_AROUND) * 2.0 * np.pi / _AROUND:
        out = np.cos(turn) * axes[:, 0] + np.sin(turn) * axes[:, 1]
        hits = to_manifold(hip).ray_cast(middle.tolist(), (middle + _REACH_MM * out).tolist())
        found = min([found, *(_REACH_MM * hit.distance for hit in hits)])
    return found - diameter_mm / 2.0
