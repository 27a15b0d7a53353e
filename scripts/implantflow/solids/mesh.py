"""A closed triangle mesh and what must hold for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.artifacts import read_stl, write_stl
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

IntArray = NDArray[np.int64]

#: Far below any tolerance of bone or printer, well above the float32 step of 8e-6 mm at 100 mm.
SLIVER_MM = 1e-4
#: Longest edge of the parts that plan, prototype and implant write.
EDGE_MM = 2.0


@dataclass(frozen=True)
class Solid:
    """A solid bounded by triangles.

    Attributes
    ----------
    vertices : (N, 3) float array, mm.
    faces : (M, 3) int array, counter-clockwise seen from outside.
    """

    vertices: FloatArray
    faces: IntArray

    @classmethod
    def of(cls, vertices: ArrayLike, faces: ArrayLike) -> Solid:
        """Make a solid from array-likes of any float and int type."""
        return cls(np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64))

    @cached_property
    def triangles_mm(self) -> FloatArray:
        """Corner points (M, 3, 3) of every triangle in mm."""
        return self.vertices[self.faces]

    @cached_property
    def bounds_mm(self) -> FloatArray:
        """Lowest and highest corner (2, 3) in mm."""
        return np.array([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    @cached_property
    def volume_mm3(self) -> float:
        """Enclosed volume in mm3 (divergence theorem, about the box centre to keep digits)."""
        t = self.triangles_mm - self.bounds_mm.mean(axis=0)
        return float(np.einsum("ij,ij->i", t[:, 0], np.cross(t[:, 1], t[:, 2])).sum() / 6.0)

    @property
    def area_mm2(self) -> float:
        """Surface area in mm2."""
        return float(self.areas_mm2.sum())

    @cached_property
    def normals(self) -> FloatArray:
        """Outward unit normals (M, 3) of the triangles; zero for one without area."""
        cross, length = self._crosses
        return np.divide(cross, length, out=np.zeros_like(cross), where=length > 0)

    @cached_property
    def areas_mm2(self) -> FloatArray:
        """Areas (M,) of the triangles in mm2."""
        return np.asarray(0.5 * self._crosses[1][:, 0])

    @cached_property
    def centres_mm(self) -> FloatArray:
        """Centroids (M, 3) of the triangles in mm."""
        return np.asarray(self.triangles_mm.mean(axis=1))

    @cached_property
    def _crosses(self) -> tuple[FloatArray, FloatArray]:
        t = self.triangles_mm
        u, v = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]
        cross = np.empty_like(u)
        for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
            cross[:, i] = u[:, j] * v[:, k] - u[:, k] * v[:, j]
        return cross, np.sqrt((cross * cross).sum(axis=1))[:, None]


def even_points(solid: Solid, count: int) -> FloatArray:
    """About ``count`` triangle centres (N, 3) in mm, evenly by area: sorted by place, then at equal steps of area."""
    cell = np.floor((solid.centres_mm - solid.bounds_mm[0]) / 2.0).astype(np.int64)
    order = np.lexsort((cell[:, 0], cell[:, 1], cell[:, 2]))
    area = np.cumsum(solid.areas_mm2[order])
    steps = (np.arange(count) + 0.5) * area[-1] / count
    chosen = np.unique(np.minimum(np.searchsorted(area, steps), len(order) - 1))
    return np.asarray(solid.centres_mm[order[chosen]])


def open_edges(faces: IntArray) -> int:
    """Number of directed edges that have no opposite partner, or have more than one: 0 when watertight."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    base = int(faces.max()) + 1 if len(faces) else 1
    forward = np.sort(edges[:, 0] * base + edges[:, 1])
    backward = np.sort(edges[:, 1] * base + edges[:, 0])
    doubled = int((np.diff(forward) == 0).sum())
    if np.array_equal(forward, backward):
        return doubled
    return len(np.setxor1d(forward, backward)) + doubled


def shell_labels(faces: IntArray, vertex_count: int) -> NDArray[np.int32]:
    """Number of the connected shell of each vertex, (N,) int."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    a = np.concatenate([faces[:, 0], faces[:, 1]])
    b = np.concatenate([faces[:, 1], faces[:, 2]])
    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(vertex_count, vertex_count))
    _, labels = connected_components(graph, directed=False)
    return np.asarray(labels)


def shell_count(solid: Solid) -> int:
    """Number of connected shells of the surface (a cavity counts as one)."""
    used = np.unique(solid.faces)
    return len(np.unique(shell_labels(solid.faces, len(solid.vertices))[used]))


def require_closed(solid: Solid, name: str) -> None:
    """Refuse a surface that does not enclose a volume.

    Raises
    ------
    GeometryError
        There are no triangles, edges are open, or the orientation is inside out.
    """
    if len(solid.faces) == 0:
        raise GeometryError(f"{name} has no triangles", fix="the operation before it removed everything")
    edges = open_edges(solid.faces)
    if edges:
        raise GeometryError(f"{name} is not closed: {edges} open or doubled edges", fix="repair the surface")
    if solid.volume_mm3 <= 0.0:
        raise GeometryError(
            f"{name} encloses {solid.volume_mm3:.3f} mm3: it is inside out", fix="flip its triangles"
        )


def read_solid(path: Path, name: str) -> Solid:
    """Read a binary STL in mm and require that it is closed."""
    vertices, faces = read_stl(path)
    solid = Solid.of(vertices, faces)
    require_closed(solid, f"{name} ({path.name})")
    return solid


def write_solid(path: Path, solid: Solid, title: str, edge_mm: float | None = None) -> Solid:
    """Write ``solid`` as binary STL and return it exactly as a reader will see it.

    STL holds float32 and no connectivity, so corners nearer than about 1e-5 mm would fall together and open the
    surface: slivers below 1e-4 mm are removed first, and corners that still meet are moved apart by 1e-4 mm.
    With ``edge_mm`` longer edges are split, so that flat faces too have triangles to choose from. Triangle numbers of
    the returned solid are those of the file.

    Raises
    ------
    GeometryError
        The surface is not closed, before or after rounding.
    """
    from implantflow.solids.booleans import refined, simplified

    require_closed(solid, title)
    clean = simplified(solid, SLIVER_MM)
    sealed = _apart_in_float32(clean if edge_mm is None else refined(clean, edge_mm))
    write_stl(path, sealed.vertices, sealed.faces, title)
    return read_solid(path, title)


def _apart_in_float32(solid: Solid) -> Solid:
    """``solid`` with corners moved by a few 1e-4 mm into the metal where float32 would weld two of them."""
    vertices = solid.vertices
    for _ in range(5):
        rounded = vertices.astype(np.float32) + np.float32(0.0)
        order = np.lexsort(rounded.T)
        same = (np.diff(rounded[order], axis=0) == 0).all(axis=1)
        double = np.sort(order[1:][same])
        if len(double) == 0:
            break
        normal = np.zeros_like(vertices)
        for c in range(3):
            np.add.at(normal, solid.faces[:, c], solid.normals)
        length = np.linalg.norm(normal[double], axis=1, keepdims=True)
        vertices = vertices.copy()
        vertices[double] -= SLIVER_MM * normal[double] / np.maximum(length, 1e-9)
    return Solid.of(vertices, solid.faces)
