"""What the surgeons took out: the specimen, and the saw's kerf along the osteotomies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import read_stl
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, unit

#: Grid of the specimen's mask, mm; read trilinearly, which blurs its edge over one such voxel.
_MASK_MM = 0.5


@dataclass(frozen=True)
class Removed:
    """The bone that is gone, in planning LPS.

    Attributes
    ----------
    mask : (K, J, I) uint8, 1 inside the specimen.
    origin_mm, spacing_mm : place of its first voxel's centre, distance of voxels.
    planes : (P, 6) point and unit normal of each osteotomy; the normal points to the specimen.
    kerf_mm : how much bone the saw took on the far side of each plane.
    """

    mask: NDArray[np.uint8]
    origin_mm: FloatArray
    spacing_mm: float
    planes: FloatArray
    kerf_mm: float

    @property
    def corners_mm(self) -> FloatArray:
        """(2, 3) lowest and highest corner of the mask."""
        size = np.array(self.mask.shape[::-1], float)
        return np.array([self.origin_mm, self.origin_mm + (size - 1) * self.spacing_mm])


def removed_bone(specimen: Path, plan: dict[str, Any]) -> Removed:
    """Voxelise ``specimen`` (STL, planning LPS) and take kerf and osteotomy planes from ``plan``."""
    vertices, faces = read_stl(specimen)
    origin = vertices.min(0).astype(float) - 2 * _MASK_MM
    size = np.ceil((vertices.max(0) - origin) / _MASK_MM).astype(int) + 3
    mask = _stencil(vertices, faces, origin, size)
    if not mask.any():
        raise GeometryError("the specimen holds no volume", where="plan/specimen.stl")
    centre = vertices.mean(0).astype(float)
    planes = _osteotomies(plan["resection_planes"], centre)
    return Removed(mask, origin, _MASK_MM, planes, float(plan["kerf_mm"]))


def _osteotomies(planes: Sequence[dict[str, Any]], inside_mm: FloatArray) -> FloatArray:
    """(P, 6) point and normal of the planes that were sawn, normals towards ``inside_mm``."""
    found = [np.zeros((0, 6))]
    for plane in planes:
        if plane["kind"] != "osteotomy":
            continue
        point, normal = np.array(plane["point_lps_mm"], float), unit(plane["normal_lps"])
        if (inside_mm - point) @ normal < 0:
            normal = -normal
        found.append(np.concatenate([point, normal])[None])
    return np.concatenate(found)


def _stencil(
    vertices: NDArray[np.float32], faces: NDArray[np.int64], origin: FloatArray, size: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Mask (K, J, I) of the inside of a closed mesh."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkImagingStencil import vtkImageStencilToImage, vtkPolyDataToImageStencil

    points, cells, mesh = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(vertices), deep=True))
    offsets = np.arange(0, 3 * len(faces) + 1, 3, dtype=np.int64)
    corners = np.ascontiguousarray(faces.ravel(), dtype=np.int64)
    cells.SetData(numpy_to_vtkIdTypeArray(offsets, deep=True), numpy_to_vtkIdTypeArray(corners, deep=True))
    mesh.SetPoints(points)
    mesh.SetPolys(cells)
    stencil = vtkPolyDataToImageStencil()
    stencil.SetInputData(mesh)
    stencil.SetOutputOrigin(*origin)
    stencil.SetOutputSpacing(_MASK_MM, _MASK_MM, _MASK_MM)
    stencil.SetOutputWholeExtent(0, int(size[0]) - 1, 0, int(size[1]) - 1, 0, int(size[2]) - 1)
    image = vtkImageStencilToImage()
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    values = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars())
    return np.ascontiguousarray(values.reshape(size[::-1])).astype(np.uint8)
