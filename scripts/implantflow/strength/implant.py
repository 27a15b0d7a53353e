"""The implant under load: voxel model, solution per load case, and what the stresses mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.strength import StrengthConfig
from implantflow.errors import GeometryError, InputError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, invert_rigid, transform_points, unit
from implantflow.strength import element, faces
from implantflow.strength.faces import Contact
from implantflow.strength.lattice_cell import LatticeCell
from implantflow.strength.mesh import build_mesh, largest_part
from implantflow.strength.multigrid import Multigrid
from implantflow.strength.parts import Parts
from implantflow.strength.solver import Model, solve

#: A voxel with a smaller share of the implant than this is no element: it would carry next to nothing and
#: spoil the equations.
LEAST_SHARE = 0.05

#: A voxel is judged as metal (or as lattice) when at least this share of it is metal (or lattice).
JUDGED_SHARE = 0.5

#: Dropped islands larger than this share of the implant are an error, not voxel dust.
ISLAND_LIMIT = 0.01


@dataclass(frozen=True)
class ImplantModel:
    """Equations of the implant on one grid.

    Attributes
    ----------
    model : Model
        Materials: 0 the solid metal, 1 the homogenised lattice (both in the field's frame).
    dense, porous, density : (E,) arrays
        Shares of each element's volume, and metal share of its lattice.
    load : Contact
    supports : list of (Contact, bed stiffness in N/mm3)
    judged : (E,) bool array
        False in the layers beside loaded and supported faces.
    facts : dict
        Counts for the report.
    """

    model: Model
    dense: FloatArray
    porous: FloatArray
    density: FloatArray
    load: Contact
    supports: list[tuple[Contact, float]]
    judged: NDArray[np.bool_]
    facts: dict[str, Any]


def build_model(
    field: Field, regions: Mapping[str, Any], parts: Parts, cell: LatticeCell, config: StrengthConfig
) -> ImplantModel:
    """Set up the equations.

    Parameters
    ----------
    field : Field
        Gives the implant's surface; the model lives in its frame.
    regions : content of ``regions.json``.
    parts : Parts
        The field cut into voxels.
    cell : LatticeCell
    config : StrengthConfig

    Raises
    ------
    InputError
        A face that the config names is not in the regions.
    GeometryError
        The implant falls apart at this voxel size, or a face is off the mesh.
    """
    stiff = parts.dense + parts.porous * cell.density_factor(parts.density)
    active = (parts.solid >= LEAST_SHARE) & (stiff > 0)
    kept, islands = largest_part(active)
    lost = float(parts.solid[active & ~kept].sum() / parts.solid.sum())
    if lost > ISLAND_LIMIT:
        raise GeometryError(
            f"at {parts.grid.voxel_mm} mm voxels {100 * lost:.1f} % of the implant is not joined to the rest",
            where="strength.voxel_mm",
            fix="use smaller voxels, or check the implant for loose pieces",
        )
    mesh = build_mesh(parts.grid, kept)
    dense, porous, density = (mesh.pick(a) for a in (parts.dense, parts.porous, parts.density))
    load = _contact(field, regions, mesh, config.load_face)
    supports = [(_contact(field, regions, mesh, s.face), s.bed_n_per_mm3) for s in config.supports]
    springs = np.zeros((len(mesh.points), 3))
    for contact, bed in supports:
        springs += contact.spread(mesh, np.repeat((bed * contact.areas)[:, None], 3, axis=1))
    scales = np.stack([dense, porous * cell.density_factor(density)])
    model = Model.of(mesh, [cell.metal, cell.elasticity], scales, springs.ravel())
    judged = _away_from(mesh.voxels, parts.grid.shape, [load, *[c for c, _ in supports]], config.exclude_elements)
    volume = parts.grid.voxel_mm**3
    facts = {
        "elements": len(mesh.voxels),
        "degrees_of_freedom": 3 * len(mesh.points),
        "voxel_mm": parts.grid.voxel_mm,
        "solid_volume_mm3": float(parts.solid.sum()) * volume,
        "dense_volume_mm3": float(parts.dense.sum()) * volume,
        "thin_voxels_left_out_pct": 100.0 * float(parts.solid[~active].sum() / parts.solid.sum()),
        "islands_left_out": islands,
        "islands_left_out_pct": 100.0 * lost,
        "elements_not_judged": int((~judged).sum()),
        "face_to_mesh_max_mm": max(c.farthest_mm for c in [load, *[c for c, _ in supports]]),
    }
    return ImplantModel(model, dense, porous, density, load, supports, judged, facts)


def _contact(field: Field, regions: Mapping[str, Any], mesh: Any, name: str) -> Contact:
    known = {str(face["name"]): face for face in regions.get("contact_faces", [])}
    ids = np.asarray(known[name]["triangles"] if name in known else [], dtype=np.int64)
    if len(ids) == 0:
        raise InputError(
            f"the implant has no contact face '{name}' to load or support; it has: {', '.join(known) or 'none'}",
            where="strength.load_face, strength.supports; regions.json",
            fix="name a face that the implant has",
        )
    if ids.min() < 0 or ids.max() >= len(field.faces):
        raise InputError(
            f"contact face '{name}' names triangles that the implant does not have",
            where="regions.json",
            fix="run the implant stage again: implant.stl and regions.json belong together",
        )
    points, areas = faces.sample_triangles(field.vertices_mm, field.faces[ids], mesh.grid.voxel_mm)
    return faces.attach(mesh, name, points, areas)


def _away_from(
    voxels: NDArray[np.int64], shape: tuple[int, int, int], contacts: list[Contact], layers: int
) -> NDArray[np.bool_]:
    from scipy import ndimage

    near = np.zeros(int(np.prod(shape)), dtype=bool)
    for contact in contacts:
        near[voxels[contact.elements]] = True
    if layers == 0:
        return np.ones(len(voxels), dtype=bool)
    # The element that holds the face is the first layer.
    cube = np.ones((2 * layers - 1,) * 3, dtype=bool)
    grown = ndimage.binary_dilation(near.reshape(shape), structure=cube)
    return np.asarray(~grown.ravel()[voxels])


@dataclass(frozen=True)
class CaseResult:
    """One load case solved: figures for the JSON, and fields over the elements for the pictures."""

    figures: dict[str, Any]
    von_mises_mpa: FloatArray
    strut_mpa: FloatArray
    displacement_mm: FloatArray

    @property
    def safety_factor(self) -> float:
        """Smaller of the two safety factors."""
        return float(self.figures["safety_factor"])


def unit_force(setup: ImplantModel, direction: FloatArray) -> FloatArray:
    """(3 N,) nodal forces of 1 N in ``direction`` (3,), spread evenly over the load face."""
    contact = setup.load
    traction = contact.areas[:, None] / contact.areas.sum() * unit(direction)
    return contact.spread(setup.model.mesh, traction).ravel()


def solve_cases(
    setup: ImplantModel, field: Field, cell: LatticeCell, config: StrengthConfig
) -> list[CaseResult]:
    """Solve every load case; cases with the same direction share one solution."""
    rotation = field.build_from_patient[:3, :3]
    solved: dict[tuple[float, ...], tuple[FloatArray, int, float]] = {}
    cycle = Multigrid(setup.model)
    results = []
    for case in config.load_cases:
        direction = rotation @ unit(case.direction_lps)
        key = tuple(np.round(direction, 12).tolist())
        if key not in solved:
            answer = solve(setup.model, unit_force(setup, direction), precondition=cycle)
            solved[key] = (answer.displacement, answer.iterations, answer.residual)
        base, iterations, residual = solved[key]
        force_n = config.body_weight_n * case.body_weight_factor * config.load_share
        result = _judge(setup, field, cell, config, direction, force_n, force_n * base)
        head = {"name": case.name, "force_n": force_n, "direction_lps": unit(case.direction_lps)}
        tail = {"solver_iterations": iterations, "solver_residual": residual, "source": case.source}
        result.figures.update(tail | {"verified": case.verified})
        results.append(CaseResult(head | result.figures, *_fields(result)))
    return results


def _fields(result: CaseResult) -> tuple[FloatArray, FloatArray, FloatArray]:
    return result.von_mises_mpa, result.strut_mpa, result.displacement_mm


def _judge(
    setup: ImplantModel,
    field: Field,
    cell: LatticeCell,
    config: StrengthConfig,
    direction: FloatArray,
    force_n: float,
    displacement: FloatArray,
) -> CaseResult:
    mesh = setup.model.mesh
    nodal = displacement.reshape(-1, 3)
    strain = setup.model.strain(displacement)
    metal_stress = element.von_mises(strain @ cell.metal)
    lattice_stress = (strain @ cell.elasticity) * cell.density_factor(setup.density)[:, None]
    is_metal = setup.dense >= JUDGED_SHARE
    is_lattice = ~is_metal & (setup.porous >= JUDGED_SHARE)
    dense = _worst_dense(setup, field, metal_stress, is_metal & setup.judged)
    strut, strut_field = _worst_strut(setup, field, cell, lattice_stress, is_lattice)
    figures = _motion(setup, direction, force_n, nodal) | _balance(setup, direction, force_n, nodal) | dense | strut
    factors = {
        "safety_factor_dense": _ratio(config.fatigue_dense.strength_mpa, dense["max_von_mises_dense_mpa"]),
        "safety_factor_strut": _ratio(config.fatigue_strut.strength_mpa, strut["max_strut_stress_mpa"]),
    }
    known = [f for f in factors.values() if f is not None]
    if not known:
        raise GeometryError(
            "no element is left to judge away from loaded and supported faces",
            where="strength.voxel_mm, strength.exclude_elements",
            fix="use smaller voxels or exclude fewer layers",
        )
    worst = [v for v in (dense["max_von_mises_dense_mpa"], strut["max_strut_stress_mpa"]) if v is not None]
    figures |= factors | {"safety_factor": min(known), "max_von_mises_mpa": max(worst)}
    shown = np.where(is_metal, metal_stress, element.von_mises(lattice_stress))
    moved = np.linalg.norm(nodal[mesh.nodes].mean(axis=1), axis=1)
    return CaseResult(figures, shown, strut_field, moved)


def _ratio(strength: float, stress: float | None) -> float | None:
    return None if stress is None or stress <= 0 else strength / stress


def _place(setup: ImplantModel, field: Field, row: int) -> FloatArray:
    """Centre of an element in patient LPS, mm."""
    centre = setup.model.mesh.grid.centres(setup.model.mesh.voxels[row : row + 1])
    return transform_points(invert_rigid(field.build_from_patient), centre)[0]


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
    best, value = cell.struts.worst(stress[rows])
    top = int(rows[best])
    rms = cell.struts.root_mean_square(stress)
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


def _balance(setup: ImplantModel, direction: FloatArray, force_n: float, nodal: FloatArray) -> dict[str, Any]:
    """Reactions of each support, and what is missing to equilibrium of forces and moments."""
    mesh = setup.model.mesh
    applied = force_n * unit_force(setup, direction).reshape(-1, 3)
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
        "force_residual_pct": 100.0 * float(np.linalg.norm(force)) / force_n,
        "moment_residual_pct": 100.0 * float(np.linalg.norm(moment)) / (force_n * arm),
    }
