"""Which parts of a construct share room with which, and how deep one lies in the other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from implantflow.geometry import FloatArray
from implantflow.solids.booleans import intersection, refined
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid

#: Less shared room than this is the facets of round parts, or the rounding of a file.
_SHARED_MM3 = 0.5
_SAMPLE_MM = 0.7


@dataclass(frozen=True)
class Collision:
    """Two parts that share room: ``depth_mm`` is the farthest that the skin of one lies inside the other."""

    first: str
    second: str
    depth_mm: float
    shared_mm3: float
    place_mm: FloatArray

    def __str__(self) -> str:
        place = ", ".join(f"{x:.0f}" for x in self.place_mm)
        return f"{self.first} lies {self.depth_mm:.1f} mm deep in {self.second}, about ({place})"


def between(first: str, one: Solid, second: str, other: Solid) -> Collision | None:
    """The collision of two solids, None when they share no room."""
    if (one.bounds_mm[0] > other.bounds_mm[1]).any() or (other.bounds_mm[0] > one.bounds_mm[1]).any():
        return None
    common = intersection(one, other)
    if len(common.faces) == 0 or common.volume_mm3 < _SHARED_MM3:
        return None
    # Every place on the skin of what they share is on the skin of one of them.
    places = refined(common, _SAMPLE_MM).vertices
    depth = np.maximum(*(np.abs(Surface(solid).signed_distance_mm(places)) for solid in (one, other)))
    at = int(np.argmax(depth))
    return Collision(first, second, float(depth[at]), common.volume_mm3, places[at])


def collisions(
    metal: Mapping[str, Solid], bones: Mapping[str, Solid], joined: Set[frozenset[str]]
) -> list[Collision]:
    """All collisions of metal with metal and with bone, the deepest first.

    ``joined`` holds the pairs that are meant to meet, such as a rod and its heads, or a screw and its bone.
    """
    pairs = [*itertools.combinations(metal.items(), 2), *itertools.product(metal.items(), bones.items())]
    found = [between(a, one, b, other) for (a, one), (b, other) in pairs if frozenset((a, b)) not in joined]
    return sorted((c for c in found if c is not None), key=lambda c: (-c.depth_mm, c.first, c.second))
