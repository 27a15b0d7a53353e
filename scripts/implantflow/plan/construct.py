"""Door of the rule ``plan_construct``: rods, connectors and cables on the planned screws, as simple closed solids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow import artifacts
from implantflow.config.fixation import ConstructConfig
from implantflow.config.plan import PlanRevision
from implantflow.errors import ConfigError, QualityGateError
from implantflow.jobs import Job, progress
from implantflow.plan.cables import Loop, cable_loop
from implantflow.plan.collisions import Collision, collisions
from implantflow.plan.connectors import Connector, join
from implantflow.plan.heads import Screw
from implantflow.plan.metal import meant_to_meet, parts
from implantflow.plan.rods import Rod, Search
from implantflow.plan.room import Room
from implantflow.plan.roots import nearest_mm
from implantflow.plan.spine import above_l5
from implantflow.solids.booleans import difference, merged
from implantflow.solids.mesh import Solid, read_solid, write_solid
from implantflow.solids.shapes import cylinder
from implantflow.volumes import Volume, read_volume

_BACK = np.array([0.0, 1.0, 0.0])
#: Rods run within this box about the entries: to the sides, to the front and to the back, up and down, mm.
_AROUND_LOW, _AROUND_HIGH = np.array([30.0, 20.0, 25.0]), np.array([30.0, 45.0, 25.0])
_ANGLE_SLACK_DEG, _RADIUS_SLACK = 0.05, 0.999
#: Bones that a screw of each kind lies in.
_HOMES = {
    "implant_s1": ("implant",),
    "s2_alar_iliac": ("remaining bone", "hip left", "hip right"),
    "iliac": ("hip left", "hip right"),
    "pedicle": ("L5", "spine above L5"),
    "iliosacral": ("remaining bone", "hip left", "hip right"),
}


@dataclass(frozen=True)
class _Built:
    """What was found: rods in the order of the config, connectors, cables."""

    rods: list[Rod]
    connectors: list[Connector]
    loops: dict[str, Loop]


def plan_construct(job: Job) -> None:
    """Join the screws of one plan revision (rule ``plan_construct``).

    Inputs ``plan`` (JSON), ``specimen``, ``remaining_bone``, ``remaining_hip``, ``hip_left``, ``hip_right``, ``l5``,
    ``sacrum`` (STL, patient LPS mm), ``labels`` and ``segment`` (JSON). Outputs ``construct`` (JSON: parts in the
    order of their shells, figures) and ``solids`` (STL of all parts). Settings ``plan`` (one revision).

    Raises
    ------
    ConfigError
        The revision has no fixation, or too few screws are left of it.
    QualityGateError
        Parts collide with each other or with bone, metal is too near to a root that stays, or a rod cannot be bent
        as needed.
    """
    revision = PlanRevision.model_validate(job.settings["plan"])
    plan = artifacts.read_json(job.input("plan"))
    sizes = _sizes(revision, plan)
    labels = read_volume(job.input("labels"))
    bones = _bones(job, revision, plan, labels)
    entries = {entry["name"]: entry for entry in plan["corridors"]}
    screws = {name: Screw.of(entry) for name, entry in entries.items()}

    progress("rods and connectors", done=0.1)
    held = np.array([screws[name].entry_mm for rod in sizes.rod.rods for name in rod.screws])
    room = Room(bones, held.min(axis=0) - _AROUND_LOW, held.max(axis=0) + _AROUND_HIGH)
    rods, connectors = _rods(screws, sizes, room)
    progress("cables", done=0.5)
    loops = {
        cable.name: cable_loop(cable, plan, bones["implant"], bones[f"hip {plan['side']}"])
        for cable in sizes.cables
    }
    built = _Built(rods, connectors, loops)
    progress("collisions", done=0.6)
    metal = parts(screws, rods, connectors, loops, sizes)
    homes = {name: _HOMES[entry["kind"]] for name, entry in entries.items()}
    joined = meant_to_meet(screws, rods, list(bones), homes)
    found = collisions(metal, _bored(bones, built, sizes, plan), joined)
    near = _roots(plan, screws, rods)
    _require(built, found, near, sizes, revision.id)
    progress("writing", done=0.9)
    write_solid(
        job.outputs["solids"],
        merged(list(metal.values())),
        f"implantflow construct {revision.id} {plan['side']} patient LPS mm",
    )
    artifacts.write_json(
        job.outputs["construct"], _record(revision, plan, sizes, built, metal, room, near, labels)
    )


def _sizes(revision: PlanRevision, plan: Mapping[str, Any]) -> ConstructConfig:
    """The construct's config without the screws that the scan does not allow."""
    where = f"plan.revisions.{revision.id}.fixation"
    if revision.fixation is None:
        raise ConfigError("this revision has no fixation", where=where)
    gone = {entry["name"]: entry["why"] for entry in plan["corridors_left_out"]}
    unfit = {e["name"]: e["reason"] for e in plan["corridors"] if not e["fits"]}
    bad = [n for rod in revision.fixation.rod.rods for n in rod.screws if n in unfit]
    if bad:
        raise QualityGateError(
            "rods hold screws that do not fit: " + "; ".join(f"{n}: {unfit[n]}" for n in bad),
            where=where,
            fix="use thinner or shorter screws, give them an axis (corridors[].axis), or take them off the rod",
        )
    try:
        return revision.fixation.without(set(gone))
    except ValueError as error:
        raise ConfigError(
            f"without {', '.join(f'{n} ({why})' for n, why in gone.items())} a rod does not hold: {error}",
            where=where,
            fix="plan another screw for that rod, or leave the rod out",
        ) from error


def _bones(job: Job, revision: PlanRevision, plan: Mapping[str, Any], labels: Volume) -> dict[str, Solid]:
    """Everything that metal must not run into, by name; the specimen stands for the implant."""
    side = plan["side"]
    other = "right" if side == "left" else "left"
    files = {"implant": "specimen", f"hip {side}": "remaining_hip", f"hip {other}": f"hip_{other}"}
    if revision.procedure == "spondylectomy":
        files |= {"remaining bone": "remaining_bone", "sacrum": "sacrum"}
    else:
        files |= {"L5": "l5"}
        if revision.procedure != "total_sacrectomy":
            files |= {"remaining bone": "remaining_bone"}
    bones = {name: read_solid(job.input(file), name) for name, file in files.items()}
    code = artifacts.read_json(job.input("segment"))["labels"].get("l4_and_above", {}).get("code")
    above = None if code is None else above_l5(labels, code)
    return bones if above is None else bones | {"spine above L5": above}


def _rods(
    screws: Mapping[str, Screw], sizes: ConstructConfig, room: Room
) -> tuple[list[Rod], list[Connector]]:
    rods: list[Rod] = []
    connectors: list[Connector] = []
    for config in sizes.rod.rods:
        through = [screws[name] for name in config.screws]
        if config.beside is None:
            search = Search(through, np.empty((0, 3)), sizes, room, _BACK)
            rods.append(search.rod(config.name, search.best()[0]))
        else:
            main = next(rod for rod in rods if rod.name == config.beside)
            rod, connector = join(config.name, main, through, rods, sizes, room, _BACK)
            rods.append(rod)
            connectors.append(connector)
    return rods, connectors


def _bored(
    bones: Mapping[str, Solid], built: _Built, sizes: ConstructConfig, plan: Mapping[str, Any]
) -> dict[str, Solid]:
    """Bones with the cables' holes: through the ilium, and through what stands in the foramen."""
    bored = dict(bones)
    for cable in sizes.cables:
        loop = built.loops[cable.name]
        out = loop.hole_mm[1] - loop.hole_mm[0]
        out = out / np.linalg.norm(out)
        # A mouth on slanting bone is cut as far as the drill is wide.
        longer = cylinder(
            loop.hole_mm[0] - 2.0 * cable.hole_diameter_mm * out,
            loop.hole_mm[1] + 2.0 * cable.hole_diameter_mm * out,
            cable.hole_diameter_mm,
        )
        hip = f"hip {plan['side']}"
        bored[hip] = difference(bored[hip], longer)
        leg = loop.leg_mm
        bored["implant"] = difference(bored["implant"], cylinder(leg[0], leg[1], cable.hole_diameter_mm))
    return bored


def _roots(plan: Mapping[str, Any], screws: Mapping[str, Screw], rods: Sequence[Rod]) -> list[dict[str, Any]]:
    """From metal to the foramina whose roots stay: the nearest of all screws and rods, mm."""
    lost = {entry["root"] for entry in plan["roots_sacrificed"]}
    points = {
        entry["name"]: np.array(entry["centre_lps_mm"])
        for entry in plan["foramina"]
        if "centre_lps_mm" in entry and entry["name"] not in lost
    }
    found = {name: (np.inf, "") for name in points}
    for name, screw in screws.items():
        for root, mm in nearest_mm(points, screw.entry_mm, screw.tip_mm, screw.diameter_mm / 2.0).items():
            found[root] = min(found[root], (mm, f"screw {name}"))
    for rod in rods:
        for root, point in points.items():
            mm = float(np.linalg.norm(rod.path_mm - point, axis=1).min())
            found[root] = min(found[root], (mm, f"rod {rod.name}"))
    return [{"root": root, "distance_mm": mm, "nearest": part} for root, (mm, part) in found.items()]


def _require(
    built: _Built,
    found: Sequence[Collision],
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
    for rod in built.rods:
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


def _record(
    revision: PlanRevision,
    plan: Mapping[str, Any],
    sizes: ConstructConfig,
    built: _Built,
    metal: Mapping[str, Solid],
    room: Room,
    near: Sequence[Mapping[str, Any]],
    scan: Volume,
) -> dict[str, Any]:
    """What ``construct.json`` says."""
    gone = {entry["level"]: entry["why"] for entry in plan["corridors_left_out"]}
    rods = []
    for rod in built.rods:
        away, nearest = room.exactly(rod.path_mm)
        at = int(np.argmin(away))
        rods.append(
            {
                **rod.as_json(sizes.rod.diameter_mm),
                "bone_distance_min_mm": float(away[at]) - sizes.rod.diameter_mm / 2.0,
                "nearest_bone": nearest[at],
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
        "parts": list(metal),
        "screws": [head.as_json(rod.along(head.saddle_mm)) for rod in built.rods for head in rod.heads],
        "rods": rods,
        "rod_bone_distance_min_mm": min(float(r["bone_distance_min_mm"]) for r in rods),
        "connectors": [connector.as_json() for connector in built.connectors],
        "cables": [loop.facts for loop in built.loops.values()],
        "roots_that_stay": list(near),
        "root_distance_min_mm": min((entry["distance_mm"] for entry in near), default=None),
        "metal_volume_mm3": sum(solid.volume_mm3 for solid in metal.values()),
        "outside_scan_pct": {name: share for name, share in outside.items() if share > 0.0},
        "collisions": 0,
        "sources": {
            "head": sizes.head.source,
            "rod": sizes.rod.source,
            "connector": None if sizes.connector is None else sizes.connector.source,
            "roots": sizes.roots.source,
            **{f"cable {cable.name}": cable.source for cable in sizes.cables},
        },
        "notes": [
            "Simple solids for looking and for collisions, no product's shape; sizes are the config's.",
            "Bones are checked as segmented, the specimen stands for the implant. Lumbar roots, dura, vessels and muscle "
            "are not segmented: a screw's wall of bone is what guards the roots beside a pedicle.",
            "What lies outside the scan cannot be checked against bone.",
        ],
    }
