"""What strength.json and view.npz say of a solved implant, and the refusal of one that is too weak."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from implantflow.artifacts import write_npz
from implantflow.config.strength import StrengthConfig
from implantflow.errors import QualityGateError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, invert_rigid
from implantflow.jobs import Job
from implantflow.strength.implant import ImplantModel
from implantflow.strength.judge import CaseResult, governing
from implantflow.strength.lattice_cell import LatticeCell
from implantflow.strength.parts import Parts
from implantflow.strength.rods import limitation


def change(new: float | None, old: float | None) -> float | None:
    """Change from ``old`` to ``new`` in percent; None where one is missing."""
    return None if new is None or not old else 100.0 * (new - old) / old


def figures_of(
    config: StrengthConfig, cell: LatticeCell, setup: ImplantModel, results: list[CaseResult]
) -> dict[str, Any]:
    """Figures of strength.json that both stages write."""
    worst = governing(results)
    return {
        "load_cases": [r.figures for r in results],
        "governing_load_case": worst.figures["name"],
        "max_von_mises_mpa": max(r.figures["max_von_mises_mpa"] for r in results),
        "safety_factor": worst.safety_factor,
        "safety_factor_min": config.safety_factor_min,
        "safe": worst.safety_factor >= config.safety_factor_min,
        "stiffness_n_per_mm": min(r.figures["stiffness_n_per_mm"] for r in results),
        "elements": setup.facts["elements"],
        "mesh": setup.facts,
        "effective_modulus_gpa": cell.facts["effective_modulus_gpa"],
        "homogenised": cell.facts,
        "metal": config.metal.model_dump(),
        "fatigue_dense": config.fatigue_dense.model_dump(),
        "fatigue_strut": config.fatigue_strut.model_dump(),
        "supports": [s.model_dump() for s in config.supports],
        "load": {
            "face": config.load_face,
            "area_mm2": float(setup.load.areas.sum()),
            "body_weight_n": config.body_weight_n,
            "share_on_implant": config.load_share,
        },
        "limitations": [
            f"{config.exclude_elements} layers of elements beside loaded and supported faces are not judged",
            "faces are bonded to an elastic bed; gaps, friction and cables carry nothing",
            limitation(config.fixation),
            f"strut stress is the {100 * config.strut_stress_quantile:g} % quantile of the cell's metal under the "
            "homogenised stress averaged over one cell; struts cut at the surface are not resolved",
            "linear elastic, static loads compared with a fatigue strength",
        ],
    }


def pass_or_refuse(config: StrengthConfig, results: list[CaseResult], with_error_bar: float) -> None:
    """Raise QualityGateError, with the place, where the least safety factor is below the case's."""
    worst = governing(results)
    if min(worst.safety_factor, with_error_bar) >= config.safety_factor_min:
        return
    if worst.safety_factor >= config.safety_factor_min:
        raise QualityGateError(
            f"safety factor {worst.safety_factor:.2f} under '{worst.figures['name']}' is {with_error_bar:.2f} with the "
            f"error bar of the grid, below the case's {config.safety_factor_min:.2f}",
            where="strength.voxel_mm; strength.safety_factor_min",
            fix="use smaller voxels, which narrow the error bar, or a stronger design",
        )
    figures = worst.figures
    dense, strut = figures["safety_factor_dense"], figures["safety_factor_strut"]
    in_strut = dense is None or (strut is not None and strut < dense)
    place = figures["max_strut_at_lps_mm"] if in_strut else figures["max_dense_at_lps_mm"]
    raise QualityGateError(
        f"safety factor {worst.safety_factor:.2f} under '{figures['name']}' is below the case's "
        f"{config.safety_factor_min:.2f} ({'lattice strut' if in_strut else 'dense metal'}, "
        f"{figures['max_strut_stress_mpa' if in_strut else 'max_von_mises_dense_mpa']:.0f} MPa)",
        where=f"patient LPS {np.round(place, 1).tolist()} mm; strength.safety_factor_min",
        fix="thicken implant.strut_radius_mm (strength/solid suggests one), the contact face or lattice.strut_mm",
    )


def write_view(
    job: Job,
    field: Field,
    parts: Parts,
    setup: ImplantModel,
    result: CaseResult,
    more: Mapping[str, FloatArray] = MappingProxyType({}),
) -> None:
    """Fields of the governing load case on the voxel grid, (K, J, I) float32, rounded to hide the last bits.

    ``more`` : further values (E,) of the elements, by name.
    """
    spread = setup.model.mesh.spread
    places: dict[str, FloatArray] = {
        "origin_mm": parts.grid.origin_mm,
        "spacing_mm": np.full(3, parts.grid.voxel_mm),
        "patient_from_grid": invert_rigid(field.build_from_patient),
    }
    volumes = {
        "dense_share": spread(setup.dense),
        "porous_share": spread(setup.porous),
        "lattice_density": spread(setup.density),
        "von_mises_mpa": spread(result.von_mises_mpa),
        "strut_mpa": spread(result.strut_mpa),
        "displacement_mm": spread(result.displacement_mm),
        "judged": spread(setup.judged.astype(np.float32)),
        **{name: spread(values) for name, values in more.items()},
    }
    rounded = {k: np.round(v, 4).astype(np.float32) for k, v in volumes.items()}
    write_npz(job.outputs["view"], places | rounded)
