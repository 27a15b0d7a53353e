"""Rigid registration of one image of the patient to another by mutual information.

Whole body first, at coarse resolution, then only around the bones, which are what stays rigid. The chain is
run from several starts pushed apart on purpose; they must come back to one answer, or nothing is returned: a
registration that depends on where it began is a wrong one that looks right. That is not enough: two different
patients agree on one answer too. So every bone, and each half of it, is registered alone from there; parts of one
pelvis stay where they are, parts of another do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, invert_rigid, rotation_angle_deg, transform_points
from implantflow.registration.images import (
    BONE_MARGIN_MM,
    FINE_MM,
    Pair,
    binned,
    bone_points,
    crop,
    euler,
    matrix_of,
    near_bone,
    one_thread,
    to_float,
    windowed,
)
from implantflow.registration.parts import MAX_RESIDUAL_MM, part_residuals_mm, refuse_parts
from implantflow.volumes import Volume

#: Answers of different starts may lie this far apart at the bones.
MAX_DISAGREEMENT_MM = 0.5

#: Starts, as shifts in mm and turns in degrees about the first guess; pushed apart in every axis.
STARTS = (
    ((6.0, -4.0, 5.0), (3.0, -4.0, 3.0)),
    ((-6.0, 5.0, -4.0), (-4.0, 3.0, -3.0)),
    ((4.0, 5.0, -6.0), (3.0, 4.0, -4.0)),
)

_COARSE_MM = 5.0
_SAMPLES = 20_000
_MIN_OVERLAP = 0.4


@dataclass(frozen=True)
class Registration:
    """A rigid transform and what speaks for it.

    Attributes
    ----------
    ct_from_mr : (4, 4) float array
        Maps points of the moving image's patient LPS to the planning CT's patient LPS, mm; rounded to 1e-6.
    agreement_mm : float
        Largest distance between the answers of any two starts, over the bones.
    starts : int
        Number of starts that agreed.
    mutual_information : float
        Mattes mutual information around the bones, of the answer kept.
    overlap_fraction : float
        Share of the bones that lies inside both images.
    part_residual_mm : by part of a bone
        How far that part, registered alone, lies from where the answer puts it (mean over the part).
    """

    ct_from_mr: FloatArray
    agreement_mm: float
    starts: int
    mutual_information: float
    overlap_fraction: float
    part_residual_mm: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Keys for a stage's JSON."""
        shift = self.ct_from_mr[:3, 3]
        return {
            "method": "mutual information, rigid",
            "maps": "series patient_lps mm -> planning CT patient_lps mm",
            "ct_from_series": self.ct_from_mr,
            "rotation_deg": rotation_angle_deg(self.ct_from_mr[:3, :3]),
            "translation_mm": float(np.linalg.norm(shift)),
            "agreement_mm": self.agreement_mm,
            "agreement_limit_mm": MAX_DISAGREEMENT_MM,
            "starts": self.starts,
            "mutual_information": self.mutual_information,
            "overlap_fraction": self.overlap_fraction,
            "residual_mm": max(self.part_residual_mm.values()),
            "residual_limit_mm": MAX_RESIDUAL_MM,
            "residual_by_part_mm": dict(self.part_residual_mm),
            "residual_note": "how far a bone or half of it, registered alone, lies from where the transform puts it",
        }


def register_rigid(
    ct: Volume, bones: Volume, mr: Volume, *, name: str = "MR", bone_names: Mapping[int, str] | None = None
) -> Registration:
    """Find the rigid transform from ``mr`` to ``ct``.

    Parameters
    ----------
    ct : Volume
        Planning CT, HU.
    bones : Volume
        Label map on the grid of ``ct``; everything above 0 is bone.
    mr : Volume
        Image of the same patient, any contrast, another CT included.
    name : str
        What messages call the image.
    bone_names : label -> name
        What messages call the bones; "bone 1" and so on without it.

    Raises
    ------
    GeometryError
        No bone in the label map, too little overlap, starts that end more than :data:`MAX_DISAGREEMENT_MM`
        apart, or parts of the pelvis that do not fit together (another patient, a distorted image).

    Notes
    -----
    SimpleITK on one thread with a fixed seed, and the result rounded to 1e-6: the same on every machine and
    number of cores (docs/decisions/0001-design.md, 6).
    """
    points = bone_points(bones)
    with one_thread():
        image, window = to_float(mr), windowed(ct)
        found = _from_all_starts(image, window, bones, points)
        matrices = [matrix_of(transform) for transform, _ in found]
        moved = [transform_points(matrix, points) for matrix in matrices]
        agreement_mm = max(
            float(np.linalg.norm(a - b, axis=1).max()) for i, a in enumerate(moved) for b in moved[i + 1 :]
        )
        best = min(range(len(found)), key=lambda index: found[index][1])
        overlap = float(mr.contains_lps(moved[best]).mean())
        _refuse_doubt(name, agreement_mm, overlap)
        residuals = part_residuals_mm(window, bones, mr, image, matrices[best], bone_names or {})
    refuse_parts(name, residuals)
    ct_from_mr = np.round(invert_rigid(matrices[best]), 6)
    return Registration(ct_from_mr, agreement_mm, len(found), -found[best][1], overlap, residuals)


def _from_all_starts(image: Any, window: Any, bones: Volume, points: FloatArray) -> list[tuple[Any, float]]:
    """Transform (planning to moving) and metric that each of :data:`STARTS` ends at."""
    whole = Pair(binned(window, _COARSE_MM), image, None, _SAMPLES)
    fine = binned(crop(window, points, margin_mm=4 * BONE_MARGIN_MM), FINE_MM)
    local = Pair(fine, image, near_bone(bones, fine), _SAMPLES)
    guess = _first_guess(whole)
    found = []
    for shift_mm, turn_deg in STARTS:
        start = euler(np.add(guess.GetTranslation(), shift_mm), np.array(guess.GetCenter()), turn_deg)
        coarse, _ = whole.optimise(start, step_mm=4.0, last_step_mm=0.05, shrink=(2, 1))
        found.append(local.optimise(coarse, step_mm=1.0, last_step_mm=0.01, shrink=(2, 1)))
    return found


def _refuse_doubt(name: str, agreement_mm: float, overlap: float) -> None:
    if agreement_mm > MAX_DISAGREEMENT_MM:
        raise GeometryError(
            f"registration of {name} to the planning CT is not certain: answers from {len(STARTS)} starts "
            f"lie up to {agreement_mm:.2f} mm apart at the bones (limit {MAX_DISAGREEMENT_MM} mm)",
            where=name,
            fix="check that both scans show the same region of the same patient; use another series",
        )
    if overlap < _MIN_OVERLAP:
        raise GeometryError(
            f"only {100 * overlap:.0f} % of the planning CT's bones lie inside {name} after registration",
            where=name,
            fix="use a series that shows the same region",
        )


def _first_guess(pair: Pair) -> Any:
    """The best of: as the headers say, image centres matched, intensity centroids matched."""
    centre = _centre(pair.fixed)
    candidates = [
        np.zeros(3),
        _centre(pair.moving) - centre,
        _centroid(pair.moving) - _centroid(pair.fixed),
    ]
    guesses = [euler(shift, centre) for shift in candidates]
    return min(guesses, key=pair.value)


def _centre(image: Any) -> FloatArray:
    return np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))


def _centroid(image: Any) -> FloatArray:
    import SimpleITK as sitk

    array = sitk.GetArrayViewFromImage(image).astype(np.float64)
    weight = array - array.min()
    total = weight.sum()
    index = [
        float((weight.sum(axis=axes) * np.arange(n)).sum() / total)
        for axes, n in (((0, 1), weight.shape[2]), ((0, 2), weight.shape[1]), ((1, 2), weight.shape[0]))
    ]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))
