"""Door of the stage prototype: one printable iteration and its review sheet."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow import artifacts
from implantflow.config.implant import ImplantConfig
from implantflow.config.prototype import Iteration
from implantflow.config.site import NOT_CLINICAL
from implantflow.errors import ConfigError, GeometryError
from implantflow.jobs import Job, progress
from implantflow.prototype.compare import difference_figures
from implantflow.prototype.corrections import Context, apply_all
from implantflow.prototype.listed import listed_regions
from implantflow.prototype.parent import edited_files, planned_figures, read_parent, start
from implantflow.prototype.printing import labelled_part, write_3mf
from implantflow.prototype.sheet import SheetContent, write_sheet
from implantflow.solids.booleans import crop, merged, refined
from implantflow.solids.distance import Surface
from implantflow.solids.faces import Neighbours, fit_figures
from implantflow.solids.mesh import EDGE_MM, IntArray, Solid, read_solid, write_solid

#: Bone nearer to the implant than this carries no letters: they would change the fit.
_FACING_MM = 8.0
_LABEL_EDGE_MM = 4.0
#: The hip on the model reaches this far beyond the implant: enough to hold it and to judge the joint.
_HIP_ROOM_MM = 18.0


def make_prototype(job: Job) -> None:
    """Make one rapid-prototype iteration (rule ``make_prototype``).

    Inputs ``plan`` (JSON), ``specimen``, ``remaining_bone``, ``sacrum``, ``hip`` (implant side), ``l5`` (STL,
    patient LPS mm), and for every iteration but the first ``parent`` (its implant.stl), ``parent_shape`` and
    ``parent_json``; ``edited``: the STL of each import_stl correction, in their order. ``sacrum`` is the plan's outer
    shape where it mirrors the healthy side, with ``outer`` (JSON) beside it. Outputs ``implant``, ``bone``
    (STL), ``model`` (3MF), ``sheet`` (HTML), ``shape`` (npz: the body without its holes), ``prototype`` (JSON).
    Settings ``prototype`` (one iteration), ``implant``, ``side``, ``case``, ``purpose``, ``simulated`` (whether
    the patient is).

    An iteration goes on from its parent's shape, whose body is still whole: so a hole can move. Under another plan
    (extend_margin, new_imaging) the shape is made anew through all corrections of its ancestors.

    Raises
    ------
    GeometryError
        A correction has no effect or breaks the solid, the implant does not fit, or the side is wrong.
    ProvenanceError
        A file of the parent is not the one that its prototype.json names.
    """
    iteration = Iteration.model_validate(job.settings["prototype"])
    config = ImplantConfig.model_validate(job.settings["implant"])
    plan = artifacts.read_json(job.input("plan"))
    _agree(iteration, plan, job)
    bones = {n: read_solid(job.input(n), n) for n in ("sacrum", "specimen", "remaining_bone", "hip", "l5")}
    neighbours = Neighbours.around(bones["specimen"], bones["remaining_bone"], bones["hip"], bones["l5"])
    context = Context(
        plan, config, neighbours, bones["sacrum"], edited_files(iteration, job.input_list("edited"))
    )

    progress("outer shape", done=0.2)
    parent = read_parent(job, iteration)
    shape, base_facts, correction_facts = start(iteration, parent, context)
    progress(f"{len(iteration.corrections)} corrections", done=0.4)
    shape, more = apply_all(
        shape, iteration.shape_corrections, context, first=1 + len(iteration.plan_corrections)
    )
    correction_facts += more
    shape.save(job.outputs["shape"])
    implant = write_solid(
        job.outputs["implant"],
        shape.drilled(),
        f"implantflow {iteration.id} {plan['side']} patient LPS mm",
        edge_mm=EDGE_MM,
    )

    progress("fit and difference", done=0.6)
    faces = context.faces(implant)
    fit = fit_figures(implant, faces, neighbours)
    sign = 1.0 if plan["side"] == "left" else -1.0
    # Centres of the sacroiliac face are looked up on the body, whose triangles are not those of the file.
    listed = listed_regions(shape, context.faces(shape.body)["si_joint"], plan, config, sign)
    change = difference_figures(implant, parent.implant) if parent is not None else None
    low, high = implant.bounds_mm
    hip = crop(bones["hip"], low - _HIP_ROOM_MM, high + _HIP_ROOM_MM)
    bone = write_solid(
        job.outputs["bone"],
        merged([bones["remaining_bone"], hip]),
        "implantflow bone for the model patient LPS mm",
    )
    label_facts = _write_model(job, implant, bone, faces, f"{plan['side'][0].upper()} {iteration.id.upper()}")
    record = {
        "id": iteration.id,
        "parent": iteration.parent,
        "plan": iteration.plan,
        "side": plan["side"],
        "purpose": job.settings["purpose"],
        "subject_sha256": artifacts.sha256_file(job.outputs["implant"]),
        "shape_sha256": artifacts.sha256_file(job.outputs["shape"]),
        "hausdorff_to_parent_mm": None if change is None else change["hausdorff_to_parent_mm"],
        "volume_mm3": implant.volume_mm3,
        "triangles": len(implant.faces),
        "corrections": correction_facts,
        "change": change,
        "fit": fit,
        "base": base_facts,
        "holes": [hole.as_json() for hole in shape.holes],
        "bosses": [boss.as_json() for boss in shape.bosses],
        "listed_regions": listed,
        "embossed": label_facts,
        "margins_mm": plan["osteotomy_margins_mm"],
        "planned": planned_figures(plan),
        "planned_before": None if parent is None else parent.record["planned"],
        "outer_shape": outer_shape_told(job),
        "questions": iteration.questions,
        "history": [
            *(parent.record["history"] if parent is not None else []),
            {
                "iteration": iteration.id,
                "plan": iteration.plan,
                "corrections": [c.model_dump(mode="json") for c in iteration.corrections],
            },
        ],
    }
    artifacts.write_json(job.outputs["prototype"], record)
    progress("review sheet", done=0.85)
    write_sheet(
        job.outputs["sheet"],
        SheetContent(
            case=str(job.settings["case"]),
            simulated=bool(job.settings["simulated"]),
            record=record,
            plan=plan,
            limits=config.limits,
            implant=implant,
            bone=bone,
            parent=None if parent is None else parent.implant,
            parent_record=None if parent is None else parent.record,
        ),
    )


def outer_shape_told(job: Job) -> str:
    """Where the outer shape comes from, in words."""
    outer = job.optional_input("outer")
    if outer is None:
        return (
            "resected anatomy as segmented; cortex that the tumour displaced is as it is unless a mirror_region "
            "correction takes it from the healthy side"
        )
    facts = artifacts.read_json(outer)
    area = facts["area_mm2"]
    return (
        f"resected anatomy; within {facts['changed_within_mm']:g} mm of the tumour the mirrored healthy side "
        f"({area['mirrored'] / 100.0:.1f} cm2), blended into the own surface over {facts['blend_mm']:g} mm "
        f"({area['blended'] / 100.0:.1f} cm2); surface moved by up to {facts['displacement_max_mm']:.1f} mm"
    )


def _agree(iteration: Iteration, plan: dict[str, Any], job: Job) -> None:
    if plan["revision"] != iteration.plan:
        raise GeometryError(
            f"iteration {iteration.id} is built on plan {iteration.plan}, but was given {plan['revision']}",
            where=str(job.input("plan").name),
        )
    if plan["side"] != job.settings["side"]:
        raise GeometryError(
            f"the config says side: {job.settings['side']}, the plan {plan['revision']} is for the {plan['side']}",
            where="plan.json",
            fix="make the plan again",
        )
    ilium = [c["name"] for c in plan["resection_planes"] if str(c["name"]).startswith("ilium_")]
    if plan["procedure"] != "hemisacrectomy" or ilium:
        what = "takes part of the ilium" if ilium else f"is a {plan['procedure']}"
        raise ConfigError(
            f"plan {plan['revision']} {what}: a model and an implant are made for a hemisacrectomy whose ilium stays "
            "whole, for nothing else yet",
            where=f"prototype.iterations.{iteration.id}.plan",
            fix="ask for the target `plan` only, which holds resection, screws and construct; or name another plan",
        )


def _write_model(
    job: Job, implant: Solid, bone: Solid, faces: dict[str, IntArray], short: str
) -> dict[str, Any]:
    """Write the 3MF, its parts labelled with case, side and iteration.

    The whole label goes on each part that has a flat place for it; else side and iteration stand on the implant and
    the case on the bone.
    """
    case = str(job.settings["case"]).upper()
    contact = np.concatenate([faces[name] for name in faces])
    # Places for letters are looked for triangle by triangle: a flat part must not be one large triangle.
    bone = refined(bone, _LABEL_EDGE_MM)
    facing = np.flatnonzero(
        np.abs(Surface(implant).signed_distance_mm(bone.centres_mm, _FACING_MM)) < _FACING_MM
    )
    labelled, label = labelled_part(implant, (f"{case} {short}", short), contact)
    labelled_bone, bone_label = labelled_part(bone, (f"{case} {short}", case), facing)
    title = f"{job.settings['case']} {short} {_purpose_words(job.settings['purpose'])}"
    write_3mf(job.outputs["model"], {"implant": labelled, "bone": labelled_bone}, title)
    return {**label, "bone": bone_label}


def _purpose_words(purpose: str) -> str:
    return "" if purpose == "clinical" else NOT_CLINICAL
