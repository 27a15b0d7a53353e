"""The scan of a print as triangles in the scanner's frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import read_stl
from implantflow.errors import InputError
from implantflow.geometry import FloatArray

IntArray = NDArray[np.int64]

#: Sizes a scanned part may have (mm): outside, the file was hardly written in millimetres.
SIZE_MM = (20.0, 400.0)


@dataclass(frozen=True)
class Scan:
    """A scanned surface, open or closed.

    Attributes
    ----------
    vertices_mm : (N, 3) in the scanner's frame. faces : (M, 3), counter-clockwise seen from the air.
    """

    vertices_mm: FloatArray
    faces: IntArray

    @cached_property
    def _around_vertices(self) -> tuple[FloatArray, FloatArray]:
        v, f = self.vertices_mm, self.faces
        cross = np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]]) / 2.0
        area = np.linalg.norm(cross, axis=1)
        count = len(v)
        corners = f.T.ravel()
        total = np.column_stack(
            [np.bincount(corners, np.tile(cross[:, axis], 3), minlength=count) for axis in range(3)]
        )
        shared = np.bincount(corners, np.tile(area / 3.0, 3), minlength=count)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.divide(total, length, out=np.zeros_like(total), where=length > 0), shared.astype(np.float64)

    @property
    def normals(self) -> FloatArray:
        """(N, 3) unit normals of the vertices, outwards; zero where a vertex has no triangle."""
        return self._around_vertices[0]

    @property
    def areas_mm2(self) -> FloatArray:
        """(N,) a third of the area of each vertex' triangles."""
        return self._around_vertices[1]


def read_surface(path: Path) -> Scan:
    """The STL of a surface scan: the file itself, or the only one in a folder.

    Raises
    ------
    InputError
        No STL or several, not a binary STL, or not of a part's size in millimetres.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() == ".stl")
        if len(found) != 1:
            raise InputError(
                f"{len(found)} STL files where one scan should be",
                where=str(path),
                fix="leave the one scan there",
            )
        path = found[0]
    vertices, faces = read_stl(path)
    if len(faces) == 0:
        raise InputError("the scan has no triangles", where=str(path), fix="export it again")
    scan = Scan(vertices.astype(np.float64), faces)
    require_size(scan, str(path))
    return scan


def require_size(scan: Scan, where: str) -> None:
    """Refuse a scan that cannot be a part in millimetres."""
    size = float(np.ptp(scan.vertices_mm, axis=0).max())
    if not SIZE_MM[0] <= size <= SIZE_MM[1]:
        raise InputError(
            f"the scan is {size:.4g} mm long, parts are {SIZE_MM[0]:g} to {SIZE_MM[1]:g} mm",
            where=where,
            fix="export the scan in millimetres",
        )


def thinned(points_mm: FloatArray, cell_mm: float) -> IntArray:
    """Indices of one of ``points_mm`` (N, 3) per cube of ``cell_mm``: the first of each, in the points' order."""
    cell = np.floor((points_mm - points_mm.min(0)) / cell_mm).astype(np.int64)
    size = cell.max(0) + 1
    key = (cell[:, 2] * size[1] + cell[:, 1]) * size[0] + cell[:, 0]
    return np.sort(np.unique(key, return_index=True)[1])
