"""A structured-light scan: the surface as far as it is seen from some directions, merged, noisy, with a gap."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.phantom.printed import scan_kernels
from implantflow.phantom.printed.material import Material

Float32Array = NDArray[np.float32]

#: Least cosine between surface normal and line of sight: flatter light gives no reading.
_COSINE_MIN = 0.3
#: A place is seen when nothing lies in front of its pixel's neighbourhood by more than this many voxels.
_SLACK_VOXELS = 3.0
#: Pixels of a depth map, in voxels of the material.
_PIXEL_VOXELS = 1.2
#: Loose flakes of fewer triangles are cleaned away, as the scanner's own software does.
_FLAKE_TRIANGLES = 30


@dataclass(frozen=True)
class Surface:
    """Triangles in build_xyz: vertices (N, 3) mm, outward normals (N, 3), faces (M, 3)."""

    vertices: Float32Array
    normals: Float32Array
    faces: NDArray[np.int32]

    def only(self, keep: NDArray[np.bool_]) -> Surface:
        """The triangles whose three corners are all kept."""
        faces = self.faces[keep[self.faces].all(axis=1)]
        used = np.zeros(len(self.vertices), dtype=bool)
        used[faces] = True
        number = np.cumsum(used, dtype=np.int32) - np.int32(1)
        return Surface(self.vertices[used], self.normals[used], number[faces])


def skin_of(material: Material) -> Surface:
    """The whole surface of the metal, inner walls of pores included."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    share = material.share
    image = vtkImageData()
    image.SetDimensions(share.shape[2], share.shape[1], share.shape[0])
    image.SetOrigin(*(float(o) for o in material.origin_mm))
    image.SetSpacing(material.voxel_mm, material.voxel_mm, material.voxel_mm)
    image.GetPointData().SetScalars(numpy_to_vtk(share.ravel()))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 127.5)
    edges.ComputeNormalsOn()
    edges.ComputeScalarsOff()
    edges.Update()
    mesh = edges.GetOutput()
    if mesh.GetNumberOfPolys() == 0:
        raise GeometryError("the build file holds no metal", fix="build the revision again")
    vertices = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float32)
    normals = vtk_to_numpy(mesh.GetPointData().GetNormals()).astype(np.float32)
    faces = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int32)
    return _outward(Surface(vertices, normals, faces), material)


def _outward(surface: Surface, material: Material) -> Surface:
    """The same with normals and corners turned outwards, as a sample of them against the metal shows."""
    pick = slice(None, None, max(len(surface.faces) // 20_000, 1))
    corners = surface.vertices[surface.faces[pick]].astype(np.float64)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    own = surface.normals[surface.faces[pick, 0]].astype(np.float64)

    def metal(points: FloatArray) -> float:
        index = np.round((points - material.origin_mm) / material.voxel_mm).astype(int)
        return float(material.share[index[:, 2], index[:, 1], index[:, 0]].mean())

    step = own * material.voxel_mm
    outwards = metal(corners[:, 0] + step) < metal(corners[:, 0] - step)
    normals = surface.normals if outwards else -surface.normals
    same = np.einsum("ij,ij->", flat, own) > 0
    return Surface(surface.vertices, normals, surface.faces if same == outwards else surface.faces[:, ::-1])


def directions(count: int) -> FloatArray:
    """(count, 3) unit vectors spread evenly over the sphere."""
    n = np.arange(count) + 0.5
    height = 1.0 - 2.0 * n / count
    turn = np.pi * (1.0 + np.sqrt(5.0)) * n
    ring = np.sqrt(1.0 - height**2)
    return np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])


def seen_from(surface: Surface, views: FloatArray, voxel_mm: float, threads: int) -> NDArray[np.bool_]:
    """(N,) which vertices at least one of ``views`` (V, 3, towards the scanner) sees."""

    def look(view: FloatArray) -> NDArray[np.bool_]:
        across = np.cross(view, np.eye(3)[int(np.abs(view).argmin())])
        across /= np.linalg.norm(across)
        frame = np.array([across, np.cross(view, across), view])
        return np.asarray(
            scan_kernels.seen(
                surface.vertices,
                surface.normals,
                frame,
                _PIXEL_VOXELS * voxel_mm,
                _SLACK_VOXELS * voxel_mm,
                _COSINE_MIN,
            )
        )

    found = np.zeros(len(surface.vertices), dtype=bool)
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        for one in pool.map(look, list(views)):
            found |= one
    return found


def gap_centre(surface: Surface, towards: FloatArray) -> FloatArray:
    """The place (3,) of the surface that lies outermost near the ray from the middle ``towards`` a direction."""
    middle = (surface.vertices.min(0) + surface.vertices.max(0)).astype(np.float64) / 2
    rel = surface.vertices - middle
    along = rel @ towards
    aside = np.linalg.norm(rel - along[:, None] * towards, axis=1)
    score = np.where((aside < 3.0) & (along > 0), along, -np.inf)
    if not np.isfinite(score.max()):
        raise GeometryError(
            "the missing patch of the simulated scan lies beside the part",
            where="simulated_print.surface.missing_towards_xyz",
            fix="choose a direction in which there is metal",
        )
    return np.asarray(surface.vertices[int(score.argmax())], dtype=np.float64)


def without_flakes(surface: Surface) -> Surface:
    """The scan without loose pieces of a few triangles."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    f, n = surface.faces, len(surface.vertices)
    ends = np.concatenate([f[:, :2], f[:, 1:]])
    graph = coo_matrix((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(n, n))
    _, piece = connected_components(graph, directed=False)
    large = np.bincount(piece[f[:, 0]], minlength=piece.max() + 1) >= _FLAKE_TRIANGLES
    return surface.only(large[piece])
