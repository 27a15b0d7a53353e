"""Turning what was found in a build file into checks: each with its figure, its limit and pass or fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.build.checks import Findings
from implantflow.build.obf_reader import ObfFindings
from implantflow.build.overhang import Overhang
from implantflow.build.supports import HALF_TOOTH_MM, SupportReader
from implantflow.build.themes import Effort, heated_mm
from implantflow.build.voids import NOTCH_MM3
from implantflow.config.build import Machine, StartPlate
from implantflow.errors import QualityGateError
from implantflow.geometry import FloatArray

#: What no path need reach in a layer: a share of its dense metal, or an area where that is more.
BARE_SHARE, BARE_MM2 = 0.005, 0.1
#: Sums of the same whole units differ by less (mm, mm2); a corner or an end that is a unit off shows in more.
LAYER_DIFFERENCE = 1e-5


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name : what is checked. figure, limit : what was found and what is allowed. passed : the verdict.
    where : places of what was found wrong, the first few. warning : a failure that does not stop the build.
    """

    name: str
    figure: float
    limit: str
    passed: bool
    where: tuple[str, ...] = ()
    warning: bool = False

    def as_json(self) -> dict[str, Any]:
        """Row of ``checks.json``."""
        return {
            "name": self.name,
            "figure": self.figure,
            "limit": self.limit,
            "pass": self.passed,
            "severity": "warning" if self.warning else "error",
            "where": list(self.where),
        }


def none_of(found: Findings, name: str, count: int) -> Check:
    """A check that passes when nothing of a kind was found."""
    return Check(name, count, "0", count == 0, tuple(found.places.get(name, ())))


def heights(found: Findings, layer_mm: float, first_top_mm: float) -> Check:
    """Layers must rise strictly and by exactly one thickness, from the part's first layer."""
    z = np.asarray(found.z_mm)
    expected = first_top_mm + layer_mm * np.arange(len(z))
    off = np.abs(z - expected)
    rising = bool((np.diff(z) > 0).all())
    worst = float(off.max(initial=0.0))
    where = () if worst <= 1e-4 else (f"layer {int(off.argmax())} at z {z[off.argmax()]:.3f} mm",)
    return Check(
        "z_rising", worst, "<= 0.0001 mm off the ideal height, rising", rising and worst <= 1e-4, where
    )


def envelope(found: Findings, envelope_mm: Sequence[float]) -> Check:
    """Everything drawn must lie inside the machine."""
    low = np.append(found.low_mm, 0.0)
    high = np.append(found.high_mm, max(found.z_mm, default=0.0))
    beyond = float(max((-low).max(), (high - np.asarray(envelope_mm)).max()))
    size = " x ".join(f"{e:g}" for e in envelope_mm)
    return Check("envelope", beyond, f"<= 0 mm beyond {size} mm", beyond <= 0.0)


def volume(found: Findings, layer_mm: float, field_mm3: float, crumbs_mm3: float, limit_pct: float) -> Check:
    """Volume of the contours against the field's, which includes what was left out as crumbs."""
    drawn = float(found.volume_per_layer.sum()) * layer_mm
    error = 100.0 * (drawn + crumbs_mm3 - field_mm3) / field_mm3
    return Check(
        "volume_error_pct", error, f"<= {limit_pct:g} % of {field_mm3:.1f} mm3", abs(error) <= limit_pct
    )


def sums(name: str, written: FloatArray, read: FloatArray) -> Check:
    """A total stated by us must be the sum over the vectors in the file."""
    total, again = float(written.sum()), float(read.sum())
    error = 100.0 * abs(total - again) / max(abs(again), 1e-12)
    return Check(f"{name}_equals_vectors_pct", error, "<= 0.0001 %", error <= 1e-4)


def layers_equal(written: Sequence[FloatArray], read: Sequence[FloatArray]) -> Check:
    """Every layer's lengths and areas as drawn must be those of its vectors in the file.

    Parameters
    ----------
    written, read : (layers,) lengths in mm and areas in mm2, kind by kind.
    """
    name, limit = "layers_equal_vectors", f"<= {LAYER_DIFFERENCE:g} mm or mm2 in any layer"
    if any(len(one) != len(other) for one, other in zip(written, read, strict=True)):
        return Check(name, float("inf"), limit, False, ("the number of layers differs",))
    off = np.max([np.abs(one - other) for one, other in zip(written, read, strict=True)], axis=0)
    worst = float(off.max(initial=0.0))
    where = tuple(f"layer {n}: {off[n]:g}" for n in np.flatnonzero(~(off <= LAYER_DIFFERENCE))[:5].tolist())
    return Check(name, worst, limit, worst <= LAYER_DIFFERENCE, where)


def efforts(written: Effort, read: Effort) -> list[Check]:
    """Time and energy stated against those of the vectors read back."""
    return [sums("time", written.time_s, read.time_s), sums("energy", written.energy_j, read.energy_j)]


def open_file(
    read: ObfFindings, found: Findings, melted: Effort, machine: Machine, box_mm: FloatArray
) -> list[Check]:
    """The open build file against the CLI file and the preset.

    Parameters
    ----------
    read : from the open build file. found, melted : the CLI file's findings, and time and energy of its lines.
    box_mm : (2, 3) box of the part.
    """
    length = np.asarray(found.followed_mm) + sum(found.lengths(label) for label in sorted(found.hatch_mm))
    heat = machine.preheat
    low, high = heated_mm(machine, box_mm)
    width, height = high - low
    off = abs(read.pass_mm - width * height / heat.offset_mm)
    # A whole number of lines fills the heated rectangle.
    allowed = 0.5 * width + 1e-3 * height / heat.offset_mm
    told = abs(read.passes - heat.passes) + abs(read.temperature_c - heat.temperature_c)
    return [
        Check("obf_paths_differ", read.differing, "0", read.differing == 0, tuple(read.places)),
        Check("obf_foreign_beam", read.foreign_beam, "0", read.foreign_beam == 0, tuple(read.places)),
        sums("obf_length", length, np.asarray(read.length_mm)),
        sums("obf_time", melted.melt_s, np.asarray(read.melt_s)),
        sums("obf_energy", melted.melt_j, np.asarray(read.melt_j)),
        Check(
            "obf_preheat_pass_mm",
            off,
            f"<= {allowed:.1f} mm (half a line) off the time model",
            off <= allowed,
        ),
        Check(
            "obf_preheat_settings",
            told,
            f"0 off {heat.passes} passes, {heat.temperature_c:g} deg C",
            told == 0.0,
        ),
    ]


def paths(found: Findings) -> list[Check]:
    """Paths in dense metal at their depth below the outline, and hardly any of it that no path reaches.

    In every layer at most ``BARE_SHARE`` of the dense metal, or ``BARE_MM2`` where that is more, may be bare: tips of
    sharp corners are, and walls thinner than the shortest line.
    """
    bare, dense = np.asarray(found.bare_mm2), np.asarray(found.dense_mm2)
    beyond = bare - np.maximum(BARE_SHARE * dense, BARE_MM2)
    worst = np.argsort(-beyond, kind="stable")[:5]
    where = tuple(
        f"layer {n} (z {found.z_mm[n]:.3f} mm): {bare[n]:.2f} of {dense[n]:.2f} mm2"
        for n in worst.tolist()
        if beyond[n] > 0
    )
    limit = f"in no layer over {100 * BARE_SHARE:g} % of the dense metal or {BARE_MM2:g} mm2"
    return [
        none_of(found, "paths_too_near", found.near_paths),
        Check("bare_metal_mm2", float(bare.max(initial=0.0)), limit, not where, where),
    ]


@dataclass(frozen=True)
class IslandLimits:
    """Limits for islands that begin on powder; ``warn_only`` makes every excess a warning."""

    join_max_mm: float
    area_max_mm2: float
    warn_only: bool = False


def islands(
    found: Findings,
    layer_mm: float,
    dense: Sequence[bool],
    limits: IslandLimits,
    held: Sequence[bool] | None = None,
) -> list[Check]:
    """Islands of lattice against their limits; islands of dense metal as places that need supports.

    Parameters
    ----------
    dense : for each island, does it begin in the dense region? held : does a support of the file hold it?
    """
    joins, areas, late, large, loose, bumps = 0.0, 0.0, [], [], [], []
    for island, is_dense, is_held in zip(found.islands, dense, held or [False] * len(dense), strict=True):
        place = (
            f"layer {island.layer} at x {island.xy_mm[0]:.2f}, y {island.xy_mm[1]:.2f}, "
            f"z {found.z_mm[island.layer]:.2f} mm"
        )
        if island.joins_layer is None:
            loose.append(place)
            continue
        if is_dense:
            if not is_held:
                bumps.append(place)
            continue
        height = (island.joins_layer - island.layer) * layer_mm
        joins, areas = max(joins, height), max(areas, island.area_mm2)
        if height > limits.join_max_mm + 1e-9:
            late.append(f"{place}: joins after {height:.2f} mm")
        if island.area_mm2 > limits.area_max_mm2:
            large.append(f"{place}: {island.area_mm2:.2f} mm2")
    soft = limits.warn_only
    return [
        Check("loose_pieces", len(loose), "0", not loose, tuple(loose[:5]), soft),
        Check("island_join_mm", joins, f"<= {limits.join_max_mm:g} mm", not late, tuple(late[:5]), soft),
        Check("island_area_mm2", areas, f"<= {limits.area_max_mm2:g} mm2", not large, tuple(large[:5]), soft),
        Check("dense_islands_need_support", len(bumps), "0", not bumps, tuple(bumps[:5]), True),
    ]


def down_facing(hangs: Overhang, supports: SupportReader | None, reach_mm: float) -> Check:
    """Dense surface that needs supports and has none within reach, as a warning; largest areas first."""
    area = hangs.area_mm2(True) if supports is None else supports.unsupported_mm2(reach_mm)
    places = []
    for n in range(min(int(hangs.patches.max(initial=-1)) + 1, 5)):
        here = hangs.patches == n
        x, y = hangs.places_mm[here].mean(axis=0)
        size = float(hangs.slant[here].sum()) * hangs.step_mm**2
        places.append(f"{size:.1f} mm2 round x {x:.1f}, y {y:.1f}, from z {hangs.top_mm[here].min():.1f} mm")
    limit = (
        "0 (no supports are drawn)" if supports is None else f"0 further than {reach_mm:g} mm from a support"
    )
    return Check("dense_down_facing_mm2", area, limit, area == 0.0, tuple(places), True)


def supports_clear(supports: SupportReader) -> Check:
    """No wall of a support may run through the part: what lies in metal are teeth, one by one."""
    longest, most = supports.longest_in_metal_mm, 2.0 * HALF_TOOTH_MM + 0.02
    return Check(
        "support_in_metal_mm", longest, f"<= {most:g} mm, a tooth", longest <= most, tuple(supports.places)
    )


def start_plate(found: Findings, plate: StartPlate, envelope_mm: Sequence[float]) -> Check:
    """Everything drawn must stand over the start plate, which lies in the middle of the machine."""
    middle, half = 0.5 * np.asarray(envelope_mm[:2]), 0.5 * np.asarray(plate.size_mm)
    beyond = float(max((middle - half - found.low_mm).max(), (found.high_mm - middle - half).max()))
    size = " x ".join(f"{side:g}" for side in plate.size_mm)
    return Check("start_plate", beyond, f"<= 0 mm beyond {size} mm", beyond <= 0.0)


def closed_pores(found: Findings, warn_only: bool) -> Check:
    """Void that metal encloses on all sides: powder stays in it. Notches, smaller than any pore, do not count."""
    pores = [void for void in found.closed_voids if void.volume_mm3 >= NOTCH_MM3]
    where = tuple(
        f"layer {void.layer} at x {void.xy_mm[0]:.2f}, y {void.xy_mm[1]:.2f}, z {found.z_mm[void.layer]:.2f} mm: "
        f"{void.volume_mm3:.2f} mm3"
        for void in pores[:5]
    )
    return Check("closed_pores", len(pores), f"0 of {NOTCH_MM3:g} mm3 or more", not pores, where, warn_only)


def require(checks: Sequence[Check]) -> None:
    """Raise when a check that is no warning has failed.

    Raises
    ------
    QualityGateError
        All failed checks with figure, limit and the first places.
    """
    failed = [c for c in checks if not c.passed and not c.warning]
    if failed:
        lines = [f"{c.name} is {c.figure:g}, must be {c.limit}" for c in failed]
        places = [place for c in failed for place in c.where[:2]]
        raise QualityGateError(
            "the build file does not pass: " + "; ".join(lines),
            where="; ".join(places) or "build.cli",
            fix="change the design there, or the limit in build.limits if the case allows it",
        )
