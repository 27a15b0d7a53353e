"""Vertical lines through a closed mesh: exact inside/outside along z for volumes and voxel grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray


@dataclass(frozen=True)
class Columns:
    """Crossings of a closed mesh with vertical lines over a regular grid of places.

    Attributes
    ----------
    origin_mm : (2,) x, y of line (0, 0); step_mm : distance between lines; shape : (J, I) lines.
    starts : (J*I + 1,) int64; heights_mm : sorted z of the crossings of each line, in pairs enter/leave.
    """

    origin_mm: FloatArray
    step_mm: float
    shape: tuple[int, int]
    starts: NDArray[np.int64]
    heights_mm: FloatArray

    @classmethod
    def of(
        cls,
        vertices: FloatArray,
        faces: NDArray[np.int64],
        origin_mm: FloatArray,
        step_mm: float,
        shape: tuple[int, int],
    ) -> Columns:
        """Cross the mesh (vertices (N, 3) mm, faces (M, 3)) with J x I vertical lines.

        Raises
        ------
        GeometryError
            A line crosses the mesh an odd number of times: the mesh is not closed.
        """
        from implantflow.field import grid_kernels

        v = np.ascontiguousarray(vertices, dtype=np.float64)
        f = np.ascontiguousarray(faces, dtype=np.int64)
        place = np.ascontiguousarray(origin_mm[:2], dtype=np.float64)
        starts = np.zeros(shape[0] * shape[1] + 1, dtype=np.int64)
        none = np.empty(0)
        grid_kernels.column_crossings(v, f, place, step_mm, shape, starts, none, False)
        starts = np.cumsum(starts)
        heights = np.empty(int(starts[-1]))
        grid_kernels.column_crossings(v, f, place, step_mm, shape, starts[:-1].copy(), heights, True)
        odd = grid_kernels.sort_columns(starts, heights)
        if odd:
            raise GeometryError(
                f"{odd} vertical lines cross the solid's surface an odd number of times: it is not closed",
                fix="repair the mesh so that every edge has two triangles",
            )
        return cls(place, step_mm, shape, starts, heights)

    def volume_mm3(self) -> float:
        """Volume by lines: sum of the lengths inside times the area of a line's cell."""
        return float((self.heights_mm[1::2] - self.heights_mm[::2]).sum() * self.step_mm**2)

    def inside(self, bottom_mm: float, count: int) -> NDArray[np.bool_]:
        """(count, J, I) bool: is the node at height bottom_mm + k*step_mm inside the solid?"""
        from implantflow.field import grid_kernels

        out = np.zeros((count, *self.shape), dtype=np.bool_)
        grid_kernels.fill_inside(self.starts, self.heights_mm, bottom_mm, self.step_mm, out)
        return out
