"""How far the implant has moved in the pelvis, and how well that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import InputError
from implantflow.followup.implant_pose import ImplantPose
from implantflow.followup.pelvis import PelvisPose
from implantflow.geometry import FloatArray, invert_rigid, rotation_vector, transform_points

#: Two readings differ by less than this many standard errors in 95 of 100 cases.
_SURE = 1.96


@dataclass(frozen=True)
class Place:
    """The implant in the pelvis at one time point.

    Attributes
    ----------
    planning_from_design : (4, 4) float array
        From where a point of the implant was planned to where it is, both in the planning CT's patient LPS.
    centroid_mm : (3,) the implant's centroid as planned.
    covariance : (6, 6) of turn (rad) and shift (mm) of the centroid, planning axes.
    """

    planning_from_design: FloatArray
    centroid_mm: FloatArray
    covariance: FloatArray

    @classmethod
    def of(cls, pelvis: PelvisPose, implant: ImplantPose, centroid_mm: FloatArray) -> Place:
        """From both poses in one scan; their errors are independent."""
        back = invert_rigid(pelvis.scan_from_planning)
        place = transform_points(implant.scan_from_design, centroid_mm[None])[0]
        covariance = _carried(pelvis.covariance, place - pelvis.centre_mm) + _carried(
            implant.covariance, place - implant.centre_mm
        )
        turn = np.kron(np.eye(2), back[:3, :3])
        return cls(back @ implant.scan_from_design, centroid_mm, turn @ covariance @ turn.T)

    def as_json(self) -> dict[str, Any]:
        """To be read again at the next time point; as text, because JSON is rounded to 1e-6."""
        return {
            "maps": "planned implant, patient_lps mm of the planning CT -> as found, same frame",
            "planning_from_design": [
                [repr(round(float(x), 10)) for x in row] for row in self.planning_from_design
            ],
            "centroid_lps_mm": self.centroid_mm,
            "covariance": [[repr(float(f"{x:.6e}")) for x in row] for row in self.covariance],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Place:
        """Read what :meth:`as_json` wrote; InputError when it is something else."""
        try:
            return cls(
                np.array([[float(x) for x in row] for row in data["planning_from_design"]]),
                np.array(data["centroid_lps_mm"], dtype=np.float64),
                np.array([[float(x) for x in row] for row in data["covariance"]]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the baseline's followup.json holds no pose of the implant: {error!r}",
                where="followup.json of the baseline",
                fix="run the follow-up of the baseline time point again",
            ) from error


def _carried(covariance: FloatArray, arm_mm: FloatArray) -> FloatArray:
    """Covariance (6, 6) with the shift taken ``arm_mm`` (3,) away from the point that turns are about."""
    x, y, z = arm_mm
    lever = np.eye(6)
    lever[3:, :3] = np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])
    return np.asarray(lever @ covariance @ lever.T)


@dataclass(frozen=True)
class Displacement:
    """A rigid motion of the implant.

    Attributes
    ----------
    shift_lps_mm : (3,) of the implant's centroid.
    turn_lps_deg : (3,) axis times angle.
    repeatability_mm, repeatability_deg : what a second reading would differ by at most, in 95 of 100 cases.
    """

    shift_lps_mm: FloatArray
    turn_lps_deg: FloatArray
    repeatability_mm: float
    repeatability_deg: float

    @property
    def norm_mm(self) -> float:
        """Length of the shift."""
        return float(np.linalg.norm(self.shift_lps_mm))

    @property
    def angle_deg(self) -> float:
        """Angle of the turn."""
        return float(np.linalg.norm(self.turn_lps_deg))

    def as_json(self) -> dict[str, Any]:
        """Keys for followup.json."""
        return {
            "shift_mm": self.norm_mm,
            "shift_lps_mm": self.shift_lps_mm,
            "rotation_deg": self.angle_deg,
            "rotation_lps_deg": self.turn_lps_deg,
            "repeatability_mm": self.repeatability_mm,
            "repeatability_deg": self.repeatability_deg,
            "at": "the implant's centroid; axes of the planning CT, +x left, +y posterior, +z cranial",
        }


def displacement(now: Place, then: Place | None) -> Displacement:
    """From ``then`` (None: the plan, which is exact) to ``now``."""
    start = np.eye(4) if then is None else then.planning_from_design
    moved = now.planning_from_design @ invert_rigid(start)
    centre = transform_points(start, now.centroid_mm[None])
    covariance = now.covariance if then is None else now.covariance + then.covariance
    return Displacement(
        (transform_points(moved, centre) - centre)[0],
        np.degrees(rotation_vector(moved[:3, :3])),
        _SURE * float(np.sqrt(np.trace(covariance[3:, 3:]))),
        _SURE * float(np.degrees(np.sqrt(np.trace(covariance[:3, :3])))),
    )
