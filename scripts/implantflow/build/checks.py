"""Re-reading a build file with the independent reader and judging it: every check with figure, limit, verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from implantflow.build.cli_reader import CliFile, CliLayer
from implantflow.build.islands import Island, PieceFollower, row_places
from implantflow.errors import InputError
from implantflow.geometry import FloatArray

#: Overlaps and strays up to this many units come from rounding to units.
SLACK_UNITS = 2.0


@dataclass
class Findings:
    """What re-reading a file found; lengths in mm, areas in mm2.

    Attributes
    ----------
    z_mm, area_mm2, contour_mm : (layers,) from the polylines.
    hatch_mm : label -> (layers,) length of its hatches.
    open_loops, winding_errors, overlap_layers, stray_hatches, tiny_loops : counts.
    low_mm, high_mm : (2,) corners of everything drawn. places : where errors were seen, first few.
    """

    unit_mm: float
    z_mm: list[float] = field(default_factory=list)
    area_mm2: list[float] = field(default_factory=list)
    contour_mm: list[float] = field(default_factory=list)
    hatch_mm: dict[int, list[float]] = field(default_factory=dict)
    open_loops: int = 0
    winding_errors: int = 0
    overlap_layers: int = 0
    stray_hatches: int = 0
    tiny_loops: int = 0
    loops: int = 0
    low_mm: FloatArray = field(default_factory=lambda: np.full(2, np.inf))
    high_mm: FloatArray = field(default_factory=lambda: np.full(2, -np.inf))
    islands: list[Island] = field(default_factory=list)
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


class _Examiner:
    """State that runs from layer to layer."""

    def __init__(self, findings: Findings, area_min_mm2: float, envelope_mm: float, layer_mm: float) -> None:
        self.found = findings
        self.area_min = area_min_mm2
        self.rows = row_places(envelope_mm, findings.unit_mm)
        self.follower = PieceFollower(findings.unit_mm, layer_mm)

    def take(self, number: int, layer: CliLayer) -> None:
        """Examine one layer."""
        from implantflow.build import check_kernels as kernels

        found, unit = self.found, self.found.unit_mm
        open_, wrong, area, length = kernels.loop_figures(layer.points, layer.starts, layer.direction)
        found.z_mm.append(layer.z * unit)
        found.area_mm2.append(float(area.sum()) * unit**2)
        found.contour_mm.append(float(length.sum()) * unit)
        found.loops += len(area)
        found.open_loops += open_
        tiny = int((np.abs(area) * unit**2 < self.area_min - 1e-9).sum()) - open_
        found.tiny_loops += max(tiny, 0)
        self._hatches(layer)
        for drawn in (layer.points, layer.hatches[:, :2], layer.hatches[:, 2:]):
            if len(drawn):
                found.low_mm = np.minimum(found.low_mm, drawn.min(0) * unit)
                found.high_mm = np.maximum(found.high_mm, drawn.max(0) * unit)
        stray = len(kernels.stray_hatches(layer.hatches, layer.points, layer.starts, SLACK_UNITS))
        found.stray_hatches += stray
        begin, where, turn, owner = kernels.row_crossings(layer.points, layer.starts, 1, self.rows)
        votes, overlaps = kernels.nesting(begin, where, turn, owner, len(area), SLACK_UNITS)
        errors = max(wrong, int((votes < 0).sum()))
        found.winding_errors += errors
        found.overlap_layers += int(overlaps > 0)
        for what, count in (
            ("open_loops", open_),
            ("winding_errors", errors),
            ("overlaps", overlaps),
            ("hatches_inside", stray),
        ):
            found.note(what, number, count)
        self.follower.take(number, layer.points, layer.starts, area, begin, where, owner)

    def _hatches(self, layer: CliLayer) -> None:
        length = np.hypot(
            layer.hatches[:, 2] - layer.hatches[:, 0], layer.hatches[:, 3] - layer.hatches[:, 1]
        )
        done = len(self.found.z_mm) - 1
        for label in np.unique(layer.hatch_label).tolist():
            self.found.hatch_mm.setdefault(label, [0.0] * done)
        for label, lengths in self.found.hatch_mm.items():
            lengths.append(float(length[layer.hatch_label == label].sum()) * self.found.unit_mm)


def examine(
    layers: Iterable[CliLayer], unit_mm: float, envelope_mm: float, layer_mm: float, area_min_mm2: float
) -> Findings:
    """Examine layers one by one (memory does not grow with their number).

    Parameters
    ----------
    layers : as the reader yields them. unit_mm : mm per unit.
    envelope_mm : width of the plate; rows are laid across it.
    layer_mm : thickness of a layer. area_min_mm2 : loops below this count as slivers.
    """
    found = Findings(unit_mm)
    examiner = _Examiner(found, area_min_mm2, envelope_mm, layer_mm)
    for number, layer in enumerate(layers):
        examiner.take(number, layer)
    found.islands = examiner.follower.tracker.islands
    return found


def examine_file(
    path: Path, envelope_mm: float, layer_mm: float, area_min_mm2: float
) -> tuple[CliFile, Findings]:
    """Open a build file and examine all its layers.

    Raises
    ------
    InputError
        The file cannot be read, or has another number of layers than its header says.
    """
    cli = CliFile(path)
    found = examine(cli.layers(), cli.unit_mm, envelope_mm, layer_mm, area_min_mm2)
    if cli.declared_layers is not None and cli.declared_layers != len(found.z_mm):
        raise InputError(
            f"the header announces {cli.declared_layers} layers, the file holds {len(found.z_mm)}",
            where=str(path),
            fix="build it again",
        )
    return cli, found
