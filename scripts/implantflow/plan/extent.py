"""Reads what a plan is made from: bones, labels, CT, and the tumour's extent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from implantflow.artifacts import read_json
from implantflow.config.plan import PlanRevision
from implantflow.jobs import Job
from implantflow.plan.resection import Case
from implantflow.solids.booleans import union
from implantflow.solids.mesh import Solid, read_solid
from implantflow.volumes import read_volume


def read_case(job: Job, revision: PlanRevision) -> Case:
    """Everything that the rule's inputs hold."""
    hips = {side: read_solid(job.input(f"hip_{side}"), f"hip {side}") for side in ("left", "right")}
    segment = job.optional_input("segment")
    facts = {} if segment is None else read_json(segment)
    labels, ct = job.optional_input("labels"), job.optional_input("ct")
    border = facts.get("coverage", {}).get("sacrum", {}).get("touches_border", [])
    return Case(
        revision,
        job.settings["side"],
        read_solid(job.input("sacrum"), "sacrum"),
        read_solid(job.input("l5"), "L5"),
        hips,
        read_tumour(job.input_list("tumour_stl")),
        labels=None if labels is None else read_volume(labels),
        above_l5=facts.get("labels", {}).get("l4_and_above", {}).get("code"),
        ct=None if ct is None else read_volume(ct),
        sacrum_cut_off="caudal" in border,
    )


def read_tumour(paths: list[Path]) -> Solid:
    """The tumour of one or several time points as one solid: what any of them covers."""
    solids = [read_solid(path, f"tumour ({path.stem})") for path in paths]
    return solids[0] if len(solids) == 1 else union(*solids)


def planned_on(tumour: dict[str, Any], revision: PlanRevision) -> list[dict[str, Any]]:
    """The images that ``revision`` keeps its margin to: time point, series, date, and how each met the planning CT."""
    return [
        {key: entry.get(key) for key in ("name", "series", "acquired", "registration")}
        for entry in tumour["timepoints"]
        if revision.timepoints is None or entry["name"] in revision.timepoints
    ]
