"""What a solution means: stresses against strength, stiffness, reactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.strength import LoadCase, StrengthConfig
from implantflow.errors import GeometryError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, invert_rigid, transform_points, unit
from implantflow.strength import element
from implantflow.strength.construct import Assembly
from implantflow.strength.faces import Contact
from implantflow.strength.implant import ImplantModel, unit_force
from implantflow.strength.lattice_cell import LatticeCell
from implantflow.strength.multigrid import Multigrid
from implantflow.strength.parts import cell_average
from implantflow.strength.solver import solve

#: A voxel is judged as metal (or as lattice) when at least this share of it is metal (or lattice).
JUDGED_SHARE = 0.5


@dataclass(frozen=True)
class CaseResult:
    """One load case solved.

    Attributes
    ----------
    figures : dict
        For the JSON.
    von_mises_mpa : (E,) array
        In the metal of dense elements, of the homogenised stress in lattice elements.
    strut_mpa : (E,) array
        Estimate of the strut stress in lattice elements, 0 elsewhere.
    displacement_mm : (E,) array
        Length of the displacement at the element's centre.
    """

    figures: dict[str, Any]
    von_mises_mpa: FloatArray
    strut_mpa: FloatArray
    displacement_mm: FloatArray

    @property
    def safety_factor(self) -> float:
        """Smaller of the two safety factors."""
        return float(self.figures["safety_factor"])


def governing(results: list[CaseResult]) -> CaseResult:
    """The load case with the smallest safety factor."""
    return min(results, key=lambda r: r.safety_factor)


def only(config: StrengthConfig, result: CaseResult) -> StrengthConfig:
    """The config with the load case of ``result`` alone, for runs that compare."""
    kept = [case for case in config.load_cases if case.name == result.figures["name"]]
    return config.model_copy(update={"load_cases": kept})


def solve_cases(
    setup: ImplantModel, field: Field, cell: LatticeCell, config: StrengthConfig
) -> list[CaseResult]:
    """Solve and judge every load case of the config; cases share the solutions that they have in common."""
    rotation = field.build_from_patient[:3, :3]
    answers = Answers(setup)
    results = []
    for case in config.load_cases:
        direction = rotation @ unit(case.direction_lps)
        force_n = config.body_weight_n * case.body_weight_factor * config.load_share
        if setup.assembly is None:
            answer, loads = answers.of(setup.load, direction)
            state = Loaded(force_n * answer, force_n * loads, {})
        else:
            state = answers.with_rods(setup.assembly, force_n * direction)
        results.append(_judge(setup, field, cell, config, case, state, answers.facts))
    return results


@dataclass(frozen=True)
class Loaded:
    """Displacements and applied forces (3 N,) of one load case, and what the rods took of it."""

    displacement: FloatArray
    applied: FloatArray
    rods: dict[str, Any]


class Answers:
    """Solutions of one model for unit forces, each found once."""

    def __init__(self, setup: ImplantModel) -> None:
        self._setup = setup
        self._cycle = Multigrid(setup.model)
        self._known: dict[tuple[Any, ...], tuple[FloatArray, FloatArray]] = {}
        self.facts: dict[str, Any] = {"solver_iterations": 0, "solver_residual": 0.0}

    def of(self, contact: Contact, direction: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Displacements and nodal forces (3 N,) for 1 N on ``contact`` in ``direction`` (3,)."""
        key = (contact.name, *np.round(direction, 12).tolist())
        if key not in self._known:
            loads = unit_force(self._setup, direction, contact)
            answer = solve(self._setup.model, loads, precondition=self._cycle)
            self.facts = {
                "solver_iterations": max(self.facts["solver_iterations"], answer.iterations),
                "solver_residual": max(self.facts["solver_residual"], answer.residual),
            }
            self._known[key] = (answer.displacement, loads)
        return self._known[key]

    def with_rods(self, assembly: Assembly, force: FloatArray) -> Loaded:
        """The state under ``force`` (3,), N, shared between the implant and the rods."""
        mesh = self._setup.model.mesh
        pairs = [(port, axis) for port in assembly.ports for axis in np.eye(3)]
        solved = [self.of(port, axis) for port, axis in pairs]
        matrix = np.array(
            [[port.mean(mesh, u.reshape(-1, 3)) @ axis for u, _ in solved] for port, axis in pairs]
        )
        forces, facts = assembly.share_out(matrix, force)
        displacement = np.zeros_like(solved[0][0])
        applied = np.zeros_like(displacement)
        for amount, (u, loads) in zip(forces.ravel(), solved, strict=True):
            displacement += amount * u
            applied += amount * loads
        return Loaded(displacement, applied, {"fixation": facts})


def _judge(
    setup: ImplantModel,
    field: Field,
    cell: LatticeCell,
    config: StrengthConfig,
    case: LoadCase,
    state: Loaded,
    facts: dict[str, Any],
) -> CaseResult:
    mesh = setup.model.mesh
    force_n = config.body_weight_n * case.body_weight_factor * config.load_share
    direction = field.build_from_patient[:3, :3] @ unit(case.direction_lps)
    displacement = state.displacement
    nodal = displacement.reshape(-1, 3)
    strain = setup.model.strain(displacement)
    metal_stress = element.von_mises(strain @ cell.metal)
    is_metal = setup.dense >= JUDGED_SHARE
    is_lattice = ~is_metal & (setup.porous >= JUDGED_SHARE)
    lattice_stress = _stress_over_a_cell(setup, field, cell, strain, is_lattice)
    dense = _worst_dense(setup, field, metal_stress, is_metal & setup.judged)
    strut, strut_field = _worst_strut(setup, field, cell, lattice_stress, is_lattice)
    figures = {
        "name": case.name,
        "force_n": force_n,
        "direction_lps": unit(case.direction_lps),
        **_safety(config, dense["max_von_mises_dense_mpa"], strut["max_strut_stress_mpa"]),
        **dense,
        **strut,
        **_motion(setup, direction, force_n, nodal),
        **_balance(setup, direction, force_n, nodal, state.applied.reshape(-1, 3)),
        **state.rods,
        **facts,
        "source": case.source,
        "verified": case.verified,
    }
    shown = np.where(is_metal, metal_stress, element.von_mises(lattice_stress))
    moved = np.linalg.norm(nodal[mesh.nodes].mean(axis=1), axis=1)
    return CaseResult(figures, shown, strut_field, moved)


def _stress_over_a_cell(
    setup: ImplantModel, field: Field, cell: LatticeCell, strain: FloatArray, is_lattice: NDArray[np.bool_]
) -> FloatArray:
    """Homogenised stress (E, 6), MPa, averaged over the lattice within one cell about each lattice element.

    A homogenised stress has no meaning on a scale below the cell, and single voxels at a stepped surface are
    noisy; zero in other elements.
    """
    mesh = setup.model.mesh
    stress = (strain @ cell.elasticity) * cell.density_factor(setup.density)[:, None]
    weight = np.where(is_lattice, setup.porous, 0.0)
    room = mesh.spread(weight)
    out = np.zeros_like(stress)
    for component in range(6):
        amount = mesh.spread(weight * stress[:, component])
        mean = mesh.pick(cell_average(amount, room, field.cell_mm / mesh.grid.voxel_mm))
        out[:, component] = np.where(is_lattice, mean, 0.0)
    return out


def _safety(config: StrengthConfig, dense_mpa: float | None, strut_mpa: float | None) -> dict[str, Any]:
    """Safety factors of dense metal and struts, and the worse of them; None where there is nothing to judge."""
    dense = None if dense_mpa is None else config.fatigue_dense.strength_mpa / dense_mpa
    strut = None if strut_mpa is None else config.fatigue_strut.strength_mpa / strut_mpa
    factors = [f for f in (dense, strut) if f is not None]
    if not factors:
        raise GeometryError(
            "no element is left to judge away from loaded and supported faces",
            where="strength.voxel_mm, strength.exclude_elements",
            fix="use smaller voxels or exclude fewer layers",
        )
    return {
        "max_von_mises_mpa": max(s for s in (dense_mpa, strut_mpa) if s is not None),
        "safety_factor": min(factors),
        "safety_factor_dense": dense,
        "safety_factor_strut": strut,
    }


def _place(setup: ImplantModel, field: Field, row: int) -> FloatArray:
    """Centre of an element in patient LPS, mm."""
    centre = setup.model.mesh.grid.centres(setup.model.mesh.voxels[row : row + 1])
    return np.asarray(transform_points(invert_rigid(field.build_from_patient), centre)[0])


def _worst_dense(
    setup: ImplantModel, field: Field, stress: FloatArray, chosen: NDArray[np.bool_]
) -> dict[str, Any]:
    rows = np.flatnonzero(chosen)
    if len(rows) == 0:
        return {"max_von_mises_dense_mpa": None, "p99_von_mises_dense_mpa": None, "max_dense_at_lps_mm": None}
    top = int(rows[np.argmax(stress[rows])])
    return {
        "max_von_mises_dense_mpa": float(stress[top]),
        "p99_von_mises_dense_mpa": float(np.quantile(stress[rows], 0.99)),
        "max_dense_at_lps_mm": _place(setup, field, top),
    }


def _worst_strut(
    setup: ImplantModel, field: Field, cell: LatticeCell, stress: FloatArray, is_lattice: NDArray[np.bool_]
) -> tuple[dict[str, Any], FloatArray]:
    """Strut stress at the worst judged element, and its estimate everywhere (0 outside the lattice)."""
    rows = np.flatnonzero(is_lattice & setup.judged)
    nothing = {"max_strut_stress_mpa": None, "max_strut_at_lps_mm": None, "max_lattice_von_mises_mpa": None}
    if len(rows) == 0:
        return nothing, np.zeros(len(stress))
    felt = stress
    if field.grade is not None:
        mesh = setup.model.mesh
        felt = stress * cell.stress_factor(field.strut_value(mesh.grid.centres(mesh.voxels)))[:, None]
    best, value = cell.struts.worst(felt[rows])
    top = int(rows[best])
    rms = cell.struts.root_mean_square(felt)
    shown = np.where(is_lattice, rms * value / rms[top], 0.0) if rms[top] > 0 else np.zeros(len(stress))
    overall = element.von_mises(stress[top : top + 1])[0]
    figures = {
        "max_strut_stress_mpa": value,
        "max_strut_at_lps_mm": _place(setup, field, top),
        "max_lattice_von_mises_mpa": float(element.von_mises(stress[rows]).max()),
        "strut_stress_concentration": value / float(overall),
    }
    return figures, shown


def _motion(setup: ImplantModel, direction: FloatArray, force_n: float, nodal: FloatArray) -> dict[str, Any]:
    mesh = setup.model.mesh
    face = float(setup.load.mean(mesh, nodal) @ direction)
    stiffness = np.array([c.areas.sum() * bed for c, bed in setup.supports])
    held = np.array([c.mean(mesh, nodal) @ direction for c, _ in setup.supports])
    seat = float(stiffness @ held / stiffness.sum())
    return {
        "load_face_displacement_mm": face,
        "max_displacement_mm": float(np.linalg.norm(nodal, axis=1).max()),
        "stiffness_n_per_mm": force_n / face,
        "implant_alone_stiffness_n_per_mm": force_n / (face - seat),
    }


def _balance(
    setup: ImplantModel, direction: FloatArray, force_n: float, nodal: FloatArray, applied: FloatArray
) -> dict[str, Any]:
    """Reactions of each support, and what is missing to equilibrium of forces and moments."""
    mesh = setup.model.mesh
    middle = mesh.points.mean(axis=0)
    force, moment = applied.sum(axis=0), np.cross(mesh.points - middle, applied).sum(axis=0)
    shares = {}
    for contact, bed in setup.supports:
        springs = contact.spread(mesh, (bed * contact.areas)[:, None])
        reaction = -springs * nodal
        shares[contact.name] = {
            "reaction_n": float(np.linalg.norm(reaction.sum(axis=0))),
            "share_of_load": float(-(reaction.sum(axis=0) @ direction) / force_n),
            "mean_pressure_mpa": float(np.linalg.norm(reaction.sum(axis=0)) / contact.areas.sum()),
        }
        force = force + reaction.sum(axis=0)
        moment = moment + np.cross(mesh.points - middle, reaction).sum(axis=0)
    arm = float(np.linalg.norm(np.ptp(mesh.points, axis=0)))
    return {
        "reactions": shares,
        "share_of_load_to_bone_faces": sum(s["share_of_load"] for s in shares.values()),
        "force_residual_pct": 100.0 * float(np.linalg.norm(force)) / force_n,
        "moment_residual_pct": 100.0 * float(np.linalg.norm(moment)) / (force_n * arm),
    }
