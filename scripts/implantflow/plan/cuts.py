"""Where the saw goes: the osteotomies of each procedure, by level, by margin, or as the surgeon gives them.

Conventions: an osteotomy's normal points into the specimen. The plane is the specimen's own face; the saw's kerf lies
on the side that remains. So the margin measured to the plane is the margin on the specimen. Joints are taken apart, no
bone is cut there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.plan import PlaneOverride, PlanRevision
from implantflow.errors import QualityGateError
from implantflow.geometry import FloatArray, Plane
from implantflow.plan.axis import Foramina, SacralAxis

_STEP_MM = 0.5


@dataclass(frozen=True)
class Cut:
    """One osteotomy.

    Attributes
    ----------
    name : str
        ``midline``, ``cranial``, ``caudal``, ``pedicle``, ``ilium_left`` or ``ilium_right``.
    plane : Plane
        Specimen-side face, normal pointing into the specimen.
    source : str
        How it came about; ``surgeon`` when the config gives it.
    s_mm : float or None
        Position along the sacral axis, where it was placed along it.
    """

    name: str
    plane: Plane
    source: str
    s_mm: float | None = None

    @property
    def origin(self) -> str:
        """``surgeon`` or ``computed``."""
        return "surgeon" if self.source == "surgeon" else "computed"


def plane_of(override: PlaneOverride) -> Plane:
    """The plane that a config gives."""
    return Plane.of(override.point_lps_mm, override.normal_lps)


def sacral_cuts(
    revision: PlanRevision,
    anatomical: Plane,
    axis: SacralAxis,
    foramina: Foramina,
    tumour_mm: FloatArray,
    side_sign: float,
) -> list[Cut]:
    """Osteotomies of the sacrum.

    Parameters
    ----------
    anatomical : Plane
        Mid-plane, normal to the patient's left.
    foramina : Foramina
        Of the healthy side.
    tumour_mm : (N, 3) array
        Vertices of the tumour's surface.
    side_sign : float
        +1 when the left side is operated, -1 for the right.
    """
    given = revision.planes
    cuts = []
    if revision.procedure == "hemisacrectomy":
        computed = Plane.of(anatomical.point, side_sign * np.asarray(anatomical.normal))
        cuts.append(
            Cut("midline", computed, "exact anatomical mid-plane")
            if given.midline is None
            else Cut("midline", plane_of(given.midline), "surgeon")
        )
    if revision.procedure == "partial_sacrectomy":
        cuts.append(
            _cranial(revision, axis, foramina, tumour_mm)
            if given.cranial is None
            else Cut("cranial", plane_of(given.cranial), "surgeon")
        )
    if given.caudal is not None:
        cuts.append(Cut("caudal", plane_of(given.caudal), "surgeon"))
    elif revision.procedure == "hemisacrectomy" or revision.caudal_level is not None:
        cuts.append(_caudal(revision, axis, foramina, tumour_mm))
    return cuts


def _caudal(revision: PlanRevision, axis: SacralAxis, foramina: Foramina, tumour_mm: FloatArray) -> Cut:
    level = revision.caudal_level
    s = 10.0
    source = "margin"
    if level is not None:
        s = foramina.level_s_mm(level) + revision.below_foramen_mm
        source = f"below the {level} foramen"
    while float(axis.plane_at(s).distance(tumour_mm).min()) < revision.margin_mm:
        s += _STEP_MM
        source = "margin" if level is None else f"margin, below {level}"
        if s > axis.length_mm:
            short = revision.margin_mm - float(axis.plane_at(axis.length_mm).distance(tumour_mm).min())
            raise QualityGateError(
                f"no caudal osteotomy keeps {revision.margin_mm:.1f} mm: the sacrum (as far as the scan shows it) ends "
                f"{short:.1f} mm too soon below the tumour",
                where=f"plan revision {revision.id}",
                fix="extend caudally: take the sacrum to its tip with a plane of your own below it (planes.caudal), or "
                "scan lower, or lower margin_mm",
            )
    return Cut("caudal", axis.plane_at(s), source, s)


def _cranial(revision: PlanRevision, axis: SacralAxis, foramina: Foramina, tumour_mm: FloatArray) -> Cut:
    level = str(revision.cranial_level)
    s = foramina.level_s_mm(level) - revision.below_foramen_mm
    source = f"above the {level} foramen"

    def margin() -> float:
        return -float(axis.plane_at(s).distance(tumour_mm).max())

    while margin() < revision.margin_mm:
        s -= _STEP_MM
        source = f"margin, above {level}"
        if s < 0.0:
            raise QualityGateError(
                f"no cranial osteotomy keeps {revision.margin_mm:.1f} mm: at the promontory "
                f"{revision.margin_mm - margin():.1f} mm are missing",
                where=f"plan revision {revision.id}",
                fix="take the whole sacrum: procedure: total_sacrectomy",
            )
    up = axis.plane_at(s)
    return Cut("cranial", Plane.of(up.point, -np.asarray(up.normal)), source, s)


def ilium_cuts(revision: PlanRevision, joints: Mapping[str, Plane]) -> list[Cut]:
    """Osteotomies of the ilium, parallel to the sacroiliac joints ``joints`` (side -> plane, normal lateral)."""
    cuts = []
    for side, joint in joints.items():
        name = f"ilium_{side}"
        override: PlaneOverride | None = getattr(revision.planes, name)
        if override is not None:
            cuts.append(Cut(name, plane_of(override), "surgeon"))
        elif revision.ilium_offset_mm is not None:
            outward = np.asarray(joint.normal)
            point = np.asarray(joint.point) + revision.ilium_offset_mm * outward
            source = f"{revision.ilium_offset_mm:g} mm lateral to the sacroiliac joint"
            cuts.append(Cut(name, Plane.of(point, -outward), source))
    return cuts


def least_change(cut: Cut, missing_mm: float) -> str:
    """What in the config keeps the margin: the plane moved along its normal by what is missing and 0.1 mm."""
    plane = cut.plane
    moved = np.asarray(plane.point) - (missing_mm + 0.1) * np.asarray(plane.normal)
    where = {
        "midline": "across the midline to the healthy side",
        "caudal": "caudally",
        "cranial": "cranially",
        "pedicle": "backwards, into the lamina",
    }.get(cut.name, "laterally, taking more of the ilium")
    point = ", ".join(f"{x:.1f}" for x in moved)
    normal = ", ".join(f"{x:.4f}" for x in plane.normal)
    return (
        f"move it {missing_mm + 0.1:.1f} mm {where}: planes: {{{cut.name}: {{point_lps_mm: [{point}], "
        f"normal_lps: [{normal}]}}}};"
    )


def as_json(cut: Cut, figures: dict[str, Any]) -> dict[str, Any]:
    """Entry of ``resection_planes``."""
    return {
        "name": cut.name,
        "kind": "osteotomy",
        **cut.plane.as_json(),
        "source": cut.source,
        "origin": cut.origin,
        **figures,
    }
