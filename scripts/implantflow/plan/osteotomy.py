"""The solids that osteotomies make of a bone: specimen, saw kerf and what remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import Plane
from implantflow.plan.cuts import Cut
from implantflow.solids.booleans import crop, cut_away, difference, merged, overlap_mm3, refined, shells, trim
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid, require_closed
from implantflow.solids.shapes import box

#: Pieces of the remaining bone below this come out with the specimen; larger ones make the plan wrong.
_LOOSE_MAX_MM3 = 1000.0
_VOLUME_TOLERANCE = 0.001
#: Room around the piece of ilium that leaves, within which the saw may run.
_AROUND_MM = 3.0


@dataclass(frozen=True)
class Resected:
    """Solids that the osteotomies make of a bone, and the volumes that must add up."""

    specimen: Solid
    remaining: Solid | None
    volumes: dict[str, float]


def resect(bone: Solid, cuts: Sequence[Cut], kerf_mm: float, name: str) -> Resected:
    """Cut ``bone`` into specimen, saw kerf and remaining bone; without any cut all of it is the specimen.

    Raises
    ------
    GeometryError
        The volumes do not add up within 0.1 %, a part is empty, the parts overlap, or the remaining bone falls apart.
    """
    if not cuts:
        whole = {f"{name}_volume_mm3": bone.volume_mm3, "remaining_volume_mm3": 0.0, "kerf_volume_mm3": 0.0}
        return Resected(bone, None, whole | {"volume_error_pct": 0.0, "interpenetration_mm3": 0.0})
    faces = [cut.plane for cut in cuts]
    beyond = [shifted(plane, -kerf_mm) for plane in faces]
    specimen = trim(bone, faces)
    require_closed(specimen, "the specimen")
    remaining = cut_away(bone, beyond)
    require_closed(remaining, f"the remaining {name}")
    kerf_mm3 = cut_away(trim(bone, beyond), faces).volume_mm3 if kerf_mm > 0 else 0.0
    total = _adding_up(bone, specimen, remaining, kerf_mm3, name)
    largest, *loose = shells(remaining)
    loose_mm3 = sum(piece.volume_mm3 for piece in loose)
    if loose_mm3 > _LOOSE_MAX_MM3:
        raise GeometryError(
            f"the planes leave {loose_mm3:.0f} mm3 of the remaining {name} without hold on the rest",
            where="plan",
            fix="change planes.caudal or planes.midline so that the remaining bone is one piece",
        )
    if loose:
        specimen = merged([specimen, *loose])
    volumes = {
        f"{name}_volume_mm3": bone.volume_mm3,
        "specimen_volume_mm3": specimen.volume_mm3,
        "remaining_volume_mm3": largest.volume_mm3,
        "kerf_volume_mm3": kerf_mm3,
        "volume_error_pct": 100.0 * (total - bone.volume_mm3) / bone.volume_mm3,
        "loose_fragments_mm3": loose_mm3,
        "interpenetration_mm3": overlap_mm3(specimen, largest),
    }
    return Resected(specimen, largest, volumes)


def resect_ilium(
    hip: Solid, cut: Cut, kerf_mm: float, sacrum: Solid
) -> tuple[Solid, Solid, dict[str, float]]:
    """What leaves of ``hip``, what stays, and the volumes: the piece that carries the joint with ``sacrum`` leaves.

    The plane runs on to the pubis; the saw does not: it stays within 3 mm of the box of the piece.
    """
    neighbour = Surface(sacrum)
    pieces = [
        piece
        for piece in shells(trim(hip, [shifted(cut.plane, -kerf_mm)]))
        if (neighbour.nearest(refined(piece, 3.0).vertices, 7.0, signed=False).triangle >= 0).any()
    ]
    if not pieces:
        raise GeometryError(
            f"the {cut.name} osteotomy takes nothing of the ilium beside the sacrum",
            where="plan",
            fix=f"a larger ilium_offset_mm, or another plane in planes.{cut.name}",
        )
    low = np.min([piece.bounds_mm[0] for piece in pieces], axis=0) - _AROUND_MM
    high = np.max([piece.bounds_mm[1] for piece in pieces], axis=0) + _AROUND_MM
    specimen = crop(trim(hip, [cut.plane]), low, high)
    require_closed(specimen, "the ilium's part of the specimen")
    remaining = difference(hip, trim(box(low, high), [shifted(cut.plane, -kerf_mm)]))
    kerf_mm3 = crop(trim(hip, [shifted(cut.plane, -kerf_mm)]), low, high).volume_mm3 - specimen.volume_mm3
    total = _adding_up(hip, specimen, remaining, kerf_mm3, "ilium")
    volumes = {
        "ilium_volume_mm3": hip.volume_mm3,
        "ilium_specimen_volume_mm3": specimen.volume_mm3,
        "ilium_volume_error_pct": 100.0 * (total - hip.volume_mm3) / hip.volume_mm3,
    }
    return specimen, shells(remaining)[0], volumes


def _adding_up(bone: Solid, specimen: Solid, remaining: Solid, kerf_mm3: float, name: str) -> float:
    total = specimen.volume_mm3 + remaining.volume_mm3 + kerf_mm3
    if abs(total - bone.volume_mm3) > _VOLUME_TOLERANCE * bone.volume_mm3:
        raise GeometryError(
            f"specimen, remaining bone and kerf add up to {total:.1f} mm3, the {name} has {bone.volume_mm3:.1f}",
            where="plan",
            fix=f"check that the surface of the {name} does not cross itself",
        )
    return total


def shifted(plane: Plane, distance_mm: float) -> Plane:
    """``plane`` moved along its normal."""
    return Plane.of(np.asarray(plane.point) + distance_mm * np.asarray(plane.normal), plane.normal)


def beyond_mm3(solid: Solid, plane: Plane) -> float:
    """Volume in mm3 of ``solid`` on the positive side of ``plane``."""
    part = trim(solid, [plane])
    return part.volume_mm3 if len(part.faces) else 0.0
