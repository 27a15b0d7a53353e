"""Whether a fitted prior is to be believed."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.config.segment import SegmentConfig
from implantflow.errors import QualityGateError
from implantflow.segment.fit import Fit, mode_weights
from implantflow.segment.mesh import vertex_normals
from implantflow.segment.prior import ShapePrior, similarity

#: Largest 90 % quantile (degrees) of how far a fit's surface is turned from the nearest shape of the model.
#: Right fits of the Visible Human, 20 atlas members, a 3 mm CT and the demo had 11 to 22; one drawn to wrong edges at
#: the sacrum 28, bones on slices of 0.7, 1.5 and 2 times their distance 30, 26 and 37 (docs/validation/bones.md).
MAX_TURNED_DEG = 24.5
#: Size of a fitted pelvis against the prior's mean; adults differ by a tenth, a wrong voxel size by more.
SIZES = (0.8, 1.25)

PRIOR_NOTES = {
    "atlas": "Statistical shape model of both hips and S1-S3. It has no L5 and nothing below S3: L5 was told "
    "from L4 at the disc found between them, and the coccyx is part of the sacrum. Not for clinical use "
    "(licence of the atlas).",
    "template": "One shape made by the project, bent to the patient; the patient's own bone decides the "
    "surface wherever the image shows it.",
}


def check_fit(prior: ShapePrior, fit: Fit, settings: SegmentConfig) -> dict[str, Any]:
    """Figures of the fit; QualityGateError when it missed the bone."""
    inside, matched = int(fit.inside.sum()), int(fit.matched.sum())
    residual = np.abs(fit.residual_mm[fit.matched])
    share = matched / max(inside, 1)
    size = similarity(prior.mean[fit.inside], fit.vertices_lps_mm[fit.inside])[0] if inside > 2 else 0.0
    turned = turned_deg(prior, fit) if inside > 2 else 180.0
    figures = {
        "size_to_prior": size,
        "turned_p90_deg": turned,
        "cost_mm": fit.cost_mm,
        "inside_fraction": inside / len(fit.inside),
        "matched_fraction": share,
        "explained_fraction": fit.explained,
        "residual_mean_mm": float(residual.mean()) if matched else None,
        "residual_p95_mm": float(np.quantile(residual, 0.95)) if matched else None,
        "start": fit.start,
        "bones": {
            name: {"matched_fraction": float(fit.matched[(prior.bone == n) & fit.inside].mean())}
            for n, name in enumerate(prior.names)
            if (fit.inside & (prior.bone == n)).any()
        },
    }
    problems = []
    if inside < settings.min_inside_fraction * len(fit.inside):
        problems.append(f"only {100 * inside / len(fit.inside):.0f} % of the prior lies inside the scan")
    if share < settings.min_matched_fraction:
        problems.append(f"only {100 * share:.0f} % of its vertices met a bone edge within 3 mm")
    if fit.explained < settings.min_explained_fraction:
        problems.append(f"only {100 * fit.explained:.0f} % of the bone at its height lies within 4 mm of it")
    if not SIZES[0] <= size <= SIZES[1]:
        problems.append(f"it is {size:.2f} times the size of an adult's: a child, or a wrong voxel size")
    if turned > MAX_TURNED_DEG:
        problems.append(
            f"a tenth of its surface is turned by {turned:.0f} degrees or more from any pelvis the prior knows "
            f"(limit {MAX_TURNED_DEG:g}): a wrong distance of slices, or other bones"
        )
    if problems:
        raise QualityGateError(
            "the shape prior does not fit this scan: " + "; ".join(problems),
            where="segment",
            fix="check orientation and coverage (L5 to acetabula), give landmarks, or import a label map",
        )
    return figures


def turned_deg(prior: ShapePrior, fit: Fit) -> float:
    """90 % quantile (degrees) over the vertices inside the scan of the angle between fit and model.

    The model is the nearest shape that the prior's modes and a similarity make. The last, free step of the fit draws
    vertices to edges wherever they are; on other bones than its own, or on bones out of proportion, it has to fold
    the surface, and the normals tell.
    """
    inside = np.flatnonzero(fit.inside)
    shape = prior.mean
    for _ in range(3):
        scale, rotation, shift = similarity(shape[inside], fit.vertices_lps_mm[inside])
        found = (fit.vertices_lps_mm - shift) @ rotation / scale
        # Every vertex counts: a millimetre at one weighs as much as a standard deviation of a mode.
        weights = mode_weights(prior, found - prior.mean, inside, len(prior.modes), float(len(inside)))
        shape = prior.mean + np.einsum("q,qni->ni", weights, prior.modes)
    faces = prior.all_faces
    cosine = np.einsum("ni,ni->n", vertex_normals(shape, faces), vertex_normals(found, faces))[inside]
    return float(np.round(np.quantile(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))), 0.9), 3))
