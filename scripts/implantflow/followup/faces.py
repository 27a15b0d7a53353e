"""The implant's surface in patches: the faces that mate with bone, and the rest, which shows what metal alone does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.followup.design import Depths
from implantflow.geometry import FloatArray, unit
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import frame_of

IntArray = NDArray[np.int64]

#: A patch smaller than this share of its square is a rim: what lies beside the face is blurred into it.
_MIN_SHARE = 0.5
#: How far inside the surface it is looked whether the wall is dense, mm.
_UNDER_MM = 0.4
#: Steps along a normal in the search for bone opposite, mm.
_STEP_MM = 0.25


@dataclass(frozen=True)
class Lines:
    """Lines along outward normals, one per triangle, gathered in patches.

    Attributes
    ----------
    points, normals : (N, 3)
        Foot on the surface (planned patient LPS, mm) and outward unit normal.
    areas : (N,) mm2.
    patch : (N,) number of the patch that the line belongs to, 0 .. count - 1.
    centres, outward : (P, 3) area-weighted middle and unit normal of each patch.
    patch_areas : (P,) mm2.
    dense : (P,) True where the wall under the patch is dense metal.
    """

    points: FloatArray
    normals: FloatArray
    areas: FloatArray
    patch: IntArray
    centres: FloatArray
    outward: FloatArray
    patch_areas: FloatArray
    dense: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of patches."""
        return len(self.centres)

    def mean(self, values: FloatArray) -> FloatArray:
        """(P, S) area-weighted means over each patch of ``values`` (N, S) at the lines; NaN values are left out."""
        good = np.isfinite(values)
        weight = self.areas[:, None] * good
        filled = np.where(good, values, 0.0) * weight
        out = np.empty((self.count, values.shape[1]))
        for column in range(values.shape[1]):
            total = np.bincount(self.patch, weight[:, column], self.count)
            value = np.bincount(self.patch, filled[:, column], self.count)
            out[:, column] = np.divide(value, total, out=np.full(self.count, np.nan), where=total > 0)
        return out

    def only(self, keep: NDArray[np.bool_]) -> Lines:
        """The patches in ``keep`` (P,)."""
        number = np.full(self.count, -1, dtype=np.int64)
        number[keep] = np.arange(int(keep.sum()))
        lines = number[self.patch] >= 0
        return Lines(
            self.points[lines],
            self.normals[lines],
            self.areas[lines],
            number[self.patch[lines]],
            self.centres[keep],
            self.outward[keep],
            self.patch_areas[keep],
            self.dense[keep],
        )


@dataclass(frozen=True)
class Face:
    """A named face: ``name``, neighbour ``mates_with``, dense wall ``thickness_mm`` (0: porous), its ``lines``."""

    name: str
    mates_with: str
    thickness_mm: float
    area_mm2: float
    lines: Lines


def contact_faces(implant: Solid, regions: Mapping[str, Any], depths: Depths, patch_mm: float) -> list[Face]:
    """The faces that ``regions.json`` names, in its order.

    Raises
    ------
    GeometryError
        A face names triangles that the implant does not have.
    """
    found = []
    for entry in regions["contact_faces"]:
        triangles = np.asarray(entry["triangles"], dtype=np.int64)
        if len(triangles) == 0 or triangles.max() >= len(implant.faces):
            raise GeometryError(
                f"regions.json names triangles of face {entry['name']} that the implant does not have",
                where="implant/regions.json",
                fix="run the implant stage again",
            )
        lines = lines_of(implant, triangles, depths, patch_mm)
        found.append(
            Face(
                str(entry["name"]),
                str(entry["mates_with"]),
                float(entry["thickness_mm"]),
                float(entry["area_mm2"]),
                lines,
            )
        )
    return found


def free_surface(
    implant: Solid, regions: Mapping[str, Any], mates: set[str], depths: Depths, patch_mm: float
) -> Lines:
    """Lines on everything that is not a face planned to touch bone."""
    taken = np.zeros(len(implant.faces), dtype=bool)
    for entry in regions["contact_faces"]:
        if entry["mates_with"] in mates:
            taken[np.asarray(entry["triangles"], dtype=np.int64)] = True
    return lines_of(implant, np.flatnonzero(~taken), depths, patch_mm)


def lines_of(implant: Solid, triangles: IntArray, depths: Depths, patch_mm: float) -> Lines:
    """Lines from the centroids of ``triangles``, in square patches of about ``patch_mm``.

    Patches are squares on the plane that the normals point at most (one of 26 directions), so that a curved face
    is cut into pieces that are nearly flat.
    """
    area = implant.areas_mm2[triangles]
    real = area > 1e-5
    triangles, area = triangles[real], area[real]
    points, normals = implant.centres_mm[triangles], implant.normals[triangles]
    side = _sides(normals)
    key = np.zeros((len(triangles), 3), dtype=np.int64)
    for number, direction in enumerate(_DIRECTIONS):
        chosen = side == number
        frame = frame_of(direction)
        flat = (points[chosen] - implant.bounds_mm.mean(axis=0)) @ frame[:, :2]
        key[chosen, 0] = number
        key[chosen, 1:] = np.floor(flat / patch_mm).astype(np.int64)
    _, patch = np.unique(key, axis=0, return_inverse=True)
    patch = patch.reshape(-1).astype(np.int64)
    count = int(patch.max()) + 1
    total = _sums(patch, area[:, None], count)[:, 0]
    centres = _sums(patch, area[:, None] * points, count) / total[:, None]
    outward = _sums(patch, area[:, None] * normals, count)
    outward = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    dense = depths.is_dense(centres - _UNDER_MM * outward)
    lines = Lines(points, normals, area, patch, centres, outward, total, dense)
    return lines.only(total > _MIN_SHARE * patch_mm**2)


def _sums(patch: IntArray, values: FloatArray, count: int) -> FloatArray:
    """(P, C) sums over each patch of (N, C) ``values``."""
    columns = [np.bincount(patch, values[:, c], count) for c in range(values.shape[1])]
    return np.asarray(np.stack(columns, axis=1), dtype=np.float64)


_DIRECTIONS = np.array(
    [unit([x, y, z]) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) != (0, 0, 0)]
)


def _sides(normals: FloatArray) -> IntArray:
    """Number of the direction that each of (N, 3) normals points at most."""
    return np.asarray(np.argmax(np.round(normals @ _DIRECTIONS.T, 9), axis=1))


def gap_to_bone(
    centres: FloatArray, outward: FloatArray, bone: Surface, from_mm: float, to_mm: float
) -> FloatArray:
    """Way (P,) in mm along ``outward`` from ``centres`` to the surface of ``bone``; NaN where there is none.

    Searched from ``from_mm`` (negative: the face may have sunk into the bone) to ``to_mm``. Both (P, 3) arrays are
    in the frame of ``bone``.
    """
    steps = np.arange(from_mm, to_mm + _STEP_MM, _STEP_MM)
    points = centres[:, None] + steps[None, :, None] * outward[:, None]
    distance = bone.signed_distance_mm(points.reshape(-1, 3), to_mm - from_mm + 2.0).reshape(len(centres), -1)
    inside = distance < 0
    first = np.argmax(inside, axis=1)
    gap = np.full(len(centres), np.nan)
    gap[inside[:, 0]] = from_mm
    rows = np.flatnonzero(inside.any(axis=1) & ~inside[:, 0])
    after, before = distance[rows, first[rows]], distance[rows, first[rows] - 1]
    gap[rows] = steps[first[rows]] - _STEP_MM * after / (after - before)
    return gap
