"""Contact faces on the voxel mesh: where loads come in and bone holds the implant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.strength.element import CORNERS
from implantflow.strength.mesh import Mesh


@dataclass(frozen=True)
class Contact:
    """A face of the implant's surface as points attached to elements.

    Attributes
    ----------
    name : str
    points : (P, 3) array, mm
    areas : (P,) array, mm2
    elements : (P,) int array
    weights : (P, 8) array
        Shares of the element's corners in each point; rows sum to one.
    farthest_mm : float
        Largest distance by which a point had to be moved to reach an element.
    """

    name: str
    points: FloatArray
    areas: FloatArray
    elements: NDArray[np.int64]
    weights: FloatArray
    farthest_mm: float

    def spread(self, mesh: Mesh, values: FloatArray) -> FloatArray:
        """(N, C) sums at the mesh's corners of ``values`` (P, C) given at the points."""
        target = mesh.nodes[self.elements].ravel()
        out = np.empty((len(mesh.points), values.shape[1]))
        for column in range(values.shape[1]):
            parts = (self.weights * values[:, column : column + 1]).ravel()
            out[:, column] = np.bincount(target, parts, len(out))
        return out

    def mean(self, mesh: Mesh, field: FloatArray) -> FloatArray:
        """Area mean (C,) over the face of a field (N, C) given at the mesh's corners."""
        at_points = np.einsum("pc,pcd->pd", self.weights, field[mesh.nodes[self.elements]])
        return np.asarray(self.areas @ at_points / self.areas.sum())


def sample_triangles(
    vertices: FloatArray, faces: NDArray[np.int64], spacing_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Cover triangles with points no further apart than about ``spacing_mm``.

    Returns
    -------
    points : (P, 3) array, mm
    areas : (P,) array, mm2
        The part of its triangle that each point stands for.
    """
    corner = np.asarray(vertices, dtype=np.float64)[faces]
    edges = np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2).max(axis=1)
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    splits = np.maximum(np.ceil(edges / spacing_mm), 1).astype(int)
    points, areas = [], []
    for n in np.unique(splits):
        chosen = splits == n
        places = _barycentric(int(n))
        points.append(np.einsum("bc,tcx->tbx", places, corner[chosen]).reshape(-1, 3))
        areas.append(np.repeat(area[chosen] / len(places), len(places)))
    return np.concatenate(points), np.concatenate(areas)


def _barycentric(n: int) -> FloatArray:
    """(n * n, 3) centres of the n * n equal parts of a triangle."""
    out = []
    for i in range(n):
        for j in range(n - i):
            out.append((i + 1 / 3, j + 1 / 3))
            if i + j < n - 1:
                out.append((i + 2 / 3, j + 2 / 3))
    uv = np.array(out) / n
    return np.column_stack([uv, 1.0 - uv.sum(axis=1)])


def attach(mesh: Mesh, name: str, points: FloatArray, areas: FloatArray, reach: float = 2.0) -> Contact:
    """Attach surface points to the elements they lie in, or to the nearest one.

    Parameters
    ----------
    reach : float
        Farthest that a point may lie from its element's centre, in voxels beyond the voxel's own corner.

    Raises
    ------
    GeometryError
        A point lies farther from the mesh than that.
    """
    from scipy.spatial import cKDTree

    grid = mesh.grid
    place = np.floor((points - grid.origin_mm) / grid.voxel_mm).astype(np.int64)
    sides = np.array(grid.shape[::-1])
    held = ((place >= 0) & (place < sides)).all(axis=1)
    place = np.clip(place, 0, sides - 1)
    number = np.full(int(np.prod(grid.shape)), -1, dtype=np.int64)
    number[mesh.voxels] = np.arange(len(mesh.voxels))
    elements = number[np.ravel_multi_index((place[:, 2], place[:, 1], place[:, 0]), grid.shape)]
    lost = ~held | (elements < 0)
    centres = grid.centres(mesh.voxels)
    if lost.any():
        elements[lost] = cKDTree(centres).query(points[lost])[1]
    local = (points - centres[elements]) / grid.voxel_mm + 0.5
    inside = np.clip(local, 0.0, 1.0)
    farthest = float(np.linalg.norm(local - inside, axis=1).max()) * grid.voxel_mm
    if farthest > reach * grid.voxel_mm:
        raise GeometryError(
            f"the contact face '{name}' lies {farthest:.1f} mm outside the finite-element mesh",
            where="regions.json",
            fix="run the implant stage again, or reduce strength.voxel_mm",
        )
    factors = np.where(CORNERS[None] > 0.5, inside[:, None, :], 1.0 - inside[:, None, :])
    return Contact(name, points, areas, elements, factors.prod(axis=2), farthest)
