"""Screws of the plan as solid titanium cylinders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from implantflow.geometry import FloatArray, transform_points, unit

#: A screw that holds the implant moves with it; its head lies countersunk in the implant.
IMPLANT_SCREW = "implant_s1"
SPINAL_SCREW = "pedicle"


def cylinder(start_mm: FloatArray, end_mm: FloatArray, diameter_mm: float) -> FloatArray:
    """(8,) start, unit axis, length and radius of a capped cylinder, mm."""
    length = float(np.linalg.norm(end_mm - start_mm))
    return np.concatenate([start_mm, unit(end_mm - start_mm), [length, diameter_mm / 2]])


def screws(
    corridors: Sequence[dict[str, Any]], head_mm: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Cylinders (M, 8) in planning LPS: those that move with the implant, and those of the pelvis with their heads.

    ``head_mm`` is diameter and length; a head sits on the bone where the corridor begins. Screws of the spine, rods and
    cables are not simulated: the spine moves against the pelvis from scan to scan.
    """
    with_implant, in_pelvis = [np.zeros((0, 8))], [np.zeros((0, 8))]
    for corridor in corridors:
        if corridor["kind"] == SPINAL_SCREW:
            continue
        start, end = np.array(corridor["start_lps_mm"], float), np.array(corridor["end_lps_mm"], float)
        shank = cylinder(start, end, float(corridor["diameter_mm"]))
        if corridor["kind"] == IMPLANT_SCREW:
            with_implant.append(shank[None])
            continue
        in_pelvis.append(shank[None])
        if min(head_mm) > 0:
            in_pelvis.append(cylinder(start - unit(end - start) * head_mm[1], start, head_mm[0])[None])
    return np.concatenate(with_implant), np.concatenate(in_pelvis)


def moved(cylinders: FloatArray, matrix: FloatArray) -> FloatArray:
    """Cylinders under a rigid 4x4."""
    out = cylinders.copy()
    out[:, :3] = transform_points(matrix, cylinders[:, :3])
    out[:, 3:6] = cylinders[:, 3:6] @ matrix[:3, :3].T
    return out


def ends(cylinders: FloatArray) -> FloatArray:
    """(2 M, 3) both ends of the axes."""
    return np.concatenate([cylinders[:, :3], cylinders[:, :3] + cylinders[:, 6:7] * cylinders[:, 3:6]])
