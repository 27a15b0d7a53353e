"""Where the prior starts: searched without clicks, or from landmarks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from implantflow.errors import ConfigError, GeometryError, InputError
from implantflow.geometry import FloatArray
from implantflow.segment.edges import Edges
from implantflow.segment.prior import ShapePrior, similarity

#: Distance (mm) from which an edge counts as missing, and the cost (mm) of a vertex outside the scan.
FAR_MM, OUTSIDE_MM = 25.0, 8.0
SCALES, PITCHES_DEG, YAWS_DEG = (0.9, 1.0, 1.1), (-20.0, -10.0, 0.0, 10.0, 20.0), (-6.0, 0.0, 6.0)
STEP_MM = 12.0
#: Root mean square of landmark residuals (mm) above which a name or side is taken to be wrong.
MAX_LANDMARK_RMS_MM = 25.0


@dataclass(frozen=True)
class Pose:
    """Similarity ``x -> scale R x + shift`` from the prior's space to patient LPS."""

    scale: float
    rotation: FloatArray
    shift: FloatArray

    def apply(self, points: FloatArray) -> FloatArray:
        """Move (N, 3) points."""
        return np.asarray(self.scale * points @ self.rotation.T + self.shift)


def _rotation(pitch_deg: float, yaw_deg: float) -> FloatArray:
    a, b = np.radians(pitch_deg), np.radians(yaw_deg)
    pitch = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    yaw = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.asarray(yaw @ pitch)


def search_poses(prior: ShapePrior, edges: Edges, min_inside: float, keep: int) -> list[Pose]:
    """The ``keep`` best distinct starting poses out of some 50,000, without any click.

    Every pose of the mean shape (3 scales, 5 pitches, 3 yaws, a 12 mm lattice of shifts) is scored by the
    mean capped distance of 600 vertices to the nearest outer bone edge.

    Raises
    ------
    InputError
        No pose has enough of the prior inside the scan.
    """
    from implantflow.segment.kernels import pose_costs

    image = edges.image
    subset = prior.mean[:: max(1, len(prior.mean) // 600)]
    turns = list(itertools.product(SCALES, PITCHES_DEG, YAWS_DEG))
    shapes = np.stack([s * subset @ _rotation(p, y).T for s, p, y in turns])
    low = edges.points_lps_mm.min(axis=0)
    high = edges.points_lps_mm.max(axis=0)
    middle = float(np.median(edges.points_lps_mm[:, 0]))
    shifts = np.array(
        list(
            itertools.product(
                middle + STEP_MM * np.arange(-2, 3),
                np.arange(low[1], high[1], STEP_MM),
                np.arange(low[2] - 60.0, high[2] + 40.0, STEP_MM),
            )
        )
    )
    costs = pose_costs(
        edges.near_mm, image.affine_lps[:3, 3], float(image.spacing_mm[0]), shapes, shifts,
        FAR_MM, OUTSIDE_MM, min_inside,
    )  # fmt: skip
    chosen: list[Pose] = []
    for flat in np.argsort(costs, axis=None, kind="stable"):
        turn, place = np.unravel_index(flat, costs.shape)
        if len(chosen) == keep or not np.isfinite(costs[turn, place]):
            break
        if all(np.linalg.norm(shifts[place] - c.shift) > 15.0 for c in chosen):
            scale, pitch, yaw = turns[int(turn)]
            chosen.append(Pose(scale, _rotation(pitch, yaw), shifts[place]))
    if not chosen:
        raise InputError(
            f"nowhere in the scan does {100 * min_inside:.0f} % of a pelvis fit: too little anatomy",
            where="planning CT",
            fix="scan from L5 to the acetabula, or import a label map (segment.prior.kind: label_map)",
        )
    return chosen


def landmark_pose(
    prior: ShapePrior, landmarks: Mapping[str, FloatArray], minimum: int
) -> tuple[Pose, dict[str, float]]:
    """Similarity that brings the prior's landmarks to the patient's, and the residual of each (mm).

    Raises
    ------
    ConfigError
        Too few known names.
    GeometryError
        Left and right are exchanged, or the points do not look like a pelvis.
    """
    unknown = sorted(set(landmarks) - set(prior.landmarks))
    names = sorted(set(landmarks) & set(prior.landmarks))
    if unknown or len(names) < minimum:
        raise ConfigError(
            f"{len(names)} usable landmarks, {minimum} are needed; unknown names: {unknown or 'none'}",
            where="segment.prior.landmarks",
            fix=f"use these names: {', '.join(sorted(prior.landmarks))}",
        )
    check_landmark_sides(landmarks)
    source = np.array([prior.landmarks[n] for n in names])
    target = np.array([landmarks[n] for n in names])
    scale, rotation, shift = similarity(source, target)
    pose = Pose(scale, rotation, shift)
    residual = np.linalg.norm(pose.apply(source) - target, axis=1)
    rms = float(np.sqrt((residual**2).mean()))
    if rms > MAX_LANDMARK_RMS_MM or not 0.6 < scale < 1.6:
        worst = names[int(residual.argmax())]
        raise GeometryError(
            f"the landmarks do not form a pelvis: rms residual {rms:.0f} mm, scale {scale:.2f}, worst '{worst}'",
            where="segment.prior.landmarks",
            fix=f"check '{worst}', that all points are in mm and in LPS (not RAS)",
        )
    return pose, {n: float(r) for n, r in zip(names, residual, strict=True)}


def check_landmark_sides(landmarks: Mapping[str, FloatArray]) -> None:
    """GeometryError unless each ``*_left`` point has a larger x than its ``*_right`` partner."""
    for name, point in sorted(landmarks.items()):
        other = name.removesuffix("_left") + "_right"
        if name.endswith("_left") and other in landmarks and point[0] <= landmarks[other][0]:
            raise GeometryError(
                f"left and right are exchanged: '{name}' at x {point[0]:.1f} mm, '{other}' at x "
                f"{landmarks[other][0]:.1f} mm; in patient LPS the left has the larger x",
                where="segment.prior.landmarks",
                fix="swap the names, or convert the points from RAS to LPS (negate x and y)",
            )
