"""Triangle meshes as the report draws them: normals, plane sections, decimation, simple shapes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow import artifacts
from implantflow.geometry import perpendiculars, unit

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Vertices (N, 3) in mm, patient LPS, and faces (M, 3), counter-clockwise seen from outside."""

    vertices: Float
    faces: Int

    @property
    def face_normals(self) -> Float:
        """(M, 3) unit normals; zero for a triangle without area."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        return _normalised(np.cross(b - a, c - a))

    @property
    def vertex_normals(self) -> Float:
        """(N, 3) area-weighted unit normals."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        weighted = np.cross(b - a, c - a)
        total = np.empty_like(self.vertices)
        for axis in range(3):
            total[:, axis] = np.bincount(
                self.faces.ravel(), np.repeat(weighted[:, axis], 3), minlength=len(self.vertices)
            )
        return _normalised(total)

    @property
    def centre(self) -> Float:
        """Middle (3,) of the bounding box in mm."""
        return np.asarray((self.vertices.min(axis=0) + self.vertices.max(axis=0)) / 2.0)


def _normalised(vectors: Float) -> Float:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0))


def load_mesh(path: Path) -> Mesh:
    """Read a binary STL in mm; InputError when it is damaged."""
    vertices, faces = artifacts.read_stl(path)
    return Mesh(vertices.astype(np.float64), faces)


def joined(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one (no boolean: shells stay apart)."""
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    return Mesh(
        np.vstack([m.vertices for m in meshes]),
        np.vstack([m.faces + o for m, o in zip(meshes, offsets, strict=True)]),
    )


def section(mesh: Mesh, point_mm: ArrayLike, normal: ArrayLike) -> Float:
    """Cut a mesh with a plane.

    A vertex on the plane counts as above it, so every loop of a closed mesh closes.

    Returns
    -------
    (S, 2, 3) float array
        Loose segments in mm, patient LPS.
    """
    height = (mesh.vertices - np.asarray(point_mm, dtype=np.float64)) @ unit(normal)
    above = height >= 0.0
    side = above[mesh.faces]
    cut = mesh.faces[side.any(axis=1) & ~side.all(axis=1)]
    if not len(cut):
        return np.empty((0, 2, 3))
    ends = []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        start, stop = cut[:, a], cut[:, b]
        crosses = above[start] != above[stop]
        # Order the edge by vertex number: both neighbours then compute the same point, bit for bit.
        low, high = np.minimum(start, stop), np.maximum(start, stop)
        span = np.where(crosses, height[high] - height[low], 1.0)
        share = -height[low] / span
        place = mesh.vertices[low] + share[:, None] * (mesh.vertices[high] - mesh.vertices[low])
        ends.append((crosses, place))
    flags = np.stack([e[0] for e in ends], axis=1)
    places = np.stack([e[1] for e in ends], axis=1)
    return np.asarray(places[flags].reshape(-1, 2, 3))


def decimate(mesh: Mesh, target_faces: int) -> Mesh:
    """Fewer triangles for the 3-D scene (VTK, one thread); unchanged when small already.

    A surface far above the target is first brought to about twice the target by clustering, which is thirty times
    faster, then down by quadric error, which keeps edges of flat cuts sharp.
    """
    if len(mesh.faces) <= target_faces:
        return mesh
    from vtkmodules.vtkFiltersCore import vtkQuadricClustering, vtkQuadricDecimation

    if len(mesh.faces) > 3 * target_faces:
        a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
        area_mm2 = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2.0
        cluster = vtkQuadricClustering()
        cluster.SetInputData(_polydata(mesh))
        cluster.AutoAdjustNumberOfDivisionsOff()
        cluster.SetDivisionOrigin(0.0, 0.0, 0.0)
        # A surface crosses about three triangles per square of the cluster's size.
        cluster.SetDivisionSpacing(*[float(np.sqrt(3.0 * area_mm2 / (2.0 * target_faces)))] * 3)
        mesh = _updated(cluster)
        if len(mesh.faces) <= target_faces:
            return mesh
    shrink = vtkQuadricDecimation()
    shrink.SetInputData(_polydata(mesh))
    shrink.SetTargetReduction(1.0 - target_faces / len(mesh.faces))
    shrink.VolumePreservationOn()
    return _updated(shrink)


def _polydata(mesh: Mesh) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    points = vtkPoints()
    points.SetData(numpy_to_vtk(mesh.vertices, deep=1))
    cells = vtkCellArray()
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.arange(0, 3 * len(mesh.faces) + 1, 3), deep=1),
        numpy_to_vtkIdTypeArray(mesh.faces.ravel(), deep=1),
    )
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetPolys(cells)
    return data


def _updated(vtk_filter: Any) -> Mesh:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    vtk_filter.Update()
    out = vtk_filter.GetOutput()
    faces = vtk_to_numpy(out.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    return Mesh(vtk_to_numpy(out.GetPoints().GetData()).astype(np.float64), faces)


def tube(path_mm: ArrayLike, radius_mm: float, sides: int = 24) -> Mesh:
    """Closed tube around a polyline (P, 3): screws, rods, cables and struts in pictures.

    Each straight piece is its own closed cylinder; where pieces meet they overlap.
    """
    path = np.asarray(path_mm, dtype=np.float64)
    return joined([_cylinder(a, b, radius_mm, sides) for a, b in itertools.pairwise(path)])


def _cylinder(start: Float, end: Float, radius_mm: float, sides: int) -> Mesh:
    u, v = perpendiculars(unit(end - start))
    angle = 2.0 * np.pi * np.arange(sides) / sides
    ring = radius_mm * (np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v)
    vertices = np.vstack([start + ring, end + ring, start[None], end[None]])
    here = np.arange(sides)
    after = (here + 1) % sides
    bottom, top = np.full(sides, 2 * sides), np.full(sides, 2 * sides + 1)
    faces = np.vstack(
        [
            np.stack([here, after, after + sides], axis=1),
            np.stack([here, after + sides, here + sides], axis=1),
            np.stack([bottom, after, here], axis=1),
            np.stack([top, here + sides, after + sides], axis=1),
        ]
    )
    return Mesh(vertices, faces.astype(np.int64))


def plane_patch(point_mm: ArrayLike, normal: ArrayLike, size_mm: float) -> Mesh:
    """A square of the plane, seen from both sides (two triangles), to show an osteotomy in 3-D."""
    u, v = perpendiculars(unit(normal))
    p = np.asarray(point_mm, dtype=np.float64)
    half = size_mm / 2.0
    vertices = np.array([p + half * (a * u + b * v) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int64))
