"""A coloured triangle mesh as binary PLY; the same bytes for the same mesh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from implantflow.artifacts import temporary
from implantflow.geometry import FloatArray
from implantflow.inspect.picture import Painted

_VERTEX = np.dtype([("place", "<f4", 3), ("colour", "u1", 3), ("deviation", "<f4")])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def write_ply(path: Path, painted: Painted, deviation_mm: FloatArray, comments: Sequence[str]) -> None:
    """Write a painted mesh with the ``deviation_mm`` (N,) of its vertices and ``comments``."""
    head = ["ply", "format binary_little_endian 1.0", *(f"comment {text}" for text in comments)]
    head += [f"element vertex {len(painted.vertices_mm)}"]
    head += [f"property float {axis}" for axis in "xyz"]
    head += [f"property uchar {colour}" for colour in ("red", "green", "blue")]
    head += ["property float deviation_mm", f"element face {len(painted.faces)}"]
    head += ["property list uchar int vertex_indices", "end_header"]
    points = np.zeros(len(painted.vertices_mm), _VERTEX)
    points["place"], points["colour"], points["deviation"] = (
        painted.vertices_mm,
        painted.colours,
        deviation_mm,
    )
    corners = np.zeros(len(painted.faces), _FACE)
    corners["count"], corners["corners"] = 3, painted.faces
    with temporary(path) as tmp, tmp.open("wb") as handle:
        handle.write(("\n".join(head) + "\n").encode("ascii", "replace"))
        points.tofile(handle)
        corners.tofile(handle)
