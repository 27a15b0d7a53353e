"""Screws of the plan as solid titanium cylinders, and what has become of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.simulated_followup import ScrewTruth
from implantflow.errors import InputError
from implantflow.geometry import FloatArray, transform_points, unit

#: A screw that holds the implant moves with it; its head lies countersunk in the implant.
IMPLANT_SCREW = "implant_s1"
SPINAL_SCREW = "pedicle"


def cylinder(start_mm: FloatArray, end_mm: FloatArray, diameter_mm: float) -> FloatArray:
    """(8,) start, unit axis, length and radius of a capped cylinder, mm."""
    length = float(np.linalg.norm(end_mm - start_mm))
    return np.concatenate([start_mm, unit(end_mm - start_mm), [length, diameter_mm / 2]])


def screws(
    corridors: Sequence[dict[str, Any]], head_mm: tuple[float, float], states: Mapping[str, ScrewTruth]
) -> tuple[FloatArray, FloatArray]:
    """Cylinders (M, 8) in planning LPS: those that move with the implant, and those of the pelvis with their heads.

    ``head_mm`` is diameter and length; a head sits on the bone where the corridor begins. ``states`` says which
    screws have moved or broken. Screws of the spine, rods and cables are not simulated: the spine moves against the
    pelvis from scan to scan.

    Raises
    ------
    InputError
        A state of a screw that the plan does not have or that is not simulated.
    """
    drawn = [c for c in corridors if c["kind"] != SPINAL_SCREW]
    unknown = sorted(set(states) - {str(c["name"]) for c in drawn})
    if unknown:
        raise InputError(
            f"no simulated screw is called {unknown[0]!r}",
            where="simulated_followup.scans.*.screws",
            fix="one of " + ", ".join(str(c["name"]) for c in drawn),
        )
    with_implant, in_pelvis = [np.zeros((0, 8))], [np.zeros((0, 8))]
    for corridor in drawn:
        state = states.get(corridor["name"], ScrewTruth())
        start, end = _shifted(corridor, state)
        pieces = _pieces(start, end, float(corridor["diameter_mm"]), state)
        if corridor["kind"] == IMPLANT_SCREW:
            with_implant.append(pieces)
            continue
        in_pelvis.append(pieces)
        if min(head_mm) > 0:
            in_pelvis.append(cylinder(start - unit(end - start) * head_mm[1], start, head_mm[0])[None])
    return np.concatenate(with_implant), np.concatenate(in_pelvis)


def _shifted(corridor: Mapping[str, Any], state: ScrewTruth) -> tuple[FloatArray, FloatArray]:
    """Both ends of the screw where it is now."""
    start, end = np.array(corridor["start_lps_mm"], float), np.array(corridor["end_lps_mm"], float)
    axis = unit(end - start)
    shift = state.advance_mm * axis + state.across_mm * sideways(axis)
    return start + shift, end + shift


def sideways(axis: FloatArray) -> FloatArray:
    """(3,) The direction across an axis in which screws shift: as level as can be."""
    return unit(np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0]))


def _pieces(start: FloatArray, end: FloatArray, diameter_mm: float, state: ScrewTruth) -> FloatArray:
    """(1 or 2, 8) the shank, in two parts where it is broken."""
    if state.broken_at is None:
        return cylinder(start, end, diameter_mm)[None]
    axis, where = unit(end - start), start + state.broken_at * (end - start)
    half, step = axis * state.gap_mm / 2.0, state.step_mm * sideways(axis)
    parts = ((start, where - half), (where + half + step, end + step))
    return np.array([cylinder(*part, diameter_mm) for part in parts])


def resorbed(
    hu: NDArray[np.int16],
    affine: FloatArray,
    corridors: Sequence[dict[str, Any]],
    states: Mapping[str, ScrewTruth],
    soft_hu: float,
) -> NDArray[np.int16]:
    """HU (K, J, I) with bone around loose screws turned to soft tissue; edges are blended over a voxel."""
    loose = [c for c in corridors if c["name"] in states and states[c["name"]].rim_mm > 0]
    if not loose:
        return hu
    out = hu.astype(np.float32)
    spacing = float(np.linalg.norm(affine[:3, :3], axis=0).mean())
    for corridor in loose:
        state = states[corridor["name"]]
        start, end = _shifted(corridor, state)
        reach = float(corridor["diameter_mm"]) / 2.0 + state.rim_mm
        box = _box(hu.shape, affine, np.array([start, end]), reach + spacing)
        k, j, i = np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij")
        places = transform_points(affine, np.stack([i, j, k], axis=-1).reshape(-1, 3).astype(float)) - start
        axis = unit(end - start)
        along = np.clip(places @ axis, 0.0, float(np.linalg.norm(end - start)))
        way = np.linalg.norm(places - along[:, None] * axis, axis=1)
        share = np.clip((reach - way) / spacing + 0.5, 0.0, 1.0).reshape(k.shape)
        part = out[box]
        out[box] = np.where(part > soft_hu, part + share * (soft_hu - part), part)
    return np.rint(out).astype(np.int16)


def _box(
    shape: tuple[int, ...], affine: FloatArray, places: FloatArray, margin_mm: float
) -> tuple[slice, ...]:
    """Slices (k, j, i) of a volume that hold ``places`` (N, 3; mm) with a margin."""
    index = transform_points(np.linalg.inv(affine), places)
    margin = margin_mm / np.linalg.norm(affine[:3, :3], axis=0)
    low = np.maximum(np.floor(index.min(0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(index.max(0) + margin) + 1, shape[::-1]).astype(int)
    return tuple(slice(int(a), int(max(a, b))) for a, b in zip(low[::-1], high[::-1], strict=True))


def moved(cylinders: FloatArray, matrix: FloatArray) -> FloatArray:
    """Cylinders under a rigid 4x4."""
    out = cylinders.copy()
    out[:, :3] = transform_points(matrix, cylinders[:, :3])
    out[:, 3:6] = cylinders[:, 3:6] @ matrix[:3, :3].T
    return out


def ends(cylinders: FloatArray) -> FloatArray:
    """(2 M, 3) both ends of the axes."""
    return np.concatenate([cylinders[:, :3], cylinders[:, :3] + cylinders[:, 6:7] * cylinders[:, 3:6]])
