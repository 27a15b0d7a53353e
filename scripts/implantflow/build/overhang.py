"""What of the part faces down so flat that it needs supports, how much room they take, and where they would stand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray

#: Distance of the columns (mm): finer than a support wall, coarser than the facets.
COLUMN_MM = 0.5
#: A column under the surface counts from this height on (mm): less is a layer or two, which powder carries.
LEAST_HEIGHT_MM = 0.1
#: Areas smaller than this are not listed one by one (mm2); they are in the sums.
LISTED_MM2 = 5.0


@dataclass(frozen=True)
class Overhang:
    """Columns under the down-facing surface of a part as it stands in the machine (build_xyz, plate at z = 0).

    Attributes
    ----------
    column, top_mm, foot_mm : (N,) number of the column, height of the surface over it and of what is below it.
    slant : (N,) area of surface per area of column. dense : (N,) is the surface full metal?
    on_plate : (N,) does the column reach the plate? places_mm : (N, 2) x and y. width : columns in a row.
    """

    step_mm: float
    width: int
    column: NDArray[np.int64]
    top_mm: FloatArray
    foot_mm: FloatArray
    slant: FloatArray
    dense: NDArray[np.bool_]
    on_plate: NDArray[np.bool_]
    places_mm: FloatArray

    def area_mm2(self, dense: bool) -> float:
        """Area of the down-facing surface, of full metal or of lattice."""
        return float(self.slant[self.dense == dense].sum()) * self.step_mm**2

    def room_mm3(self, chosen: NDArray[np.bool_] | None = None) -> float:
        """Room between dense down-facing surface and what is below it: supports fill a part of this."""
        which = self.dense if chosen is None else chosen
        return float((self.top_mm - self.foot_mm)[which].sum()) * self.step_mm**2

    @cached_property
    def patches(self) -> NDArray[np.int64]:
        """(N,) number of the connected dense area that each column belongs to, -1 for lattice; largest first."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        number = np.full(len(self.column), -1, dtype=np.int64)
        which = np.flatnonzero(self.dense)
        if not len(which):
            return number
        column, top = self.column[which], self.top_mm[which]
        pairs = []
        for step in (1, self.width):
            low = np.searchsorted(column, column + step, "left")
            high = np.searchsorted(column, column + step, "right")
            for extra in range(int((high - low).max(initial=0))):
                a = np.flatnonzero(low + extra < high)
                b = low[a] + extra
                # A surface of 45 degrees climbs one step a column; twice that still is the same surface.
                near = np.abs(top[a] - top[b]) <= 2.0 * self.step_mm
                pairs.append(np.column_stack([a[near], b[near]]))
        ends = np.concatenate(pairs)
        links = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(which),) * 2)
        _, label = connected_components(links, directed=False)
        area = np.bincount(label, self.slant[which])
        rank = np.empty(len(area), dtype=np.int64)
        rank[np.lexsort([np.arange(len(area)), -area])] = np.arange(len(area))
        number[which] = rank[label]
        return number

    def as_json(self, overhang_deg: float) -> dict[str, Any]:
        """The support report: sums, and the dense areas one by one."""
        patches = []
        for n in range(int(self.patches.max(initial=-1)) + 1):
            here = self.patches == n
            area = float(self.slant[here].sum()) * self.step_mm**2
            if area < LISTED_MM2:
                break
            patches.append(
                {
                    "area_mm2": area,
                    "centre_mm": [*self.places_mm[here].mean(axis=0), float(self.top_mm[here].mean())],
                    "lowest_mm": float(self.top_mm[here].min()),
                    "tallest_support_mm": float((self.top_mm - self.foot_mm)[here].max()),
                    "support_room_mm3": self.room_mm3(here),
                    "on_plate_pct": 100.0 * float(self.on_plate[here].mean()),
                }
            )
        trapped = self.dense & ~self.on_plate
        return {
            "overhang_deg": overhang_deg,
            "column_mm": self.step_mm,
            "dense_area_mm2": self.area_mm2(True),
            "lattice_area_mm2": self.area_mm2(False),
            "support_room_mm3": self.room_mm3(),
            "support_standing_on_part_mm3": self.room_mm3(trapped),
            "supports_in_file": False,
            "note": "surfaces flatter than overhang_deg from the vertical, over at least "
            f"{LEAST_HEIGHT_MM:g} mm of powder; lattice carries itself and is judged by its islands. No supports are "
            "drawn: they are added in the machine's build software under the areas listed. Supports that stand "
            "on the part have to be taken out between two of its surfaces.",
            "areas": patches,
        }


def overhang(
    vertices_mm: FloatArray,
    faces: NDArray[np.int64],
    dense: NDArray[np.bool_],
    overhang_deg: float,
    step_mm: float = COLUMN_MM,
) -> Overhang:
    """Columns under all surface that leans more than ``overhang_deg`` from the vertical, face down.

    Parameters
    ----------
    vertices_mm, faces : closed mesh in build_xyz, outward normals. dense : (faces,) is it full metal?
    """
    from implantflow.build import column_kernels

    corners = vertices_mm[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1)
    down = -normal[:, 2] / np.maximum(length, 1e-30)
    low, high = vertices_mm.min(0), vertices_mm.max(0)
    nx, ny = (math.ceil(float(side) / step_mm) for side in (high - low)[:2])
    first = low[:2] + 0.5 * step_mm
    begin, height, face = column_kernels.crossings(
        np.ascontiguousarray(vertices_mm), faces, float(first[0]), float(first[1]), step_mm, nx, ny
    )
    column = np.repeat(np.arange(nx * ny), np.diff(begin))
    below = np.concatenate([[0.0], height[:-1]])
    lowest = np.ones(len(height), dtype=bool)
    lowest[1:] = column[1:] != column[:-1]
    foot = np.where(lowest, 0.0, below)
    # A little slack: a plane built at exactly the limit stands on it, whatever rounding says.
    flat = down[face] > math.sin(math.radians(overhang_deg)) + 1e-6
    chosen = flat & (height - foot >= LEAST_HEIGHT_MM)
    column, face = column[chosen], face[chosen]
    places = first + step_mm * np.column_stack([column % nx, column // nx])
    return Overhang(
        step_mm,
        nx,
        column,
        height[chosen],
        foot[chosen],
        1.0 / down[face],
        dense[face],
        lowest[chosen],
        places,
    )
