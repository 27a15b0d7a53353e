"""Where pelvis and implant are in a scan, and how far the implant has moved in the pelvis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.config.simulated_followup import FollowupScan, Motion
from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.phantom.poses import rigid


@dataclass(frozen=True)
class Placed:
    """Rigid 4x4 matrices of one scan (mm).

    Attributes
    ----------
    scan_from_planning : the pelvis, planning LPS -> scan LPS.
    motion : the implant in the pelvis, from its planned to its present place, planning LPS.
    at_baseline : the same when it was placed.
    centroid_mm : (3,) of the implant where it was planned, planning LPS.
    """

    scan_from_planning: FloatArray
    motion: FloatArray
    at_baseline: FloatArray
    centroid_mm: FloatArray

    @property
    def scan_from_implant(self) -> FloatArray:
        """The implant, from its planned place in planning LPS to scan LPS."""
        return np.asarray(self.scan_from_planning @ self.motion)


def about(centre_mm: FloatArray, motion: Motion) -> FloatArray:
    """4x4 of ``motion`` with its turns through ``centre_mm``."""
    out = rigid(motion.turns_deg, (0.0, 0.0, 0.0))
    out[:3, 3] = centre_mm + np.array(motion.shift_mm) - out[:3, :3] @ centre_mm
    return out


def placed(centroid_mm: FloatArray, placement: Motion, scan: FollowupScan) -> Placed:
    """Matrices of ``scan``: placement first, then the migration about where the centroid had come to lie."""
    first = about(centroid_mm, placement)
    moved = about(transform_points(first, centroid_mm[None])[0], scan.migration) @ first
    return Placed(about(centroid_mm, scan.pose), np.asarray(moved), first, centroid_mm)


def moved_by(motion: FloatArray, centre_mm: FloatArray) -> dict[str, FloatArray | float]:
    """Shift of ``centre_mm`` (mm) and rotation vector (degrees) of a rigid 4x4, with their lengths."""
    shift = transform_points(motion, centre_mm[None])[0] - centre_mm
    turn = rotation_vector_deg(motion[:3, :3])
    return {
        "migration_mm": shift,
        "migration_length_mm": float(np.linalg.norm(shift)),
        "rotation_deg": turn,
        "rotation_angle_deg": float(np.linalg.norm(turn)),
    }


def relative_to_baseline(found: Placed) -> dict[str, FloatArray | float]:
    """Motion since the implant was placed, at its centroid as placed."""
    centre = transform_points(found.at_baseline, found.centroid_mm[None])[0]
    return moved_by(found.motion @ invert_rigid(found.at_baseline), centre)


def rotation_vector_deg(rotation: FloatArray) -> FloatArray:
    """Axis times angle of a 3x3 rotation, degrees."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotation).as_rotvec(degrees=True))


def mesh_centroid(vertices: NDArray[np.floating], faces: NDArray[np.int64]) -> FloatArray:
    """Centroid (3,) of the volume inside a closed mesh."""
    a, b, c = (np.asarray(vertices, float)[faces[:, n]] for n in range(3))
    six_volumes = np.einsum("ij,ij->i", a, np.cross(b, c))
    return np.asarray((six_volumes[:, None] * (a + b + c)).sum(0) / (4.0 * six_volumes.sum()))
