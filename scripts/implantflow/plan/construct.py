"""Door of the rule ``plan_construct``: rods, connectors and cables on the planned screws, as simple closed solids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from implantflow import artifacts
from implantflow.config.fixation import ConstructConfig
from implantflow.config.plan import PlanRevision
from implantflow.errors import ConfigError, QualityGateError
from implantflow.jobs import Job, progress
from implantflow.plan.cables import cable_loop
from implantflow.plan.collisions import collisions
from implantflow.plan.connectors import Connector, join
from implantflow.plan.construct_checks import bone_near, is_recess, require_buildable, roots_near
from implantflow.plan.construct_record import Built, record
from implantflow.plan.heads import Screw
from implantflow.plan.metal import meant_to_meet, parts
from implantflow.plan.rods import Rod, Search
from implantflow.plan.room import Room
from implantflow.plan.spine import above_l5
from implantflow.solids.booleans import difference, merged
from implantflow.solids.mesh import Solid, read_solid, write_solid
from implantflow.solids.shapes import cylinder
from implantflow.volumes import Volume, read_volume

_BACK = np.array([0.0, 1.0, 0.0])
#: Rods run within this box about the entries: to the sides, to the front and to the back, up and down, mm.
_AROUND_LOW, _AROUND_HIGH = np.array([30.0, 20.0, 25.0]), np.array([30.0, 45.0, 25.0])
#: Bones that a screw of each kind lies in.
_HOMES = {
    "implant_s1": ("implant",),
    "s2_alar_iliac": ("remaining bone", "hip left", "hip right"),
    "iliac": ("hip left", "hip right"),
    "iliosacral": ("remaining bone", "hip left", "hip right"),
}


def plan_construct(job: Job) -> None:
    """Join the screws of one plan revision (rule ``plan_construct``).

    Inputs ``plan`` (JSON), ``specimen``, ``remaining_bone``, ``remaining_hip``, ``hip_left``, ``hip_right``, ``l5``,
    ``sacrum`` (STL, patient LPS mm), ``labels`` and ``segment`` (JSON). Outputs ``construct`` (JSON: parts with their
    boxes, figures) and ``solids`` (STL of all parts). Settings ``plan`` (one revision).

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
    built = Built(rods, connectors, loops)
    progress("collisions", done=0.6)
    metal = parts(screws, rods, connectors, loops, sizes)
    homes = {name: _home(entry) for name, entry in entries.items()}
    joined = meant_to_meet(screws, rods, homes)
    found = collisions(metal, _bored(bones, built, sizes, plan), joined)
    recesses = [c for c in found if is_recess(c, homes, sizes)]
    bare = [c for c in found if not is_recess(c, homes, sizes)]
    near = roots_near(plan, screws, rods)
    rooms = bone_near(rods, connectors, room, sizes.rod.diameter_mm)
    require_buildable(rods, bare, rooms, near, sizes, revision.id)
    progress("writing", done=0.9)
    write_solid(
        job.outputs["solids"],
        merged(list(metal.values())),
        f"implantflow construct {revision.id} {plan['side']} patient LPS mm",
    )
    artifacts.write_json(
        job.outputs["construct"], record(revision, plan, sizes, built, metal, rooms, near, recesses, labels)
    )


def _home(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Bones that a screw lies in."""
    if entry["kind"] == "pedicle":
        return ("L5",) if entry["level"] == "L5" else ("spine above L5",)
    return _HOMES[entry["kind"]]


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
    bones: Mapping[str, Solid], built: Built, sizes: ConstructConfig, plan: Mapping[str, Any]
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
