"""What prototype iterations, plan revisions and tumour time points must agree on."""

from __future__ import annotations

from implantflow.config.corrections import ExtendMargin, PlanCorrection
from implantflow.config.plan import PlanConfig, PlanRevision
from implantflow.config.prototype import Iteration, PrototypeConfig
from implantflow.config.tumour import TumourConfig


def timepoint_problems(plan: PlanConfig, tumour: TumourConfig) -> list[str]:
    """Time points that a plan revision names and the tumour lacks."""
    known = [t.name for t in tumour.timepoints]
    return [
        f"plan revision '{revision.id}' names time point '{name}', not among tumour.timepoints"
        for revision in plan.revisions
        for name in revision.timepoints or ()
        if name not in known
    ]


def iteration_problems(prototype: PrototypeConfig, plan: PlanConfig, tumour: TumourConfig) -> list[str]:
    """Every disagreement, in words; empty when there is none."""
    timepoints = [t.name for t in tumour.timepoints]
    plans = {revision.id: revision for revision in plan.revisions}
    found: list[str] = []
    known: dict[str, Iteration] = {}
    for iteration in prototype.iterations:
        name = f"prototype.iterations: '{iteration.id}'"
        if iteration.plan not in plans:
            found.append(f"{name} names plan '{iteration.plan}', not among plan.revisions")
        if iteration.parent is not None and iteration.parent not in known:
            found.append(f"{name} names parent '{iteration.parent}', which is no earlier iteration")
        elif iteration.parent is not None and {iteration.plan, known[iteration.parent].plan} <= set(plans):
            before, after = plans[known[iteration.parent].plan], plans[iteration.plan]
            found += [f"{name}: {p}" for p in _plan_problems(iteration, before, after, timepoints)]
        known[iteration.id] = iteration
    if prototype.approved not in known:
        found.append(
            f"prototype.approved names '{prototype.approved}', not among prototype.iterations: {', '.join(known)}"
        )
    return found


def _plan_problems(
    iteration: Iteration, before: PlanRevision, after: PlanRevision, timepoints: list[str]
) -> list[str]:
    """A change of plan is a correction that says why, and a correction that changes the plan needs another plan."""
    if before.id == after.id:
        return [
            f"{c.kind} needs a new plan revision: it is still built on '{after.id}'"
            for c in iteration.plan_corrections
        ]
    if not iteration.plan_corrections:
        return [
            f"it is built on plan '{after.id}' and its parent on '{before.id}': say why with extend_margin or "
            "new_imaging as first correction"
        ]
    return [
        problem
        for c in iteration.plan_corrections
        if (problem := _mismatch(c, before, after, timepoints)) is not None
    ]


def _mismatch(
    correction: PlanCorrection, before: PlanRevision, after: PlanRevision, timepoints: list[str]
) -> str | None:
    if isinstance(correction, ExtendMargin):
        if correction.margin_mm != after.margin_mm:
            return f"extend_margin says {correction.margin_mm:g} mm, plan '{after.id}' margin_mm: {after.margin_mm:g}"
        if after.margin_mm <= before.margin_mm:
            return (
                f"extend_margin to {after.margin_mm:g} mm extends nothing: plan '{before.id}' has "
                f"{before.margin_mm:g} mm"
            )
        return None
    old, new = (r.timepoints or timepoints for r in (before, after))
    if correction.timepoint not in new or correction.timepoint in old:
        return (
            f"new_imaging cites '{correction.timepoint}': plan '{after.id}' must use it (timepoints) and plan "
            f"'{before.id}' must not"
        )
    return None
