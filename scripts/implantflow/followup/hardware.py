"""Metal and bone in the way: what is hidden from each registration and reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.followup.sampling import crop_around
from implantflow.geometry import FloatArray, Plane, polyline_distance, unit
from implantflow.volumes import Volume

SACRUM = 1
HIPS = {"left": 2, "right": 3}
#: Sacrum nearer to the cut than this is not compared: bloom of the implant, edema, remodelling, mm.
_OFF_CUT_MM = 10.0
_BLOCK_MM = 3.0


def hidden_by_metal(scan: Volume, threshold_hu: float, margin_mm: float) -> Volume:
    """1 where metal or its surroundings lie, on a coarse grid over ``scan``."""
    from scipy import ndimage

    size = np.maximum(np.rint(_BLOCK_MM / scan.spacing_mm[::-1]).astype(int), 1)
    pad = [(0, int(-n % s)) for n, s in zip(scan.array.shape, size, strict=True)]
    array = np.pad(scan.array, pad, mode="edge")
    blocks = array.reshape(
        array.shape[0] // size[0],
        size[0],
        array.shape[1] // size[1],
        size[1],
        array.shape[2] // size[2],
        size[2],
    )
    metal = blocks.max(axis=(1, 3, 5)) >= threshold_hu
    affine = scan.affine_lps.copy()
    affine[:3, :3] *= size[::-1]
    affine[:3, 3] = scan.index_to_lps([(size[::-1] - 1) / 2.0])[0]
    if not metal.any():
        return Volume(np.zeros(metal.shape, dtype=np.uint8), affine)
    way = ndimage.distance_transform_edt(~metal, sampling=scan.spacing_mm[::-1] * size)
    return Volume((way <= margin_mm + _BLOCK_MM / 2.0).astype(np.uint8), affine)


def unoperated_bone(
    labels: Volume, side: str, plan: Mapping[str, Any], specimen_lps: FloatArray
) -> NDArray[np.bool_]:
    """(K, J, I) True in the hip of the other side and the sacrum that stays, off the cut.

    ``specimen_lps`` (3,) is a point on the removed side of the midline plane.
    """
    other = "right" if side == "left" else "left"
    found = labels.array == HIPS[other]
    plane = midline(plan)
    sign = np.sign(plane.distance(specimen_lps[None])[0])
    sacrum = np.argwhere(labels.array == SACRUM)
    if len(sacrum):
        stays = -sign * plane.distance(labels.index_to_lps(sacrum[:, ::-1])) > _OFF_CUT_MM
        found[tuple(sacrum[stays].T)] = True
    return np.asarray(found)


def way_to_bone(
    labels: Volume,
    plan: Mapping[str, Any],
    specimen_lps: FloatArray,
    around_lps: FloatArray,
    margin_mm: float,
) -> Volume:
    """Distance in mm to bone that stays, around the places ``around_lps`` (N, 3): the other half, L5, both hips."""
    from scipy import ndimage

    part = crop_around(labels, around_lps, margin_mm)
    stays = part.array > 0
    plane = midline(plan)
    sacrum = np.argwhere(part.array == SACRUM)
    if len(sacrum):
        same = plane.distance(part.index_to_lps(sacrum[:, ::-1])) * plane.distance(specimen_lps[None])[0] > 0
        stays[tuple(sacrum[same].T)] = False
    if not stays.any():
        return part.like(np.full(part.array.shape, 1e3, dtype=np.float32))
    way = ndimage.distance_transform_edt(~stays, sampling=part.spacing_mm[::-1])
    return part.like(way.astype(np.float32))


def midline(plan: Mapping[str, Any]) -> Plane:
    """The plan's midline plane; GeometryError when it has none."""
    entry = next((p for p in plan["resection_planes"] if p["name"] == "midline"), None)
    if entry is None:
        raise GeometryError(
            "the plan has no midline plane", where="plan.json", fix="run the plan stage again"
        )
    return Plane.from_json(entry)


def near_hardware(places: FloatArray, regions: Mapping[str, Any], margin_mm: float) -> NDArray[np.bool_]:
    """(N,) True for places (planned patient LPS) near a screw, on its axis also outside its hole, or a cable."""
    near = np.zeros(len(places), dtype=bool)
    for hole in regions.get("screw_holes", []):
        start = np.asarray(hole["start_lps_mm"], dtype=np.float64)
        axis = unit(np.asarray(hole["end_lps_mm"], dtype=np.float64) - start)
        arm = places - start
        away = np.linalg.norm(arm - (arm @ axis)[:, None] * axis, axis=1)
        near |= away < float(hole["diameter_mm"]) / 2.0 + margin_mm
    for cable in regions.get("cable_passages", []):
        line = np.asarray(cable["polyline_lps_mm"], dtype=np.float64)
        near |= polyline_distance(places, line) < float(cable["diameter_mm"]) / 2.0 + margin_mm
    return near
