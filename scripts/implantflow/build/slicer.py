"""From solid, dense region and lattice to packed layers: what the machine will melt, plane by plane."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cli_writer import CONTOUR_ID, HATCH_ID, NET_ID
from implantflow.build.crumbs import CrumbFilter, Crumbs
from implantflow.build.fillings import Fillings, islands_only, make_fillings
from implantflow.build.islands import Rows, row_places
from implantflow.build.pipeline import ordered
from implantflow.build.regular import crosses_itself, simple_loops
from implantflow.build.scale import Scale
from implantflow.build.solid import Solid
from implantflow.build.stamps import CHORD_MM, Stamps
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray

#: Fine nodes per node of the dense grid when its contours are drawn (chords then err by under 3 um).
DENSE_FINE = 2
#: Hatches shorter than this are not written (mm): a quarter of the melt pool, already melted by the outline.
HATCH_MIN_MM = 0.05

IntArray = NDArray[np.int64]
Loops = tuple[IntArray, IntArray, IntArray]

_NOTHING = np.empty(0, dtype=np.int64)
_NO_LINES = np.empty((0, 4), dtype=np.int64)
_NO_ISLANDS = np.empty((0, 3), dtype=np.int64)

#: Columns of the figures of a layer, in this order.
FIGURES = ("loops", "points", "area_mm2", "contour_mm", "hatch_mm", "net_mm", "hatches", "solid_area_mm2")


@dataclass(frozen=True)
class DenseGrid:
    """The dense region: stored distances (K, J, I) int16, place of node (0, 0, 0), spacing (mm).

    The grid is the design's; ``scale`` says where the file draws its points.
    """

    grid: NDArray[np.int16]
    origin_mm: FloatArray
    spacing_mm: float
    scale: Scale = field(default_factory=Scale.none)


@dataclass(frozen=True)
class Plan:
    """Everything that slicing needs.

    Attributes
    ----------
    solid : outer solid in build_xyz. dense : region that is full metal, None for none.
    stamps : lattice that fills the rest, None for full metal everywhere.
    layer_mm, unit_mm : thickness of a layer, unit of the file; both whole multiples as config checks.
    hatch_pitch_mm, net_pitch_mm : line distance in dense metal and in lattice.
    area_min_mm2 : loops below are dropped.
    """

    solid: Solid
    dense: DenseGrid | None
    stamps: Stamps | None
    layer_mm: float
    unit_mm: float
    hatch_pitch_mm: float
    net_pitch_mm: float
    area_min_mm2: float

    @cached_property
    def first_layer(self) -> int:
        """Number of the layer, counted from the plate, that holds the lowest point."""
        lowest = float(self.solid.vertices_mm[:, 2].min())
        return math.floor(lowest / self.layer_mm + 1e-6)

    @cached_property
    def layers(self) -> int:
        """How many layers the part has: those whose middle plane lies below the highest point."""
        top = float(self.solid.vertices_mm[:, 2].max()) / self.layer_mm
        return max(math.ceil(top - 0.5 - 1e-9) - self.first_layer, 0)

    @property
    def area2_min(self) -> int:
        """Twice the smallest area in units^2."""
        return round(2.0 * self.area_min_mm2 / self.unit_mm**2)


@dataclass(frozen=True)
class Outline:
    """Borders of one layer in units: the material's loops, the dense region's loops, the solid's area.

    Each loop set is x, y, starts; metal lies left of every loop. ``whole`` (W, 3) are further loops of the material:
    curve of the stamps, column and row of its tile.
    """

    x: IntArray
    y: IntArray
    starts: IntArray
    dense_x: IntArray
    dense_y: IntArray
    dense_starts: IntArray
    solid_area: float
    whole: IntArray

    def without(self, loops: set[int]) -> Outline:
        """The same layer without some of its loops."""
        lengths = np.diff(self.starts)
        keep = np.ones(len(lengths), dtype=bool)
        keep[sorted(loops)] = False
        points = np.repeat(keep, lengths)
        starts = np.concatenate([[0], np.cumsum(lengths[keep])]).astype(np.int64)
        return replace(self, x=self.x[points], y=self.y[points], starts=starts)


class Slicer:
    """Makes layers; holds what all threads share (read only)."""

    def __init__(self, plan: Plan) -> None:
        from implantflow.build import mesh_kernels

        if plan.layers == 0:
            raise GeometryError("the part is thinner than one layer", fix="check its units: millimetres")
        self.plan = plan
        self.first_z = (plan.first_layer + 0.5) * plan.layer_mm
        heights = np.ascontiguousarray(plan.solid.vertices_mm[:, 2])
        self.starts, self.members = mesh_kernels.bucket_triangles(
            heights, plan.solid.faces, self.first_z, plan.layer_mm, plan.layers
        )
        self.window = self._window(plan)
        self.fillings: Fillings | None = None
        self._stamped = np.zeros(0, dtype=np.bool_)
        if plan.stamps is not None:
            shortest = round(HATCH_MIN_MM / plan.unit_mm)
            self.fillings = make_fillings(plan.stamps, round(plan.net_pitch_mm / plan.unit_mm), shortest)
            self._stamped = islands_only(plan.stamps)
        self._local = threading.local()

    @staticmethod
    def _window(plan: Plan) -> IntArray:
        if plan.dense is None:
            return np.zeros(4, dtype=np.int64)
        dense = plan.dense
        box = dense.scale.designed(np.array([plan.solid.vertices_mm.min(0), plan.solid.vertices_mm.max(0)]))
        low, high = (box - dense.origin_mm) / dense.spacing_mm
        window = np.array(
            [math.floor(low[0]) - 1, math.ceil(high[0]) + 1, math.floor(low[1]) - 1, math.ceil(high[1]) + 1]
        )
        size = np.array([dense.grid.shape[2], dense.grid.shape[2], dense.grid.shape[1], dense.grid.shape[1]])
        if (window < 0).any() or (window >= size).any():
            raise GeometryError("the dense region's grid does not reach around the solid", where="field.npz")
        return window.astype(np.int64)

    def _scratch(self) -> NDArray[np.int32]:
        """Working memory of this thread: one number per triangle."""
        if not hasattr(self._local, "slots"):
            self._local.slots = np.empty(len(self.plan.solid.faces), dtype=np.int32)
        slots: NDArray[np.int32] = self._local.slots
        return slots

    def outline(self, index: int, *, stamped: bool = False) -> Outline:
        """Borders of layer ``index`` (0 is the part's lowest).

        ``stamped`` leaves whole islands as places of their stamp where nothing but islands fills the layer; without it
        all loops are drawn out.

        Raises
        ------
        QualityGateError
            A contour did not close or borders could not be ordered; the layer is named.
        """
        from implantflow.build import hatch_kernels, mesh_kernels

        plan, solid = self.plan, self.plan.solid
        z = self.first_z + index * plan.layer_mm
        members = self.members[self.starts[index] : self.starts[index + 1]]
        points, starts, broken = mesh_kernels.cut_layer(
            solid.vertices_mm, solid.faces, solid.across, members, z, self._scratch()
        )
        solid_loops = mesh_kernels.quantise_loops(points, starts, plan.unit_mm, plan.area2_min)
        if crosses_itself(*solid_loops):
            solid_loops = simple_loops(*solid_loops, plan.area2_min)
        solid_area, _ = hatch_kernels.outline_figures(*solid_loops)
        outline = Outline(*solid_loops, *solid_loops, solid_area, _NO_ISLANDS)
        wrong = 0
        if plan.stamps is not None and len(solid_loops[0]) > 0:
            dense = self._dense(z)
            x, y, loops, whole, wrong = self._assemble(index, solid_loops, dense)
            if wrong:
                # Borders that run along each other cannot be ordered; united they no longer do.
                solid_loops = simple_loops(*solid_loops, plan.area2_min)
                dense = simple_loops(*dense, plan.area2_min)
                x, y, loops, whole, wrong = self._assemble(index, solid_loops, dense)
            outline = Outline(x, y, loops, *dense, solid_area, whole)
            if not (stamped and self._stamped[self._phase(index)]):
                outline = self._drawn_out(outline)
        if broken or wrong:
            raise QualityGateError(
                f"{broken} contours of the solid stay open and {wrong} crossings cannot be ordered",
                where=f"layer {index} at z = {z:.3f} mm",
                fix="repair the solid there, or move the part by a tenth of a millimetre",
            )
        return outline

    def _phase(self, index: int) -> int:
        assert self.plan.stamps is not None
        return (self.plan.first_layer + index) % self.plan.stamps.phases

    def _drawn_out(self, outline: Outline) -> Outline:
        """The same layer with the points of its whole islands."""
        from implantflow.build import place_kernels

        s = self.plan.stamps
        assert s is not None
        x, y, starts = place_kernels.expand(outline.whole, s.cell_units, s.loop_start, s.loop_x, s.loop_y)
        return replace(
            outline,
            x=np.concatenate([outline.x, x]),
            y=np.concatenate([outline.y, y]),
            starts=np.concatenate([outline.starts, starts[1:] + len(outline.x)]),
            whole=_NO_ISLANDS,
        )

    def _assemble(
        self, index: int, solid: Loops, dense: Loops
    ) -> tuple[IntArray, IntArray, IntArray, IntArray, int]:
        from implantflow.build import merge_kernels

        s = self.plan.stamps
        assert s is not None
        phase = self._phase(index)
        return merge_kernels.assemble(
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
            self.plan.area2_min,
        )

    def _dense(self, z: float) -> tuple[IntArray, IntArray, IntArray]:
        from implantflow.build import region_kernels

        dense = self.plan.dense
        if dense is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
        return region_kernels.dense_loops(
            dense.grid,
            dense.origin_mm,
            dense.spacing_mm,
            float(dense.scale.designed(np.array([[0.0, 0.0, z]]))[0, 2]),
            self.window,
            DENSE_FINE,
            CHORD_MM,
            self.plan.unit_mm,
            self.plan.area2_min,
            dense.scale.factors,
            dense.scale.centre_mm,
        )

    def hatches(self, index: int, outline: Outline) -> tuple[IntArray, float, IntArray, float]:
        """Filling lines (N, 4) in units and their length in mm: of dense metal, then of lattice."""
        plan, unit = self.plan, self.plan.unit_mm
        dense, dense_units, net, net_units = self._scan(index, outline, plan.hatch_pitch_mm)
        if plan.net_pitch_mm != plan.hatch_pitch_mm:
            _, _, net, net_units = self._scan(index, outline, plan.net_pitch_mm)
        if plan.stamps is None:
            # Full metal is its own dense region; what rounding leaves outside it is nothing.
            net, net_units = net[:0], 0
        return dense, dense_units * unit, net, net_units * unit

    def _scan(self, index: int, outline: Outline, pitch_mm: float) -> tuple[IntArray, int, IntArray, int]:
        from implantflow.build import hatch_kernels

        unit = self.plan.unit_mm
        return hatch_kernels.hatch(
            outline.x,
            outline.y,
            outline.starts,
            outline.dense_x,
            outline.dense_y,
            outline.dense_starts,
            (self.plan.first_layer + index) % 2 == 1,
            round(pitch_mm / unit),
            round(HATCH_MIN_MM / unit),
        )

    def packed(self, index: int, outline: Outline) -> tuple[NDArray[np.uint16], FloatArray]:
        """Words and figures of one layer; the height written is the layer's upper surface."""
        from implantflow.build import cli_kernels, hatch_kernels

        unit = self.plan.unit_mm
        dense, dense_mm, net, net_mm = self.hatches(index, outline)
        z_units = round((self.plan.first_layer + index + 1) * self.plan.layer_mm / unit)
        axis, turns, line_starts, lines, stamp = self._islands(index)
        words = cli_kernels.pack_layer(
            z_units,
            outline.x,
            outline.y,
            outline.starts,
            CONTOUR_ID,
            dense,
            HATCH_ID,
            net,
            NET_ID,
            outline.whole,
            *stamp,
            axis,
            turns,
            line_starts,
            lines,
        )
        if len(words) == 0:
            raise QualityGateError(
                "a coordinate or a count does not fit the file's 16 bits",
                where=f"layer {index}, height {z_units * unit:.3f} mm",
                fix="place the part inside the envelope, or use a larger unit_mm",
            )
        area, length = hatch_kernels.outline_figures(outline.x, outline.y, outline.starts)
        loops, points, count = len(outline.starts) - 1, len(outline.x), len(dense) + len(net)
        if len(outline.whole):
            assert self.fillings is not None
            more = cli_kernels.whole_figures(
                outline.whole,
                self.fillings.curve_figures,
                axis,
                turns,
                line_starts,
                self.fillings.length_units,
            )
            area, length, net_mm = area + more[0], length + more[1], net_mm + more[2] * unit
            loops, points, count = loops + len(outline.whole), points + more[3], count + more[4]
        figures = [loops, points, area * unit**2, length * unit, dense_mm, net_mm, count]
        return words, np.array([*figures, outline.solid_area * unit**2])

    def _islands(
        self, index: int
    ) -> tuple[int, int, IntArray, IntArray, tuple[int, IntArray, IntArray, IntArray]]:
        """How whole islands of a layer are written: axis across the lines, turns, lines, and the curves."""
        s, f = self.plan.stamps, self.fillings
        if s is None or f is None:
            return 0, 1, _NOTHING, _NO_LINES, (1, _NOTHING, _NOTHING, _NOTHING)
        axis = 0 if (self.plan.first_layer + index) % 2 == 1 else 1
        return axis, f.turns, f.starts, f.lines, (s.cell_units, s.loop_start, s.loop_x, s.loop_y)


def slice_layers(
    slicer: Slicer, write: Callable[[NDArray[np.uint16]], None], threads: int, crumb_max_mm3: float = 0.0
) -> tuple[FloatArray, Crumbs]:
    """Make all layers and hand their words to ``write`` in order.

    Parameters
    ----------
    crumb_max_mm3 : loose bits of lattice up to this volume are left out; 0 leaves everything in.

    Returns
    -------
    (layers, len(FIGURES)) float array
        The figures of every layer, the same on any number of threads.
    crumbs
        What was left out.
    """
    plan = slicer.plan
    figures = np.zeros((plan.layers, len(FIGURES)))

    def take(index: int, made: tuple[NDArray[np.uint16], FloatArray]) -> None:
        write(made[0])
        figures[index] = made[1]

    if crumb_max_mm3 <= 0 or plan.stamps is None:
        made = ordered(
            range(plan.layers),
            lambda index: slicer.packed(index, slicer.outline(index, stamped=True)),
            threads,
        )
        for index, layer in enumerate(made):
            take(index, layer)
        return figures, Crumbs()
    rows = row_places(float(plan.solid.vertices_mm[:, 1].max()), plan.unit_mm)
    crumbs = CrumbFilter(rows, plan.unit_mm, plan.layer_mm, crumb_max_mm3)
    held: dict[int, Outline] = {}

    def emit(last: bool) -> None:
        for index, loops in crumbs.ready(last):
            outline = held.pop(index)
            take(index, slicer.packed(index, outline.without(loops) if loops else outline))

    def cut(index: int) -> tuple[Outline, Rows]:
        outline = slicer.outline(index)
        return outline, crumbs.cut(outline.x, outline.y, outline.starts)

    for index, (outline, layer_rows) in enumerate(ordered(range(plan.layers), cut, threads)):
        held[index] = outline
        crumbs.push(layer_rows)
        emit(last=False)
    emit(last=True)
    return figures, crumbs.crumbs
