"""The thread of the S1 hole: bored to its core diameter, cut by hand. Is there metal enough for it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from implantflow.config.implant import HoleThread
from implantflow.config.threads import THREADS
from implantflow.errors import QualityGateError
from implantflow.geometry import FloatArray
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import frame_of

#: Steps along the hole's axis (mm), and directions around it, in which metal is looked for.
_STEP_MM, _DIRECTIONS = 0.25, 24


def thread_figures(part: Solid, hole: Mapping[str, Any], thread: HoleThread) -> dict[str, Any]:
    """What the workshop cuts, and over which length of the hole the metal around it carries it.

    Parameters
    ----------
    part : the finished implant, patient LPS. hole : an entry of ``screw_holes`` with its boss.

    Returns
    -------
    Size, pitch, limits of the core diameter (mm), ``engagement_mm``: longest part of the axis all round which metal
    reaches ``wall_min_mm`` beyond the thread, all of it dense by the hole's boss.

    Raises
    ------
    QualityGateError
        The hole is not the thread's core diameter, the boss is too thin, or the engagement is too short.
    """
    found = THREADS[thread.size]
    diameter, boss = float(hole["diameter_mm"]), float(hole["boss_diameter_mm"])
    asked_mm = found.diameter_mm / 2.0 + thread.wall_min_mm
    engagement = _engagement_mm(part, hole, asked_mm)
    problems = []
    if not found.core_min_mm <= diameter <= found.core_max_mm:
        problems.append(
            f"the hole is {diameter:g} mm wide, the core of {thread.size} is {found.core_min_mm:g} to "
            f"{found.core_max_mm:g} mm"
        )
    if boss / 2.0 < asked_mm - 1e-9:
        problems.append(
            f"a boss of {boss:g} mm leaves {boss / 2.0 - found.diameter_mm / 2.0:g} mm of dense metal around "
            f"{thread.size}, {thread.wall_min_mm:g} mm are asked for"
        )
    if engagement < thread.engagement_min_mm:
        problems.append(
            f"over {engagement:.1f} mm of the hole there is metal enough all round, "
            f"{thread.engagement_min_mm:g} mm are asked for"
        )
    if problems:
        raise QualityGateError(
            f"no {thread.size} can be cut into the hole {hole['name']}: " + "; ".join(problems),
            where="implant.screw_hole.thread",
            fix="give the hole the thread's core diameter (also in the prototype's add_hole), a wider boss, another "
            "size, or move the hole",
        )
    return {
        "hole": hole["name"],
        "size": thread.size,
        "pitch_mm": found.pitch_mm,
        "nominal_diameter_mm": found.diameter_mm,
        "hole_diameter_mm": diameter,
        "core_diameter_mm": [found.core_min_mm, found.core_max_mm],
        "wall_min_mm": thread.wall_min_mm,
        "boss_wall_mm": boss / 2.0 - found.diameter_mm / 2.0,
        "engagement_mm": engagement,
        "made": "bored to the hole's diameter, thread cut by hand; the model has a plain hole",
        "source": "coarse series, class 6H, as commonly tabulated from ISO 262 and ISO 965-2; standards not read",
    }


def _engagement_mm(part: Solid, hole: Mapping[str, Any], radius_mm: float) -> float:
    """Longest stretch of the hole's axis (mm) with metal all round at ``radius_mm``."""
    start, end = (np.asarray(hole[f"{e}_lps_mm"], dtype=np.float64) for e in ("start", "end"))
    x, y, along = frame_of(end - start).T
    places = np.arange(0.0, float(np.linalg.norm(end - start)) + 1e-9, _STEP_MM)
    turns = 2.0 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    ring: FloatArray = np.cos(turns)[:, None] * x + np.sin(turns)[:, None] * y
    points = start + places[:, None, None] * along + radius_mm * ring
    inside = Surface(part).signed_distance_mm(points.reshape(-1, 3)) < 0.0
    carried = inside.reshape(len(places), _DIRECTIONS).all(axis=1)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], carried.astype(np.int8), [0]])))
    runs = ends[1::2] - ends[::2]
    return float((runs.max() - 1) * _STEP_MM) if len(runs) else 0.0
