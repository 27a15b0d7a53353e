"""A closed triangle mesh made ready for slicing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import GeometryError
from implantflow.field.volume import mesh_volume_mm3
from implantflow.geometry import FloatArray


def collapsed(faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(M,) True for triangles that welding has collapsed to a line or a point: two corners are one vertex."""
    a, b, c = faces.T
    return np.asarray((a == b) | (b == c) | (c == a))


@dataclass(frozen=True)
class Solid:
    """Mesh in build_xyz with the neighbour of each triangle over each edge.

    Attributes
    ----------
    vertices_mm : (N, 3), faces : (M, 3) int32, across : (M, 3) int32.
    """

    vertices_mm: FloatArray
    faces: NDArray[np.int32]
    across: NDArray[np.int32]

    @property
    def arrays(self) -> tuple[FloatArray, NDArray[np.int32], NDArray[np.int32]]:
        """Vertices, faces and neighbours."""
        return self.vertices_mm, self.faces, self.across

    @classmethod
    def of(cls, vertices_mm: ArrayLike, faces: ArrayLike) -> Solid:
        """Check that the mesh bounds a solid and find its neighbours.

        Triangles that welding has collapsed to a line are left out first.

        Raises
        ------
        GeometryError
            Open edges, edges of more than two triangles, no volume, or inside out, as a whole or one of several bodies.
        """
        from implantflow.build import mesh_kernels
        from implantflow.build.bodies import require_nested

        v = np.ascontiguousarray(vertices_mm, dtype=np.float64)
        f = np.ascontiguousarray(faces, dtype=np.int32)
        flat = collapsed(f)
        if flat.any():
            f = np.ascontiguousarray(f[~flat])
        if len(f) < 4:
            raise GeometryError(f"a mesh of {len(f)} triangles encloses nothing", fix="export a closed solid")
        across = np.empty_like(f)
        unmatched, clashing = mesh_kernels.neighbours(f, across)
        if unmatched or clashing:
            where = v[f[np.argwhere(across < 0)[0][0]]].mean(0) if unmatched else v.mean(0)
            raise GeometryError(
                f"the mesh is not watertight: {unmatched} open edges, {clashing} edges shared wrongly",
                where="near " + ", ".join(f"{x:.2f}" for x in where) + " mm",
                fix="repair it so that every edge has exactly two triangles of opposite direction",
            )
        volume = mesh_volume_mm3(v, f)
        # Column by column: along the short axis numpy takes ten times as long.
        size = np.array([np.ptp(column) for column in v.T])
        if abs(volume) < 1e-6 * float(np.prod(size)) or size.min() <= 0:
            raise GeometryError("the mesh encloses no volume", fix="export a closed solid in millimetres")
        if volume < 0:
            raise GeometryError(f"the mesh is inside out (volume {volume:.1f} mm3)", fix="flip its triangles")
        require_nested(v, f, across)
        return cls(v, f, across)
