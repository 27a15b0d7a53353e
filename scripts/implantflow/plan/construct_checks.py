"""What a construct must hold before it is written: no collisions, no sharp bends, no rod askew, room for roots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from implantflow.config.fixation import ConstructConfig
from implantflow.errors import QualityGateError
from implantflow.plan.collisions import Collision
from implantflow.plan.connectors import Connector
from implantflow.plan.heads import Screw
from implantflow.plan.rods import Rod
from implantflow.plan.room import Room
from implantflow.plan.roots import nearest_mm

_ANGLE_SLACK_DEG, _RADIUS_SLACK = 0.05, 0.999


def is_recess(collision: Collision, homes: Mapping[str, Sequence[str]], sizes: ConstructConfig) -> bool:
    """Whether it is a head in the bone of its own screw, no deeper than the surgeon takes bone away for it."""
    kind, _, name = collision.first.partition(" ")
    own = kind == "head" and collision.second in homes[name] and collision.second != "implant"
    return own and collision.depth_mm <= sizes.head.recess_max_mm


def roots_near(
    plan: Mapping[str, Any], screws: Mapping[str, Screw], rods: Sequence[Rod]
) -> list[dict[str, Any]]:
    """From metal to the foramina whose roots stay: the nearest of all screws and rods, mm."""
    lost = {entry["root"] for entry in plan["roots_sacrificed"]}
    points = {
        entry["name"]: np.array(entry["centre_lps_mm"])
        for entry in plan["foramina"]
        if "centre_lps_mm" in entry and entry["name"] not in lost
    }
    found = dict.fromkeys(points, (np.inf, ""))
    for name, screw in screws.items():
        for root, mm in nearest_mm(points, screw.entry_mm, screw.tip_mm, screw.diameter_mm / 2.0).items():
            found[root] = min(found[root], (mm, f"screw {name}"))
    for rod in rods:
        for root, point in points.items():
            mm = float(np.linalg.norm(rod.path_mm - point, axis=1).min())
            found[root] = min(found[root], (mm, f"rod {rod.name}"))
    return [{"root": root, "distance_mm": mm, "nearest": part} for root, (mm, part) in found.items()]


def bone_near(
    rods: Sequence[Rod], connectors: Sequence[Connector], room: Room, diameter_mm: float
) -> dict[str, tuple[float, str]]:
    """From each rod and connector to the nearest bone or implant, mm, and which that is; negative inside it."""
    found = {}
    places = {f"rod {rod.name}": (rod.path_mm, diameter_mm / 2.0) for rod in rods}
    places |= {f"connector {'+'.join(c.joins)}": (c.skin_mm(), 0.0) for c in connectors}
    for name, (points, radius) in places.items():
        away, nearest = room.exactly(points)
        at = int(np.argmin(away))
        found[name] = (float(away[at]) - radius, nearest[at])
    return found


def require_buildable(
    rods: Sequence[Rod],
    found: Sequence[Collision],
    bones: Mapping[str, tuple[float, str]],
    near: Sequence[Mapping[str, Any]],
    sizes: ConstructConfig,
    revision: str,
) -> None:
    """Refuse a construct that cannot be built; every reason is told.

    Raises
    ------
    QualityGateError
    """
    told = [str(collision) for collision in found]
    fixes = ["move a screw (corridors[].axis), let heads stand prouder (head.proud_max_mm)"] if found else []
    for name, (mm, bone) in bones.items():
        # Deeper than its skin it is a collision, and told as one.
        if 0.0 <= mm < sizes.rod.bone_clearance_mm:
            told.append(
                f"{name} passes {bone} at {mm:.1f} mm, {sizes.rod.bone_clearance_mm:.1f} mm are kept free"
            )
            fixes.append("allow prouder heads (head.proud_max_mm), or give the nearest screw another axis")
    for rod in rods:
        if rod.bend_radius_mm < _RADIUS_SLACK * sizes.rod.bend_radius_min_mm:
            told.append(
                f"rod {rod.name} would have to be bent to {rod.bend_radius_mm:.1f} mm, "
                f"{sizes.rod.bend_radius_min_mm:.1f} mm is the least"
            )
            fixes.append("leave a screw off that rod, or join two rods with a connector")
        for head in rod.heads:
            tilt = head.slot_tilt_deg(rod.along(head.saddle_mm))
            if tilt > sizes.head.slot_tilt_max_deg + _ANGLE_SLACK_DEG:
                told.append(
                    f"rod {rod.name} lies {tilt:.1f} degrees askew in the head of {head.screw.name}, "
                    f"{sizes.head.slot_tilt_max_deg:.1f} are allowed"
                )
                fixes.append("turn that screw (corridors[].axis), or use heads that tilt further")
    for entry in near:
        if entry["distance_mm"] < sizes.roots.clearance_mm:
            told.append(
                f"{entry['nearest']} passes the foramen {entry['root']} at {entry['distance_mm']:.1f} mm, "
                f"{sizes.roots.clearance_mm:.1f} mm are kept free for its root"
            )
            fixes.append("give that screw another axis (corridors[].axis)")
    if told:
        raise QualityGateError(
            f"the construct cannot be built: {'; '.join(told)}",
            where=f"plan.revisions.{revision}.fixation",
            fix="; ".join(dict.fromkeys(fixes)),
        )
