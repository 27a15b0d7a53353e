"""What an iteration inherits: the parent's shape, its printed form and its record, each the one that was reviewed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from implantflow import artifacts
from implantflow.config.corrections import PLAN_KINDS, Correction, ExtendMargin, ImportStl
from implantflow.config.prototype import Iteration
from implantflow.errors import GeometryError, ProvenanceError
from implantflow.jobs import Job
from implantflow.prototype.body import Shape, first_shape
from implantflow.prototype.corrections import Context, apply_all, effect
from implantflow.solids.mesh import Solid, read_solid

_CORRECTIONS: TypeAdapter[list[Correction]] = TypeAdapter(list[Correction])


@dataclass(frozen=True)
class Parent:
    """The iteration that another one goes on from.

    Attributes
    ----------
    implant : as in its implant.stl. shape : the same before drilling. record : its prototype.json.
    """

    implant: Solid
    shape: Shape
    record: dict[str, Any]


def read_parent(job: Job, iteration: Iteration) -> Parent | None:
    """Parent of ``iteration``, None for a first one.

    Raises
    ------
    ProvenanceError
        A file is missing, belongs to another iteration, or has changed since its prototype.json was written.
    """
    if iteration.parent is None:
        return None
    stl, shape, record = (job.optional_input(name) for name in ("parent", "parent_shape", "parent_json"))
    if stl is None or shape is None or record is None:
        raise ProvenanceError(f"iteration {iteration.id} needs the files of its parent {iteration.parent}")
    data = artifacts.read_json(record)
    if data["id"] != iteration.parent:
        raise ProvenanceError(
            f"iteration {iteration.id} was given {data['id']} instead of {iteration.parent}"
        )
    for path, key in ((stl, "subject_sha256"), (shape, "shape_sha256")):
        if artifacts.sha256_file(path) != data[key]:
            raise ProvenanceError(
                f"{path.name} of parent {iteration.parent} is not the file that its prototype.json names",
                where=str(path),
                fix="run the parent again",
            )
    return Parent(read_solid(stl, f"parent {iteration.parent}"), Shape.load(shape), data)


def edited_files(iteration: Iteration, paths: list[Path]) -> dict[int, Path]:
    """Number of each import_stl correction (from 1) -> its file."""
    numbers = [n for n, c in enumerate(iteration.corrections, 1) if isinstance(c, ImportStl)]
    return dict(zip(numbers, paths, strict=True))


def start(
    iteration: Iteration, parent: Parent | None, context: Context
) -> tuple[Shape, dict[str, float], list[dict[str, Any]]]:
    """The shape that this iteration's own corrections are applied to, what its making took off, and the facts of the
    corrections that put it on another plan.

    Raises
    ------
    GeometryError
        An extended margin changes nothing, or a plan changed that no correction speaks of.
    """
    if parent is not None and parent.record["plan"] == iteration.plan:
        return parent.shape, parent.record["base"], []
    shape, base = first_shape(context.sacrum, context.plan, context.config.clearance, context.neighbours)
    if parent is None:
        return shape, base, []
    if not iteration.plan_corrections:
        raise GeometryError(
            f"{iteration.id} is built on plan {iteration.plan}, its parent on {parent.record['plan']}",
            where="prototype.iterations[].corrections",
            fix="say why: extend_margin or new_imaging as first correction",
        )
    anew = replace(context, edited={})
    for entry in parent.record["history"]:
        kept = [
            c for c in _CORRECTIONS.validate_python(entry["corrections"]) if not isinstance(c, PLAN_KINDS)
        ]
        shape, _ = apply_all(shape, kept, anew, judged=False)
    return shape, base, _plan_facts(iteration, parent, shape, context.plan)


def _plan_facts(
    iteration: Iteration, parent: Parent, shape: Shape, plan: dict[str, Any]
) -> list[dict[str, Any]]:
    """What the new plan changed. A later MR may confirm the plan as it was; a larger margin must show."""
    before, after = parent.record["planned"], planned_figures(plan)
    facts = []
    for number, correction in enumerate(iteration.plan_corrections, 1):
        found: dict[str, Any] = {
            "margins_before_mm": before["margins_mm"],
            "margins_after_mm": after["margins_mm"],
        }
        if isinstance(correction, ExtendMargin):
            found |= effect(
                f"correction {number} (extend_margin)", parent.shape.drilled(), shape.drilled(), correction
            )
        facts.append({**correction.model_dump(mode="json"), "added_mm3": 0.0, "removed_mm3": 0.0, **found})
    return facts


def planned_figures(plan: dict[str, Any]) -> dict[str, Any]:
    """Figures of the plan in force that a later iteration compares itself with."""
    return {
        "revision": plan["revision"],
        "margin_mm": plan["margin_mm"],
        "margins_mm": plan["osteotomy_margins_mm"],
        "soft_tissue_margin_min_mm": plan["soft_tissue_margin_min_mm"],
        "specimen_volume_mm3": plan["specimen_volume_mm3"],
        "roots_sacrificed": [r["root"] for r in plan["roots_sacrificed"]],
        "imaging": plan.get("imaging", []),
    }
