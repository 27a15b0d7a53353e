"""Which bones, entries and directions belong to each kind of screw corridor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.config.plan import CorridorConfig
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray, unit
from implantflow.plan.axis import Foramina, SacralAxis
from implantflow.plan.corridors import Search, entries_on, looking_along, plan_corridor
from implantflow.solids.mesh import Solid


@dataclass(frozen=True)
class Anatomy:
    """What screws are planned in.

    Attributes
    ----------
    specimen : Solid
        Shape of the implant-to-be.
    remaining : Solid
        Sacrum that stays.
    hips : mapping
        ``implant`` and ``healthy`` -> ilium of that side.
    axis, foramina
        Of the sacrum.
    side_sign : float
        +1 when the left side is operated.
    """

    specimen: Solid
    remaining: Solid
    hips: dict[str, Solid]
    axis: SacralAxis
    foramina: Foramina
    side_sign: float


def plan_screw(config: CorridorConfig, anatomy: Anatomy) -> dict[str, Any]:
    """Plan one screw; returns its entry in ``plan.json``.

    Raises
    ------
    QualityGateError
        The implant's own screw does not fit with its wall: the implant could not be made.
    """
    search = _SEARCHES[config.kind](config, anatomy)
    try:
        corridor = plan_corridor(search)
    except GeometryError as error:
        raise GeometryError(f"corridor {config.name}: {error.what}", where="plan", fix=error.fix) from error
    needed = config.diameter_mm / 2.0 + config.wall_mm
    fits = corridor.min_clearance_mm >= needed
    if not fits and config.kind == "implant_s1":
        raise QualityGateError(
            f"corridor {config.name}: {corridor.min_clearance_mm:.2f} mm from axis to surface, {needed:.2f} mm needed",
            where="plan corridors",
            fix="use a thinner or shorter screw, or a thinner wall",
        )
    return {
        "name": config.name,
        "kind": config.kind,
        "side": config.side,
        "start_lps_mm": corridor.start_lps_mm,
        "end_lps_mm": corridor.end_lps_mm,
        "length_mm": corridor.length_mm,
        "diameter_mm": config.diameter_mm,
        "min_clearance_mm": corridor.min_clearance_mm,
        "needed_clearance_mm": needed,
        "fits": bool(fits),
        "excluded_below_entry_mm": search.free_mm,
        "source": "computed",
    }


def _free_mm(config: CorridorConfig) -> float:
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
        _free_mm(config),
    )


def _implant_s1(config: CorridorConfig, anatomy: Anatomy) -> Search:
    """From behind through the S1 pedicle, forwards and to the midline, parallel to the end plate."""
    point, caudal, front = anatomy.axis.at(0.0)
    lateral = anatomy.side_sign * anatomy.axis.left_lps
    relative = anatomy.specimen.centres_mm - point
    s, w = relative @ caudal, relative @ lateral
    behind = -(relative @ front)
    below_s1 = anatomy.foramina.s_mm[0]
    chosen = (
        looking_along(anatomy.specimen, -front, 0.3)
        & (s > 0.0)
        & (s < below_s1)
        & (w > 14.0)
        & (w < 42.0)
        & (behind > 25.0)
    )
    entry = entries_on(anatomy.specimen, np.flatnonzero(chosen))
    return _search(config, [anatomy.specimen], entry, front - 0.35 * lateral, 30.0)


def _s2_alar_iliac(config: CorridorConfig, anatomy: Anatomy) -> Search:
    """From between the first two dorsal foramina to the anterior inferior iliac spine, above the notch.

    Textbook direction 31 degrees caudal in the sagittal and 42 degrees lateral in the transverse plane
    (BMC Surgery 2023, values quoted in docs/imaging.md).
    """
    lateral = -anatomy.side_sign * anatomy.axis.left_lps
    s1, _, _ = anatomy.axis.at(anatomy.foramina.s_mm[0])
    s2, caudal, front = anatomy.axis.at(anatomy.foramina.s_mm[1])
    centres = anatomy.remaining.centres_mm
    level = (centres - s1) @ caudal
    w = (centres - s2) @ lateral
    chosen = (
        looking_along(anatomy.remaining, -front, 0.3)
        & (level > 0.0)
        & (level < (s2 - s1) @ caudal)
        & (w > 15.0)
        & (w < 38.0)
    )
    entry = entries_on(anatomy.remaining, np.flatnonzero(chosen))
    bones = [anatomy.remaining, anatomy.hips["healthy"]]
    return _search(config, bones, entry, _forward(lateral, 42.0, 31.0), 24.0)


def _iliac(config: CorridorConfig, anatomy: Anatomy) -> Search:
    """From the posterior superior iliac spine forwards between the tables of the ilium."""
    hip = anatomy.hips[config.side]
    sign = anatomy.side_sign if config.side == "implant" else -anatomy.side_sign
    lateral = sign * anatomy.axis.left_lps
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


_SEARCHES = {"implant_s1": _implant_s1, "s2_alar_iliac": _s2_alar_iliac, "iliac": _iliac}
