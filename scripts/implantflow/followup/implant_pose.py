"""Where the implant lies in the scan: from all of its metal, then from its struts alone where the scan shows them.

Design and scan are compared voxel by voxel: the share of metal that the design, blurred like the scan, puts into a
voxel must explain its HU. How HU grows with that share is read from the scan itself (a rising curve that ends at
the scanner's ceiling), so beam hardening, scatter and the clip at 3071 HU need no model; where the curve is flat a
voxel says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.followup.design import Blur, Coverage
from implantflow.followup.metal_fit import DONE_MM, FIRST_GUESS, Voxels, improve
from implantflow.followup.rigid import largest_disagreement_mm
from implantflow.followup.texture import LOOKED_FOR_MM, SHARP, by_texture
from implantflow.geometry import FloatArray, motion, transform_points

#: Pushes of the starts about the planned pose: turns in degrees, shifts in mm.
STARTS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((2.0, -1.5, 2.0), (2.0, -1.5, 1.5)),
    ((-2.0, 2.0, -1.5), (-1.5, 2.0, -2.0)),
)
#: What pulls at a pose of all metal (bone, shading, graded struts) and does not show in its covariance: standard
#: deviations of turns, rad, and shifts, mm. Against the struts' pose it lay 0.05 to 0.27 mm off over the implant in
#: 22 simulated scans of the Visible Human.
_PULLED_RAD, _PULLED_MM = 1e-3, 0.1
#: Least share of the variance of HU around the implant that the design must explain.
_MIN_EXPLAINED = 0.5


@dataclass(frozen=True)
class ImplantPose:
    """Pose of the implant.

    Attributes
    ----------
    scan_from_design : (4, 4) float array
        Maps the planned implant (planning CT's patient LPS) to the scan's patient LPS, mm.
    covariance : (6, 6) float array
        Of turn (rad) about ``centre_mm`` and shift (mm) in the scan's axes.
    centre_mm : (3,) the implant's centroid in the scan.
    blur : width of the scan's point spread.
    explained : share of the variance of HU around the implant that the design explains.
    agreement_mm : largest distance between the answers of any two starts, over the implant, before the finest
        level, which goes on from the best of them.
    points : number of voxels compared.
    by_texture : True where the pose is that of the struts deep inside, False where it is that of all metal.
    texture_apart_mm : largest distance over the implant between the two, None where struts do not show.
    """

    scan_from_design: FloatArray
    covariance: FloatArray
    centre_mm: FloatArray
    blur: Blur
    explained: float
    agreement_mm: float
    points: int
    by_texture: bool
    texture_apart_mm: float | None

    def as_json(self) -> dict[str, Any]:
        """Keys for followup.json."""
        in_plane, axial = self.blur.fwhm_mm
        return {
            "agreement_mm": self.agreement_mm,
            "starts": len(STARTS),
            "explained_fraction": self.explained,
            "points": self.points,
            "pose_rests_on": "the struts deep inside" if self.by_texture else "all metal",
            "struts_against_all_metal_mm": self.texture_apart_mm,
            "point_spread_fwhm_mm": [in_plane, in_plane, axial],
            "standard_error_mm": float(np.sqrt(np.trace(self.covariance[3:, 3:]))),
        }


def locate_implant(
    coverage: Coverage,
    levels: list[Voxels],
    core_of: Callable[[FloatArray], NDArray[np.bool_]],
    blur_of: Callable[[FloatArray], Blur],
    planned: FloatArray,
    surface_lps: FloatArray,
    agreement_max_mm: float,
) -> ImplantPose:
    """Find the implant.

    Parameters
    ----------
    coverage : Coverage
        The design.
    levels : list of Voxels
        Around the implant, other metal left out, coarse first.
    core_of : function of (N, 3) planned places
        True deep in the lattice, far from dense metal and from the surface.
    blur_of : function of a (4, 4) pose
        Measures the scan's point spread once the pose is nearly known.
    planned : (4, 4)
        Where it would lie as planned (the pelvis' pose).
    surface_lps : (N, 3)
        Points of its surface as planned.
    agreement_max_mm : float
        Answers of different starts may lie this far apart.

    Raises
    ------
    GeometryError
        The scan does not show this implant, or starts do not end at one answer.
    """
    centre = transform_points(planned, surface_lps.mean(0)[None])[0]
    found = [motion(np.r_[np.radians(turn), shift], centre) @ planned for turn, shift in STARTS]
    *coarse, finest = levels
    for voxels in coarse:
        model = coverage.blurred(FIRST_GUESS.wider_by(voxels.extra_mm), planned)
        steps = [improve(voxels, model, pose, centre, DONE_MM) for pose in found]
        found = [step.pose for step in steps]
    agreement = largest_disagreement_mm(found, surface_lps)
    start = max(steps, key=lambda step: step.explained).pose

    # The struts show their place whatever the point spread; the point spread shows only at the right place.
    struts = by_texture(finest, coverage.blurred(SHARP, planned), start, core_of, centre, LOOKED_FOR_MM)
    start = start if struts is None else struts.pose
    blur = blur_of(start)
    model = coverage.blurred(blur, planned)
    metal = improve(finest, model, start, centre, DONE_MM / 100.0)
    struts = None if struts is None else by_texture(finest, model, start, core_of, centre)
    _refuse_doubt(agreement, agreement_max_mm, metal.explained)
    used, pulled = struts or metal, np.repeat([_PULLED_RAD, _PULLED_MM], 3) ** 2
    covariance = used.normal.covariance() + (np.diag(pulled) if struts is None else 0.0)
    return ImplantPose(
        np.round(used.pose, 9),
        covariance,
        centre,
        blur,
        metal.explained,
        agreement,
        len(finest.places),
        struts is not None,
        None if struts is None else largest_disagreement_mm([metal.pose, struts.pose], surface_lps),
    )


def _refuse_doubt(agreement_mm: float, limit_mm: float, explained: float) -> None:
    if explained < _MIN_EXPLAINED:
        raise GeometryError(
            f"the scan does not show this implant where it was planned: its design explains "
            f"{100 * max(explained, 0.0):.0f} % of the grey values there (at least {100 * _MIN_EXPLAINED:.0f} %)",
            where="follow-up scan",
            fix="check that the scan was taken after the operation and is this patient's",
        )
    if agreement_mm > limit_mm:
        raise GeometryError(
            f"the implant is not found with certainty: answers from {len(STARTS)} starts lie up to "
            f"{agreement_mm:.2f} mm apart (limit {limit_mm} mm)",
            where="follow-up scan",
            fix="check the scan for motion and for heavy artefacts",
        )
