"""The build stage: slice the field, write the build file, read it back, judge it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from implantflow.artifacts import sha256_file, write_json
from implantflow.build import verdicts
from implantflow.build.checks import Findings, examine_file
from implantflow.build.cli_writer import HATCH_ID, NET_ID, CliHeader, CliWriter
from implantflow.build.layers import slice_layers
from implantflow.build.obf_reader import examine_obf
from implantflow.build.obf_writer import write_obf
from implantflow.build.orient import search, worth_a_look
from implantflow.build.part import Part
from implantflow.build.plan import Plan
from implantflow.build.record import Sliced, build_json, checks_json, write_layers
from implantflow.build.scale import Scale
from implantflow.build.slicer import Slicer
from implantflow.build.solid import Solid
from implantflow.build.stamps import make_stamps
from implantflow.build.themes import Effort, check_themes, effort
from implantflow.config.build import BuildSettings, Machine, Revision
from implantflow.field.field import Field
from implantflow.geometry import FloatArray
from implantflow.jobs import Job, progress


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
    write_json(job.outputs["checks"], checks_json(checks, found, sliced))
    write_layers(job.outputs["layers"], sliced, times)
    write_json(
        job.outputs["build"],
        {
            **build_json(revision, sliced, found, checks, times, machine, part, job.outputs["cli"]),
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
