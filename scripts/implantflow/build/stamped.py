"""A periodic lattice laid over the layers from its stamps; whole islands go into the file as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.build import assemble_kernels, layer_kernels, place_kernels
from implantflow.build.cli_writer import CONTOUR_ID, HATCH_ID, NET_ID
from implantflow.build.fillings import islands_only, make_fillings
from implantflow.build.plan import HATCH_MIN_MM, NO_ISLANDS, IntArray, Loops, Outline, Plan
from implantflow.build.stamps import Stamps
from implantflow.geometry import FloatArray

#: Cell, starts, x and y of the curves.
Stamp = tuple[int, IntArray, IntArray, IntArray]
#: Axis across the lines, turns, first line of each block, lines; then the stamp.
Islands = tuple[int, int, IntArray, IntArray, Stamp]


class StampedLattice:
    """Merges one phase of the stamps with the borders of a layer."""

    #: Dense metal and lattice are drawn with borders of their own.
    as_one = False

    def __init__(self, stamps: Stamps, plan: Plan) -> None:
        shortest = round(HATCH_MIN_MM / plan.unit_mm)
        self.fillings = make_fillings(stamps, round(plan.net_pitch_mm / plan.unit_mm), shortest)
        self._stamps = stamps
        self._islands_only = islands_only(stamps)
        self.stamp: Stamp = (stamps.cell_units, stamps.loop_start, stamps.loop_x, stamps.loop_y)
        self._pitches = round(plan.net_pitch_mm / plan.unit_mm), shortest
        self._first = plan.first_layer
        self._area2_min = plan.area2_min

    def _phase(self, index: int) -> int:
        return (self._first + index) % self._stamps.phases

    def can_stay(self, index: int) -> bool:
        """Do nothing but islands fill layer ``index``, so that whole ones may stay places of their stamp?"""
        return bool(self._islands_only[self._phase(index)])

    def assemble(
        self, index: int, z_mm: float, solid: Loops, dense: Loops
    ) -> tuple[IntArray, IntArray, IntArray, IntArray, int]:
        """Loops of the material of a layer (x, y, starts), its whole islands, and how many crossings are wrong."""
        s = self._stamps
        phase = self._phase(index)
        return assemble_kernels.assemble(
            *solid,
            *dense,
            s.cell_units,
            phase,
            s.loop_phase,
            s.loop_start,
            s.loop_x,
            s.loop_y,
            s.line_phase,
            s.line_start,
            s.line_shift,
            s.line_x,
            s.line_y,
            s.inside[phase],
            self._area2_min,
        )

    def layer(
        self,
        index: int,
        z_mm: float,
        z_units: int,
        mesh: tuple[Any, ...],
        slot: NDArray[np.int32],
        unit_mm: float,
    ) -> tuple[NDArray[np.uint16], FloatArray]:
        """A whole layer between the solid's contours and nothing else (:func:`layer_kernels.stamped_layer`)."""
        s, f, phase = self._stamps, self.fillings, self._phase(index)
        return layer_kernels.stamped_layer(
            mesh,
            slot,
            index,
            z_mm,
            z_units,
            unit_mm,
            self._area2_min,
            s.cell_units,
            phase,
            (s.loop_phase, s.loop_start, s.loop_x, s.loop_y),
            (s.line_phase, s.line_start, s.line_shift, s.line_x, s.line_y),
            s.inside[phase],
            self.can_stay(index),
            (self._first + index) % 2 == 1,
            *self._pitches,
            f.turns,
            (f.starts, f.lines, f.length_units, f.curve_figures),
            (CONTOUR_ID, HATCH_ID, NET_ID),
        )

    def drawn_out(self, outline: Outline) -> Outline:
        """The same layer with the points of its whole islands, which come last."""
        x, y, starts = place_kernels.expand(outline.whole, *self.stamp)
        return replace(
            outline,
            x=np.concatenate([outline.x, x]),
            y=np.concatenate([outline.y, y]),
            starts=np.concatenate([outline.starts, starts[1:] + len(outline.x)]),
            whole=NO_ISLANDS,
        )

    def islands(self, index: int) -> Islands:
        """How whole islands of a layer are written."""
        f = self.fillings
        axis = 0 if (self._first + index) % 2 == 1 else 1
        return axis, f.turns, f.starts, f.lines, self.stamp
