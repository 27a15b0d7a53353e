"""Watertight surfaces of distance fields, in the frame of their grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points
from implantflow.phantom.grids import BoxField, Grid
from implantflow.phantom.primitives import REACH_MM

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]


def surface(field: BoxField, grid: Grid) -> Mesh:
    """The zero level of ``field`` as a closed mesh: vertices (N, 3) in the grid's frame, faces (M, 3) outward.

    A bone that the grid cuts off is closed flat there.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    values = np.pad(field.values, 1, constant_values=np.float32(REACH_MM))
    # A value of exactly zero at a voxel makes triangles without area.
    values[np.abs(values) < 1e-4] = 1e-4
    image: Any = vtkImageData()
    image.SetDimensions(*values.shape[::-1])
    image.SetOrigin(-1.0, -1.0, -1.0)
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=1))
    edges: Any = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0.0)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.Update()
    output = edges.GetOutput()
    vertices = transform_points(
        grid.part(field.box).affine, vtk_to_numpy(output.GetPoints().GetData()).astype(float)
    )
    faces = vtk_to_numpy(output.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    if mesh_volume((vertices, faces)) < 0:
        faces = faces[:, ::-1]
    return vertices, np.ascontiguousarray(faces)


def mesh_volume(mesh: Mesh) -> float:
    """Signed volume enclosed by a closed mesh, mm3; positive when its faces look outward."""
    vertices, faces = mesh
    a, b, c = (vertices[faces[:, n]] - vertices.mean(0) for n in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)


def decimated(mesh: Mesh, n_faces: int) -> Mesh:
    """Fewer, evenly spread triangles, still closed; GeometryError when the result is not.

    Quadric edge collapse of MeshLab, which keeps the topology.
    """
    import pymeshlab

    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.add_mesh(pymeshlab.Mesh(mesh[0], mesh[1].astype(np.int32)))
    meshes.meshing_decimation_quadric_edge_collapse(
        targetfacenum=n_faces, preservetopology=True, preservenormal=True, optimalplacement=True
    )
    small = meshes.current_mesh()
    result = np.asarray(small.vertex_matrix(), float), np.asarray(small.face_matrix(), np.int64)
    if not is_closed(result[1]):
        raise GeometryError("a decimated surface of the phantom is not watertight")
    return result


def is_closed(faces: NDArray[np.int64]) -> bool:
    """True when every directed edge of ``faces`` (M, 3) has exactly one partner in the other direction."""
    forward = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    size = int(faces.max()) + 1
    codes = np.sort(forward[:, 0] * size + forward[:, 1])
    partners = np.sort(forward[:, 1] * size + forward[:, 0])
    return bool((np.diff(codes) > 0).all() and np.array_equal(codes, partners))


def nearest_vertex(mesh: Mesh, point: FloatArray) -> FloatArray:
    """The vertex of ``mesh`` closest to ``point`` (3,)."""
    return np.asarray(mesh[0][int(np.argmin(np.sum((mesh[0] - point) ** 2, axis=1)))])
