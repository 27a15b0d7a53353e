"""Every picture of a case, by stage; one that cannot be drawn is replaced by the reason."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from implantflow.report.figures import (
    anatomy,
    building,
    construct,
    device,
    inner,
    making,
    outcome,
    planning,
    porous,
    radiograph,
    registration,
    strength,
)
from implantflow.report.figures.base import Context, Figure

logger = logging.getLogger("implantflow")

Drawer = Callable[[Context], Figure | list[Figure] | None]

#: Functions that draw each stage's pictures, in the order of the page.
DRAWERS: dict[str, tuple[Drawer, ...]] = {
    "segment": (
        anatomy.segmentation_planes,
        anatomy.joint_closeups,
        anatomy.labels_checklist,
        anatomy.bones_3d,
    ),
    "tumour": (anatomy.tumour_over_time, registration.registration_checkerboard),
    "plan": (
        planning.plan_3d,
        planning.plan_planes,
        construct.margin_3d,
        construct.construct_3d,
        construct.construct_planes,
        construct.outer_shape,
    ),
    "prototype": (device.iterations,),
    "implant": (device.implant_and_specimen, device.fit_planes, radiograph.radiographs),
    "lattice": (inner.lattice_sections, device.preview, porous.tradeoff),
    "strength": (making.stress, strength.on_the_implant, strength.stiffness_of_cell, porous.graded),
    "build": (making.layers, building.layer_slider, making.layer_plots, building.orientations),
    "inspect": (outcome.pictures_of("inspect", "revisions"),),
    "followup": (outcome.pictures_of("followup", "timepoints"),),
}


@dataclass
class Pictures:
    """Pictures of one stage and the reasons for those that could not be drawn."""

    figures: list[Figure] = field(default_factory=list)
    plots: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Attempt:
    """What came of one drawing: it, or why not; and the files that could not be read by then."""

    drawn: Any
    problem: str
    unreadable: list[str]


def attempt(draw: Callable[[Context], Any], name: str, context: Context) -> Attempt:
    """Draw one thing; a damaged file must not cost the reader the rest of the report."""
    drawn, problem = None, ""
    try:
        drawn = draw(context)
    except Exception as error:
        logger.warning("%s could not be drawn: %s", name, error)
        problem = f"{name} could not be drawn: {type(error).__name__}: {error}"
    return Attempt(drawn, problem, list(context.files.problems))


def drawings(context: Context) -> list[Callable[[], Attempt]]:
    """One task per entry of :data:`DRAWERS`, in their order; they do not depend on each other."""
    return [
        partial(attempt, drawer, f"The picture “{drawer.__name__.replace('_', ' ')}”", context)
        for drawers in DRAWERS.values()
        for drawer in drawers
    ]


def by_stage(attempts: Sequence[Attempt]) -> dict[str, Pictures]:
    """Sort what :func:`drawings` gave into the stages of the page."""
    found: dict[str, Pictures] = {stage: Pictures() for stage in DRAWERS}
    stages = [stage for stage, drawers in DRAWERS.items() for _ in drawers]
    for stage, tried in zip(stages, attempts, strict=True):
        pictures = found[stage]
        if tried.problem:
            pictures.problems.append(tried.problem)
        for figure in tried.drawn if isinstance(tried.drawn, list) else [tried.drawn]:
            if figure is not None:
                of_kind = pictures.plots if figure.mime == "image/svg+xml" else pictures.figures
                of_kind.append(figure)
    return found
