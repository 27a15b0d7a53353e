"""Door of the rule ``plan_outer_shape``: the sacrum's outer surface as it was before the tumour changed it."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow import artifacts
from implantflow.config.plan import MirrorConfig, PlanRevision
from implantflow.errors import ConfigError, QualityGateError
from implantflow.geometry import FloatArray, Plane
from implantflow.jobs import Job, progress
from implantflow.plan.blend import BLENDED, MIRRORED, OWN, Weights, blended, sources
from implantflow.plan.extent import read_tumour
from implantflow.plan.mirror import Pattern, pattern
from implantflow.plan.roots import SIGNS
from implantflow.solids.booleans import refined
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid, read_solid, write_solid

_EVEN_MM = 2.0
_NAMES = {OWN: "own", MIRRORED: "mirrored", BLENDED: "blended"}
_FAR_MM = 50.0


def plan_outer_shape(job: Job) -> None:
    """Give back the healthy outline where the tumour changed the bone (rule ``plan_outer_shape``).

    Inputs ``plan`` (JSON), ``sacrum`` (STL, patient LPS mm) and ``tumour_stl`` (one or several). Outputs ``outer``
    (STL: the whole sacrum, its changed part from the mirrored healthy side), ``map`` (npz: of every vertex of that STL
    its ``source`` 0 own, 1 mirrored, 2 blended, ``share`` of the mirrored side and ``displacement_mm`` off the own
    surface, outwards positive) and ``facts`` (JSON). Settings ``plan`` (one revision).

    Raises
    ------
    GeometryError
        Too little intact bone to fit to, or the surfaces do not join.
    QualityGateError
        The sides are too unlike, or the blend would have a step.
    """
    revision = PlanRevision.model_validate(job.settings["plan"])
    config = revision.mirror
    if config is None:
        raise ConfigError("this revision mirrors nothing", where=f"plan.revisions.{revision.id}.mirror")
    plan = artifacts.read_json(job.input("plan"))
    middle = Plane.from_json(plan["midline_plane"])
    bone = refined(read_solid(job.input("sacrum"), "sacrum"), _EVEN_MM)
    tumour = Surface(read_tumour(job.input_list("tumour_stl")))

    progress("mirrored side", done=0.1)
    away = tumour.signed_distance_mm(bone.vertices, _FAR_MM)
    found = pattern(bone, middle, away, config.changed_within_mm, SIGNS[plan["side"]])
    _require_alike(found, config)
    progress("blend", done=0.4)
    # From a place of the pattern back to the healthy side that it comes from.
    back = middle.mirror_matrix() @ np.linalg.inv(found.moved)
    weights = Weights(tumour, back, config.changed_within_mm, config.blend_mm)
    shape = write_solid(
        job.outputs["outer"],
        blended(bone, found.solid, weights),
        f"implantflow outer shape {plan['side']} patient LPS mm",
    )
    progress("map", done=0.8)
    own, theirs = Surface(bone), Surface(found.solid)
    share = weights.at(shape.vertices)
    moved = own.signed_distance_mm(shape.vertices, _FAR_MM)
    step, border = _steps(shape, moved, theirs, share, weights)
    _require_smooth(step, border, config)
    source = sources(share)
    artifacts.write_npz(
        job.outputs["map"],
        {
            "vertices_lps_mm": shape.vertices,
            "source": source,
            "share": share.astype(np.float32),
            "displacement_mm": moved.astype(np.float32),
        },
    )
    facts = _facts(shape, source, moved, found)
    artifacts.write_json(
        job.outputs["facts"],
        {
            "revision": revision.id,
            "frame": "patient_lps",
            "purpose": plan["purpose"],
            "side": plan["side"],
            **config.model_dump(mode="json"),
            **facts,
            "step_mm_per_mm": step,
            "border_offset_max_mm": border,
            "codes": {name: code for code, name in _NAMES.items()},
            "notes": [
                "The mirrored side stands for bone that nobody has seen: sides differ, and where the healthy side lies "
                "near the tumour too, the bone is kept as segmented.",
            ],
        },
    )


def _require_alike(found: Pattern, config: MirrorConfig) -> None:
    if found.residual_p50_mm > config.residual_max_mm:
        raise QualityGateError(
            f"the mirrored side lies {found.residual_p50_mm:.2f} mm (median) off the intact bone about the tumour, "
            f"{config.residual_max_mm:.2f} mm are allowed",
            where="plan.mirror",
            fix="leave mirror out and correct the shape by hand, or allow more (residual_max_mm)",
        )


def _steps(
    shape: Solid, moved: FloatArray, theirs: Surface, share: FloatArray, weights: Weights
) -> tuple[float, float]:
    """Steepest passage from one surface to the other, mm per mm, and the largest offset at the blend's border, mm."""
    between = (share > 1e-6) & (share < 1.0 - 1e-6)
    apart = np.abs(moved[between]) + np.abs(theirs.signed_distance_mm(shape.vertices[between], _FAR_MM))
    # The smooth step rises fastest in its middle: 1.5 over its width.
    t = 2.0 * np.minimum(share[between], 1.0 - share[between])
    steep = apart * 1.5 * np.sqrt(np.clip(t, 0.0, 1.0)) / weights.blend_mm
    away = weights.tumour.signed_distance_mm(shape.vertices, weights.changed_mm + weights.blend_mm + 2.0)
    border = np.abs(away - weights.changed_mm - weights.blend_mm) < 1.0
    return float(steep.max(initial=0.0)), float(np.abs(moved[border]).max(initial=0.0))


def _require_smooth(step: float, border: float, config: MirrorConfig) -> None:
    if max(step, border) > config.step_max_mm:
        raise QualityGateError(
            f"own and mirrored surface meet with {step:.2f} mm of change per mm and {border:.2f} mm at the border, "
            f"{config.step_max_mm:.2f} are allowed",
            where="plan.mirror",
            fix="use a wider blend_mm, or trust less of the surface (changed_within_mm)",
        )


def _facts(shape: Solid, source: FloatArray, moved: FloatArray, found: Pattern) -> dict[str, Any]:
    """Areas and displacements by source, and how the pattern was fitted."""
    of_face = source[shape.faces].max(axis=1)
    pure = (source[shape.faces] == source[shape.faces][:, :1]).all(axis=1)
    code = np.where(pure, of_face, BLENDED)
    taken = np.abs(moved[source != OWN])
    return {
        "resampled_max_mm": float(np.abs(moved[source == OWN]).max(initial=0.0)),
        "area_mm2": {name: float(shape.areas_mm2[code == number].sum()) for number, name in _NAMES.items()},
        "displacement_p50_mm": float(np.quantile(taken, 0.5)) if len(taken) else 0.0,
        "displacement_p95_mm": float(np.quantile(taken, 0.95)) if len(taken) else 0.0,
        "displacement_max_mm": float(taken.max(initial=0.0)),
        "pattern": {
            "turned_deg": found.turned_deg,
            "shifted_mm": found.shifted_mm,
            "residual_p50_mm": found.residual_p50_mm,
            "residual_p95_mm": found.residual_p95_mm,
            "moved": found.moved,
        },
    }
