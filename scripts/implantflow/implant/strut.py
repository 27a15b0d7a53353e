"""The dense strut: straight bars from the end plate to the sacroiliac and to the midline face."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import IntArray

_STARTS, _ENDS = 16, 60
_STATIONS = np.linspace(0.0, 1.0, 33)


def plan_strut(surface: Surface, faces: dict[str, IntArray], radius_mm: float) -> dict[str, Any]:
    """Two bars that share one start on the end plate, each as deep inside the implant as a straight bar can be.

    Every end lies on its face, so the bar meets it with its full section; in between, the axis must stay inside.

    Returns
    -------
    dict
        ``segments`` as in ``regions.json`` plus ``depth_min_mm`` of each bar: the least depth of its axis, counted from
        two radii (at most a third of its length) below either end, since a slanting bar is shallow at its ends.

    Raises
    ------
    GeometryError
        No straight bar stays inside.
    """
    centres = surface.solid.centres_mm
    starts = _spread(centres[faces["l5s1"]], _STARTS)
    depth = {
        name: _depths(surface, starts, _spread(centres[faces[name]], _ENDS), radius_mm)
        for name in ("si_joint", "midline")
    }
    # The shared start is the one whose worse bar is best.
    worse = np.minimum(depth["si_joint"].max(axis=1), depth["midline"].max(axis=1))
    first = int(np.argmax(worse))
    segments = []
    for name, table in depth.items():
        last = int(np.argmax(table[first]))
        if table[first, last] <= 0.0:
            raise GeometryError(
                f"no straight strut runs from the end plate to the {name} face inside the implant",
                where="implant.strut_radius_mm",
                fix="use a thinner strut",
            )
        segments.append(
            {
                "start_lps_mm": starts[first],
                "end_lps_mm": _spread(centres[faces[name]], _ENDS)[last],
                "radius_mm": radius_mm,
                "to_face": name,
                "depth_min_mm": float(table[first, last]),
            }
        )
    return {"segments": segments}


def _spread(points: FloatArray, count: int) -> FloatArray:
    """About ``count`` of ``points`` (N, 3), evenly by place."""
    cell = np.floor(points / 3.0).astype(np.int64)
    _, first = np.unique(cell, axis=0, return_index=True)
    chosen = points[np.sort(first)]
    return np.asarray(chosen[:: max(1, len(chosen) // count)])


def _depths(surface: Surface, starts: FloatArray, ends: FloatArray, radius_mm: float) -> FloatArray:
    """Least depth (starts, ends) in mm of the axis of every bar, leaving out two radii (or a third) at each end."""
    line = ends[None, :, None] - starts[:, None, None]
    points = starts[:, None, None] + _STATIONS[None, None, :, None] * line
    depth = -surface.signed_distance_mm(points.reshape(-1, 3), 60.0).reshape(points.shape[:3])
    length = np.linalg.norm(line[:, :, 0], axis=2)[:, :, None]
    # A short bar still has a middle third.
    ends_share = np.minimum(2.0 * radius_mm / np.maximum(length, 1e-9), 1.0 / 3.0)
    counted = (ends_share <= _STATIONS) & (1.0 - ends_share >= _STATIONS)
    return np.asarray(np.where(counted, depth, np.inf).min(axis=2))
