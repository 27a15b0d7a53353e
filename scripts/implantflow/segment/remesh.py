"""A surface in fewer triangles, no farther from the one given than a stated bound, either way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.segment.mesh import IntArray, is_closed, shell_count
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid

#: Shares of the bound that the surface may move in one turn after another: small steps first, everywhere.
TURNS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
#: Every so manieth vertex taken out is measured; the proof holds for all of them.
MEASURED_EVERY = 4
#: What single precision and rounding may add to a measured distance (mm).
ROUNDING_MM = 1e-6


@dataclass(frozen=True)
class Remeshed:
    """A closed surface and what remeshing did to it.

    Attributes
    ----------
    vertices_lps_mm, faces : closed, one shell; the vertices are some of those given.
    triangles_before : number of triangles given.
    proven_max_mm : no point of either surface is farther from the other (sum of what each step moved, so an upper
        bound of the Hausdorff distance).
    measured_max_mm, measured_mean_mm : distance of the vertices given to this surface, exact, from one in four of
        those that are gone.
    """

    vertices_lps_mm: FloatArray
    faces: IntArray
    triangles_before: int
    proven_max_mm: float
    measured_max_mm: float
    measured_mean_mm: float


def remeshed(vertices_lps_mm: FloatArray, faces: IntArray, bound_mm: float) -> Remeshed:
    """Fewer triangles, the surface moved by no more than ``bound_mm``; 0 keeps it as it is.

    Vertices are drawn to a neighbour one by one as long as the map from the old surface to the new one, across the
    ring about each, moves no point too far. Where triangles fold already they stay. Surfaces that nearly touch (less
    than twice the bound apart) may come to touch.

    Parameters
    ----------
    vertices_lps_mm, faces : (N, 3) and (M, 3), closed.
    bound_mm : allowed distance between the surfaces.

    Raises
    ------
    GeometryError
        The bound is not kept or the result not closed in one shell: a mistake of this program, caught.
    """
    from implantflow.segment.remesh_kernels import thin_out, twins

    if bound_mm == 0.0:
        return Remeshed(vertices_lps_mm, faces, len(faces), 0.0, 0.0, 0.0)
    # Vertices without a triangle would have no ring to walk around: none come out of an isosurface.
    changed = faces.astype(np.int32)
    twin, leaving = twins(changed, len(vertices_lps_mm))
    alive, moved = thin_out(vertices_lps_mm, changed, twin, leaving, bound_mm * np.array(TURNS))
    kept = leaving >= 0
    gone = np.flatnonzero(~kept)
    few = (np.cumsum(kept) - 1)[changed[alive]]
    proven = float(moved[alive].max())
    places = vertices_lps_mm[gone[::MEASURED_EVERY]]
    away = (
        Surface(Solid.of(vertices_lps_mm[kept], few))
        .nearest(places, 2.0 * bound_mm, signed=False)
        .distance_mm
    )
    measured = float(away.max(initial=0.0))
    if max(proven, measured - ROUNDING_MM) > bound_mm or not is_closed(few) or shell_count(few) != 1:
        raise GeometryError(
            f"remeshing moved a bone's surface by up to {max(proven, measured):.3f} mm ({bound_mm:g} allowed), or "
            "opened it",
            where="segment.remeshing_bound_mm",
            fix="set it to 0 to keep the triangles of the voxel grid, and report this",
        )
    mean = float(away.mean()) * len(gone) / len(vertices_lps_mm) if len(gone) else 0.0
    return Remeshed(vertices_lps_mm[kept], few, len(faces), proven, measured, mean)
