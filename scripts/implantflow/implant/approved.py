"""The signed model: what was approved is what is built on, and what may differ from it is listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import sha256_file
from implantflow.errors import QualityGateError, ReviewError
from implantflow.geometry import FloatArray, polyline_distance
from implantflow.solids.booleans import refined
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid

#: The contract: equal to the approved model within this, outside the regions on its sheet.
TOLERANCE_MM = 0.05
_SAMPLE_MM = 2.0
#: Around a listed hole the surface may be re-triangulated and its rim rounded.
_RIM_MM = 0.5


def require_signed(approved: Path, prototype: dict[str, Any], gate: dict[str, Any], purpose: str) -> None:
    """Refuse unless gate, prototype record and file speak of the same bytes.

    Raises
    ------
    ReviewError
        The gate did not open, or it opened for another file.
    """
    digest = sha256_file(approved)
    decision = str(gate.get("decision", ""))
    if decision != "approved" and (purpose == "clinical" or not decision.startswith("auto-approved")):
        raise ReviewError(
            f"the review gate says '{decision}', not approved",
            where="gate.json",
            fix=f"python -m implantflow review CASE {prototype['id']} --decision approve ...",
        )
    if digest not in {gate.get("subject_sha256"), *gate.get("subjects", {}).values()}:
        raise ReviewError(
            f"the gate was opened for another file than {approved.name} ({digest})",
            where="gate.json",
            fix="have the iteration reviewed again",
        )
    if prototype["subject_sha256"] != digest:
        raise ReviewError(
            f"prototype.json of {prototype['id']} is about another file than {approved.name} ({digest})",
            where="prototype.json",
            fix="run the iteration again and have it reviewed again",
        )


def deviation_mm(final: Solid, approved: Solid, listed: list[tuple[FloatArray, float]]) -> float:
    """Largest distance in mm between the two surfaces outside the listed regions.

    ``listed`` holds (polyline (N, 3), radius) of every hole and passage cut since. Sampled at vertices after splitting
    edges to 2 mm, both ways; each sample's distance is exact.
    """
    worst = 0.0
    for one, other in ((final, approved), (approved, final)):
        points = refined(one, _SAMPLE_MM).vertices
        for line, radius in listed:
            points = points[polyline_distance(points, line) > radius + _RIM_MM]
        if len(points):
            worst = max(worst, float(np.abs(Surface(other).signed_distance_mm(points)).max()))
    return worst


def require_same(found_mm: float) -> None:
    """Refuse a deviation above the contract's tolerance.

    Raises
    ------
    QualityGateError
        The final implant is not the approved one.
    """
    if found_mm > TOLERANCE_MM:
        raise QualityGateError(
            f"the implant differs from the approved model by {found_mm:.3f} mm outside the listed regions "
            f"({TOLERANCE_MM} mm allowed)",
            where="implant",
            fix="make a new iteration with this change and have it reviewed",
        )
