"""HU along the outward normals of the implant's surface, as found in a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implantflow.followup.faces import Lines
from implantflow.followup.sampling import Smooth
from implantflow.followup.tissue import Tissue
from implantflow.geometry import FloatArray, invert_rigid, transform_points

#: Distances from the surface that profiles are read at, mm, outward positive.
STEPS_MM = np.arange(0.0, 6.01, 0.25)


@dataclass(frozen=True)
class Scan:
    """One follow-up scan with what has been found out about it.

    Attributes
    ----------
    smooth : Smooth
        HU as a function of the scan's patient LPS.
    tissue : Tissue
        The scan without the implant's own brightness.
    model : Smooth
        Share of metal, blurred like this scan, as a function of the planned place.
    scan_from_design, scan_from_planning : (4, 4)
        Poses of implant and pelvis.
    gain, offset_hu : HU of the scan = gain * planning HU + offset in tissue.
    normal_blur : (3, 3) covariance of the point spread along planned axes, mm2.
    """

    smooth: Smooth
    tissue: Tissue
    model: Smooth
    scan_from_design: FloatArray
    scan_from_planning: FloatArray
    gain: float
    offset_hu: float
    normal_blur: FloatArray

    @property
    def planning_from_design(self) -> FloatArray:
        """(4, 4): where a planned point of the implant now lies in the pelvis of the planning CT."""
        return np.asarray(invert_rigid(self.scan_from_planning) @ self.scan_from_design)


@dataclass(frozen=True)
class Profiles:
    """Means over each patch at :data:`STEPS_MM`.

    Attributes
    ----------
    hu : (P, S) the scan. tissue : (P, S) the same without the implant's own brightness, NaN where metal or the
    scanner's ceiling hides it. metal : (P, S) share of metal expected. metal_hu : (P, S) HU taken off as its
    brightness. before : (P, S) the planning CT at the same place of the pelvis, in the scan's HU. sigma_mm : (P,)
    point spread along the normal.
    """

    hu: FloatArray
    tissue: FloatArray
    metal: FloatArray
    metal_hu: FloatArray
    before: FloatArray
    sigma_mm: FloatArray


def read_profiles(lines: Lines, scan: Scan, planning: Smooth) -> Profiles:
    """Profiles of ``lines`` in ``scan``."""
    shape = (len(lines.points), len(STEPS_MM))
    places = (lines.points[:, None] + STEPS_MM[None, :, None] * lines.normals[:, None]).reshape(-1, 3)
    there = transform_points(scan.scan_from_design, places)
    hu = scan.smooth.values(there).reshape(shape)
    tissue = scan.tissue.at(there).reshape(shape)
    metal = lines.mean(scan.model.values(places).reshape(shape))
    before = planning.values(transform_points(scan.planning_from_design, places)).reshape(shape)
    sigma = np.sqrt(np.einsum("pa,ab,pb->p", lines.outward, scan.normal_blur, lines.outward))
    return Profiles(
        lines.mean(hu),
        lines.mean(tissue),
        metal,
        scan.tissue.hu_per_share * metal,
        scan.gain * lines.mean(before) + scan.offset_hu,
        sigma,
    )
