"""Every picture of a case, by stage; one that cannot be drawn is replaced by the reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from implantflow.report.figures import anatomy, device, making, outcome, planning
from implantflow.report.figures.base import Context, Figure

logger = logging.getLogger("implantflow")

Drawer = Callable[[Context], Figure | list[Figure] | None]

#: Functions that draw each stage's pictures, in the order of the page.
DRAWERS: dict[str, tuple[Drawer, ...]] = {
    "segment": (anatomy.segmentation_planes, anatomy.joint_closeups, anatomy.bones_3d),
    "tumour": (anatomy.tumour_over_time,),
    "plan": (planning.plan_3d, planning.plan_planes),
    "prototype": (device.iterations,),
    "implant": (device.implant_and_specimen, device.fit_planes, planning.radiographs),
    "lattice": (making.lattice_sections, device.preview),
    "strength": (making.stress,),
    "build": (making.layers, making.layer_plots),
    "inspect": (outcome.pictures_of("inspect", "revisions"),),
    "followup": (outcome.pictures_of("followup", "timepoints"),),
}


@dataclass
class Pictures:
    """Pictures of one stage and the reasons for those that could not be drawn."""

    figures: list[Figure] = field(default_factory=list)
    plots: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(context: Context) -> dict[str, Pictures]:
    """Draw what can be drawn; a damaged file must not cost the reader the rest of the report."""
    found: dict[str, Pictures] = {}
    for stage, drawers in DRAWERS.items():
        pictures = found.setdefault(stage, Pictures())
        for drawer in drawers:
            try:
                drawn = drawer(context)
            except Exception as error:
                name = drawer.__name__.replace("_", " ")
                logger.warning("picture '%s' could not be drawn: %s", name, error)
                pictures.problems.append(
                    f"The picture “{name}” could not be drawn: {type(error).__name__}: {error}"
                )
                continue
            for figure in drawn if isinstance(drawn, list) else [drawn]:
                if figure is not None:
                    of_kind = pictures.plots if figure.mime == "image/svg+xml" else pictures.figures
                    of_kind.append(figure)
    return found
