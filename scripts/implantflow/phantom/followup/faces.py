"""Contact faces of the implant: how far a place lies off each of them, and the bone in the pores below."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import read_json, read_stl, sha256_file
from implantflow.config.simulated_followup import FollowupScan
from implantflow.errors import InputError, ProvenanceError
from implantflow.geometry import FloatArray, transform_points
from implantflow.phantom.followup.implant_field import ImplantField

Float32Array = NDArray[np.float32]

#: Grids of the heights and of the pore fractions in the build frame, mm.
GRID_MM, PORE_GRID_MM = 1.0, 2.0
#: How far around the implant that grid reaches, and a height that means "nowhere near this face".
_MARGIN_MM, FAR_MM = 7.0, 99.0
#: A place whose nearest point of the face lies further aside than this is past the face's rim.
_ASIDE_MM = 1.0
#: Which share of a face's points is enough for depths on the coarser grid.
_THINNED, _CLOSE_MM = 7, 4.0


@dataclass(frozen=True)
class Face:
    """Points on one contact face (N, 3) with outward unit normals and areas (mm2), planning LPS."""

    name: str
    points: FloatArray
    normals: FloatArray
    areas_mm2: FloatArray


@dataclass(frozen=True)
class FaceGrids:
    """Grids in the build frame that the coverage kernel reads.

    Attributes
    ----------
    origin_mm : (3,) node (0, 0, 0) of both grids.
    heights : (F, K, J, I) float32, signed distance above each face that is fused or lucent, mm, on the finer grid.
    kinds : (F,) 0 fused, 1 lucent.
    widths_mm, bone : (F,) width of the layer, bone fraction in a fused one.
    pore_bone : (K, J, I) float32, fraction of the pore space that is bone, on the coarser grid.
    """

    origin_mm: FloatArray
    heights: Float32Array
    kinds: NDArray[np.int64]
    widths_mm: FloatArray
    bone: FloatArray
    pore_bone: Float32Array


def read_faces(regions_path: Path, implant_path: Path) -> list[Face]:
    """The contact faces of ``regions.json`` as points on the triangles of ``implant.stl``.

    Raises
    ------
    ProvenanceError
        The mesh is not the one whose triangles the regions name.
    """
    regions = read_json(regions_path)
    if sha256_file(implant_path) != regions["implant_stl_sha256"]:
        raise ProvenanceError(
            "implant.stl is not the mesh that regions.json describes",
            where=str(regions_path),
            fix="run the implant stage again",
        )
    vertices, triangles = read_stl(implant_path)
    return [_face(entry, vertices.astype(float), triangles) for entry in regions["contact_faces"]]


def _face(entry: dict[str, Any], vertices: FloatArray, triangles: NDArray[np.int64]) -> Face:
    corners = vertices[triangles[np.array(entry["triangles"], np.int64)]]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double = np.linalg.norm(cross, axis=1)
    corners, cross, double = corners[double > 0], cross[double > 0], double[double > 0]
    normal = cross / double[:, None]
    # Centroids and edge middles: no place of a triangle of about a millimetre is far from one of them.
    middles = [corners.mean(1)] + [(corners[:, a] + corners[:, b]) / 2 for a, b in ((0, 1), (1, 2), (2, 0))]
    return Face(entry["name"], np.concatenate(middles), np.tile(normal, (4, 1)), np.tile(double / 8.0, 4))


def depth_below(face: Face, points_lps: FloatArray, reach_mm: float, threads: int) -> FloatArray:
    """(N,) distance of points to the nearest point of the face, infinite beyond ``reach_mm``."""
    from scipy.spatial import cKDTree

    tree = cKDTree(face.points)
    return np.asarray(tree.query(points_lps, distance_upper_bound=reach_mm, workers=threads)[0])


def _signed_depth(face: Face, points_lps: FloatArray, threads: int) -> FloatArray:
    """(N,) depth below the face; near it negative on the outer side: smooth across it, so that a grid can hold it.

    A thinned face is enough for a grid of 2 mm, and many times faster far away from it.
    """
    from scipy.spatial import cKDTree

    points, normals = face.points[::_THINNED], face.normals[::_THINNED]
    distance, nearest = cKDTree(points).query(points_lps, workers=threads)
    along = np.einsum("ij,ij->i", points_lps - points[nearest], normals[nearest])
    # Close to the face the way along the normal is exact where the distance to a sample is not.
    return np.asarray(np.where(distance < _CLOSE_MM, -along, distance))


def height_above(face: Face, points_lps: FloatArray, reach_mm: float, threads: int) -> FloatArray:
    """(N,) signed distance above the face (positive outside), :data:`FAR_MM` past its rim or beyond ``reach_mm``.

    Over the face it is measured along the nearest point's normal, so that points between samples are exact.
    """
    from scipy.spatial import cKDTree

    out = np.full(len(points_lps), FAR_MM)
    low, high = face.points.min(0) - reach_mm, face.points.max(0) + reach_mm
    near = np.flatnonzero(((points_lps >= low) & (points_lps <= high)).all(1))
    distance, nearest = cKDTree(face.points).query(
        points_lps[near], distance_upper_bound=reach_mm, workers=threads
    )
    found = np.isfinite(distance)
    off = points_lps[near[found]] - face.points[nearest[found]]
    along = np.einsum("ij,ij->i", off, face.normals[nearest[found]])
    aside = np.sqrt(np.maximum(distance[found] ** 2 - along**2, 0.0))
    out[near[found]] = np.where(aside <= _ASIDE_MM, along, FAR_MM)
    return out


def face_grids(faces: list[Face], implant: ImplantField, scan: FollowupScan, threads: int) -> FaceGrids:
    """Grids of the faces' states and of the ingrowth of one scan."""
    by_name = {face.name: face for face in faces}
    for name in [*scan.faces, *scan.pores.ingrowth]:
        if name not in by_name:
            raise InputError(
                f"the implant has no contact face {name!r}",
                where="simulated_followup.scans",
                fix=f"name one of {', '.join(by_name)}",
            )
    fine, coarse = _nodes(implant, GRID_MM), _nodes(implant, PORE_GRID_MM)
    active = [(by_name[n], state) for n, state in scan.faces.items() if state.width_mm is not None]
    heights = np.full((len(active), *fine.shape), FAR_MM, np.float32)
    # Heights are read outside the implant only, pores inside it only; both need the nodes just across.
    outside, inside = _with_neighbours(fine.solid_mm > 0), _with_neighbours(coarse.solid_mm < 0)
    for n, (face, state) in enumerate(active):
        reach = (state.width_mm or 0.0) + 2.5
        heights[n][outside] = height_above(face, fine.points_lps[outside], reach, threads)
    bone = np.zeros(coarse.shape, np.float32)
    bone[inside] = _pore_bone(by_name, scan, coarse.points_lps[inside], threads)
    return FaceGrids(
        origin_mm=fine.origin_mm,
        heights=heights,
        kinds=np.array([state.state == "lucent" for _, state in active], np.int64),
        widths_mm=np.array([state.width_mm for _, state in active], float),
        bone=np.array([state.bone_fraction or 0.0 for _, state in active], float),
        pore_bone=bone,
    )


def _with_neighbours(nodes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The nodes and all that an interpolation beside them reads."""
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(nodes, np.ones((3, 3, 3))))


@dataclass(frozen=True)
class _Nodes:
    """A grid around the implant: origin in the build frame, nodes in planning LPS, distance to the solid there."""

    origin_mm: FloatArray
    points_lps: FloatArray
    solid_mm: FloatArray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.solid_mm.shape


def _nodes(implant: ImplantField, spacing_mm: float) -> _Nodes:
    from scipy.ndimage import map_coordinates

    origin = implant.low_mm - _MARGIN_MM
    n_i, n_j, n_k = (int(n) + 2 for n in np.ceil((implant.high_mm + _MARGIN_MM - origin) / spacing_mm))
    k, j, i = np.indices((n_k, n_j, n_i))
    build = origin + spacing_mm * np.stack([i, j, k], axis=-1)
    index = (build - implant.origin_mm) / implant.spacing_mm
    far = float(np.iinfo(np.int16).max)
    solid = map_coordinates(
        implant.solid, np.moveaxis(index[..., ::-1], -1, 0), np.float32, 1, "constant", far
    )
    points = transform_points(np.linalg.inv(implant.build_from_planning), build.reshape(-1, 3))
    return _Nodes(origin, points.reshape(*k.shape, 3), np.asarray(solid * implant.step_mm))


def _pore_bone(
    faces: dict[str, Face], scan: FollowupScan, points_lps: FloatArray, threads: int
) -> FloatArray:
    """(N,) fraction of the pore space that is bone at points given where the implant was planned."""
    core = scan.pores.core_fraction
    out = np.full(len(points_lps), core)
    for name, ingrowth in scan.pores.ingrowth.items():
        depth = _signed_depth(faces[name], points_lps, threads)
        grown = core + (ingrowth.at_face_fraction - core) * np.exp(-depth / ingrowth.decay_mm)
        # Outside the implant nothing reads it; the cap only keeps the numbers small.
        out = np.maximum(out, np.minimum(grown, 1.0))
    return out


def pore_bone_at(grids: FaceGrids, points_build: FloatArray) -> FloatArray:
    """(N,) fraction of the pore space that is bone, as the scan has it, at points of the build frame."""
    from scipy.ndimage import map_coordinates

    index = (points_build - grids.origin_mm) / PORE_GRID_MM
    return np.asarray(map_coordinates(grids.pore_bone, index[:, ::-1].T, order=1, mode="nearest"))
