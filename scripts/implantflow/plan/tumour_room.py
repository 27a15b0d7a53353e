"""Room between the tumour and what stays: joints, neighbouring bones, and each time point's own margin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from implantflow.config.plan import PlanRevision
from implantflow.errors import QualityGateError
from implantflow.geometry import Plane
from implantflow.jobs import Job
from implantflow.plan.osteotomy import ResectionPlanes
from implantflow.solids.booleans import union
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid, read_solid
from implantflow.volumes import read_volume

#: A tumour that touches a neighbour by less than this may be no more than the partial volume of one voxel.
_TOUCH_MM = 1.0

_LEAST_CHANGE = {
    "hip": "take part of the ilium (a resection through the ilium is not planned by this version), or correct "
    "the tumour's outline",
    "l5": "take the L5/S1 disc and part of L5 (not planned by this version), or correct the tumour's outline",
}


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


def joint_room(tumour: Solid, disc: Plane, neighbours: dict[str, Solid]) -> dict[str, float]:
    """Shortest signed distance in mm from the tumour to each neighbouring bone, negative when it enters.

    Raises
    ------
    QualityGateError
        The tumour enters a bone that stays by more than 1 mm, or crosses the disc plane.
    """
    found = {}
    for name, bone in neighbours.items():
        found[name] = float(Surface(bone).signed_distance_mm(tumour.vertices, 200.0).min())
        if found[name] < -_TOUCH_MM:
            raise QualityGateError(
                f"the tumour enters the {name} by {-found[name]:.1f} mm, which this plan leaves in place",
                where="plan",
                fix=_LEAST_CHANGE[name],
            )
    over = float(disc.distance(tumour.vertices).max())
    if over > 0.0:
        raise QualityGateError(
            f"the tumour reaches {over:.1f} mm above the L5/S1 disc plane",
            where="plan",
            fix=_LEAST_CHANGE["l5"],
        )
    return found


def timepoint_margins(job: Job, planes: ResectionPlanes) -> dict[str, dict[str, float]]:
    """Margin in mm of each time point's mask to both osteotomies, to the centres of its voxels."""
    out = {}
    for path in job.input_list("masks"):
        mask = read_volume(path)
        points = mask.index_to_lps(np.argwhere(mask.array > 0)[:, ::-1])
        if len(points) == 0:
            continue
        out[path.name.split("_mask")[0]] = {
            "midline": float(planes.midline.distance(points).min()),
            "caudal": float(planes.caudal.distance(points).min()),
        }
    return out
