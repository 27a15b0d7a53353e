"""What keeps a stack of planes off a regular grid, and whether resampling may mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

#: More than this share of odd steps is an irregular stack rather than one with slices missing.
_IRREGULAR_SHARE = 0.25

#: Widest distance between neighbouring planes that may be bridged: what lies in a wider one is not seen at all.
MAX_BRIDGED_MM = 5.0

#: What a refusal names as the way in.
OPT_IN = "opt in to resampling: --resample on the command line, `resample: true` in ingest.series.NAME"


@dataclass(frozen=True)
class Trouble:
    """Why a stack is not regular.

    Attributes
    ----------
    what : the finding with its figures
    at : index of the plane before the first odd place, None when all of the stack is concerned
    fix : the first choice
    mendable : resampling keeps every measured value where it was measured
    """

    what: str
    at: int | None
    fix: str
    mendable: bool


def diagnose(
    positions_mm: FloatArray, normal: FloatArray, tilt_deg: float, residual_mm: float, limit_mm: float
) -> Trouble:
    """Name the one cause of ``residual_mm`` among tilt, sideways shift, missing slices and irregular spacing.

    Parameters
    ----------
    positions_mm : (N, 3) in order along ``normal``, patient LPS
    limit_mm : what a plane may be off a grid
    """
    heights = (positions_mm - positions_mm[0]) @ normal
    lateral = positions_mm - positions_mm[0] - heights[:, None] * normal
    off_line = lateral - heights[:, None] * (lateral[-1] / heights[-1])
    sideways = float(np.linalg.norm(off_line, axis=1).max())
    steps_mm = np.diff(heights)
    usual = float(np.median(steps_mm))
    odd = np.flatnonzero(np.abs(steps_mm - usual) > limit_mm)
    if sideways > limit_mm:
        worst = int(np.linalg.norm(off_line, axis=1).argmax())
        return Trouble(
            f"slices are shifted sideways against each other by up to {sideways:.2f} mm",
            worst,
            "use the scanner's original series: no scanner shifts single slices, so their positions are damaged",
            mendable=False,
        )
    if len(odd) == 0 and np.linalg.norm(lateral[-1]) > limit_mm:
        return Trouble(
            f"the stack is tilted by {tilt_deg:.2f} deg against its planes (gantry tilt, sheared export), "
            f"{residual_mm:.1f} mm at its far end",
            None,
            "use a series reconstructed without gantry tilt",
            mendable=True,
        )
    tilted = f"; it is also tilted by {tilt_deg:.2f} deg" if np.linalg.norm(lateral[-1]) > limit_mm else ""
    return _spacing(steps_mm, usual, odd, residual_mm, tilted)


def _spacing(steps_mm: FloatArray, usual: float, odd: np.ndarray, residual_mm: float, tilted: str) -> Trouble:
    at = int(odd[0]) if len(odd) else None
    bridged = bool(steps_mm.max() <= MAX_BRIDGED_MM)
    wide = "" if bridged else f"; {steps_mm.max():.1f} mm are too wide to be bridged ({MAX_BRIDGED_MM:g} mm)"
    ratio = steps_mm[odd] / usual
    missing = np.rint(ratio) - 1
    whole = len(odd) > 0 and bool((missing >= 1).all() and (np.abs(ratio - missing - 1) < 0.1).all())
    if whole and len(odd) <= max(1, _IRREGULAR_SHARE * len(steps_mm)):
        return Trouble(
            f"{int(missing.sum())} slices are missing in {len(odd)} places: {steps_mm[odd[0]]:.3f} mm "
            f"between neighbours in a stack of {usual:.3f} mm{tilted}{wide}",
            at,
            "fetch the complete series",
            mendable=bridged,
        )
    return Trouble(
        f"slice spacing is irregular: from {steps_mm.min():.3f} to {steps_mm.max():.3f} mm, up to "
        f"{residual_mm:.2f} mm off a regular stack{tilted}{wide}",
        at,
        "use a series with constant spacing",
        mendable=bridged,
    )


def refuse_unless_wanted(trouble: Trouble, names: Sequence[str], *, resample: bool) -> None:
    """GeometryError unless resampling is wanted and may mend the stack; ``names`` of the planes in order."""
    if resample and trouble.mendable:
        return
    if trouble.at is None:
        where = f"{names[0]} to {names[-1]}"
    else:
        where = f"between {names[trouble.at]} and {names[min(trouble.at + 1, len(names) - 1)]}"
    fix = trouble.fix + (f"; or {OPT_IN}" if trouble.mendable else "")
    raise GeometryError(trouble.what, where=where, fix=fix)
