"""Which part of the designed surface a triangle belongs to, by the names of regions.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import InputError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, polyline_distance, transform_points
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid

#: The wall of a hole lies no further from its radius than this (mm).
_WALL_MM = 0.35
#: Names of what is no contact face.
HOLES, DENSE, POROUS = "holes_and_passages", "other_dense_surface", "other_porous_surface"


@dataclass(frozen=True)
class Regions:
    """Regions of the designed outer surface.

    Attributes
    ----------
    names : of all regions; contact faces first, then :data:`DENSE`, :data:`POROUS`, :data:`HOLES`.
    of_triangle : (M,) index into ``names`` of every triangle of the implant as printed.
    faces : how many of the names are contact faces.
    """

    names: list[str]
    of_triangle: NDArray[np.int64]
    faces: int

    def triangles(self, name: str) -> NDArray[np.bool_]:
        """(M,) mask of a region's triangles."""
        return np.asarray(self.of_triangle == self.names.index(name))


@dataclass(frozen=True)
class Hole:
    """A hole or passage: name, its axis (P, 3) mm and radius."""

    name: str
    path_mm: FloatArray
    radius_mm: float

    def wall(self, points_mm: FloatArray) -> NDArray[np.bool_]:
        """(N,) which points of the part's surface lie on its wall."""
        return np.asarray(polyline_distance(points_mm, self.path_mm) < self.radius_mm + _WALL_MM)


def regions_of(field: Field, regions: Mapping[str, Any]) -> Regions:
    """Divide the designed surface (triangles of ``field``) by ``regions`` (content of regions.json).

    Raises
    ------
    InputError
        The regions name triangles that the field does not have.
    """
    corners = field.vertices_mm[field.faces]
    centres = corners.mean(axis=1)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    names = [str(face["name"]) for face in regions["contact_faces"]] + [DENSE, POROUS, HOLES]
    below = field.dense_value(centres - 0.1 * normal)
    found = np.where(below < 0, names.index(DENSE), names.index(POROUS))
    for number, face in enumerate(regions["contact_faces"]):
        ids = np.asarray(face["triangles"], dtype=np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= len(found)):
            raise InputError(
                f"contact face {face['name']!r} names triangles that the field does not have",
                where="regions.json",
                fix="run the implant and lattice stages again: their files belong together",
            )
        found[ids] = number
    for hole in holes_of(field, regions):
        found[hole.wall(centres) & (found >= len(names) - 3)] = names.index(HOLES)
    if field.stock is not None:
        found = found[_below_stock(field)]
    return Regions(names, found, len(names) - 3)


def _below_stock(field: Field) -> NDArray[np.int64]:
    """The triangle of the finished implant that each triangle of the printed surface belongs to: the nearest."""
    vertices_mm, faces = field.printed
    finished = Surface(Solid.of(field.vertices_mm, field.faces))
    return finished.nearest(vertices_mm[faces].mean(axis=1)).triangle


def holes_of(field: Field, regions: Mapping[str, Any]) -> list[Hole]:
    """Everything drilled or bent through the part, screw holes first, build_xyz."""
    found = [
        (hole, np.array([hole["start_lps_mm"], hole["end_lps_mm"]], dtype=float))
        for hole in regions.get("screw_holes", [])
    ]
    found += [
        (passage, np.array(passage["polyline_lps_mm"], dtype=float))
        for passage in regions.get("cable_passages", [])
    ]
    return [
        Hole(str(entry["name"]), transform_points(field.build_from_patient, line), entry["diameter_mm"] / 2.0)
        for entry, line in found
    ]
