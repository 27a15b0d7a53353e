"""Frames, planes and rigid transforms.

The one frame of every stage before the build is ``patient_lps``: millimetres, +x to the patient's left,
+y posterior, +z cranial, as in DICOM. The build has its own frame ``build_xyz`` (z up from the start plate),
reached by a stored 4x4 matrix. Points are (N, 3) arrays, matrices act on column vectors.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import GeometryError

FloatArray = NDArray[np.float64]


def unit(vector: ArrayLike) -> FloatArray:
    """Return ``vector`` (3,) scaled to length one; GeometryError when its length is zero."""
    v = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(v))
    if not np.isfinite(length) or length < 1e-12:
        raise GeometryError(f"a direction has no length: {v.tolist()}")
    return v / length


def perpendiculars(axis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two unit vectors (3,) square to the unit vector ``axis`` (3,) and to each other; the same for the same axis."""
    u = unit(np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))]))
    return u, np.cross(axis, u)


def transform_points(matrix: ArrayLike, points: ArrayLike) -> FloatArray:
    """Apply a 4x4 ``matrix`` to (N, 3) ``points`` in mm; returns (N, 3)."""
    m = np.asarray(matrix, dtype=np.float64)
    p = np.asarray(points, dtype=np.float64)
    return np.asarray(p @ m[:3, :3].T + m[:3, 3])


def invert_rigid(matrix: ArrayLike) -> FloatArray:
    """Inverse of a rigid 4x4 ``matrix``, exact up to rounding (transpose, not a solver)."""
    m = np.asarray(matrix, dtype=np.float64)
    out = np.eye(4)
    out[:3, :3] = m[:3, :3].T
    out[:3, 3] = -m[:3, :3].T @ m[:3, 3]
    return out


def rotation_angle_deg(rotation: ArrayLike) -> float:
    """Angle in degrees of a 3x3 rotation matrix."""
    r = np.asarray(rotation, dtype=np.float64)
    return float(np.degrees(np.arccos(np.clip((np.trace(r) - 1.0) / 2.0, -1.0, 1.0))))


def rotation(vector_rad: FloatArray) -> FloatArray:
    """(3, 3) rotation about ``vector_rad`` by its length (Rodrigues)."""
    angle = float(np.linalg.norm(vector_rad))
    x, y, z = vector_rad
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-12:
        return np.asarray(np.eye(3) + cross)
    square = cross @ cross
    return np.asarray(np.eye(3) + np.sin(angle) / angle * cross + (1.0 - np.cos(angle)) / angle**2 * square)


def rotation_vector(matrix: FloatArray) -> FloatArray:
    """(3,) axis times angle in rad of a rotation by less than half a turn."""
    skew = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    sine = float(np.linalg.norm(skew)) / 2.0
    angle = float(np.arctan2(sine, (np.trace(matrix[:3, :3]) - 1.0) / 2.0))
    return skew / 2.0 if sine < 1e-12 else skew * (angle / (2.0 * sine))


def motion(step: FloatArray, centre_mm: FloatArray) -> FloatArray:
    """4x4 of a turn ``step[:3]`` (rad) about ``centre_mm`` followed by a shift ``step[3:6]`` (mm)."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(step[:3])
    matrix[:3, 3] = step[3:6] + centre_mm - matrix[:3, :3] @ centre_mm
    return matrix


def motion_columns(places_mm: FloatArray, gradient: FloatArray, centre_mm: FloatArray) -> FloatArray:
    """(N, 6) derivative by a :func:`motion` of something with (N, 3) ``gradient`` at (N, 3) ``places_mm``."""
    return np.concatenate([np.cross(places_mm - centre_mm, gradient), gradient], axis=1)


def segment_distance(points_mm: FloatArray, start_mm: FloatArray, end_mm: FloatArray) -> FloatArray:
    """(N,) distance in mm of (N, 3) points to the segment between two places (3,), which may be the same."""
    along = end_mm - start_mm
    share = np.clip((points_mm - start_mm) @ along / max(float(along @ along), 1e-12), 0.0, 1.0)
    return np.asarray(np.linalg.norm(points_mm - start_mm - share[:, None] * along, axis=1))


def polyline_distance(points_mm: FloatArray, line_mm: FloatArray) -> FloatArray:
    """(N,) distance in mm of (N, 3) points to the line through (M, 3) corners; infinite where it has no segment."""
    nearest = np.full(len(points_mm), np.inf)
    for start, end in itertools.pairwise(line_mm):
        nearest = np.minimum(nearest, segment_distance(points_mm, start, end))
    return nearest


@dataclass(frozen=True)
class Plane:
    """An oriented plane: a point on it (mm) and a unit normal, both in patient LPS unless said otherwise.

    The positive side is where the normal points.
    """

    point: tuple[float, float, float]
    normal: tuple[float, float, float]

    @classmethod
    def of(cls, point: ArrayLike, normal: ArrayLike) -> Plane:
        """Make a plane from array-likes; the normal is scaled to length one."""
        p = np.asarray(point, dtype=np.float64)
        n = unit(normal)
        return cls((float(p[0]), float(p[1]), float(p[2])), (float(n[0]), float(n[1]), float(n[2])))

    def distance(self, points: ArrayLike) -> FloatArray:
        """Signed distance in mm of (N, 3) ``points``, positive on the normal's side; returns (N,)."""
        p = np.asarray(points, dtype=np.float64)
        return np.asarray((p - np.asarray(self.point)) @ np.asarray(self.normal))

    def mirror_matrix(self) -> FloatArray:
        """The 4x4 reflection in this plane."""
        n = np.asarray(self.normal)
        out = np.eye(4)
        out[:3, :3] -= 2.0 * np.outer(n, n)
        out[:3, 3] = 2.0 * float(np.dot(self.point, n)) * n
        return out

    def as_json(self) -> dict[str, Any]:
        """``{"point_lps_mm": [...], "normal_lps": [...]}``."""
        return {"point_lps_mm": list(self.point), "normal_lps": list(self.normal)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plane:
        """Read what :meth:`as_json` wrote."""
        return cls.of(data["point_lps_mm"], data["normal_lps"])
