"""Door of the stage prototype: one printable iteration and its review sheet."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import TypeAdapter

from implantflow import artifacts
from implantflow.config.implant import ImplantConfig
from implantflow.config.prototype import Correction, Iteration
from implantflow.errors import GeometryError
from implantflow.jobs import Job, progress
from implantflow.prototype.body import first_shape
from implantflow.prototype.compare import difference_figures
from implantflow.prototype.corrections import Context, apply_all
from implantflow.prototype.listed import listed_regions
from implantflow.prototype.parent import read_parent
from implantflow.prototype.printing import embossed, write_3mf
from implantflow.prototype.sheet import SheetContent, write_sheet
from implantflow.solids.booleans import crop, merged
from implantflow.solids.faces import Neighbours, fit_figures
from implantflow.solids.mesh import EDGE_MM, read_solid, write_solid

_CORRECTIONS: TypeAdapter[list[Correction]] = TypeAdapter(list[Correction])
#: The hip on the model reaches this far beyond the implant: enough to hold it and to judge the joint.
_HIP_ROOM_MM = 18.0


def make_prototype(job: Job) -> None:
    """Make one rapid-prototype iteration (rule ``make_prototype``).

    Inputs ``plan`` (JSON), ``specimen``, ``remaining_bone``, ``sacrum``, ``hip`` (implant side), ``l5`` (STL,
    patient LPS mm), and for every iteration but the first ``parent`` (its implant.stl), ``parent_shape`` and
    ``parent_json``. Outputs ``implant``, ``bone`` (STL), ``model`` (3MF), ``sheet`` (HTML), ``shape`` (npz: the body
    without its holes), ``prototype`` (JSON). Settings ``prototype`` (one iteration), ``implant``, ``side``, ``case``,
    ``purpose``.

    An iteration goes on from its parent's shape, whose body is still whole: so a hole can move. Under another plan
    the shape is made anew through all corrections of its ancestors.

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
    context = Context(plan, config, neighbours)

    progress("outer shape", done=0.2)
    parent = read_parent(job, iteration)
    if parent is not None and parent.record["plan"] == iteration.plan:
        shape, base_facts = parent.shape, parent.record["base"]
    else:
        shape, base_facts = first_shape(bones["sacrum"], plan, config.clearance, neighbours)
        for entry in parent.record["history"] if parent is not None else []:
            shape, _ = apply_all(shape, _CORRECTIONS.validate_python(entry["corrections"]), context)
    progress(f"{len(iteration.corrections)} corrections", done=0.4)
    shape, correction_facts = apply_all(shape, iteration.corrections, context)
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
    text = f"{plan['side'][0].upper()} {iteration.id.upper()}"
    contact = np.concatenate([faces[name] for name in faces])
    labelled, label_facts = embossed(implant, text, contact)
    title = f"{job.settings['case']} {iteration.id} {plan['side']} {_purpose_words(job.settings['purpose'])}"
    write_3mf(job.outputs["model"], {"implant": labelled, "bone": bone}, title)
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
        "listed_regions": listed,
        "embossed": label_facts,
        "margins_mm": plan["osteotomy_margins_mm"],
        "outer_shape": "resected anatomy as segmented; cortex that the tumour displaced is not mirrored from the "
        "healthy side in this version",
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
            record=record,
            plan=plan,
            limits=config.limits,
            implant=implant,
            bone=bone,
            parent=None if parent is None else parent.implant,
        ),
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


def _purpose_words(purpose: str) -> str:
    return "" if purpose == "clinical" else "NOT FOR CLINICAL USE"
