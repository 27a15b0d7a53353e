"""Boolean operations on solids with manifold3d.

manifold3d guarantees a closed result for closed input and gives the same bytes on any number of threads
(measured, docs/decisions). Results are exact up to double rounding: no grid, no tolerance of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from implantflow.errors import GeometryError
from implantflow.geometry import Plane
from implantflow.solids.mesh import Solid, require_closed

#: Where a solid keeps its manifold3d twin, as ``functools.cached_property`` does: conversion costs as much as a cut.
_KEPT = "_manifold"


def to_manifold(solid: Solid) -> Any:
    """``manifold3d.Manifold`` of a closed solid, made once; GeometryError when manifold3d does not accept it."""
    import manifold3d

    kept = vars(solid).get(_KEPT)
    if kept is not None:
        return kept
    # Copies: manifold3d takes writable arrays only, and hands out read-only ones.
    mesh = manifold3d.Mesh64(
        vert_properties=np.array(solid.vertices, dtype=np.float64, order="C"),
        tri_verts=np.array(solid.faces, dtype=np.uint64, order="C"),
    )
    manifold = manifold3d.Manifold(mesh)
    if manifold.status() != manifold3d.Error.NoError:
        require_closed(solid, "solid")
        raise GeometryError(f"not a valid solid: {manifold.status().name}")
    vars(solid)[_KEPT] = manifold
    return manifold


def from_manifold(manifold: Any) -> Solid:
    """Solid of a ``manifold3d.Manifold`` (possibly empty)."""
    mesh = manifold.to_mesh64()
    solid = Solid.of(np.asarray(mesh.vert_properties)[:, :3], np.asarray(mesh.tri_verts))
    vars(solid)[_KEPT] = manifold
    return solid


def _batch(solids: Sequence[Solid], operation: str) -> Solid:
    import manifold3d

    manifolds = [to_manifold(s) for s in solids]
    return from_manifold(manifold3d.Manifold.batch_boolean(manifolds, getattr(manifold3d.OpType, operation)))


def union(*solids: Solid) -> Solid:
    """Everything that is in at least one of the solids."""
    return _batch(solids, "Add")


def difference(solid: Solid, *tools: Solid) -> Solid:
    """``solid`` without any of the ``tools``."""
    return _batch([solid, *tools], "Subtract") if tools else solid


def intersection(*solids: Solid) -> Solid:
    """What is in all of the solids."""
    return _batch(solids, "Intersect")


def overlap_mm3(a: Solid, b: Solid) -> float:
    """Volume in mm3 that two solids share."""
    common = to_manifold(a) ^ to_manifold(b)
    return max(0.0, float(common.volume()))


def trim(solid: Solid, planes: Sequence[Plane]) -> Solid:
    """The part of ``solid`` on the positive side of every plane, capped exactly on the planes."""
    manifold = to_manifold(solid)
    for plane in planes:
        offset = float(np.dot(plane.point, plane.normal))
        manifold = manifold.trim_by_plane(list(plane.normal), offset)
    return from_manifold(manifold)


def cut_away(solid: Solid, planes: Sequence[Plane]) -> Solid:
    """``solid`` without the region on the positive side of every plane.

    The tool is a block cut by the planes, never a part of the solid itself: subtracting a part that shares the
    solid's surface would leave films without thickness.
    """
    from implantflow.solids.shapes import box

    low, high = solid.bounds_mm
    return difference(solid, trim(box(low - 10.0, high + 10.0), planes))


def crop(solid: Solid, low_mm: ArrayLike, high_mm: ArrayLike) -> Solid:
    """The part of ``solid`` within the axis-aligned box from ``low_mm`` (3,) to ``high_mm`` (3,)."""
    from implantflow.solids.shapes import box

    return intersection(solid, box(low_mm, high_mm))


def shells(solid: Solid) -> list[Solid]:
    """Separate pieces of ``solid``, largest volume first (cavities stay with their piece)."""
    pieces = [from_manifold(part) for part in to_manifold(solid).decompose()]
    order = sorted(range(len(pieces)), key=lambda i: (-round(pieces[i].volume_mm3, 6), i))
    return [pieces[i] for i in order]


def simplified(solid: Solid, tolerance_mm: float) -> Solid:
    """Fewer triangles, no point of the surface moved by more than about ``tolerance_mm``; stays closed."""
    return from_manifold(to_manifold(solid).simplify(tolerance_mm))


def refined(solid: Solid, edge_mm: float) -> Solid:
    """Triangles split until no edge is longer than ``edge_mm``; the shape stays exactly the same."""
    return from_manifold(to_manifold(solid).refine_to_length(edge_mm))


def merged(solids: Sequence[Solid]) -> Solid:
    """Solids that do not touch, put into one list of triangles without a boolean."""
    starts = np.cumsum([0, *[len(s.vertices) for s in solids]])
    vertices = np.concatenate([s.vertices for s in solids])
    faces = np.concatenate([s.faces + start for s, start in zip(solids, starts, strict=False)])
    return Solid.of(vertices, faces)
