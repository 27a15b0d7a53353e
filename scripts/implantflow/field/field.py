"""The field: solid AND (dense OR lattice), stored so that every later stage evaluates the same numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.artifacts import read_json, sha256_file, write_json, write_npz
from implantflow.errors import InputError, ProvenanceError
from implantflow.field.lattice import Grade, Graph, Lattice
from implantflow.field.material import Material, Texture
from implantflow.geometry import FloatArray

#: mm per step of the stored int16 distances.
DISTANCE_STEP_MM = 1e-4

OUTSIDE, POROUS, DENSE = 0, 1, 2


@dataclass(frozen=True)
class Field:
    """The implant's material as a signed function in ``build_xyz`` (mm, z up from the plate).

    Negative inside metal: ``max(solid, material)``, the material being ``min(dense, lattice)`` with fillets between the
    two and a texture on rugged surfaces (:mod:`implantflow.field.material`). ``solid`` and ``dense`` are distances on
    coarse grids, linear between nodes and clamped (solid to 1.5 mm or more, dense to 3 mm); the exact surface
    of the solid is the mesh, which the slicer and the volume use. The lattice follows the build axes with its
    origin at (0, 0, 0).

    Attributes
    ----------
    cell, cell_mm, strut_mm : the lattice (:class:`implantflow.field.lattice.Lattice`).
    build_from_patient : (4, 4) rigid matrix, patient LPS -> build_xyz.
    vertices_mm, faces : the implant's surface, (N, 3) in build_xyz and (M, 3).
    origin_mm, spacing_mm : place of node (0, 0, 0) and distance of nodes of both grids.
    solid, dense : (K, J, I) int16, distances in steps of :data:`DISTANCE_STEP_MM`.
    grade : (K, J, I) int16, strut diameter at the same nodes and in the same steps; None where all are alike.
    graph : struts of a lattice that repeats nowhere.
    fillet_mm : radius between lattice and dense metal.
    stock : vertices (N, 3) and faces (M, 3) of the surface that is printed, where it is the implant with machining
        stock on it; None where the implant is printed as it is.
    texture, rough : rugged surfaces and where they are, (K, J, I) int16, share in steps of 1e-4.
    """

    cell: str
    cell_mm: float
    strut_mm: float
    build_from_patient: FloatArray
    vertices_mm: FloatArray
    faces: NDArray[np.int64]
    origin_mm: FloatArray
    spacing_mm: float
    solid: NDArray[np.int16]
    dense: NDArray[np.int16]
    grade: NDArray[np.int16] | None = None
    graph: Graph | None = None
    fillet_mm: float = 0.0
    texture: Texture | None = None
    rough: NDArray[np.int16] | None = None
    stock: tuple[FloatArray, NDArray[np.int64]] | None = None

    @property
    def printed(self) -> tuple[FloatArray, NDArray[np.int64]]:
        """Vertices and faces of the surface that is printed, machining stock included, in build_xyz."""
        return (self.vertices_mm, self.faces) if self.stock is None else self.stock

    @cached_property
    def material(self) -> Material:
        """What fills the outer surface, as designed."""
        return self.material_drawn(self.origin_mm, np.full(3, self.spacing_mm))

    @property
    def lattice(self) -> Lattice:
        """The unclipped lattice."""
        return self.material.lattice

    def material_drawn(self, origin_mm: FloatArray, spacing_mm: FloatArray) -> Material:
        """The material with its grids (dense, grade, texture) drawn elsewhere, as a thermally scaled build does.

        ``origin_mm`` (3,) is where node (0, 0, 0) is drawn, ``spacing_mm`` (3,) how far apart nodes are drawn. The
        cells of the lattice keep their size and place.
        """
        grade = None if self.grade is None else Grade(self.grade, origin_mm, spacing_mm)
        lattice = Lattice(self.cell, self.cell_mm, self.strut_mm, self.graph, grade)
        return Material(
            lattice, origin_mm, spacing_mm, self.dense, self.fillet_mm, self.texture, self.solid, self.rough
        )

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) lowest and highest corner of the implant in build_xyz."""
        return np.array([self.vertices_mm.min(0), self.vertices_mm.max(0)])

    def _grid(self, grid: NDArray[np.int16], points: ArrayLike) -> FloatArray:
        from implantflow.field import grid_kernels

        p = np.ascontiguousarray(points, dtype=np.float64)
        out = np.empty(len(p))
        grid_kernels.trilinear(grid, self.origin_mm, self.spacing_mm, DISTANCE_STEP_MM, p, out)
        return out

    def solid_value(self, points_build: ArrayLike) -> FloatArray:
        """(N,) signed distance in mm to the outer solid, negative inside, from the grid."""
        return self._grid(self.solid, points_build)

    def dense_value(self, points_build: ArrayLike) -> FloatArray:
        """(N,) signed distance in mm to the dense region (shell, strut, faces, bosses), negative inside."""
        return self._grid(self.dense, points_build)

    def strut_value(self, points_build: ArrayLike) -> FloatArray:
        """(N,) strut diameter in mm that the lattice has at (N, 3) points."""
        if self.grade is None:
            return np.full(len(np.asarray(points_build)), self.strut_mm)
        return self._grid(self.grade, points_build)

    def lattice_value(self, points_build: ArrayLike) -> FloatArray:
        """(N,) value of the unclipped lattice in mm, negative inside metal."""
        return self.lattice.value(points_build)

    def value(self, points_build: ArrayLike) -> FloatArray:
        """(N,) signed value in mm of the material at (N, 3) points in build_xyz, negative inside metal."""
        return np.asarray(np.maximum(self.solid_value(points_build), self.material.value(points_build)))

    def region(self, points_build: ArrayLike) -> NDArray[np.uint8]:
        """(N,) region of (N, 3) points in build_xyz: 0 outside, 1 porous, 2 dense."""
        inside = self.solid_value(points_build) < 0
        dense = self.dense_value(points_build) < 0
        return np.where(inside, np.where(dense, DENSE, POROUS), OUTSIDE).astype(np.uint8)

    def save(self, json_path: Path, npz_path: Path, facts: dict[str, Any]) -> None:
        """Write field.json (parameters, frames, digest of the npz, ``facts``) and field.npz."""
        arrays: dict[str, NDArray[Any]] = {
            "vertices_mm": self.vertices_mm,
            "faces": self.faces.astype(np.int32),
            "solid": self.solid,
            "dense": self.dense,
        }
        if self.grade is not None:
            arrays["grade"] = self.grade
        if self.rough is not None:
            arrays["rough"] = self.rough
        if self.stock is not None:
            arrays["stock_vertices_mm"] = self.stock[0]
            arrays["stock_faces"] = self.stock[1].astype(np.int32)
        if self.graph is not None:
            arrays["nodes_tenth_um"] = np.round(self.graph.nodes_mm * 1e4).astype(np.int32)
            arrays["beams"] = self.graph.beams.astype(np.int32)
        write_npz(npz_path, arrays)
        write_json(
            json_path,
            {
                "frame": "build_xyz",
                "formula": "metal = solid AND (dense OR lattice); value = max(solid, min(dense, lattice)) mm, "
                "negative inside metal; corners between lattice and dense metal rounded by fillet_mm; rough surfaces "
                "shifted by the texture, the outer one inwards only",
                "cell": self.cell,
                "cell_mm": self.cell_mm,
                "strut_mm": self.strut_mm,
                "lattice_origin_mm": [0.0, 0.0, 0.0],
                # JSON is rounded to 1e-6; the rotation needs its digits, so it travels as text.
                "build_from_patient": [[repr(float(x)) for x in row] for row in self.build_from_patient],
                "bounds_mm": self.bounds_mm,
                "grid_origin_mm": self.origin_mm,
                "grid_spacing_mm": self.spacing_mm,
                "grid_shape_kji": list(self.solid.shape),
                "grid_step_mm": repr(DISTANCE_STEP_MM),
                "strut_range_mm": list(self.lattice.strut_range_mm),
                "graded": self.grade is not None,
                "struts_stored": None if self.graph is None else len(self.graph.beams),
                "machining_stock": self.stock is not None,
                "fillet_mm": self.fillet_mm,
                "texture": None if self.texture is None else asdict(self.texture),
                "field_npz_sha256": sha256_file(npz_path),
                **facts,
            },
        )

    @classmethod
    def load(cls, json_path: Path, npz_path: Path) -> Field:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ProvenanceError
            The npz is not the one that the JSON describes.
        InputError
            A file is damaged or lacks a key.
        """
        data = read_json(json_path)
        try:
            digest = data["field_npz_sha256"]
            if sha256_file(npz_path) != digest:
                raise ProvenanceError(
                    "field.npz is not the file that field.json describes",
                    where=str(npz_path),
                    fix="run the lattice stage again",
                )
            with np.load(npz_path, allow_pickle=False) as arrays:
                return cls(
                    cell=str(data["cell"]),
                    cell_mm=float(data["cell_mm"]),
                    strut_mm=float(data["strut_mm"]),
                    build_from_patient=np.array(
                        [[float(x) for x in row] for row in data["build_from_patient"]]
                    ),
                    vertices_mm=arrays["vertices_mm"],
                    faces=arrays["faces"].astype(np.int64),
                    origin_mm=np.array(data["grid_origin_mm"], dtype=np.float64),
                    spacing_mm=float(data["grid_spacing_mm"]),
                    solid=arrays["solid"],
                    dense=arrays["dense"],
                    grade=arrays["grade"] if data["graded"] else None,
                    graph=None
                    if data["struts_stored"] is None
                    else Graph(arrays["nodes_tenth_um"] / 1e4, arrays["beams"].astype(np.int64)),
                    fillet_mm=float(data["fillet_mm"]),
                    texture=None if data["texture"] is None else Texture(**data["texture"]),
                    rough=None if data["texture"] is None else arrays["rough"],
                    stock=(arrays["stock_vertices_mm"], arrays["stock_faces"].astype(np.int64))
                    if data["machining_stock"]
                    else None,
                )
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise InputError(f"the field cannot be read: {error!r}", where=str(json_path)) from error
