"""Triangles where values on a regular grid cross a level, by VTK's flying edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Faces = NDArray[np.int64]


def level_surface(
    values: NDArray[Any],
    level: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    spacing: float = 1.0,
) -> tuple[Points, Faces]:
    """Surface where ``values`` cross ``level``; open where it leaves the grid.

    Parameters
    ----------
    values : (K, J, I) array
    level : in the unit of the values.
    origin, spacing : place (x, y, z) of node (0, 0, 0) and distance of nodes; left out, places are indices i, j, k.

    Returns
    -------
    points : (N, 3) float64 array
        Computed in single precision: a place far from the origin has fewer digits.
    faces : (M, 3) int64 array
        All turned the same way, which way depends on the values; both arrays are empty where nothing crosses.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    flat = np.ascontiguousarray(values).ravel()
    image = vtkImageData()
    image.SetDimensions(*(int(n) for n in values.shape[::-1]))
    image.SetOrigin(*origin)
    image.SetSpacing(spacing, spacing, spacing)
    image.GetPointData().SetScalars(numpy_to_vtk(flat))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, level)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    mesh = edges.GetOutput()
    if mesh.GetNumberOfPolys() == 0:
        return np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
    faces = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3)
    return points, faces
