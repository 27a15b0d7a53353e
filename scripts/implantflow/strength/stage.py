"""The strength jobs: the cell alone, the solid implant (may size the strut), the finished field (judges)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from implantflow.artifacts import plain, read_json, read_stl, sha256_file, write_json
from implantflow.config.strength import CellConfig, StrengthConfig
from implantflow.errors import ProvenanceError, QualityGateError
from implantflow.field.cells import with_strut
from implantflow.field.field import Field
from implantflow.field.make import make_field
from implantflow.jobs import Job, progress
from implantflow.strength.agreement import grid_sensitivity, second_solution, words_on_convergence
from implantflow.strength.implant import build_model
from implantflow.strength.judge import governing, solve_cases
from implantflow.strength.lattice_cell import LatticeCell, characterise
from implantflow.strength.outside import compare
from implantflow.strength.parts import voxelise
from implantflow.strength.record import change, figures_of, pass_or_refuse, write_view
from implantflow.strength.rods import Rods, drawn, planned
from implantflow.strength.sizing import size_strut, strut_rods, without_strut

#: Distances of the solid stage's own field are stored on a grid of this share of a voxel, at most 0.5 mm.
GRID_SHARE = 0.4

#: Largest difference of reactions or of the loaded face's displacement between CalculiX and our solver.
AGREEMENT_MAX_PCT = 0.5


def homogenise_cell(job: Job) -> None:
    """Stiffness and strut stress of the case's lattice cell, which no implant is needed for.

    Writes ``cell`` (JSON) and ``cell_data`` (npz).
    """
    config = CellConfig.model_validate(job.settings["strength"])
    lattice = with_strut(job.settings["lattice"])
    _use_threads(job.threads)
    progress("homogenising the lattice cell")
    cell = characterise(config, lattice["cell"], lattice["cell_mm"], lattice["strut_mm"])
    cell.save(job.outputs["cell"], job.outputs["cell_data"])


def strength_solid(job: Job) -> None:
    """Stress in the implant as designed, with a lattice of nominal density, and the strut it would need.

    Reads ``cell``, ``cell_data``, ``implant`` (STL), ``regions``, ``implant_json`` and, where rods share the load,
    ``plan`` and ``construct``; writes ``strength`` (JSON)
    and ``view`` (npz).
    The build orientation is not chosen yet, so the cell's axes are taken along the patient's.

    Raises
    ------
    ProvenanceError
        The regions were made for another implant.
    InputError, GeometryError
        A face is missing, the implant is not closed or falls apart, nothing is left to judge.
    """
    config = StrengthConfig.model_validate(job.settings["strength"])
    lattice = with_strut(job.settings["lattice"])
    _use_threads(job.threads)
    regions, digest = _regions(job)
    cell = _cell(job, lattice)
    progress("cutting the implant into voxels", done=0.0)
    vertices, faces = read_stl(job.input("implant"))
    field = make_field(
        vertices.astype(np.float64),
        faces,
        without_strut(regions),
        np.eye(4),
        lattice["cell"],
        lattice["cell_mm"],
        lattice["strut_mm"],
        min(0.5, GRID_SHARE * config.voxel_mm),
    )
    rods = strut_rods(regions)
    parts = voxelise(field, config.voxel_mm, more_dense=rods(None), density=cell.relative_density)
    progress("solving the load cases", done=0.5)
    fixation = _fixation(job, config)
    setup = build_model(field, regions, parts, cell, config, fixation)
    results = solve_cases(setup, field, cell, config)
    progress("second solution and strut radii", done=0.8)
    figures = figures_of(config, cell, setup, results) | second_solution(field, regions, parts, cell, config)
    figures |= grid_sensitivity(field, regions, parts, cell, config, results, fixation)
    figures["limitations"] += words_on_convergence(figures["grid_sensitivity"])
    figures |= size_strut(field, regions, rods, cell, config, results)
    figures |= {
        "stage": "solid",
        "frame": "patient_lps",
        "cell_axes": "assumed along patient_lps: the build orientation is chosen later",
        "implant_stl_sha256": digest,
    }
    write_json(job.outputs["strength"], figures)
    # What a lattice graded by stress is graded by: every load case counts.
    envelope = np.max([r.strut_mpa for r in results], axis=0)
    write_view(job, field, parts, setup, governing(results), {"strut_all_cases_mpa": envelope})


def strength_final(job: Job) -> None:
    """Judge the implant with the field that will be built.

    Reads ``field``, ``field_data``, ``cell``, ``cell_data``, ``implant`` (STL), ``regions``, ``strength_solid`` and,
    where rods share the load, ``plan`` and ``construct``; writes ``strength`` (JSON) and ``view`` (npz).
    The lattice's density is measured in the field, voxel by voxel, and the cell lies along the build axes.

    Raises
    ------
    QualityGateError
        A safety factor is below the case's limit.
    ProvenanceError
        The field's lattice is not the one of the config or of the solid stage, or the implant is another.
    """
    config = StrengthConfig.model_validate(job.settings["strength"])
    _use_threads(job.threads)
    regions, digest = _regions(job)
    solid = read_json(job.input("strength_solid"))
    field = Field.load(job.input("field"), job.input("field_data"))
    ours = {"cell": field.cell, "cell_mm": field.cell_mm, "strut_mm": field.strut_mm}
    _same_lattice(ours, with_strut(job.settings["lattice"]), "lattice settings of the case")
    _same_lattice(ours, solid["homogenised"], str(job.input("strength_solid")))
    if digest != solid["implant_stl_sha256"]:
        raise ProvenanceError(
            "the implant is not the one that strength/solid used",
            where=str(job.input("regions")),
            fix="run the strength stage again from solid",
        )
    cell = _cell(job, with_strut(job.settings["lattice"]))
    progress("measuring the field voxel by voxel", done=0.0)
    parts = voxelise(field, config.voxel_mm)
    progress("solving the load cases", done=0.6)
    fixation = _fixation(job, config)
    setup = build_model(field, regions, parts, cell, config, fixation)
    results = solve_cases(setup, field, cell, config)
    progress("second solution", done=0.9)
    figures = figures_of(config, cell, setup, results) | second_solution(field, regions, parts, cell, config)
    figures |= grid_sensitivity(field, regions, parts, cell, config, results, fixation)
    figures["limitations"] += words_on_convergence(figures["grid_sensitivity"])
    figures |= {
        "stage": "final",
        "frame": "build_xyz; places in patient_lps",
        "cell_axes": "build_xyz",
        "implant_stl_sha256": digest,
        "lattice_density_measured": float((parts.density * parts.porous).sum() / parts.porous.sum()),
        "vs_solid_stage_pct": {
            key: change(figures[key], solid[key])
            for key in ("max_von_mises_mpa", "safety_factor", "stiffness_n_per_mm")
        },
    }
    pass_or_refuse(config, results, figures["safety_factor_with_error_bar"])
    write_json(job.outputs["strength"], figures)
    write_view(job, field, parts, setup, governing(results))


def strength_calculix(job: Job) -> None:
    """Solve the implant that strength/final judged by CalculiX too, where it is installed.

    Reads ``field``, ``field_data``, ``cell``, ``cell_data``, ``implant`` and ``regions``; writes ``calculix``
    (JSON). Its figures stay out of strength.json, which must not depend on what a machine has installed.

    Raises
    ------
    QualityGateError
        The two solutions are further apart than :data:`AGREEMENT_MAX_PCT`.
    """
    config = StrengthConfig.model_validate(job.settings["strength"])
    _use_threads(job.threads)
    regions, digest = _regions(job)
    field = Field.load(job.input("field"), job.input("field_data"))
    cell = _cell(job, job.settings["lattice"])
    parts = voxelise(field, config.voxel_mm)
    progress("solving the load cases by CalculiX", done=0.3)
    figures = compare(field, regions, parts, cell, config)
    if figures["ran"] and figures["agreement_pct"] > AGREEMENT_MAX_PCT:
        raise QualityGateError(
            f"CalculiX and our solver differ by {figures['agreement_pct']} % "
            f"(more than {AGREEMENT_MAX_PCT} %)",
            where="strength/final",
            fix="report it with the case: one of the two is wrong",
        )
    write_json(job.outputs["calculix"], {"implant_stl_sha256": digest, **figures})


def _regions(job: Job) -> tuple[dict[str, Any], str]:
    """The regions and the digest of the implant they were made for, which must be the one given."""
    regions = read_json(job.input("regions"))
    digest = sha256_file(job.input("implant"))
    if regions["implant_stl_sha256"] != digest:
        raise ProvenanceError(
            "regions.json was made for another implant.stl",
            where=str(job.input("regions")),
            fix="run the implant stage again",
        )
    return regions, digest


def _fixation(job: Job, config: StrengthConfig) -> Rods | None:
    """Rods and screws where they share the load: the planned construct's, or straight ones of the config."""
    if config.fixation is None:
        return None
    corridors = read_json(job.input("plan"))["corridors"]
    if config.fixation.rods is not None:
        return drawn(config.fixation, corridors)
    return planned(config.fixation, corridors, read_json(job.input("construct")))


def _use_threads(threads: int) -> None:
    import numba

    available = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(threads, available)))


def _cell(job: Job, lattice: Mapping[str, Any]) -> LatticeCell:
    cell = LatticeCell.load(job.input("cell"), job.input("cell_data"))
    _same_lattice(cell.facts, lattice, str(job.input("cell")))
    return cell


def _same_lattice(one: Mapping[str, Any], other: Mapping[str, Any], where: str) -> None:
    ours, theirs = ([lattice[key] for key in ("cell", "cell_mm", "strut_mm")] for lattice in (one, other))
    if plain(ours) != plain(theirs):
        raise ProvenanceError(
            f"the lattice {ours} is not {theirs}",
            where=where,
            fix="run strength and lattice again with the present config",
        )
