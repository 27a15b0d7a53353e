"""The build stage: slice the field, write the build file, read it back, judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import sha256_file, temporary, write_json
from implantflow.build import verdicts
from implantflow.build.checks import Findings, examine_file
from implantflow.build.cli_writer import HATCH_ID, NET_ID, CliHeader, CliWriter
from implantflow.build.crumbs import Crumbs
from implantflow.build.layers import slice_layers
from implantflow.build.obf_reader import examine_obf
from implantflow.build.obf_writer import write_obf
from implantflow.build.orient import search, worth_a_look
from implantflow.build.part import Part
from implantflow.build.plan import FIGURES, Plan
from implantflow.build.scale import Scale
from implantflow.build.slicer import Slicer
from implantflow.build.solid import Solid
from implantflow.build.stamps import make_stamps
from implantflow.build.themes import Effort, check_themes, effort
from implantflow.config.build import BuildSettings, Machine, Revision
from implantflow.errors import GeometryError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray
from implantflow.jobs import Job, progress

#: Loops below this are not written when the slice command has no case that says otherwise (mm2).
DEFAULT_LOOP_AREA_MM2 = 0.01


def plan_of(part: Part, machine: Machine, loop_area_min_mm2: float) -> Plan:
    """Everything the slicer needs for a part on a machine; refuses meshes that bound no solid."""
    stamps = None
    if part.lattice is not None and part.sampled is None:
        cell, cell_mm, strut_mm = part.lattice
        stamps = make_stamps(cell, cell_mm, strut_mm, machine.layer_mm, machine.unit_mm, loop_area_min_mm2)
    return Plan(
        solid=Solid.of(part.vertices_mm, part.faces),
        dense=part.dense,
        stamps=stamps,
        layer_mm=machine.layer_mm,
        unit_mm=machine.unit_mm,
        hatch_pitch_mm=machine.hatch.offset_mm,
        net_pitch_mm=machine.net.offset_mm,
        area_min_mm2=loop_area_min_mm2,
        sampled=part.sampled,
    )


@dataclass(frozen=True)
class Sliced:
    """A written build file: its plan, the figures of each layer and what was left out."""

    plan: Plan
    figures: FloatArray
    crumbs: Crumbs

    def column(self, name: str) -> FloatArray:
        """(layers,) one figure of every layer."""
        return self.figures[:, FIGURES.index(name)]


def write_build(
    path: Path,
    part: Part,
    machine: Machine,
    loop_area_min_mm2: float,
    crumb_max_mm3: float,
    facts: Mapping[str, str],
    clinical: bool,
    date: str | None,
    threads: int,
) -> Sliced:
    """Slice a part and write its build file."""
    slicer = Slicer(plan_of(part, machine, loop_area_min_mm2))
    progress(f"slicing {slicer.plan.layers} layers", done=0.1)
    header = CliHeader(machine.unit_mm, slicer.plan.layers, part.box_mm, facts, clinical, date)
    with CliWriter(path, header) as writer:
        figures, crumbs = slice_layers(slicer, writer.write, threads, crumb_max_mm3)
    return Sliced(slicer.plan, figures, crumbs)


def _efforts(sliced: Sliced, found: Findings, machine: Machine, box: FloatArray) -> tuple[Effort, Effort]:
    written = effort(
        machine, box, sliced.column("contour_mm"), sliced.column("hatch_mm"), sliced.column("net_mm")
    )
    read = effort(machine, box, np.asarray(found.contour_mm), found.lengths(HATCH_ID), found.lengths(NET_ID))
    return written, read


def judge(
    sliced: Sliced,
    found: Findings,
    part: Part,
    machine: Machine,
    volume_limit_pct: float,
    island_limits: verdicts.IslandLimits,
    dense_start: list[bool],
) -> list[verdicts.Check]:
    """All checks of a build file that was read back."""
    plan = sliced.plan
    written, read = _efforts(sliced, found, machine, part.box_mm)
    first_top = (plan.first_layer + 1) * plan.layer_mm
    return [
        verdicts.none_of(found, "open_loops", found.open_loops),
        verdicts.none_of(found, "winding_errors", found.winding_errors),
        verdicts.none_of(found, "overlaps", found.overlap_layers),
        verdicts.none_of(found, "slivers", found.tiny_loops),
        verdicts.closed_pores(found, island_limits.warn_only),
        verdicts.none_of(found, "hatches_inside", found.stray_hatches),
        verdicts.heights(found, plan.layer_mm, first_top),
        verdicts.envelope(found, machine.envelope_mm),
        verdicts.volume(
            found, plan.layer_mm, part.material_mm3(), sliced.crumbs.volume_mm3, volume_limit_pct
        ),
        *verdicts.efforts(written, read),
        *verdicts.islands(found, plan.layer_mm, dense_start, island_limits),
    ]


def _checks_json(checks: list[verdicts.Check], found: Findings, sliced: Sliced) -> dict[str, Any]:
    layer_mm = sliced.plan.layer_mm
    return {
        "passed": all(c.passed or c.warning for c in checks),
        "layers": len(found.z_mm),
        "layer_mm": layer_mm,
        "open_loops": found.open_loops,
        "winding_errors": found.winding_errors,
        "solid_volume_mm3": float(found.volume_per_layer.sum()) * layer_mm,
        "contour_m": sum(found.contour_mm) / 1000.0,
        "hatch_m": sum(float(found.lengths(label).sum()) for label in found.hatch_mm) / 1000.0,
        "unsupported_islands": len(found.islands),
        "checks": [c.as_json() for c in checks],
        "warnings": [c.name for c in checks if c.warning and not c.passed],
        "islands": [i.as_json(layer_mm, found.z_mm[i.layer]) for i in found.islands],
    }


def _write_layers(path: Path, sliced: Sliced, times: Effort) -> None:
    """One row per layer; the same bytes for the same numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plan = sliced.plan
    number = np.arange(plan.layers)
    columns: dict[str, NDArray[Any]] = {
        "layer": number.astype(np.int32),
        "z_mm": np.round((plan.first_layer + number + 1) * plan.layer_mm, 6),
    }
    for name in FIGURES:
        whole = name in ("loops", "points", "hatches")
        values = sliced.column(name)
        columns[name] = values.astype(np.int32) if whole else np.round(values, 6)
    for name in ("preheat_s", "melt_s", "rake_s", "preheat_j", "melt_j"):
        columns[name] = np.round(getattr(times, name), 6)

    def column(values: NDArray[Any]) -> Any:
        # Not pa.array(): it imports pandas, which takes longer than all the layers' figures.
        buffer = pa.py_buffer(np.ascontiguousarray(values))
        return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, buffer])

    table = pa.table({name: column(values) for name, values in columns.items()})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)


def _starts_dense(field: Field, scale: Scale, found: Findings, layer_mm: float) -> list[bool]:
    if not found.islands:
        return []
    places = [(*island.xy_mm, found.z_mm[island.layer] - layer_mm / 2) for island in found.islands]
    values = field.dense_value(scale.designed(np.array(places)))
    return [bool(value < field.spacing_mm / 2) for value in values]


def build_part(job: Job) -> None:
    """Slice the field at the layer thickness, write the build file, read it back and check it.

    Inputs: ``field``, ``field_data``, ``gate``. Outputs: ``cli``, ``obf``, ``themes``, ``layers``, ``build``,
    ``checks``, ``orientation``. Settings: ``build`` (with the one ``revision``), ``purpose``, ``case``, ``side``.

    Raises
    ------
    QualityGateError
        A theme outside its window, or a check that fails; the first places are named.
    GeometryError
        The scaled part leaves the machine.
    """
    data = dict(job.settings["build"])
    revision = Revision.model_validate(data.pop("revision"))
    data.pop("revisions", None)
    config = BuildSettings.model_validate(data)
    machine = config.machine
    themes = check_themes(machine)
    field = Field.load(job.input("field"), job.input("field_data"))
    scale = Scale.about_foot(revision.scale_xyz, field.vertices_mm)
    part = Part.of_field(field, scale, machine)
    scale.require_room(part.vertices_mm, machine.envelope_mm)
    purpose = str(job.settings["purpose"])
    facts = {
        "case": str(job.settings["case"]),
        "side": str(job.settings["side"]),
        "revision": revision.id,
        "parent": revision.parent or "none",
        "purpose": purpose,
        "machine": machine.name,
        "lattice": f"{field.cell} {field.cell_mm:g} mm strut {field.strut_mm:g} mm",
        "field sha256": sha256_file(job.input("field")),
        "layer height": "upper surface",
    }
    if machine.strut_growth_mm > 0:
        facts["strut drawn"] = f"{part.strut_mm:g} mm, prints {machine.strut_growth_mm:g} mm thicker"
    facts.update(scale.facts())
    sliced = write_build(
        job.outputs["cli"],
        part,
        machine,
        config.limits.loop_area_min_mm2,
        config.limits.crumb_max_mm3,
        facts,
        purpose == "clinical",
        revision.date,
        job.threads,
    )
    progress("reading the build file back", done=0.6)
    _, found = examine_file(
        job.outputs["cli"],
        machine.envelope_mm[1],
        machine.layer_mm,
        config.limits.loop_area_min_mm2,
        job.threads,
    )
    limits = verdicts.IslandLimits(config.limits.island_join_max_mm, config.limits.island_area_max_mm2)
    dense_start = _starts_dense(field, scale, found, machine.layer_mm)
    checks = judge(sliced, found, part, machine, config.limits.volume_error_pct, limits, dense_start)
    verdicts.require(checks)
    progress("writing the open build file and reading it back", done=0.8)
    times, read = _efforts(sliced, found, machine, part.box_mm)
    clinical = purpose == "clinical"
    write_obf(job.outputs["obf"], job.outputs["cli"], machine, part.box_mm, facts, clinical, job.threads)
    obf = examine_obf(job.outputs["obf"], job.outputs["cli"], machine, job.threads)
    checks += verdicts.open_file(obf, found, read, machine, part.box_mm)
    progress("surfaces that face down", done=0.95)
    stance = config.orientation
    hangs, orientations = search(part, field, stance, machine, float(times.melt_s.sum()))
    checks.append(verdicts.down_facing(hangs))
    verdicts.require(checks)
    write_json(job.outputs["orientation"], orientations)
    write_json(job.outputs["themes"], themes)
    write_json(job.outputs["checks"], _checks_json(checks, found, sliced))
    _write_layers(job.outputs["layers"], sliced, times)
    write_json(
        job.outputs["build"],
        {
            **_build_json(revision, sliced, found, checks, times, machine, part, job.outputs["cli"]),
            **scale.as_json(field.cell_mm, machine.layer_mm),
            "strut_designed_mm": field.strut_mm,
            "strut_drawn_mm": part.strut_mm,
            "orientations": worth_a_look(orientations),
            "down_facing": hangs.as_json(stance.overhang_deg),
            "obf_sha256": sha256_file(job.outputs["obf"]),
            "obf_lines": obf.lines,
            "obf_jump_m": obf.jump_mm / 1000.0,
            "cli_jump_m": obf.cli_jump_mm / 1000.0,
        },
    )


def _build_json(
    revision: Revision,
    sliced: Sliced,
    found: Findings,
    checks: list[verdicts.Check],
    times: Effort,
    machine: Machine,
    part: Part,
    cli: Path,
) -> dict[str, Any]:
    figures = {c.name: c for c in checks}
    return {
        "id": revision.id,
        "parent": revision.parent,
        "machine": machine.name,
        "machine_verified": machine.verified,
        "layers": sliced.plan.layers,
        "layer_mm": sliced.plan.layer_mm,
        "open_loops": found.open_loops,
        "winding_errors": found.winding_errors,
        "unsupported_islands": len(found.islands),
        "contour_m": sum(found.contour_mm) / 1000.0,
        "hatch_m": float(found.lengths(HATCH_ID).sum() + found.lengths(NET_ID).sum()) / 1000.0,
        "hatch_dense_m": float(found.lengths(HATCH_ID).sum()) / 1000.0,
        "hatch_lattice_m": float(found.lengths(NET_ID).sum()) / 1000.0,
        "solid_volume_mm3": float(found.volume_per_layer.sum()) * sliced.plan.layer_mm,
        "volume_error_pct": figures["volume_error_pct"].figure,
        "crumbs_left_out": sliced.crumbs.count,
        "crumbs_left_out_mm3": sliced.crumbs.volume_mm3,
        "time_h": float(times.time_s.sum()) / 3600.0,
        "preheat_h": float(times.preheat_s.sum()) / 3600.0,
        "melt_h": float(times.melt_s.sum()) / 3600.0,
        "energy_kwh": float(times.energy_j.sum()) / 3.6e6,
        "preheat_kwh": float(times.preheat_j.sum()) / 3.6e6,
        "melt_kwh": float(times.melt_j.sum()) / 3.6e6,
        "within_envelope": figures["envelope"].passed,
        "box_mm": part.box_mm,
        "loops": found.loops,
        "warnings": [c.name for c in checks if c.warning and not c.passed],
        "cli_sha256": sha256_file(cli),
        "vendor_format": "the machine's own ABF format is closed: its build software makes it from this CLI file",
    }


def slice_solid(
    solid: Path,
    out: Path,
    *,
    lattice: str | None = None,
    cell_mm: float | None = None,
    strut_mm: float | None = None,
    layer_mm: float | None = None,
    machine: str = "arcam-a1",
    threads: int = 2,
) -> None:
    """Slice any watertight STL in mm into ``out/build.cli`` and ``out/checks.json``.

    The part is placed in the middle of the plate with its lowest point at z = 0 and keeps its orientation.
    With ``lattice`` all of it is filled with that cell, without it is full metal. Unsupported islands are
    warnings here, and nothing is left out.

    Raises
    ------
    InputError, GeometryError
        The file is no STL, not watertight, too small, or does not fit the machine.
    ConfigError
        No such machine, or a layer that the file's unit does not divide.
    QualityGateError
        The written file does not pass its checks; nothing is left behind then.
    """
    with temporary(out / "checks.json") as checks_tmp, temporary(out / "build.cli") as cli_tmp:
        sliced, part, chosen = write_solid(
            solid, cli_tmp, lattice, cell_mm, strut_mm, layer_mm, machine, threads
        )
        _, found = examine_file(
            cli_tmp, chosen.envelope_mm[1], chosen.layer_mm, DEFAULT_LOOP_AREA_MM2, threads
        )
        limits = verdicts.IslandLimits(0.5, 1.0, warn_only=True)
        checks = judge(sliced, found, part, chosen, 1.0, limits, [False] * len(found.islands))
        verdicts.require(checks)
        write_json(checks_tmp, _checks_json(checks, found, sliced))


def write_solid(
    solid: Path,
    cli: Path,
    lattice: str | None,
    cell_mm: float | None,
    strut_mm: float | None,
    layer_mm: float | None,
    machine: str,
    threads: int,
) -> tuple[Sliced, Part, Machine]:
    """First half of :func:`slice_solid`: the build file, not yet read back."""
    from implantflow.build.command import machine_for, place_stl

    chosen = machine_for(machine, layer_mm)
    check_themes(chosen)
    if lattice is not None and (cell_mm is None or strut_mm is None):
        raise GeometryError(
            "a lattice needs its cell and its strut", fix="give cell_mm and strut_mm, e.g. 2.5 and 0.5"
        )
    filling = None if lattice is None else (lattice, float(cell_mm or 0), float(strut_mm or 0))
    vertices, faces = place_stl(solid, chosen)
    part = Part(vertices, faces, None, filling)
    facts = {"source": solid.name, "machine": chosen.name, "layer height": "upper surface"}
    sliced = write_build(cli, part, chosen, DEFAULT_LOOP_AREA_MM2, 0.0, facts, False, None, threads)
    return sliced, part, chosen
