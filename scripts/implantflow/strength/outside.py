"""The implant solved by CalculiX as well, on the grid that judges it: how far the two answers are apart."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.config.strength import StrengthConfig
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, unit
from implantflow.strength import calculix, reference
from implantflow.strength.implant import ImplantModel, build_model, unit_force
from implantflow.strength.lattice_cell import LatticeCell
from implantflow.strength.multigrid import Multigrid
from implantflow.strength.parts import Parts
from implantflow.strength.solver import solve

#: Differences are stated to this many decimals of a per cent: CalculiX's last digits depend on its build.
DECIMALS = 2


def compare(
    field: Field, regions: Mapping[str, Any], parts: Parts, cell: LatticeCell, config: StrengthConfig
) -> dict[str, Any]:
    """Solve every direction of load by CalculiX too.

    Returns
    -------
    dict
        ``ran`` and, where CalculiX is installed, ``agreement_pct``: the largest difference of any reaction or of
        the displacement of the loaded face, in per cent of the load's or of that displacement; parts per case.
    """
    if calculix.program() is None:
        return {
            "ran": False,
            "reason": "CalculiX (ccx) is not installed here; the second solution of strength.json stands alone",
        }
    setup = build_model(field, regions, parts, cell, config)
    cycle = Multigrid(setup.model)
    rotation = field.build_from_patient[:3, :3]
    cases = []
    for case in config.load_cases:
        force = unit_force(setup, rotation @ unit(case.direction_lps))
        force *= config.body_weight_n * case.body_weight_factor * config.load_share
        ours = solve(setup.model, force, precondition=cycle).displacement
        cases.append({"name": case.name, **differences(setup, force, ours, by_calculix(setup, force))})
    return {
        "ran": True,
        "agreement_pct": max(c[key] for c in cases for key in ("reaction_pct", "face_displacement_pct")),
        "elements": setup.facts["elements"],
        "voxel_mm": setup.facts["voxel_mm"],
        "solver": f"CalculiX, C3D8I elements, {calculix.SOLVER}",
        "load_cases": cases,
    }


def by_calculix(setup: ImplantModel, force: FloatArray, *, solver: str = calculix.SOLVER) -> calculix.Answer:
    """The answer of CalculiX, its files thrown away."""
    with tempfile.TemporaryDirectory(prefix="calculix-") as folder:
        return calculix.solve(setup.model, force, beds(setup), Path(folder), solver=solver)


def beds(setup: ImplantModel) -> list[tuple[str, FloatArray]]:
    """Springs (N,) of each support, N/mm."""
    mesh = setup.model.mesh
    return [(c.name, c.spread(mesh, (bed * c.areas)[:, None])[:, 0]) for c, bed in setup.supports]


def differences(
    setup: ImplantModel, force: FloatArray, ours: FloatArray, theirs: calculix.Answer
) -> dict[str, Any]:
    """Differences in per cent, rounded: reactions, displacement of the loaded face and of the worst corner, strain.

    On soft beds the part moves as a whole, and only the strain tells whether it is equally stiff.
    """
    nodal = ours.reshape(-1, 3)
    load = np.linalg.norm(force.reshape(-1, 3).sum(axis=0))
    reactions = {name: -(springs[:, None] * nodal).sum(axis=0) for name, springs in beds(setup)}
    away = [np.linalg.norm(reactions[name] - theirs.reactions[name]) / load for name in reactions]
    here, there = (setup.load.mean(setup.model.mesh, u.reshape(-1, 3)) for u in (ours, theirs.displacement))
    strain, other = setup.model.strain(ours), reference.centre_strain(setup.model, theirs.displacement)
    found = {
        "reaction_pct": max(away),
        "face_displacement_pct": np.linalg.norm(here - there) / np.linalg.norm(here),
        "worst_corner_pct": np.abs(ours - theirs.displacement).max() / np.abs(ours).max(),
        "strain_rms_pct": np.linalg.norm(strain - other) / np.linalg.norm(strain),
    }
    return {key: round(100.0 * float(value), DECIMALS) for key, value in found.items()}
