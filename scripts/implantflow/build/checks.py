"""Re-reading a build file with the independent reader and judging it: every check with figure, limit, verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from implantflow.build.cli_reader import CliFile, CliLayer
from implantflow.build.cli_writer import OUTLINE_ID, SUPPORT_ID
from implantflow.build.islands import ROW_MM, Island, PieceFollower, Rows, row_places
from implantflow.build.melt_check import MeltRules, MeltSeen, in_frame, look
from implantflow.build.pipeline import ordered
from implantflow.build.supports import SupportReader
from implantflow.build.voids import VoidFollower
from implantflow.errors import InputError
from implantflow.geometry import FloatArray

#: Overlaps and strays up to this many units come from rounding to units.
SLACK_UNITS = 2.0


@dataclass
class Findings:
    """What re-reading a file found; lengths in mm, areas in mm2.

    Attributes
    ----------
    z_mm, area_mm2, contour_mm : (layers,) from the polylines; followed_mm : those that the beam runs along.
    hatch_mm : label -> (layers,) length of its hatches.
    open_loops, winding_errors, overlap_layers, stray_hatches, tiny_loops, near_paths : counts; the last are paths
        nearer to an outline than their depth.
    dense_mm2, bare_mm2 : (layers,) pieces with dense metal that is melted inside its outline, and what of them no path
        reaches; empty where the machine asks for no such paths.
    islands, closed_voids : pieces that begin on powder; void that powder cannot leave.
    low_mm, high_mm : (2,) corners of everything drawn. places : where errors were seen, first few.
    """

    unit_mm: float
    z_mm: list[float] = field(default_factory=list)
    area_mm2: list[float] = field(default_factory=list)
    contour_mm: list[float] = field(default_factory=list)
    followed_mm: list[float] = field(default_factory=list)
    dense_mm2: list[float] = field(default_factory=list)
    bare_mm2: list[float] = field(default_factory=list)
    hatch_mm: dict[int, list[float]] = field(default_factory=dict)
    open_loops: int = 0
    winding_errors: int = 0
    overlap_layers: int = 0
    stray_hatches: int = 0
    tiny_loops: int = 0
    near_paths: int = 0
    loops: int = 0
    low_mm: FloatArray = field(default_factory=lambda: np.full(2, np.inf))
    high_mm: FloatArray = field(default_factory=lambda: np.full(2, -np.inf))
    islands: list[Island] = field(default_factory=list)
    closed_voids: list[Island] = field(default_factory=list)
    places: dict[str, list[str]] = field(default_factory=dict)

    def note(self, what: str, layer: int, count: int) -> None:
        """Remember where an error was seen (the first five layers of each kind)."""
        if count:
            seen = self.places.setdefault(what, [])
            if len(seen) < 5:
                seen.append(f"layer {layer} (z {self.z_mm[layer]:.3f} mm): {count}")

    @property
    def volume_per_layer(self) -> FloatArray:
        """Areas as an array; times the layer thickness it is the volume."""
        return np.asarray(self.area_mm2)

    def lengths(self, label: int) -> FloatArray:
        """(layers,) hatch length of one label, zero where it has none."""
        return np.asarray(self.hatch_mm.get(label, [0.0] * len(self.z_mm)))


class _Seen(NamedTuple):
    """What can be said of one layer by itself."""

    layer: CliLayer
    area: FloatArray
    length: FloatArray
    open_loops: int
    winding_errors: int
    overlaps: int
    stray: int
    rows: Rows
    melt: MeltSeen | None


def _look(layer: CliLayer, rows: FloatArray, rules: MeltRules | None) -> _Seen:
    """Examine one layer by itself; may run in any thread."""
    from implantflow.build import check_kernels as kernels

    open_, wrong, area, length = kernels.loop_figures(layer.points, layer.starts, layer.direction)
    filling = layer.hatches[in_frame(rules, layer)]
    stray = len(kernels.stray_hatches(filling, layer.points, layer.starts, SLACK_UNITS))
    begin, where, turn, owner = kernels.row_crossings(layer.points, layer.starts, 1, rows)
    votes, overlaps = kernels.nesting(begin, where, turn, owner, len(area), SLACK_UNITS)
    if overlaps:
        # Where two edges all but coincide, rounding to whole units lets them cross over a length of several units but
        # a height of less than one. Metal that lies twice shows one unit higher or lower as well.
        overlaps = min(overlaps, max(_overlaps_at(layer, rows + step, len(area)) for step in (-1.0, 1.0)))
    cut = Rows(layer.points, layer.starts, area, begin, where, owner)
    melt = None if rules is None else look(rules, layer, cut, rows, SLACK_UNITS)
    return _Seen(
        layer,
        area,
        length,
        open_,
        max(wrong, int((votes < 0).sum())),
        overlaps,
        stray + (0 if melt is None else melt.stray),
        cut,
        melt,
    )


def _overlaps_at(layer: CliLayer, rows: FloatArray, loops: int) -> int:
    """Rows on which metal lies twice."""
    from implantflow.build import check_kernels as kernels

    begin, where, turn, owner = kernels.row_crossings(layer.points, layer.starts, 1, rows)
    return int(kernels.nesting(begin, where, turn, owner, loops, SLACK_UNITS)[1])


def _enter(found: Findings, number: int, seen: _Seen, area_min_mm2: float) -> None:
    """Add one layer to the findings."""
    layer, unit = seen.layer, found.unit_mm
    found.z_mm.append(layer.z * unit)
    found.area_mm2.append(float(seen.area.sum()) * unit**2)
    found.contour_mm.append(float(seen.length.sum()) * unit)
    found.followed_mm.append(float(seen.length[layer.label != OUTLINE_ID].sum()) * unit)
    near = 0
    if seen.melt is not None:
        near = seen.melt.near
        found.dense_mm2.append(seen.melt.places * ROW_MM**2)
        found.bare_mm2.append(seen.melt.bare * ROW_MM**2)
    found.near_paths += near
    found.loops += len(seen.area)
    found.open_loops += seen.open_loops
    tiny = int((np.abs(seen.area) * unit**2 < area_min_mm2 - 1e-9).sum()) - seen.open_loops
    found.tiny_loops += max(tiny, 0)
    for drawn in (layer.points, layer.hatches[:, :2], layer.hatches[:, 2:]):
        if len(drawn):
            # Column by column: numpy reduces the short axis of an (N, 2) array ten times slower.
            columns = (drawn[:, 0], drawn[:, 1])
            found.low_mm = np.minimum(found.low_mm, [c.min() * unit for c in columns])
            found.high_mm = np.maximum(found.high_mm, [c.max() * unit for c in columns])
    _enter_hatches(found, layer)
    found.stray_hatches += seen.stray
    found.winding_errors += seen.winding_errors
    found.overlap_layers += int(seen.overlaps > 0)
    for what, count in (
        ("open_loops", seen.open_loops),
        ("winding_errors", seen.winding_errors),
        ("overlaps", seen.overlaps),
        ("hatches_inside", seen.stray),
        ("slivers", tiny),
        ("paths_too_near", near),
    ):
        found.note(what, number, count)


def _enter_hatches(found: Findings, layer: CliLayer) -> None:
    length = np.hypot(layer.hatches[:, 2] - layer.hatches[:, 0], layer.hatches[:, 3] - layer.hatches[:, 1])
    done = len(found.z_mm) - 1
    for label in np.unique(layer.hatch_label).tolist():
        found.hatch_mm.setdefault(label, [0.0] * done)
    for label, lengths in found.hatch_mm.items():
        lengths.append(float(length[layer.hatch_label == label].sum()) * found.unit_mm)


def examine(
    layers: Iterable[CliLayer],
    unit_mm: float,
    envelope_mm: float,
    layer_mm: float,
    area_min_mm2: float,
    threads: int = 1,
    supports: SupportReader | None = None,
    rules: MeltRules | None = None,
) -> Findings:
    """Examine layers one by one (memory does not grow with their number).

    Parameters
    ----------
    layers : as the reader yields them. unit_mm : mm per unit.
    envelope_mm : width of the plate; rows are laid across it.
    layer_mm : thickness of a layer. area_min_mm2 : loops below this count as slivers.
    threads : threads to use; the findings do not depend on it. supports : what follows the support lines.
    rules : where paths in dense metal must lie; None where the beam runs along outlines.
    """
    found = Findings(unit_mm)
    follower, voids = PieceFollower(unit_mm, layer_mm), VoidFollower(unit_mm, layer_mm)
    rows = row_places(envelope_mm, unit_mm)
    for number, seen in enumerate(ordered(layers, lambda layer: _look(layer, rows, rules), threads)):
        _enter(found, number, seen, area_min_mm2)
        follower.take(number, seen.rows)
        voids.take(seen.rows)
        if supports is not None:
            lines = seen.layer.hatches[seen.layer.hatch_label == SUPPORT_ID]
            level = round(seen.layer.z * unit_mm / layer_mm) - 1
            supports.take(level, lines, seen.layer.points, seen.layer.starts)
    found.islands = follower.tracker.islands
    found.closed_voids = voids.closed()
    return found


def examine_file(
    path: Path,
    envelope_mm: float,
    layer_mm: float,
    area_min_mm2: float,
    threads: int = 1,
    supports: SupportReader | None = None,
    rules: MeltRules | None = None,
) -> tuple[CliFile, Findings]:
    """Open a build file and examine all its layers.

    Raises
    ------
    InputError
        The file cannot be read, or has another number of layers than its header says.
    """
    cli = CliFile(path)
    found = examine(cli.layers(), cli.unit_mm, envelope_mm, layer_mm, area_min_mm2, threads, supports, rules)
    if cli.declared_layers is not None and cli.declared_layers != len(found.z_mm):
        raise InputError(
            f"the header announces {cli.declared_layers} layers, the file holds {len(found.z_mm)}",
            where=str(path),
            fix="build it again",
        )
    return cli, found
