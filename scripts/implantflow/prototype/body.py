"""The implant's outer shape: resected anatomy grown over the saw kerf, less the clearances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import write_npz
from implantflow.config.implant import Clearances
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, Plane
from implantflow.solids.booleans import crop, difference, refined, shells, simplified, trim, union
from implantflow.solids.distance import Surface
from implantflow.solids.faces import Neighbours, plan_plane
from implantflow.solids.mesh import EDGE_MM, SLIVER_MM, Solid, require_closed
from implantflow.solids.offset import offset
from implantflow.solids.shapes import cylinder

#: A correction may chip off specks of this volume; losing more means that it broke the part.
_SPECK_MM3 = 60.0
_OFFSET_GRID_MM = 0.6


@dataclass(frozen=True)
class Hole:
    """A drilled hole, or the round column of a boss: axis in patient LPS mm, diameter in mm."""

    name: str
    start_lps_mm: tuple[float, float, float]
    end_lps_mm: tuple[float, float, float]
    diameter_mm: float

    def as_solid(self) -> Solid:
        """The cylinder itself."""
        return cylinder(self.start_lps_mm, self.end_lps_mm, self.diameter_mm)

    def moved(self, shift_mm: FloatArray) -> Hole:
        """The same hole, its whole axis shifted by ``shift_mm`` (3,)."""
        a, b = np.asarray(self.start_lps_mm) + shift_mm, np.asarray(self.end_lps_mm) + shift_mm
        return replace(
            self,
            start_lps_mm=(float(a[0]), float(a[1]), float(a[2])),
            end_lps_mm=(float(b[0]), float(b[1]), float(b[2])),
        )

    def as_json(self) -> dict[str, Any]:
        """Keys as in ``prototype.json``."""
        return {
            "name": self.name,
            "start_lps_mm": list(self.start_lps_mm),
            "end_lps_mm": list(self.end_lps_mm),
            "diameter_mm": self.diameter_mm,
        }


@dataclass(frozen=True)
class Shape:
    """A body, the bosses on it and the holes through both: either can move because the body is still whole."""

    body: Solid
    holes: tuple[Hole, ...]
    bosses: tuple[Hole, ...] = ()

    def drilled(self) -> Solid:
        """The body with its bosses, every hole cut out."""
        columns, tools = ([h.as_solid() for h in features] for features in (self.bosses, self.holes))
        return difference(union(self.body, *columns) if columns else self.body, *tools)

    def save(self, path: Path) -> None:
        """Write body, holes and bosses (npz), to the last digit, for the next iteration to go on from."""
        arrays: dict[str, Any] = {"vertices_lps_mm": self.body.vertices, "faces": self.body.faces}
        for kind, features in (("hole", self.holes), ("boss", self.bosses)):
            places = [(*h.start_lps_mm, *h.end_lps_mm, h.diameter_mm) for h in features]
            arrays[f"{kind}_places"] = np.array(places, dtype=np.float64).reshape(-1, 7)
            arrays[f"{kind}_names"] = np.array([h.name for h in features], dtype=np.str_)
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: Path) -> Shape:
        """Read what :meth:`save` wrote."""
        with np.load(path) as stored:
            body = Solid.of(stored["vertices_lps_mm"], stored["faces"])
            return cls(body, _features(stored, "hole"), _features(stored, "boss"))


def _features(stored: Any, kind: str) -> tuple[Hole, ...]:
    rows = zip(stored[f"{kind}_names"].tolist(), stored[f"{kind}_places"].tolist(), strict=True)
    return tuple(Hole(name, tuple(p[:3]), tuple(p[3:6]), p[6]) for name, p in rows)


def first_shape(
    sacrum: Solid, plan: dict[str, Any], clearance: Clearances, neighbours: Neighbours
) -> tuple[Shape, dict[str, float]]:
    """Body of the first iteration and what was taken off it, in mm3.

    The resected anatomy is extended over the kerf up to the clearance, so the gap to the sawn bone is the clearance
    and not the width of the saw; then everything nearer to ilium or L5 than their clearances is removed.

    Raises
    ------
    GeometryError
        Nothing is left, or it falls apart.
    """
    kerf = float(plan["kerf_mm"])
    planes = []
    for name, gap in (("midline", clearance.midline_mm), ("caudal", clearance.caudal_mm)):
        plane = plan_plane(plan, name)
        normal = np.asarray(plane.normal)
        planes.append(Plane.of(np.asarray(plane.point) - (kerf - gap) * normal, normal))
    body, dropped = one_piece(trim(sacrum, planes), "the implant body", speck_mm3=2000.0)
    facts = {"loose_bone_left_out_mm3": dropped}
    for name, gap in (("hip", clearance.hip_mm), ("l5", clearance.l5_mm)):
        body, removed = keep_clear(body, neighbours.by_name(name), gap)
        facts[f"removed_for_{name}_clearance_mm3"] = removed
    return Shape(even(body), ()), facts


def even(body: Solid) -> Solid:
    """``body`` with slivers removed and long edges split: corrections look for faces triangle by triangle."""
    return refined(simplified(body, SLIVER_MM), EDGE_MM)


def keep_clear(body: Solid, neighbour: Surface, clearance_mm: float) -> tuple[Solid, float]:
    """``body`` less everything nearer than ``clearance_mm`` to ``neighbour``, and the volume removed in mm3."""
    reach = clearance_mm + 3.0 * _OFFSET_GRID_MM
    near = np.abs(neighbour.signed_distance_mm(body.vertices, reach)) < reach
    if not near.any():
        return body, 0.0
    places = body.vertices[near]
    room = clearance_mm + 4.0
    part = crop(neighbour.solid, places.min(axis=0) - room, places.max(axis=0) + room)
    if len(part.faces) == 0:
        return body, 0.0
    tool = offset(part, clearance_mm, _OFFSET_GRID_MM)
    kept, _ = one_piece(difference(body, tool), "the implant body")
    return kept, body.volume_mm3 - kept.volume_mm3


def one_piece(solid: Solid, name: str, speck_mm3: float = _SPECK_MM3) -> tuple[Solid, float]:
    """The largest piece of ``solid`` and the volume of the specks left out in mm3.

    Raises
    ------
    GeometryError
        Nothing is left, or the other pieces are more than specks.
    """
    require_closed(solid, name)
    largest, *rest = shells(solid)
    lost = sum(piece.volume_mm3 for piece in rest)
    if lost > speck_mm3:
        raise GeometryError(
            f"{name} falls into {len(rest) + 1} pieces; {lost:.0f} mm3 would be lost",
            where="prototype corrections",
            fix="make the correction smaller",
        )
    return largest, lost
