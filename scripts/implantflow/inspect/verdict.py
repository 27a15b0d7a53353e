"""From figures to a verdict and a decision, by the limits of the case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from implantflow.config.inspect import InspectLimits
from implantflow.geometry import FloatArray
from implantflow.inspect.shape import Fit

WITHIN, OUTSIDE, UNJUDGED = "within", "outside", "cannot_be_judged"


def size_figures(fit: Fit, factors: FloatArray) -> dict[str, Any]:
    """Size of the print against the design: keys of deviation.json.

    ``scale_error_pct`` is the mean over the axes.
    """
    error = 100.0 * (fit.sizes * factors - 1.0)
    return {
        "scale_error_pct": float(error.mean()),
        "scale_error_xyz_pct": error,
        "scale_error_se_xyz_pct": 100.0 * fit.sizes_se * factors,
        "scale_error_se": "standard error of the fit (cubes of 15 mm left out in turn); the scanner's own calibration "
        "is not in it",
        "printed_over_drawn_xyz": fit.sizes,
        "drawn_over_design_xyz": factors,
    }


def compensation(fit: Fit, judgement: str) -> dict[str, Any]:
    """What to write into the next revision; nothing where the scan could not be judged."""
    if judgement == UNJUDGED:
        return {"scale_xyz": None, "meaning": "none is proposed from a scan that cannot be judged"}
    return {
        "scale_xyz": np.round(1.0 / fit.sizes, 6),
        "meaning": "write this as build.revisions[].scale_xyz of the next revision: what was drawn, divided by what "
        "was measured",
    }


def judged(
    limits: InspectLimits,
    outer: Mapping[str, Any],
    sizes: Mapping[str, Any],
    coverage_pct: Mapping[str, float | None],
) -> tuple[str, list[str]]:
    """The verdict and all reasons for it.

    Parameters
    ----------
    outer : statistics of the outer surface. sizes : of :func:`size_figures`.
    coverage_pct : name -> seen share, of the outer surface and of every contact face.
    """
    unseen = [
        f"{name}: {'nothing' if share is None else f'only {share:.1f} %'} of it was scanned, "
        f"{limits.coverage_min_pct:g} % are needed"
        for name, share in coverage_pct.items()
        if share is None or share < limits.coverage_min_pct
    ]
    errors, doubts = sizes["scale_error_xyz_pct"], sizes["scale_error_se_xyz_pct"]
    unseen += [
        f"size along build {axis} is known to {doubt:.3f} % only (standard error), too coarse for a limit of "
        f"{limits.scale_error_max_pct:g} %"
        for axis, doubt in zip("xyz", doubts, strict=True)
        if 2.0 * doubt > limits.scale_error_max_pct
    ]
    wrong = [
        f"size along build {axis} is off by {error:+.3f} %, allowed {limits.scale_error_max_pct:g} %"
        for axis, error in zip("xyz", errors, strict=True)
        if abs(error) > limits.scale_error_max_pct
    ]
    if outer["rms_mm"] is None:
        return UNJUDGED, [*unseen, "nothing of the outer surface was scanned"]
    if outer["within_tolerance_pct"] < limits.within_tolerance_min_pct:
        wrong.append(
            f"{outer['within_tolerance_pct']:.1f} % of the outer surface lie within {limits.tolerance_mm:g} mm, "
            f"{limits.within_tolerance_min_pct:g} % are needed"
        )
    if outer["p95_mm"] > limits.p95_max_mm:
        wrong.append(
            f"95 % of the outer surface deviates by up to {outer['p95_mm']:.3f} mm, allowed {limits.p95_max_mm:g} mm"
        )
    if unseen:
        return UNJUDGED, [*unseen, *wrong]
    return (OUTSIDE, wrong) if wrong else (WITHIN, [])
