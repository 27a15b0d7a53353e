"""Size of a tumour mask: volume by voxels and by its surface, three diameters as a radiologist takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.volumes import Volume

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Size:
    """Measurements of one mask.

    Attributes
    ----------
    volume_mm3 : float
        Voxels times voxel volume of the exact affine.
    mesh_volume_mm3 : float
        Enclosed by the surface of the same mask: an independent way to the same figure.
    surface_mm2 : float
        Area of that surface.
    uncertainty_mm3 : float
        Volume of a layer of half a voxel (geometric mean of its edges) along the surface: what the mask
        cannot tell about its own boundary.
    axes_mm : (longest axial diameter, its longest perpendicular in that plane, craniocaudal extent)
    """

    volume_mm3: float
    mesh_volume_mm3: float
    surface_mm2: float
    uncertainty_mm3: float
    axes_mm: tuple[float, float, float]

    def as_json(self) -> dict[str, Any]:
        """Contract keys and their cross-checks."""
        return {
            "volume_mm3": self.volume_mm3,
            "axes_mm": list(self.axes_mm),
            "ellipsoid_mm3": float(np.pi / 6 * np.prod(self.axes_mm)),
            "ellipsoid_note": "fall-back: pi/6 of the product of the axes, not a measurement of this shape",
            "mesh_volume_mm3": self.mesh_volume_mm3,
            "surface_mm2": self.surface_mm2,
            "boundary_uncertainty_mm3": self.uncertainty_mm3,
            "volume_interval_mm3": [
                max(self.volume_mm3 - self.uncertainty_mm3, 0.0),
                self.volume_mm3 + self.uncertainty_mm3,
            ],
        }


def measure(mask: Volume, in_planning_space: Volume | None = None) -> Size:
    """Measure a mask (bool array).

    Parameters
    ----------
    mask : Volume
        On the grid it was found on: volume and surface come from here.
    in_planning_space : Volume, optional
        The same tumour on a grid along patient LPS of the planning CT: its diameters are taken there, so that
        time points scanned at different angles are measured in one axial plane.

    Raises
    ------
    GeometryError
        The mask is empty, or not axial with nothing to take its place.
    """
    if not mask.array.any():
        raise GeometryError("the tumour mask is empty")
    spacing = mask.spacing_mm
    count = int(mask.array.sum())
    vertices, faces = surface(mask)
    area, enclosed = _area_and_volume(vertices, faces)
    half_voxel = 0.5 * float(np.prod(spacing)) ** (1 / 3)
    return Size(
        volume_mm3=count * mask.voxel_volume_mm3,
        mesh_volume_mm3=enclosed,
        surface_mm2=area,
        uncertainty_mm3=area * half_voxel,
        axes_mm=_axes(mask if in_planning_space is None else in_planning_space),
    )


def _axes(mask: Volume) -> tuple[float, float, float]:
    if int(np.abs(mask.affine_lps[2, :3] / mask.spacing_mm).argmax()) != 2:
        raise GeometryError("the mask's slices are not axial", fix="measure it on a grid of axial slices")
    spacing = mask.spacing_mm
    slices = np.flatnonzero(mask.array.any(axis=(1, 2)))
    height = float(slices[-1] - slices[0] + 1) * float(spacing[2])
    return (*axial_diameters(mask.array, spacing), height)


def axial_diameters(mask: Mask, spacing_mm: FloatArray) -> tuple[float, float]:
    """Longest diameter in any axial slice of a (K, J, I) mask, and the longest chord across it, in mm."""
    best = (0.0, 0.0)
    for plane in mask:
        if plane.any():
            points = edge_points(plane) * spacing_mm[:2]
            length, direction = _longest(points)
            if length > best[0]:
                best = (length, _chord(points, direction, float(spacing_mm[:2].max())))
    return best


def edge_points(plane: Mask) -> FloatArray:
    """Middle points of the pixel edges between inside and outside, (N, 2) as (i, j) in pixels."""
    padded = np.pad(plane, 1)
    found = []
    for axis in (0, 1):
        step = np.argwhere(np.diff(padded.astype(np.int8), axis=axis) != 0).astype(np.float64)
        step[:, axis] += 0.5
        found.append(step - 1.0)
    return np.concatenate(found)[:, ::-1]


def _longest(points: FloatArray) -> tuple[float, FloatArray]:
    """Largest distance between two of (N, 2) points, and its unit direction."""
    from scipy.spatial import ConvexHull

    hull = points[ConvexHull(points).vertices]
    between = hull[:, None, :] - hull[None, :, :]
    length = np.linalg.norm(between, axis=2)
    a, b = np.unravel_index(int(length.argmax()), length.shape)
    return float(length[a, b]), between[a, b] / length[a, b]


def _chord(points: FloatArray, direction: FloatArray, width_mm: float) -> float:
    """Longest extent across ``direction``, looked for in strips of ``width_mm`` along it."""
    along = points @ direction
    across = points @ np.array([-direction[1], direction[0]])
    strip = np.floor((along - along.min()) / width_mm).astype(np.int64)
    low = np.full(strip.max() + 1, np.inf)
    high = np.full(strip.max() + 1, -np.inf)
    np.minimum.at(low, strip, across)
    np.maximum.at(high, strip, across)
    return float((high - low).max())


def surface(mask: Volume, sigma_voxels: float = 0.7) -> tuple[FloatArray, NDArray[np.int64]]:
    """Closed surface of a mask: half-level of the lightly blurred mask, outward triangles, patient LPS mm.

    Returns
    -------
    vertices : (N, 3) float64
    faces : (M, 3) int64, counter-clockwise seen from outside
    """
    from scipy import ndimage
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    padded = np.pad(mask.array, 4).astype(np.float32)
    blurred = ndimage.gaussian_filter(padded, sigma_voxels) if sigma_voxels > 0 else padded
    image = vtkImageData()
    image.SetDimensions(*blurred.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(blurred).ravel(), deep=True))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    # A hair off one half: a voxel of exactly that value would give triangles without area.
    edges.SetValue(0, 0.5 + 1e-5)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    output = edges.GetOutput()
    index = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64) - 4.0
    faces = vtk_to_numpy(output.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    vertices = mask.index_to_lps(index)
    if _area_and_volume(vertices, faces)[1] < 0:
        faces = faces[:, ::-1]
    return vertices, np.ascontiguousarray(faces)


def _area_and_volume(vertices: FloatArray, faces: NDArray[np.int64]) -> tuple[float, float]:
    """Area and signed enclosed volume of a closed surface."""
    corners = vertices[faces] - vertices.mean(axis=0)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * float(np.linalg.norm(cross, axis=1).sum())
    return area, float(np.einsum("ij,ij->", corners[:, 0], cross)) / 6.0
