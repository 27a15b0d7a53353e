"""What ``construct.json`` says of a construct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.fixation import ConstructConfig
from implantflow.config.plan import PlanRevision
from implantflow.plan.cables import Loop
from implantflow.plan.collisions import Collision
from implantflow.plan.connectors import Connector
from implantflow.plan.rods import Rod
from implantflow.solids.mesh import Solid
from implantflow.volumes import Volume


@dataclass(frozen=True)
class Built:
    """What was found: rods in the order of the config, connectors, cables."""

    rods: list[Rod]
    connectors: list[Connector]
    loops: dict[str, Loop]


def record(
    revision: PlanRevision,
    plan: Mapping[str, Any],
    sizes: ConstructConfig,
    built: Built,
    metal: Mapping[str, Solid],
    rooms: Mapping[str, tuple[float, str]],
    near: Sequence[Mapping[str, Any]],
    recesses: Sequence[Collision],
    scan: Volume,
) -> dict[str, Any]:
    """What ``construct.json`` says."""
    gone = {entry["level"]: entry["why"] for entry in plan["corridors_left_out"]}
    rods = []
    for rod in built.rods:
        away, nearest = rooms[f"rod {rod.name}"]
        rods.append(
            {
                **rod.as_json(sizes.rod.diameter_mm),
                "bone_distance_min_mm": away,
                "nearest_bone": nearest,
            }
        )
    outside = {
        name: float(100.0 * np.mean(~scan.contains_lps(solid.vertices))) for name, solid in metal.items()
    }
    return {
        "revision": revision.id,
        "frame": "patient_lps",
        "purpose": plan["purpose"],
        "levels": {level: gone.get(level, "held") for level in sizes.levels},
        "screws_left_out": plan["corridors_left_out"],
        # By their boxes the shells of the STL are told apart: writing it does not keep their order.
        "parts": [
            {"name": name, "low_lps_mm": solid.bounds_mm[0], "high_lps_mm": solid.bounds_mm[1]}
            for name, solid in metal.items()
        ],
        "screws": [head.as_json(rod.along(head.saddle_mm)) for rod in built.rods for head in rod.heads],
        "rods": rods,
        "rod_bone_distance_min_mm": min(float(r["bone_distance_min_mm"]) for r in rods),
        "connectors": [
            {**c.as_json(), "bone_distance_min_mm": rooms[f"connector {'+'.join(c.joins)}"][0]}
            for c in built.connectors
        ],
        "cables": [loop.facts for loop in built.loops.values()],
        "roots_that_stay": list(near),
        "root_distance_min_mm": min((entry["distance_mm"] for entry in near), default=None),
        "metal_volume_mm3": sum(solid.volume_mm3 for solid in metal.values()),
        "outside_scan_pct": {name: share for name, share in outside.items() if share > 0.0},
        "collisions": 0,
        "bone_to_remove": [
            {
                "head": c.first.removeprefix("head "),
                "bone": c.second,
                "depth_mm": c.depth_mm,
                "volume_mm3": c.shared_mm3,
            }
            for c in recesses
        ],
        "sources": {
            "head": sizes.head.source,
            "rod": sizes.rod.source,
            "connector": None if sizes.connector is None else sizes.connector.source,
            "roots": sizes.roots.source,
            **{f"cable {cable.name}": cable.source for cable in sizes.cables},
        },
        "notes": [
            "Simple solids for looking and for collisions, no product's shape; sizes are the config's.",
            "Bones are checked as segmented, the specimen stands for the implant. Lumbar roots, dura, vessels and "
            "muscle are not segmented: a screw's wall of bone is what guards the roots beside a pedicle.",
            "What lies outside the scan cannot be checked against bone.",
        ],
    }
