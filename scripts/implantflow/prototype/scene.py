"""The 3-D view of the review sheet: surfaces packed small enough to travel inside the page."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray
from implantflow.prototype.pictures import BONE, METAL, VIEWS, change_colours
from implantflow.solids.booleans import simplified
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid

#: Bone is there to show where the implant sits; on a screen this deviation cannot be seen.
_BONE_DETAIL_MM = 0.25
_PARENT = (0.95, 0.78, 0.45)


def scene(implant: Solid, bone: Solid, parent: Solid | None, limit_mm: float) -> dict[str, Any]:
    """What the page's viewer draws; the implant is coloured by its signed distance to ``parent``.

    Places are 16-bit steps of the part's box (below 5 um for 300 mm).
    """
    colours = (
        np.broadcast_to(np.array(METAL), implant.vertices.shape)
        if parent is None
        else change_colours(Surface(parent).signed_distance_mm(implant.vertices), limit_mm)
    )
    parts = [_part("implant", implant, colours, shown=True)]
    if parent is not None:
        parts.append(_part("parent", parent, _PARENT, shown=False))
    parts.append(_part("bone", simplified(bone, _BONE_DETAIL_MM), BONE, shown=False))
    low, high = implant.bounds_mm
    return {
        "parts": parts,
        "views": [{"name": name, "turn": _turn(name)} for name in VIEWS],
        "centre_mm": [round(float(x), 3) for x in (low + high) / 2.0],
        "reach_mm": round(float(np.linalg.norm(high - low)) / 2.0 * 1.05, 3),
    }


def _turn(name: str) -> list[list[float]]:
    """Rows: right of the picture, its up, and towards the eye."""
    into, up = (np.asarray(v) for v in VIEWS[name])
    return [[float(x) for x in row] for row in (np.cross(into, up), up, -into)]


def _part(
    name: str, solid: Solid, colour: tuple[float, float, float] | FloatArray | NDArray[Any], *, shown: bool
) -> dict[str, Any]:
    low = solid.bounds_mm[0]
    step = float((solid.bounds_mm[1] - low).max()) / 65535.0
    places = np.round((solid.vertices - low) / step).astype("<u2")
    colours = np.broadcast_to(np.asarray(colour, dtype=np.float64), solid.vertices.shape)
    return {
        "name": name,
        "places": _text(places),
        "colours": _text(np.round(colours * 255.0).astype("u1")),
        "triangles": _text(solid.faces.astype("<u4")),
        "low": [round(float(x), 4) for x in low],
        "step": step,
        "shown": shown,
    }


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
