"""Resection planes of a hemisacrectomy, their margin to the tumour, and the solids they make.

Conventions: a plane's normal points into the specimen (midline, caudal) or out of the sacrum (joints). The plane
is the specimen's own face; the saw's kerf lies on the side that remains. So the margin measured to the plane is
the margin on the specimen. Joints are taken apart, no bone is cut there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.plan import PlanRevision
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray, Plane
from implantflow.plan.axis import Foramina, SacralAxis
from implantflow.solids.booleans import cut_away, merged, shells, trim
from implantflow.solids.mesh import Solid, require_closed

_STEP_MM = 0.5
#: Pieces of the remaining sacrum below this come out with the specimen; larger ones make the plan wrong.
_LOOSE_MAX_MM3 = 1000.0
_VOLUME_TOLERANCE = 0.001


@dataclass(frozen=True)
class ResectionPlanes:
    """The two osteotomies and how they came about.

    Attributes
    ----------
    midline, caudal : Plane
        Specimen-side faces of the saw cuts, normals pointing into the specimen.
    caudal_s_mm : float or None
        Position of the caudal plane along the sacral axis, None when given by the surgeon.
    sources : mapping
        ``midline`` and ``caudal`` -> where the plane came from.
    """

    midline: Plane
    caudal: Plane
    caudal_s_mm: float | None
    sources: dict[str, str]


def place_planes(
    revision: PlanRevision,
    anatomical: Plane,
    axis: SacralAxis,
    foramina: Foramina,
    tumour_mm: FloatArray,
    side_sign: float,
) -> ResectionPlanes:
    """Midline and caudal osteotomy of ``revision``.

    Parameters
    ----------
    anatomical : Plane
        Mid-plane, normal to the patient's left.
    tumour_mm : (N, 3) array
        Vertices of the tumour's surface.
    side_sign : float
        +1 when the left side is operated, -1 for the right.
    """
    sources = {}
    given = revision.planes
    if given.midline is not None:
        midline = Plane.of(given.midline.point_lps_mm, given.midline.normal_lps)
        sources["midline"] = "surgeon"
    else:
        midline = Plane.of(anatomical.point, side_sign * np.asarray(anatomical.normal))
        sources["midline"] = "exact anatomical mid-plane"
    if given.caudal is not None:
        sources["caudal"] = "surgeon"
        return ResectionPlanes(
            midline, Plane.of(given.caudal.point_lps_mm, given.caudal.normal_lps), None, sources
        )
    s, sources["caudal"] = _caudal_position(revision, axis, foramina, tumour_mm)
    return ResectionPlanes(midline, axis.plane_at(s), s, sources)


def _caudal_position(
    revision: PlanRevision, axis: SacralAxis, foramina: Foramina, tumour_mm: FloatArray
) -> tuple[float, str]:
    level = revision.caudal_level
    s = 10.0
    source = "margin"
    if level is not None:
        s = foramina.s_mm[int(level[1]) - 1] + revision.below_foramen_mm
        source = f"below the {level} foramen"
    while float(axis.plane_at(s).distance(tumour_mm).min()) < revision.margin_mm:
        s += _STEP_MM
        source = "margin" if level is None else f"margin, below {level}"
        if s > axis.length_mm:
            raise QualityGateError(
                f"no caudal osteotomy keeps {revision.margin_mm:.1f} mm: the tumour reaches the sacrum's lower end",
                where=f"plan revision {revision.id}",
                fix="resect the whole half sacrum with a plane of your own (planes.caudal), or lower margin_mm",
            )
    return s, source


def require_margin(
    planes: ResectionPlanes, tumour_mm: FloatArray, revision: PlanRevision
) -> dict[str, float]:
    """Smallest signed distance in mm of the tumour to each osteotomy; refuses when one is below the margin.

    The tumour's surface is made of triangles, so its nearest point to a plane is a vertex: the figure is exact.

    Raises
    ------
    QualityGateError
        A margin is not kept; the message says by how much and the least change that keeps it.
    """
    found = {
        "midline": float(planes.midline.distance(tumour_mm).min()),
        "caudal": float(planes.caudal.distance(tumour_mm).min()),
    }
    short = {
        name: revision.margin_mm - margin for name, margin in found.items() if margin < revision.margin_mm
    }
    if short:
        raise QualityGateError(
            "; ".join(
                f"the {name} osteotomy leaves {found[name]:.1f} mm, {missing:.1f} mm short of "
                f"{revision.margin_mm:.1f} mm"
                for name, missing in short.items()
            ),
            where=f"plan revision {revision.id}",
            fix=" ".join(_least_change(name, getattr(planes, name), short[name]) for name in short),
        )
    return found


def _least_change(name: str, plane: Plane, missing_mm: float) -> str:
    moved = np.asarray(plane.point) - (missing_mm + 0.1) * np.asarray(plane.normal)
    where = "across the midline to the healthy side" if name == "midline" else "caudally"
    point = ", ".join(f"{x:.1f}" for x in moved)
    normal = ", ".join(f"{x:.4f}" for x in plane.normal)
    return (
        f"move it {missing_mm + 0.1:.1f} mm {where}: planes: {{{name}: {{point_lps_mm: [{point}], "
        f"normal_lps: [{normal}]}}}};"
    )


@dataclass(frozen=True)
class Resected:
    """Solids that the osteotomies make of the sacrum, and the volumes that must add up."""

    specimen: Solid
    remaining: Solid
    volumes: dict[str, float]


def resect(sacrum: Solid, planes: ResectionPlanes, kerf_mm: float) -> Resected:
    """Cut ``sacrum`` into specimen, saw kerf and remaining bone.

    Raises
    ------
    GeometryError
        The volumes do not add up within 0.1 %, a part is empty, or the remaining bone falls apart.
    """
    faces = [planes.midline, planes.caudal]
    beyond = [shifted(plane, -kerf_mm) for plane in faces]
    specimen = trim(sacrum, faces)
    require_closed(specimen, "the specimen")
    remaining = cut_away(sacrum, beyond)
    require_closed(remaining, "the remaining sacrum")
    kerf_mm3 = cut_away(trim(sacrum, beyond), faces).volume_mm3 if kerf_mm > 0 else 0.0
    total = specimen.volume_mm3 + remaining.volume_mm3 + kerf_mm3
    if abs(total - sacrum.volume_mm3) > _VOLUME_TOLERANCE * sacrum.volume_mm3:
        raise GeometryError(
            f"specimen, remaining bone and kerf add up to {total:.1f} mm3, the sacrum has {sacrum.volume_mm3:.1f}",
            where="plan",
            fix="check that the sacrum's surface does not cross itself",
        )
    largest, *loose = shells(remaining)
    loose_mm3 = sum(piece.volume_mm3 for piece in loose)
    if loose_mm3 > _LOOSE_MAX_MM3:
        raise GeometryError(
            f"the planes leave {loose_mm3:.0f} mm3 of the remaining sacrum without hold on the rest",
            where="plan",
            fix="change planes.caudal or planes.midline so that the remaining bone is one piece",
        )
    if loose:
        specimen = merged([specimen, *loose])
    volumes = {
        "sacrum_volume_mm3": sacrum.volume_mm3,
        "specimen_volume_mm3": specimen.volume_mm3,
        "remaining_volume_mm3": largest.volume_mm3,
        "kerf_volume_mm3": kerf_mm3,
        "volume_error_pct": 100.0 * (total - sacrum.volume_mm3) / sacrum.volume_mm3,
        "loose_fragments_mm3": loose_mm3,
    }
    return Resected(specimen, largest, volumes)


def shifted(plane: Plane, distance_mm: float) -> Plane:
    """``plane`` moved along its normal."""
    return Plane.of(np.asarray(plane.point) + distance_mm * np.asarray(plane.normal), plane.normal)


def beyond_mm3(solid: Solid, plane: Plane) -> float:
    """Volume in mm3 of ``solid`` on the positive side of ``plane``."""
    part = trim(solid, [plane])
    return part.volume_mm3 if len(part.faces) else 0.0


def roots_sacrificed(
    planes: ResectionPlanes, foramina: Foramina, axis: SacralAxis, side: str
) -> list[dict[str, Any]]:
    """Nerve roots whose anterior foramen lies in the specimen, cranial to the caudal osteotomy."""
    found = []
    for i, s in enumerate(foramina.s_mm):
        point, _, _ = axis.at(s)
        if planes.caudal.distance(point[None])[0] > 0:
            found.append(
                {"root": f"{side} S{i + 1}", "level_source": "surface" if foramina.seen[i] else "proportion"}
            )
    return found
