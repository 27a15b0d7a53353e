"""Which radius the dense strut would need: tried, reported, never applied by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from implantflow.config.strength import StrengthConfig
from implantflow.field.field import Field
from implantflow.strength.implant import build_model
from implantflow.strength.judge import CaseResult, governing, only, solve_cases
from implantflow.strength.lattice_cell import LatticeCell
from implantflow.strength.parts import Distance, capsule_distance, voxelise

#: Distance to the strut's rods with their own radii (None) or with one radius for all.
Rods = Callable[[float | None], Distance | None]


def without_strut(regions: Mapping[str, Any]) -> dict[str, Any]:
    """The regions with the strut taken out, so that it can be put back with any radius."""
    return {**regions, "strut": {"segments": []}}


def strut_rods(regions: Mapping[str, Any]) -> Rods:
    """Distance functions of the strut of ``regions`` (patient LPS); None where it has no strut."""
    segments = [
        (
            np.array(s["start_lps_mm"], dtype=float),
            np.array(s["end_lps_mm"], dtype=float),
            float(s["radius_mm"]),
        )
        for s in (regions.get("strut") or {}).get("segments", [])
    ]

    def rods(radius: float | None) -> Distance | None:
        if not segments:
            return None
        return capsule_distance([(a, b, r if radius is None else radius) for a, b, r in segments])

    return rods


def size_strut(
    field: Field,
    regions: Mapping[str, Any],
    rods: Rods,
    cell: LatticeCell,
    config: StrengthConfig,
    results: list[CaseResult],
) -> dict[str, Any]:
    """Safety factor over the radii of the config, under the load case that governs the implant as designed.

    Rods and screws carry nothing here: the strut must do without them.

    Parameters
    ----------
    field : Field
        Without the strut, in patient LPS.
    rods : from :func:`strut_rods`.
    results : load cases of the implant as designed.

    Returns
    -------
    dict
        ``strut_radius_required_mm`` (None when no radius reaches the limit or there is no strut) and
        ``strut_sizing`` with one entry per radius.
    """
    trials: list[dict[str, Any]] = []
    alone = only(config, governing(results))
    if rods(None) is not None:
        for radius in config.sizing.strut_radii_mm:
            parts = voxelise(
                field, config.sizing.voxel_mm, more_dense=rods(radius), density=cell.relative_density
            )
            [result] = solve_cases(build_model(field, regions, parts, cell, config), field, cell, alone)
            trials.append({"radius_mm": radius} | {k: result.figures[k] for k in _SHOWN})
    enough = [t["radius_mm"] for t in trials if t["safety_factor"] >= config.safety_factor_min]
    return {
        "strut_radius_required_mm": min(enough) if enough else None,
        "strut_sizing": {
            "voxel_mm": config.sizing.voxel_mm,
            "safety_factor_min": config.safety_factor_min,
            "load_case": alone.load_cases[0].name,
            "applied": False,
            "trials": trials,
        },
    }


_SHOWN = (
    "safety_factor",
    "safety_factor_dense",
    "safety_factor_strut",
    "max_von_mises_dense_mpa",
    "max_strut_stress_mpa",
    "stiffness_n_per_mm",
)
