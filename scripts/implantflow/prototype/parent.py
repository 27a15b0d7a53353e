"""What an iteration inherits: the parent's shape, its printed form and its record, each the one that was reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from implantflow import artifacts
from implantflow.config.prototype import Iteration
from implantflow.errors import ProvenanceError
from implantflow.jobs import Job
from implantflow.prototype.body import Shape
from implantflow.solids.mesh import Solid, read_solid


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
