"""How much of the designed surface the scan shows, and where it shows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.inspect.reference import Reference
from implantflow.inspect.regions import HOLES, Regions

#: Nearest scanned metal of a place that was not seen, at its rim (mm).
_RIM_MM = 0.6
#: Unseen places smaller than this are not listed (mm2).
_PATCH_MIN_MM2 = 10.0


@dataclass(frozen=True)
class Coverage:
    """What was seen.

    Attributes
    ----------
    seen : (M,) was this triangle of the design seen? reach_mm : a gap must be wider than twice this to be found.
    """

    seen: NDArray[np.bool_]
    areas_mm2: FloatArray
    reach_mm: float

    def share_pct(self, triangles: NDArray[np.bool_]) -> float | None:
        """Seen share of the area of some triangles (percent); None when they have no area."""
        total = float(self.areas_mm2[triangles].sum())
        return 100.0 * float(self.areas_mm2[triangles & self.seen].sum()) / total if total > 0 else None


def coverage_of(placed_mm: FloatArray, reference: Reference) -> Coverage:
    """Which triangles of the design have scanned metal nearby.

    Parameters
    ----------
    placed_mm : (N, 3) scanned points near the outer surface, in build_xyz of the design.
    """
    from scipy.spatial import cKDTree

    solid = reference.design_surface.solid
    # Half a cell: between the cut struts of a porous surface metal is never further away than that.
    reach = max(reference.field.cell_mm / 2.0, 1.0)
    distance, _ = cKDTree(placed_mm).query(solid.centres_mm, distance_upper_bound=4.0 * reach)
    unseen = distance > reach
    if unseen.any():
        # The rim of a gap lies near what was seen beside it, but is no more seen than the rest.
        rim, _ = cKDTree(solid.centres_mm[unseen]).query(solid.centres_mm, distance_upper_bound=reach)
        unseen |= np.isfinite(rim) & (distance > _RIM_MM)
    return Coverage(~unseen, solid.areas_mm2, reach)


def unseen_patches(coverage: Coverage, reference: Reference, regions: Regions) -> list[dict[str, Any]]:
    """Connected places of one region, outside holes, that were not seen: area, centre, radius of a disc as large.

    Largest first.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    solid = reference.design_surface.solid
    ids = np.flatnonzero(~coverage.seen & ~regions.triangles(HOLES))
    if len(ids) == 0:
        return []
    # Every region has corners of its own, so that no patch reaches from one into another.
    count = len(solid.vertices) * len(regions.names)
    corners = solid.faces[ids] + len(solid.vertices) * regions.of_triangle[ids][:, None]
    ends = np.concatenate([corners[:, :2], corners[:, 1:]])
    graph = coo_matrix((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    piece = connected_components(graph, directed=False)[1][corners[:, 0]]
    _, piece = np.unique(piece, return_inverse=True)
    area = coverage.areas_mm2[ids]
    total = np.bincount(piece, area)
    to_patient = invert_rigid(reference.field.build_from_patient)
    found = []
    for number in np.argsort(-total, kind="stable"):
        if total[number] < _PATCH_MIN_MM2:
            break
        mine = piece == number
        centre = np.average(solid.centres_mm[ids[mine]], axis=0, weights=area[mine])
        found.append(
            {
                "region": regions.names[regions.of_triangle[ids[mine][0]]],
                "area_mm2": float(total[number]),
                "radius_mm": float(np.sqrt(total[number] / np.pi)),
                "centre_build_xyz_mm": centre,
                "centre_lps_mm": transform_points(to_patient, centre[None])[0],
            }
        )
    return found
