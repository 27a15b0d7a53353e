"""Which bones, entries and directions belong to each kind of screw corridor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from implantflow.config.plan import CorridorConfig
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane, unit
from implantflow.plan.anatomy import Anatomy
from implantflow.plan.axis import Foramina, SacralAxis
from implantflow.plan.corridors import Crossing, Search, entries_on, looking_along
from implantflow.plan.way import Way
from implantflow.solids.booleans import to_manifold
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import frame_of

#: The way of a driver that must be free behind an entry, and where it begins above the surface.
_WAY_MM, _OFF_SURFACE_MM = 60.0, 0.2


def free_mm(config: CorridorConfig) -> float:
    """Distance behind the entry from which a corridor's axis must keep its clearance, mm."""
    # Nearer to the entry than this the axis cannot be farther from the cortex it has just passed.
    return config.diameter_mm / 2.0 + config.wall_mm + 5.0


def _search(
    config: CorridorConfig, bones: list[Solid], entry: FloatArray, direction: FloatArray, cone_deg: float
) -> Search:
    return Search(
        bones,
        entry,
        unit(direction),
        cone_deg,
        config.length_min_mm,
        config.length_max_mm,
        free_mm(config),
    )


def _implant_s1(config: CorridorConfig, anatomy: Anatomy) -> Search:
    """From behind through the S1 pedicle, forwards and to the midline, parallel to the end plate.

    The L5/S1 disc tells how the end plate lies: the sacrum's axis bends away from its normal within S1.
    """
    point, caudal, front = anatomy.axis.at(0.0)[0], -anatomy.up, anatomy.front
    lateral = anatomy.side_sign * anatomy.axis.left_lps
    relative = anatomy.specimen.centres_mm - point
    s, w = relative @ caudal, relative @ lateral
    behind = -(relative @ front)
    below_s1 = anatomy.foramina_of("healthy").s_mm[0]
    chosen = (
        looking_along(anatomy.specimen, -front, 0.3)
        & (s > 0.0)
        & (s < below_s1)
        & (w > 14.0)
        & (w < 42.0)
        & (behind > 25.0)
    )
    entry = entries_on(anatomy.specimen, np.flatnonzero(chosen))
    found = _search(config, [anatomy.specimen], entry, front - 0.35 * lateral, 30.0)
    # The back of the ilium overhangs the joint: it bounds how far the screw can converge.
    spine = [v.solid for v in anatomy.vertebrae.values() if v.solid is not None]
    neighbours = [
        anatomy.hips["implant"],
        *([] if anatomy.remaining is None else [anatomy.remaining]),
        *spine,
    ]
    return _reached(found, anatomy.specimen, neighbours)


def _reached(search: Search, own: Solid, neighbours: Sequence[Solid]) -> Search:
    """The same search, its lines such that a driver gets to them and a head has room."""
    if len(search.entry_mm) == 0:
        return search
    return dataclasses.replace(search, way=Way.about(search.entry_mm, own, neighbours))


def _s2_alar_iliac(config: CorridorConfig, anatomy: Anatomy) -> Search:
    """From between the first two dorsal foramina to the anterior inferior iliac spine, above the notch.

    Textbook direction 31 degrees caudal in the sagittal and 42 degrees lateral in the transverse plane
    (BMC Surgery 2023, as quoted in reviews, not re-read).
    """
    lateral = anatomy.sign_of(config.side) * anatomy.axis.left_lps
    foramina = anatomy.foramina_of(config.side)
    s1, _, _ = anatomy.axis.at(foramina.s_mm[0])
    s2, caudal, front = anatomy.axis.at(foramina.s_mm[1])
    centres = anatomy.sacrum().centres_mm
    level = (centres - s1) @ caudal
    w = (centres - s2) @ lateral
    chosen = (
        looking_along(anatomy.sacrum(), -front, 0.3)
        & (level > 0.0)
        & (level < (s2 - s1) @ caudal)
        & (w > 15.0)
        & (w < 38.0)
    )
    entry = entries_on(anatomy.sacrum(), np.flatnonzero(chosen))
    bones = [anatomy.sacrum(), anatomy.hips[config.side]]
    found = _search(config, bones, entry, _forward(lateral, 42.0, 31.0), 24.0)
    # Leaning far to the side, its head would stand in the crest of the sacrum.
    return _reached(found, anatomy.sacrum(), [anatomy.hips[config.side]])


def _pedicle(config: CorridorConfig, anatomy: Anatomy) -> Search:
    """From the back of a vertebra, 8 to 32 mm beside its middle, forwards and to the midline into its body.

    A line that long within bone can only go through the pedicle.
    """
    level = str(config.level)
    vertebra = anatomy.vertebrae[level]
    if vertebra.solid is None:
        raise GeometryError(vertebra.why, fix="leave this screw out, or scan higher")
    bone = vertebra.solid
    lateral = anatomy.sign_of(config.side) * anatomy.axis.left_lps
    ahead = bone.centres_mm @ anatomy.front
    # The front third is body and symmetric: it tells where the middle is.
    middle = bone.centres_mm[ahead > ahead.max() - 18.0].mean(axis=0)
    w = (bone.centres_mm - middle) @ lateral
    above = (bone.centres_mm - middle) @ anatomy.up
    chosen = (
        looking_along(bone, -anatomy.front, 0.25)
        & (w > 8.0)
        & (w < 32.0)
        & (ahead < middle @ anatomy.front - 18.0)
        & (np.abs(above) < 30.0)
    )
    inwards = unit(anatomy.front - 0.25 * lateral)
    entry = reached_along(bone, entries_on(bone, np.flatnonzero(chosen)), inwards, config.diameter_mm)
    # Screws of both sides converge: each keeps to its own side of the middle, a millimetre apart.
    own = Plane.of(middle + (config.diameter_mm / 2.0 + 0.5) * lateral, lateral)
    found = _search(config, [bone], entry, inwards, 33.0)
    return dataclasses.replace(found, within=own)


def reached_along(bone: Solid, entry: FloatArray, inwards: FloatArray, diameter_mm: float) -> FloatArray:
    """Those of ``entry`` (N, 3) that a driver as wide as ``diameter_mm`` on every side reaches along ``inwards``.

    A place in the shadow of a facet or a process has a line into the bone, but no way to it.
    """
    axes = frame_of(inwards)
    turns = np.arange(6) * np.pi / 3.0
    ring = diameter_mm * (np.cos(turns)[:, None] * axes[:, 0] + np.sin(turns)[:, None] * axes[:, 1])
    manifold = to_manifold(bone)

    def free(point: FloatArray) -> bool:
        # The ring starts higher: about a slanting entry the bone may rise by its own radius.
        starts = [point - _OFF_SURFACE_MM * inwards, *(point + ring - diameter_mm * inwards)]
        return not any(manifold.ray_cast(s.tolist(), (s - _WAY_MM * inwards).tolist()) for s in starts)

    return np.asarray([point for point in entry if free(point)]).reshape(-1, 3)


def crossing_search(
    sacrum: Solid,
    hips: Sequence[Solid],
    axis: SacralAxis,
    left: Foramina,
    right: Foramina,
    level: str,
    free_mm: float,
) -> Crossing:
    """Through the sacrum from ilium to ilium: above the S1 foramina, or between those of S1 and S2."""
    first = (left.s_mm[0] + right.s_mm[0]) / 2.0
    second = (left.s_mm[1] + right.s_mm[1]) / 2.0
    low, high = (2.0, first - 2.0) if level == "S1" else (first + 2.0, second)
    places = []
    for s in np.arange(low, high + 1e-9, 1.5):
        point, _, front = axis.at(float(s))
        places += [point - depth * front for depth in np.arange(2.0, 32.0, 2.0)]
    return Crossing(sacrum, hips, np.array(places), axis.left_lps, 24.0, free_mm)


def _iliac(config: CorridorConfig, anatomy: Anatomy) -> Search:
    """From the posterior superior iliac spine forwards between the tables of the ilium."""
    hip = anatomy.hips[config.side]
    lateral = anatomy.sign_of(config.side) * anatomy.axis.left_lps
    centres = hip.centres_mm
    hindmost = centres[int(np.argmax(centres[:, 1]))]
    near = np.linalg.norm(centres - hindmost, axis=1) < 22.0
    entry = entries_on(hip, np.flatnonzero(near & looking_along(hip, np.array([0.0, 1.0, 0.0]), 0.2)))
    return _search(config, [hip], entry, _forward(lateral, 30.0, 30.0), 27.0)


def _forward(lateral: FloatArray, transverse_deg: float, sagittal_deg: float) -> FloatArray:
    """Direction forwards, turned laterally and caudally by two projected angles."""
    front = unit(np.array([0.0, -1.0, 0.0]) + lateral[1] * lateral)
    cranial = np.cross(front, lateral)
    cranial = cranial if cranial[2] > 0 else -cranial
    return unit(
        front + np.tan(np.radians(transverse_deg)) * lateral - np.tan(np.radians(sagittal_deg)) * cranial
    )


SEARCHES = {
    "implant_s1": _implant_s1,
    "s2_alar_iliac": _s2_alar_iliac,
    "iliac": _iliac,
    "pedicle": _pedicle,
}
