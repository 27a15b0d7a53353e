"""The build stage: slice the field, write the build file, read it back, judge it."""

from __future__ import annotations

import numpy as np

from implantflow.artifacts import sha256_file, write_json
from implantflow.build import verdicts
from implantflow.build.beside import coupon_part
from implantflow.build.checks import Findings, examine_file
from implantflow.build.melt_check import MeltRules
from implantflow.build.obf_reader import examine_obf
from implantflow.build.obf_writer import write_obf
from implantflow.build.orient import hanging, search, worth_a_look
from implantflow.build.overhang import Overhang, overhang
from implantflow.build.part import Part
from implantflow.build.produce import efforts, judge, write_build
from implantflow.build.record import build_json, checks_json, write_layers
from implantflow.build.scale import Scale
from implantflow.build.supports import DrawnSupports, SupportReader, supported
from implantflow.build.themes import check_themes
from implantflow.config.build import BuildSettings, Revision
from implantflow.field.field import Field
from implantflow.geometry import FloatArray
from implantflow.jobs import Job, progress


def _starts(found: Findings, layer_mm: float) -> FloatArray:
    """Where each island begins (N, 3), build_xyz."""
    places = [(*island.xy_mm, found.z_mm[island.layer] - layer_mm / 2) for island in found.islands]
    return np.array(places).reshape(-1, 3)


def _starts_dense(field: Field, scale: Scale, places_mm: FloatArray) -> list[bool]:
    values = field.dense_value(scale.designed(places_mm))
    return [bool(value < field.spacing_mm / 2) for value in values]


def _facts(
    job: Job, field: Field, part: Part, config: BuildSettings, revision: Revision, scale: Scale
) -> dict[str, str]:
    """What the header of the build file says of it."""
    machine = config.machine
    facts = {
        "case": str(job.settings["case"]),
        "side": str(job.settings["side"]),
        "revision": revision.id,
        "parent": revision.parent or "none",
        "purpose": str(job.settings["purpose"]),
        "machine": machine.name,
        "lattice": f"{field.cell} {field.cell_mm:g} mm strut {field.strut_mm:g} mm",
        "field sha256": sha256_file(job.input("field")),
        "layer height": "upper surface",
    }
    if machine.strut_growth_mm > 0:
        facts["strut drawn"] = f"{part.strut_mm:g} mm, prints {machine.strut_growth_mm:g} mm thicker"
    if config.supports is not None:
        facts["supports"] = f"walls {config.supports.pitch_mm:g} mm apart under dense surface that faces down"
    if config.coupon is not None:
        facts["coupon"] = f"block of {config.coupon.cells} cells beside the part"
    return {**facts, **scale.facts()}


def _supports(
    hangs: Overhang, coupon: Part | None, config: BuildSettings
) -> tuple[DrawnSupports | None, SupportReader | None]:
    """What is drawn under the part and the coupon's foot, and what follows it when the file is read back."""
    if config.supports is None:
        return None, None
    machine = config.machine
    below = [hangs]
    if coupon is not None:
        foot = np.ones(len(coupon.faces), dtype=bool)
        below.append(
            overhang(coupon.vertices_mm, coupon.faces.astype(np.int64), foot, config.orientation.overhang_deg)
        )
    drawn = DrawnSupports.under(below, config.supports, machine.layer_mm, machine.unit_mm)
    return drawn, SupportReader(hangs, machine.unit_mm, machine.layer_mm)


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
    coupon = None if config.coupon is None else coupon_part(part, config.coupon)
    hangs = hanging(part, field, config.orientation)
    supports, follower = _supports(hangs, coupon, config)
    facts = _facts(job, field, part, config, revision, scale)
    clinical = str(job.settings["purpose"]) == "clinical"
    limits = config.limits
    sliced = write_build(
        job.outputs["cli"],
        part,
        machine,
        limits.loop_area_min_mm2,
        limits.crumb_max_mm3,
        facts,
        clinical,
        revision.date,
        job.threads,
        supports,
        coupon,
    )
    progress("reading the build file back", done=0.6)
    _, found = examine_file(
        job.outputs["cli"],
        machine.envelope_mm[1],
        machine.layer_mm,
        limits.loop_area_min_mm2,
        job.threads,
        follower,
        MeltRules.of(machine),
    )
    islands = verdicts.IslandLimits(limits.island_join_max_mm, limits.island_area_max_mm2)
    starts, held, reach_mm = _starts(found, machine.layer_mm), None, 0.0
    if follower is not None and config.supports is not None:
        reach_mm = max(config.supports.pitch_mm, config.supports.tooth_pitch_mm)
        held = follower.holds(starts, reach_mm)
    dense_start = _starts_dense(field, scale, starts)
    checks = judge(sliced, found, part, machine, limits.volume_error_pct, islands, dense_start, coupon, held)
    if follower is not None:
        checks.append(verdicts.supports_clear(follower))
    if config.start_plate is not None:
        checks.append(verdicts.start_plate(found, config.start_plate, machine.envelope_mm))
    verdicts.require(checks)
    progress("writing the open build file and reading it back", done=0.8)
    times, read = efforts(sliced, found, machine)
    box = sliced.box_mm
    write_obf(job.outputs["obf"], job.outputs["cli"], machine, box, facts, clinical, job.threads)
    obf = examine_obf(job.outputs["obf"], job.outputs["cli"], machine, job.threads)
    checks += verdicts.open_file(obf, found, read, machine, box)
    progress("surfaces that face down", done=0.95)
    orientations = search(part, field, config.orientation, machine, float(times.melt_s.sum()))
    checks.append(verdicts.down_facing(hangs, follower, reach_mm))
    verdicts.require(checks)
    write_json(job.outputs["orientation"], orientations)
    write_json(job.outputs["themes"], themes)
    write_json(job.outputs["checks"], checks_json(checks, found, sliced))
    write_layers(job.outputs["layers"], sliced, times, found, obf)
    write_json(
        job.outputs["build"],
        {
            **build_json(revision, sliced, found, checks, times, machine, part, job.outputs["cli"]),
            **scale.as_json(field.cell_mm, machine.layer_mm),
            "strut_designed_mm": field.strut_mm,
            "strut_drawn_mm": part.strut_mm,
            "orientations": worth_a_look(orientations),
            "down_facing": hangs.as_json(config.orientation.overhang_deg)
            | supported(supports, follower, reach_mm),
            "start_plate": None if config.start_plate is None else config.start_plate.model_dump(),
            "coupon": None if coupon is None else {"box_mm": coupon.box_mm, "lattice": coupon.lattice},
            "obf_sha256": sha256_file(job.outputs["obf"]),
            "obf_lines": obf.lines,
            "obf_jump_m": obf.jump_mm / 1000.0,
            "obf_jump_longest_mm": max(obf.layer_longest_mm, default=0.0),
            "cli_jump_m": obf.cli_jump_mm / 1000.0,
            "cli_jump_longest_mm": max(obf.layer_cli_longest_mm, default=0.0),
        },
    )
