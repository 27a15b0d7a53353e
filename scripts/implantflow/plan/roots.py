"""Nerve roots and their foramina: which leave with the specimen, and how near the saw passes the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from implantflow.errors import ConfigError
from implantflow.geometry import FloatArray
from implantflow.plan.axis import Foramina, SacralAxis
from implantflow.plan.cuts import Cut

SIGNS = {"left": 1.0, "right": -1.0}


def foramen_points(axis: SacralAxis, foramina: Mapping[str, Foramina]) -> dict[str, FloatArray]:
    """``"left S1"`` -> middle (3,) of the foramen's anterior opening, on the level of the front of the sacrum."""
    found = {}
    for side, sign in SIGNS.items():
        for i, (s, w) in enumerate(zip(foramina[side].s_mm, foramina[side].lateral_mm, strict=True)):
            found[f"{side} S{i + 1}"] = axis.at(s)[0] + sign * w * axis.left_lps
    return found


def roots(
    points: Mapping[str, FloatArray],
    foramina: Mapping[str, Foramina],
    cuts: Sequence[Cut],
    given: Sequence[str] | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries of all foramina, and of the roots that are sacrificed.

    Raises
    ------
    ConfigError
        The surgeon's list leaves out a root whose foramen leaves with the specimen, or names one that is not there.
    """
    listed, lost = [], []
    for name, point in points.items():
        room = {cut.name: float(cut.plane.distance(point[None])[0]) for cut in cuts}
        side, level = name.split()
        seen = foramina[side].seen[int(level[1]) - 1]
        inside = all(value > 0.0 for value in room.values())
        listed.append(
            {
                "name": name,
                "centre_lps_mm": point,
                "level_source": "surface" if seen else "proportion",
                "in_specimen": inside,
                "osteotomy_distance_mm": min((abs(value) for value in room.values()), default=None),
            }
        )
        if inside:
            lost.append(
                {"root": name, "level_source": "surface" if seen else "proportion", "origin": "computed"}
            )
    if given is None:
        return listed, lost
    missing = sorted({entry["root"] for entry in lost} - set(given))
    unknown = sorted(set(given) - set(points) - _LUMBAR)
    if missing or unknown:
        raise ConfigError(
            "; ".join(
                ([f"the foramina of {', '.join(missing)} leave with the specimen"] if missing else [])
                + ([f"there is no root {', '.join(unknown)} in this plan"] if unknown else [])
            ),
            where="plan.revisions[].roots_sacrificed",
            fix="list every root whose foramen leaves, as 'left S1'",
        )
    return listed, [{"root": name, "origin": "surgeon"} for name in given]


_LUMBAR = {f"{side} L{n}" for side in SIGNS for n in (3, 4, 5)} | {f"{side} S5" for side in SIGNS}


def lumbar_entries(given: Sequence[str] | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Roots beside the body of L5: L4 leaves above its pedicles, L5 below; none is lost unless the surgeon says so."""
    listed = [
        {"name": f"{side} {root}", "passes": where, "in_specimen": False}
        for side in SIGNS
        for root, where in (("L4", "above the pedicle of L5"), ("L5", "below the pedicle of L5"))
    ]
    unknown = sorted(set(given or ()) - {str(entry["name"]) for entry in listed})
    if unknown:
        raise ConfigError(
            f"there is no root {', '.join(unknown)} at L5",
            where="plan.revisions[].roots_sacrificed",
            fix="'left L4', 'right L4', 'left L5' or 'right L5'",
        )
    return listed, [{"root": name, "origin": "surgeon"} for name in given or ()]


def nearest_mm(
    points: Mapping[str, FloatArray], start: FloatArray, end: FloatArray, radius_mm: float
) -> dict[str, float]:
    """From a screw's thread to the middle of each foramen's anterior opening, mm."""
    along = end - start
    share = {
        n: np.clip(float((p - start) @ along) / float(along @ along), 0.0, 1.0) for n, p in points.items()
    }
    return {n: float(np.linalg.norm(points[n] - start - share[n] * along)) - radius_mm for n in points}
