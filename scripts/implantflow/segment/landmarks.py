"""Landmarks from the case config or from a 3D Slicer markups file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from implantflow.artifacts import read_json
from implantflow.errors import InputError
from implantflow.geometry import FloatArray

_HOW = "in 3D Slicer: Markups, one point list, labels = landmark names, save as .mrk.json"


def from_config(points: Mapping[str, tuple[float, float, float]]) -> dict[str, FloatArray]:
    """Points of the case config (patient LPS mm) as arrays (3,)."""
    return {name: np.array(point, dtype=np.float64) for name, point in points.items()}


def read_points(path: Path) -> dict[str, FloatArray]:
    """Landmarks from a JSON file: 3D Slicer markups, or simply name -> [x, y, z] in patient LPS mm."""
    data = read_json(path)
    if isinstance(data, dict) and "markups" in data:
        return read_markups(path)
    try:
        found = {str(name): np.array([float(v) for v in point]) for name, point in data.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"not a list of landmarks: {error}", where=path.name, fix=_HOW) from error
    if not found or any(p.shape != (3,) or not np.isfinite(p).all() for p in found.values()):
        raise InputError("a landmark is not three finite numbers", where=path.name, fix=_HOW)
    return found


def read_markups(path: Path) -> dict[str, FloatArray]:
    """Points by label of a 3D Slicer markups JSON file, in patient LPS mm.

    Raises
    ------
    InputError
        No point list, an unknown coordinate system, a label twice, or a position that is not defined.
    """
    data = read_json(path)
    found: dict[str, FloatArray] = {}
    try:
        for markup in data["markups"]:
            system = str(markup["coordinateSystem"]).upper()
            if system not in ("LPS", "RAS"):
                raise InputError(f"coordinate system '{system}' is not LPS or RAS", where=path.name, fix=_HOW)
            sign = np.array([1.0, 1.0, 1.0]) if system == "LPS" else np.array([-1.0, -1.0, 1.0])
            for point in markup["controlPoints"]:
                label = str(point["label"])
                position = np.array([float(v) for v in point["position"]])
                if label in found or position.shape != (3,) or not np.isfinite(position).all():
                    raise InputError(
                        f"point '{label}' is given twice or has no position", where=path.name, fix=_HOW
                    )
                if point.get("positionStatus", "defined") == "defined":
                    found[label] = sign * position
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a 3D Slicer markups file: {error!r}", where=path.name, fix=_HOW) from error
    if not found:
        raise InputError("the markups file holds no point", where=path.name, fix=_HOW)
    return found
