"""Machining stock: metal that is printed on faces and in bores to be cut away again, as a layer of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, unit
from implantflow.solids.booleans import difference, from_manifold, intersection, to_manifold, union
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import cylinder

#: A mill cuts planes: the middle 95 % of a face must lie within this of one (mm), else it cannot be machined so.
FLAT_MM = 0.3
#: The layer reaches this far into the part, so that the two are one solid; and no further than this out of the part
#: where nothing will be cut away: at the mouth of an oblique hole, at an undercut rim (mm).
_ROOT_MM, _BURR_MM = 0.2, 0.02
#: A triangle steeper than this against the face's normal (cosine) carries no stock: it is the face's rim.
_STEEP = 0.5
#: Steps along a bore's axis that tell where it lies in the part.
_STEPS = 121


def with_stock(finished: Solid, regions: Mapping[str, Any]) -> tuple[Solid, dict[str, Any]]:
    """The part as it is printed, and what of it is stock.

    Parameters
    ----------
    finished : the part after machining, patient LPS; its triangles are those that ``regions`` names.
    regions : content of ``regions.json``; ``machining`` states the stock of faces and bores, none where it is missing.

    Returns
    -------
    solid, figures : per face and bore its thickness (mm) and volume (mm3), and the volume of all stock

    Raises
    ------
    GeometryError
        A face is not flat enough to be milled.
    """
    machining = regions.get("machining") or {"faces": {}, "bores_mm": 0.0}
    faces = {f["name"]: f for f in regions["contact_faces"]}
    layers: list[Solid] = []
    figures: dict[str, Any] = {"faces": {}, "bores": {}}
    for name, stock in machining["faces"].items():
        if stock > 0:
            layer = _slab(finished, np.asarray(faces[name]["triangles"]), float(stock), str(name))
            layers.append(layer)
            figures["faces"][name] = _figures(layer, finished, stock)
    if machining["bores_mm"] > 0:
        for hole in regions["screw_holes"]:
            layer = _lining(finished, hole, float(machining["bores_mm"]))
            layers.append(layer)
            figures["bores"][hole["name"]] = _figures(layer, finished, machining["bores_mm"])
    printed = union(finished, *layers) if layers else finished
    figures["volume_mm3"] = printed.volume_mm3 - finished.volume_mm3
    return printed, figures


def _figures(layer: Solid, finished: Solid, stock: float) -> dict[str, Any]:
    return {"stock_mm": stock, "volume_mm3": difference(layer, finished).volume_mm3}


def _slab(part: Solid, triangles: NDArray[np.int64], stock_mm: float, name: str) -> Solid:
    """What the face sweeps when it is moved outwards by ``stock_mm`` along its normal, and a root below it."""
    areas = part.areas_mm2[triangles]
    normal = unit((part.normals[triangles] * areas[:, None]).sum(axis=0))
    chosen = triangles[part.normals[triangles] @ normal > _STEEP]
    heights = part.centres_mm[chosen] @ normal
    low, high = np.percentile(heights, [2.5, 97.5])
    if high - low > 2.0 * FLAT_MM:
        raise GeometryError(
            f"the {name} face is not flat: it rises by {high - low:.2f} mm, a milled one by {2.0 * FLAT_MM:g} at most",
            where=f"implant.machining.{name}_mm",
            fix="write 0 for this face, or make it a plane in the prototype",
        )
    corners = part.vertices[part.faces[chosen]]

    def swept(below_mm: float) -> Solid:
        return _prisms(np.concatenate([corners - below_mm * normal, corners + stock_mm * normal], axis=1))

    return intersection(swept(_ROOT_MM), union(part, swept(_BURR_MM)))


def _prisms(corners: FloatArray) -> Solid:
    """Union of prisms, each of whose (N, 6, 3) corners are a triangle's below and above."""
    import manifold3d

    prism = np.array([[0, 2, 1], [3, 4, 5], [0, 1, 3], [1, 4, 3], [1, 2, 4], [2, 5, 4], [2, 0, 5], [0, 3, 5]])
    prisms = [to_manifold(Solid.of(points, prism)) for points in corners]
    return from_manifold(manifold3d.Manifold.batch_boolean(prisms, manifold3d.OpType.Add))


def _lining(part: Solid, hole: Mapping[str, Any], stock_mm: float) -> Solid:
    """A tube in the hole, ``stock_mm`` thick, as far as the hole's wall is there to carry it."""
    start, end = (np.asarray(hole[f"{e}_lps_mm"], dtype=np.float64) for e in ("start", "end"))
    points: FloatArray = start + np.linspace(0.0, 1.0, _STEPS)[:, None] * (end - start)
    radius = float(hole["diameter_mm"]) / 2.0
    in_part = np.flatnonzero(Surface(part).signed_distance_mm(points, 2.0 * radius) <= radius + 0.01)
    if len(in_part) < 2:
        raise GeometryError(
            f"the hole {hole['name']} has no wall to carry stock",
            where="implant.machining.bores_mm",
            fix="write 0",
        )
    first, last = points[in_part[0]], points[in_part[-1]]
    along = unit(last - first)
    end = last + _ROOT_MM * along
    outer = cylinder(first, end, 2.0 * (radius + _ROOT_MM))
    inner = cylinder(first - along, end + along, 2.0 * (radius - stock_mm))
    plugged = union(part, cylinder(first, end, 2.0 * (radius + _BURR_MM)))
    return intersection(difference(outer, inner), plugged)
