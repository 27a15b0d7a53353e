"""Rigid registration by points that a person marked in both images, for when the images do not suffice.

What a point pair is worth shows in how well the other pairs predict it. The error to expect at the tumour follows
from the scatter of the pairs and from where the tumour lies among them (Fitzpatrick, West and Maurer 1998,
doi:10.1109/42.736021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray, rotation_angle_deg, transform_points
from implantflow.registration.images import bone_points
from implantflow.volumes import Volume

#: Three pairs fix a rigid motion; three more let one slip show.
MIN_PAIRS = 6
#: Points must spread this far (root mean square) across their longest line too, mm.
_MIN_SPREAD_MM = 15.0
#: A patient's left, back and head are the same in every scan: no posture turns one against another by more than this.
_MAX_TURN_DEG = 60.0
#: Landmarks are points of bones; half of them must lie this close to one in the planning CT. RAS taken for LPS puts
#: those in front behind and most of them off the bone.
_NEAR_BONE_MM = 20.0
_RAS = "a viewer that shows RAS needs the sign of x and y changed"


@dataclass(frozen=True)
class LandmarkRegistration:
    """A rigid transform from point pairs and what speaks for it.

    Attributes
    ----------
    ct_from_series : (4, 4) patient LPS of the series to patient LPS of the planning CT, mm; rounded to 1e-6
    residual_mm : by pair, how far apart its points are left
    predicted_mm : by pair, how far off the other pairs alone would put it
    fiducial_rms_mm : root mean square of the residuals
    target_rms_mm : error to expect at the worst of the targets, root mean square
    """

    ct_from_series: FloatArray
    residual_mm: Mapping[str, float]
    predicted_mm: Mapping[str, float]
    fiducial_rms_mm: float
    target_rms_mm: float

    def as_json(self) -> dict[str, Any]:
        """Keys for a stage's JSON."""
        return {
            "method": "landmarks, rigid",
            "maps": "series patient_lps mm -> planning CT patient_lps mm",
            "ct_from_series": self.ct_from_series,
            "rotation_deg": rotation_angle_deg(self.ct_from_series[:3, :3]),
            "translation_mm": float(np.linalg.norm(self.ct_from_series[:3, 3])),
            "residual_mm": max(self.residual_mm.values()),
            "residual_by_pair_mm": dict(self.residual_mm),
            "predicted_by_others_mm": dict(self.predicted_mm),
            "fiducial_rms_mm": self.fiducial_rms_mm,
            "target_rms_mm": self.target_rms_mm,
            "residual_note": "by points that a person marked, not by the images; target_rms_mm is the error to "
            "expect at the worst point of the tumour (Fitzpatrick 1998), 95 % of errors stay below about 1.7 times it",
        }


def register_landmarks(
    in_series: Mapping[str, FloatArray],
    in_ct: Mapping[str, FloatArray],
    targets: FloatArray,
    limit_mm: float,
    *,
    name: str,
    where: str,
) -> LandmarkRegistration:
    """Fit the rigid motion that brings the series' points to the CT's.

    Parameters
    ----------
    in_series, in_ct : name -> (3,) patient LPS mm of each image; the same names
    targets : (N, 3) points of the series where the error matters, patient LPS mm of the series
    limit_mm : largest error to expect at a target, and largest error with which the others may predict a pair
    name, where : what messages call the series, and the config key of the pairs

    Raises
    ------
    InputError
        Fewer than :data:`MIN_PAIRS` pairs, or names that differ.
    GeometryError
        Points on a line, a pair that the others do not predict, too large an error to expect at a target, or a turn
        that no posture makes.
    """
    if set(in_series) != set(in_ct) or len(in_series) < MIN_PAIRS:
        raise InputError(
            f"{len(set(in_series) & set(in_ct))} landmarks are marked in both {name} and the planning CT; "
            f"{MIN_PAIRS} are needed",
            where=where,
            fix="mark the same points in both images, spread around the tumour in all directions",
        )
    names = sorted(in_series)
    start = np.array([in_series[n] for n in names], dtype=np.float64)
    end = np.array([in_ct[n] for n in names], dtype=np.float64)
    _refuse_line(start, where)
    matrix = fit_rigid(start, end)
    residual = np.linalg.norm(transform_points(matrix, start) - end, axis=1)
    predicted = np.array([_predicted(start, end, left_out) for left_out in range(len(names))])
    rms = float(np.sqrt(np.mean(residual**2)))
    target = float(_target_rms(start, rms, targets).max())
    _refuse_doubt(names, predicted, target, limit_mm, name, where)
    _refuse_turn(matrix, name, where)
    return LandmarkRegistration(
        np.round(matrix, 6),
        dict(zip(names, residual.tolist(), strict=True)),
        dict(zip(names, predicted.tolist(), strict=True)),
        rms,
        target,
    )


def refuse_misplaced(
    in_series: Mapping[str, FloatArray],
    in_ct: Mapping[str, FloatArray],
    series: Volume,
    ct: Volume,
    bones: Volume,
    *,
    name: str,
    where: str,
) -> None:
    """Refuse points that cannot have been read off these images: both sets in RAS fit each other perfectly.

    Parameters
    ----------
    in_series, in_ct : name -> (3,) patient LPS mm of each image
    series, ct : the images; bones : label map of the CT, everything above 0 is bone
    name, where : what messages call the series, and the config key of the pairs

    Raises
    ------
    GeometryError
        A point outside its image, or most points of the CT away from bone.
    """
    from scipy.spatial import cKDTree

    for called, points, image in ((name, in_series, series), ("the planning CT", in_ct, ct)):
        for point, place in sorted(points.items()):
            if not image.contains_lps(np.asarray(place, dtype=np.float64)[None])[0]:
                raise GeometryError(
                    f"landmark '{point}' lies outside {called}",
                    where=where,
                    fix=f"give it in patient LPS mm of that image ({_RAS})",
                )
    places = np.array([in_ct[point] for point in sorted(in_ct)], dtype=np.float64)
    away_mm = float(np.median(cKDTree(bone_points(bones)).query(places)[0]))
    if away_mm > _NEAR_BONE_MM:
        raise GeometryError(
            f"half of the landmarks lie {away_mm:.0f} mm and more from any bone of the planning CT (limit "
            f"{_NEAR_BONE_MM:g} mm)",
            where=where,
            fix=f"give points of the pelvis in patient LPS mm, in both images ({_RAS})",
        )


def fit_rigid(start: FloatArray, end: FloatArray) -> FloatArray:
    """4x4 rotation and shift that bring (N, 3) ``start`` closest to ``end``; never a reflection.

    Least squares by singular values (Arun, Huang and Blostein 1987, doi:10.1109/TPAMI.1987.4767965).
    """
    first, second = start.mean(axis=0), end.mean(axis=0)
    u, _, vt = np.linalg.svd((start - first).T @ (end - second))
    sign = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(vt.T @ u.T)))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ sign @ u.T
    matrix[:3, 3] = second - matrix[:3, :3] @ first
    return matrix


def _predicted(start: FloatArray, end: FloatArray, left_out: int) -> float:
    """Distance between a pair's end and where the other pairs put its start."""
    others = np.arange(len(start)) != left_out
    matrix = fit_rigid(start[others], end[others])
    return float(np.linalg.norm(transform_points(matrix, start[left_out : left_out + 1])[0] - end[left_out]))


def _target_rms(start: FloatArray, fiducial_rms: float, targets: FloatArray) -> FloatArray:
    """(N,) expected error at each target from the scatter of the pairs (Fitzpatrick 1998, equation 46)."""
    count = len(start)
    localisation_squared = fiducial_rms**2 * count / (count - 2)
    centred = start - start.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    along, there = centred @ axes.T, (targets - start.mean(axis=0)) @ axes.T
    total = np.zeros(len(targets))
    for axis in range(3):
        others = [n for n in range(3) if n != axis]
        spread = np.mean(along[:, others] ** 2, axis=0).sum()
        total += (there[:, others] ** 2).sum(axis=1) / spread
    return np.asarray(np.sqrt(localisation_squared / count * (1.0 + total / 3.0)))


def _refuse_line(points: FloatArray, where: str) -> None:
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / np.sqrt(len(points))
    if spread[1] < _MIN_SPREAD_MM:
        raise GeometryError(
            f"the landmarks lie nearly on a line: they spread {spread[1]:.1f} mm across it "
            f"({_MIN_SPREAD_MM:g} mm are needed), so the turn about it is not determined",
            where=where,
            fix="add landmarks to the sides, in front of and behind the sacrum",
        )


def _refuse_doubt(
    names: list[str], predicted: FloatArray, target: float, limit_mm: float, name: str, where: str
) -> None:
    worst = int(predicted.argmax())
    if predicted[worst] > limit_mm:
        raise GeometryError(
            f"landmarks of {name} do not fit together: the others put '{names[worst]}' {predicted[worst]:.1f} mm from "
            f"where it is marked in the planning CT (limit {limit_mm:g} mm)",
            where=where,
            fix="mark that point again in both images; left and right exchanged and another patient look the same",
        )
    if target > limit_mm:
        raise GeometryError(
            f"landmarks of {name} leave an error of {target:.1f} mm to be expected at the tumour (limit "
            f"{limit_mm:g} mm)",
            where=where,
            fix="mark more points, closer around the tumour",
        )


def _refuse_turn(matrix: FloatArray, name: str, where: str) -> None:
    """RAS against LPS is half a turn about the body's axis: such points fit as well as right ones."""
    turn_deg = rotation_angle_deg(matrix[:3, :3])
    if turn_deg > _MAX_TURN_DEG:
        raise GeometryError(
            f"landmarks of {name} turn it by {turn_deg:.0f} degrees against the planning CT (limit {_MAX_TURN_DEG:g}): "
            "left, back and head are the same in both",
            where=where,
            fix=f"give both points of every pair in patient LPS mm ({_RAS})",
        )
