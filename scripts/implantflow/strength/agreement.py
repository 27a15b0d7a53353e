"""How well the second, independent solution agrees, and how much the grid matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from implantflow.config.strength import StrengthConfig
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, unit
from implantflow.strength import element, reference
from implantflow.strength.implant import ImplantModel, build_model, unit_force
from implantflow.strength.judge import CaseResult, governing, only, solve_cases
from implantflow.strength.lattice_cell import LatticeCell
from implantflow.strength.mesh import Grid
from implantflow.strength.multigrid import Multigrid
from implantflow.strength.parts import Parts
from implantflow.strength.rods import Rods
from implantflow.strength.solver import solve

#: A figure that would still move by more than this with ever finer voxels (per cent) is not converged, and says so.
CONVERGED_PCT = 10.0

_COMPARED = (
    "stiffness_n_per_mm",
    "max_von_mises_dense_mpa",
    "p99_von_mises_dense_mpa",
    "max_strut_stress_mpa",
)


def coarsen(parts: Parts, voxel_mm: float) -> Parts:
    """Merge voxels into larger ones, whole numbers of them along each edge, conserving volumes."""
    n = max(1, round(voxel_mm / parts.grid.voxel_mm))
    shape = tuple(-(-s // n) for s in parts.grid.shape)
    pad = [(0, c * n - s) for c, s in zip(shape, parts.grid.shape, strict=True)]

    def mean(volume: FloatArray) -> FloatArray:
        blocks = np.pad(volume, pad).reshape(shape[0], n, shape[1], n, shape[2], n)
        return np.asarray(blocks.mean(axis=(1, 3, 5)))

    porous = mean(parts.porous)
    metal = mean(parts.porous * parts.density)
    density = np.divide(metal, porous, out=np.zeros_like(metal), where=porous > 0)
    grid = Grid(parts.grid.origin_mm, n * parts.grid.voxel_mm, shape)  # type: ignore[arg-type]
    return Parts(grid, mean(parts.solid), mean(parts.dense), porous, density)


def second_solution(
    field: Field, regions: Mapping[str, Any], parts: Parts, cell: LatticeCell, config: StrengthConfig
) -> dict[str, Any]:
    """Solve the first load direction on a coarse grid twice: by our solver and by an independent direct one.

    Returns
    -------
    dict
        ``solver_agreement_pct``: the largest of the differences in displacements, stresses and reactions, each
        in per cent of the largest value; ``solver_agreement`` with the parts.
    """
    coarse = build_model(field, regions, coarsen(parts, config.check_voxel_mm), cell, config)
    direction = field.build_from_patient[:3, :3] @ unit(config.load_cases[0].direction_lps)
    force = unit_force(coarse, direction)
    ours = solve(coarse.model, force, precondition=Multigrid(coarse.model))
    theirs = reference.solve_directly(coarse.model, force[:, None])[:, 0]
    differences = {
        "displacement_pct": _difference(ours.displacement, theirs),
        "von_mises_pct": _difference(
            _von_mises(coarse, coarse.model.strain(ours.displacement)),
            _von_mises(coarse, reference.centre_strain(coarse.model, theirs)),
        ),
        "reaction_pct": _difference(_reactions(coarse, ours.displacement), _reactions(coarse, theirs)),
    }
    return {
        "solver_agreement_pct": max(differences.values()),
        "solver_agreement": {
            "elements": coarse.facts["elements"],
            "voxel_mm": coarse.facts["voxel_mm"],
            "ours": "matrix-free conjugate gradients with multigrid, as used for the implant",
            "theirs": "own element matrices by exact integration, assembled, SuperLU factorisation",
            **differences,
        },
    }


def grid_sensitivity(
    field: Field,
    regions: Mapping[str, Any],
    parts: Parts,
    cell: LatticeCell,
    config: StrengthConfig,
    results: list[CaseResult],
    fixation: Rods | None,
) -> dict[str, Any]:
    """How far the governing case's figures still depend on the voxel, from voxels twice as large.

    Returns
    -------
    dict
        ``grid_sensitivity``: per figure its change in per cent from the coarse grid to the one used, and
        ``error_bar_pct``: the change that halving the voxel without end would still bring if each halving brings
        half of the one before (stepped surfaces converge with the first power of the voxel), which is that same
        change once more. ``not_converged``: figures whose bar is above :data:`CONVERGED_PCT`.
        ``safety_factor_with_error_bar``: the worse safety factor with each stress raised by its bar.
    """
    coarse = build_model(field, regions, coarsen(parts, 2.0 * parts.grid.voxel_mm), cell, config, fixation)
    worst = governing(results)
    fine = worst.figures
    rough = solve_cases(coarse, field, cell, only(config, worst))[0].figures
    changes = {
        f"{key}_change_pct": 100.0 * (fine[key] - rough[key]) / rough[key]
        for key in _COMPARED
        if fine[key] is not None and rough[key]
    }
    bars = {key.removesuffix("_change_pct"): abs(value) for key, value in changes.items()}
    return {
        "grid_sensitivity": {
            "voxel_mm": parts.grid.voxel_mm,
            "coarse_voxel_mm": coarse.facts["voxel_mm"],
            **changes,
            "error_bar_pct": bars,
            "converged_pct": CONVERGED_PCT,
            "not_converged": [key for key, bar in bars.items() if bar > CONVERGED_PCT],
        },
        "safety_factor_with_error_bar": _worst_with_bars(fine, bars),
    }


def _worst_with_bars(figures: Mapping[str, Any], bars: Mapping[str, float]) -> float:
    pairs = (
        ("safety_factor_dense", "max_von_mises_dense_mpa"),
        ("safety_factor_strut", "max_strut_stress_mpa"),
    )
    return min(
        float(figures[factor]) / (1.0 + bars.get(stress, 0.0) / 100.0)
        for factor, stress in pairs
        if figures[factor] is not None
    )


def words_on_convergence(sensitivity: Mapping[str, Any]) -> list[str]:
    """A sentence for the figures that are not converged; none where all are."""
    names = {
        "stiffness_n_per_mm": "stiffness",
        "max_von_mises_dense_mpa": "largest stress in dense metal",
        "p99_von_mises_dense_mpa": "99 % quantile of the stress in dense metal",
        "max_strut_stress_mpa": "strut stress",
    }
    bars = sensitivity["error_bar_pct"]
    found = [f"{names[key]} ({bars[key]:.0f} %)" for key in sensitivity["not_converged"]]
    if not found:
        return []
    return [
        f"not converged at {sensitivity['voxel_mm']:g} mm voxels: {', '.join(found)}; the safety factor is accepted "
        "only if it holds with these error bars"
    ]


def _difference(ours: FloatArray, theirs: FloatArray) -> float:
    return 100.0 * float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _von_mises(setup: ImplantModel, strain: FloatArray) -> FloatArray:
    stress = sum(
        scale[:, None] * (strain @ c)
        for scale, c in zip(setup.model.scales, setup.model.elasticity, strict=True)
    )
    return element.von_mises(np.asarray(stress))


def _reactions(setup: ImplantModel, displacement: FloatArray) -> FloatArray:
    """Net force (3,) of each support in turn, N."""
    mesh = setup.model.mesh
    nodal = displacement.reshape(-1, 3)
    forces = [(c.spread(mesh, (bed * c.areas)[:, None]) * nodal).sum(axis=0) for c, bed in setup.supports]
    return np.concatenate(forces)
