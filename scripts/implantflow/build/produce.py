"""From a part to its build file, and from what was read back to checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from implantflow.build import verdicts
from implantflow.build.beside import Beside, SlicedLayers
from implantflow.build.checks import Findings
from implantflow.build.cli_writer import (
    EDGE_ID,
    HATCH_ID,
    INNER_ID,
    NET_ID,
    OUTER_ID,
    SUPPORT_ID,
    THIN_ID,
    CliHeader,
    CliWriter,
)
from implantflow.build.crumbs import Crumbs
from implantflow.build.layers import slice_layers
from implantflow.build.part import Part
from implantflow.build.plan import Plan
from implantflow.build.record import Sliced
from implantflow.build.slicer import Slicer
from implantflow.build.solid import Solid
from implantflow.build.stamps import make_stamps
from implantflow.build.supports import DrawnSupports
from implantflow.build.themes import Effort, effort
from implantflow.config.build import Machine
from implantflow.geometry import FloatArray
from implantflow.progress import progress


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
        paths=machine.paths,
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
    supports: DrawnSupports | None = None,
    coupon: Part | None = None,
) -> Sliced:
    """Slice a part, and what is built beside it, and write the build file."""
    slicer = Slicer(plan_of(part, machine, loop_area_min_mm2))
    plan, box = slicer.plan, part.box_mm
    progress(f"slicing {plan.layers} layers", done=0.1)
    block, dropped = None, Crumbs()
    if coupon is not None:
        box = np.array([np.minimum(box[0], coupon.box_mm[0]), np.maximum(box[1], coupon.box_mm[1])])
        other = Slicer(plan_of(coupon, machine, loop_area_min_mm2))
        block = SlicedLayers(other.plan.first_layer)
        block.figures, dropped = slice_layers(other, block.words.append, threads, crumb_max_mm3)
    layer_units = round(plan.layer_mm / plan.unit_mm)
    beside = Beside(plan.first_layer, plan.layers, layer_units, supports, block)
    header = CliHeader(
        machine.unit_mm,
        beside.layers,
        box,
        facts,
        clinical,
        date,
        supports is not None,
        plan.paths is not None,
    )
    with CliWriter(path, header) as writer:
        figures, crumbs = slice_layers(slicer, beside.onto(writer.write), threads, crumb_max_mm3)
        beside.close()
    figures = beside.all_figures(figures)
    return Sliced(plan, figures, crumbs.and_of(dropped), beside.first, beside.support_mm, box)


def efforts(sliced: Sliced, found: Findings, machine: Machine) -> tuple[Effort, Effort]:
    """Time and energy of each layer: of what was drawn, and of what was read back."""
    drawn, again = _lengths(sliced, found)
    return effort(machine, sliced.box_mm, *drawn), effort(machine, sliced.box_mm, *again)


def _lengths(sliced: Sliced, found: Findings) -> tuple[list[FloatArray], list[FloatArray]]:
    """(layers,) mm along contours, hatches, net and supports: as drawn, and as read back."""
    net_mm = sliced.column("net_mm") + sliced.column("thin_mm")
    drawn = [sliced.column("melted_contour_mm"), sliced.column("hatch_mm"), net_mm, sliced.support_mm]
    again = [
        np.asarray(found.followed_mm) + sum(found.lengths(n) for n in (OUTER_ID, INNER_ID, EDGE_ID)),
        found.lengths(HATCH_ID),
        found.lengths(NET_ID) + found.lengths(THIN_ID),
        found.lengths(SUPPORT_ID),
    ]
    return drawn, again


def judge(
    sliced: Sliced,
    found: Findings,
    part: Part,
    machine: Machine,
    volume_limit_pct: float,
    island_limits: verdicts.IslandLimits,
    dense_start: list[bool],
    coupon: Part | None = None,
    held: list[bool] | None = None,
) -> list[verdicts.Check]:
    """All checks of a build file that was read back; ``held`` are the islands that supports hold."""
    plan = sliced.plan
    written, read = efforts(sliced, found, machine)
    drawn, again = _lengths(sliced, found)
    drawn += [sliced.column(name) for name in ("contour_mm", "area_mm2", "inner_contour_mm", "thin_mm")]
    again += [
        np.asarray(found.contour_mm),
        np.asarray(found.area_mm2),
        found.lengths(INNER_ID),
        found.lengths(THIN_ID),
    ]
    first_top = (sliced.first_layer + 1) * plan.layer_mm
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
            found,
            plan.layer_mm,
            part.material_mm3() + (coupon.material_mm3() if coupon is not None else 0.0),
            sliced.crumbs.volume_mm3,
            volume_limit_pct,
        ),
        verdicts.layers_equal(drawn, again),
        *verdicts.efforts(written, read),
        *(verdicts.paths(found) if machine.paths is not None else ()),
        *verdicts.islands(found, plan.layer_mm, dense_start, island_limits, held),
    ]
