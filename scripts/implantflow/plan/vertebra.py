"""Spondylectomy of L5: its body, whole or one half, cut off behind through the pedicles.

The published method carries over: mid-plane by symmetry, planes fitted to margin and anatomy, exact booleans. The discs
are taken apart. The arch stays, or is taken piecemeal from behind as in the usual operation; it is not in the specimen.
"""

from __future__ import annotations

import numpy as np

from implantflow.config.plan import PlanRevision
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane
from implantflow.plan import cuts as cutting
from implantflow.plan.anatomy import Anatomy
from implantflow.plan.axis import find_axis, find_foramina
from implantflow.plan.joints import JointPlane, fit_disc
from implantflow.plan.margin import joint_room, require_tracts_inside
from implantflow.plan.midplane import find_midplane
from implantflow.plan.osteotomy import resect
from implantflow.plan.resection import Case, Planned
from implantflow.plan.roots import SIGNS, lumbar_entries
from implantflow.plan.sides import agree_on_side
from implantflow.plan.spine import Vertebra, vertebrae_above, vertebral_frame
from implantflow.solids.booleans import refined
from implantflow.solids.mesh import Solid
from implantflow.solids.offset import inside_grid

_EVEN_MM = 3.0
_GRID_MM = 1.0
#: How far behind the widest section of the body the pedicles may be thinnest.
_BEHIND_MM = (8.0, 34.0)
#: Section of the pedicles to that of the body, and to that of the arch, above which there is no waist.
_WAIST = 0.5
#: Share of the body's half width within which pedicles arise.
_INNER = 0.75


def plan(case: Case) -> tuple[Planned, Anatomy]:
    """Resection of the body of L5, and the anatomy that its screws are planned in."""
    revision, sign = case.revision, SIGNS[case.side]
    if case.l5 is None:
        raise GeometryError("L5 is not in the scan", where="plan.procedure", fix="scan higher")
    other = "right" if case.side == "left" else "left"
    even, l5 = refined(case.sacrum, _EVEN_MM), refined(case.l5, _EVEN_MM)
    sacral_middle, middle = find_midplane(even), find_midplane(l5)
    tumour_side_mm = float(middle.plane.distance(case.tumour.centres_mm.mean(axis=0)[None])[0])
    if revision.vertebral_body == "half":
        tumour_side_mm = agree_on_side(case.side, "tumour", case.tumour, middle.plane)
    axis = find_axis(even, sacral_middle.plane)
    foramina = {side: find_foramina(even, axis, SIGNS[side]) for side in SIGNS}
    disc = fit_disc(even, case.l5, axis)
    front, up = vertebral_frame(middle.plane, disc.plane)

    cuts = [_pedicle_cut(revision, l5, middle.plane, front, up)]
    if revision.vertebral_body == "half":
        given = revision.planes.midline
        half = Plane.of(middle.plane.point, sign * np.asarray(middle.plane.normal))
        cuts.append(
            cutting.Cut("midline", half, "mid-plane of L5")
            if given is None
            else cutting.Cut("midline", cutting.plane_of(given), "surgeon")
        )
    resected = resect(case.l5, cuts, revision.kerf_mm, "l5")
    vertebrae = {f"L{n}": Vertebra(None, f"L{n} lies outside the scan") for n in (3, 4)}
    if case.labels is not None and case.above_l5 is not None:
        vertebrae |= vertebrae_above(case.labels, case.above_l5, case.l5, up, front)
    neighbours = {"sacrum": case.sacrum}
    if vertebrae["L4"].solid is not None:
        neighbours["l4"] = vertebrae["L4"].solid
    room = joint_room(case.tumour, {}, neighbours, revision.margin_mm)
    vertebrae["L5"] = Vertebra(None, "the body of L5 leaves with the specimen")
    rest = {} if resected.remaining is None else {"remaining L5": resected.remaining}
    listed, lost = lumbar_entries(revision.roots_sacrificed)
    given_disc = revision.planes.l5s1
    # A joint's normal points out of the specimen, so downwards here; fitted or given it points cranially.
    lower = _turned(disc.plane)
    joints = {
        "l5s1": JointPlane.given(_turned(cutting.plane_of(given_disc)))
        if given_disc
        else JointPlane(lower, disc.residual_rms_mm, disc.area_mm2, disc.space_p50_mm)
    }
    planned = Planned(
        middle,
        cuts,
        joints,
        resected.specimen,
        resected.remaining,
        dict(case.hips),
        room,
        resected.volumes,
        {
            "tumour_side_mm": tumour_side_mm,
            "vertebral_body": revision.vertebral_body,
            "foramina": listed,
            "roots_sacrificed": lost,
            "biopsy_tracts": require_tracts_inside(
                revision.biopsy_tracts, cuts, resected.specimen, neighbours | rest
            ),
        },
        "l5",
    )
    hips = {"implant": case.hips[case.side], "healthy": case.hips[other]}
    anatomy = Anatomy(
        resected.specimen, case.sacrum, hips, axis, foramina, sign, vertebrae, front, up, case.ct
    )
    return planned, anatomy


def _turned(plane: Plane) -> Plane:
    return Plane.of(plane.point, -np.asarray(plane.normal))


def _pedicle_cut(
    revision: PlanRevision, l5: Solid, midplane: Plane, front: FloatArray, up: FloatArray
) -> cutting.Cut:
    """Coronal cut where the pedicles' section is smallest, unless the surgeon gives one."""
    given = revision.planes.pedicle
    if given is not None:
        return cutting.Cut("pedicle", cutting.plane_of(given), "surgeon")
    left = np.asarray(midplane.normal)
    frame = np.column_stack([left, front, up])
    placed = Solid.of((l5.vertices - np.asarray(midplane.point)) @ frame, l5.faces)
    low = placed.bounds_mm[0] - 2.0
    n = np.ceil((placed.bounds_mm[1] + 2.0 - low) / _GRID_MM).astype(int)
    # Sections across the front direction; the frame is right-handed or left-handed alike.
    inside = inside_grid(placed, low, (int(n[0]), int(n[1]), int(n[2])), _GRID_MM)
    # Transverse processes beside the pedicles would hide their waist: no wider than the body's front third is counted.
    third = np.flatnonzero(inside[:, 2 * inside.shape[1] // 3 :].any(axis=(1, 2)))
    aside = low[0] + _GRID_MM * np.arange(inside.shape[0])
    section = inside[np.abs(aside) < _INNER * np.abs(aside[third]).max()].sum(axis=(0, 2))
    smooth = np.convolve(section, np.ones(3) / 3.0, mode="same")
    ahead = low[1] + _GRID_MM * np.arange(len(smooth))
    # The body is the front half of the vertebra; the arch with its facets may have the larger section.
    widest = int(np.argmax(np.where(ahead > placed.bounds_mm[:, 1].mean(), smooth, 0.0)))
    window = (ahead > ahead[widest] - _BEHIND_MM[1]) & (ahead < ahead[widest] - _BEHIND_MM[0])
    # A waist has more bone behind it: the arch. The spinous process is thinner, but nothing follows it.
    behind = np.concatenate([[0.0], np.maximum.accumulate(smooth)[:-1]])
    window &= (smooth <= _WAIST * smooth[widest]) & (smooth < _WAIST * behind)
    if not window.any():
        raise GeometryError(
            "the pedicles of L5 are not found: no waist behind its body",
            where="l5",
            fix="check the label of L5, or give the plane in planes.pedicle",
        )
    thinnest = ahead[window][int(np.argmin(smooth[window]))]
    point = np.asarray(midplane.point) + thinnest * front
    return cutting.Cut("pedicle", Plane.of(point, front), "where the pedicles are thinnest")
