"""From solid, dense region and lattice to packed layers: what the machine will melt, plane by plane."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from implantflow.build import cli_kernels, hatch_kernels, mesh_kernels, outline_kernels, region_kernels
from implantflow.build.cli_writer import CONTOUR_ID, HATCH_ID, NET_ID
from implantflow.build.graded import GradedLattice
from implantflow.build.passes import NO_LINES, DensePaths, core_of
from implantflow.build.plan import HATCH_MIN_MM, NO_ISLANDS, NO_LOOPS, IntArray, Loops, Outline, Plan
from implantflow.build.regular import simple_loops
from implantflow.build.sampled import SampledLattice
from implantflow.build.stamped import Islands, Stamp, StampedLattice
from implantflow.build.stamps import CHORD_MM
from implantflow.errors import GeometryError, QualityGateError
from implantflow.geometry import FloatArray

#: Fine nodes per node of the dense grid when its contours are drawn (chords then err by under 3 um).
DENSE_FINE = 2

_NOTHING = np.empty(0, dtype=np.int64)
#: No lattice, no islands.
NO_STAMP: Stamp = (1, _NOTHING, _NOTHING, _NOTHING)
_NO_STAMPS: Islands = (0, 1, _NOTHING, np.empty((0, 4), dtype=np.int64), NO_STAMP)

#: Units by which the dense region may be moved where its borders cannot be ordered: 5 um, half a contour's error.
_NUDGES = ((1, 0), (0, 1), (-1, 0), (0, -1))


class Slicer:
    """Makes layers; holds what all threads share (read only)."""

    def __init__(self, plan: Plan) -> None:
        if plan.layers == 0:
            raise GeometryError("the part is thinner than one layer", fix="check its units: millimetres")
        self.plan = plan
        self.first_z = (plan.first_layer + 0.5) * plan.layer_mm
        heights = np.ascontiguousarray(plan.solid.vertices_mm[:, 2])
        self.starts, self.members = mesh_kernels.bucket_triangles(
            heights, plan.solid.faces, self.first_z, plan.layer_mm, plan.layers
        )
        self.window = self._window(plan)
        self.lattice: StampedLattice | GradedLattice | SampledLattice | None = None
        if plan.stamps is not None:
            self.lattice = StampedLattice(plan.stamps, plan)
        elif plan.sampled is not None:
            self.lattice = GradedLattice.of(plan.sampled, plan) or SampledLattice(plan.sampled, plan)
        self._paths = None if plan.paths is None else DensePaths(plan, plan.paths)
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

    def _fine(self) -> tuple[FloatArray, IntArray]:
        """Working memory of this thread for the dense region: values of the fine nodes, links (-1 between layers)."""
        if not hasattr(self._local, "fine"):
            i0, i1, j0, j1 = self.window.tolist()
            shape = ((j1 - j0) * DENSE_FINE + 1, (i1 - i0) * DENSE_FINE + 1)
            self._local.fine = np.empty(shape), np.full(2 * shape[0] * shape[1], -1, dtype=np.int64)
        fine: tuple[FloatArray, IntArray] = self._local.fine
        return fine

    def _crossed(self, grid: NDArray[np.int16], k: int) -> tuple[IntArray, IntArray]:
        """Squares that the dense region's contour may cross above plane k; this thread's last answer is kept."""
        held: tuple[int, tuple[IntArray, IntArray]] | None = getattr(self._local, "crossed", None)
        if held is None or held[0] != k:
            held = k, region_kernels.crossed_squares(grid, k, self.window)
            self._local.crossed = held
        return held[1]

    def outline(self, index: int, *, stamped: bool = False) -> Outline:
        """Borders of layer ``index`` (0 is the part's lowest).

        ``stamped`` leaves whole islands as places of their stamp where nothing but islands fills the layer; without it
        all loops are drawn out.

        Raises
        ------
        QualityGateError
            A contour did not close or borders could not be ordered; the layer is named.
        """
        plan, solid = self.plan, self.plan.solid
        z = self.first_z + index * plan.layer_mm
        begin, end = self.starts[index : index + 2].tolist()
        x, y, loops, solid_area, broken, crosses = outline_kernels.solid_outline(
            solid.vertices_mm,
            solid.faces,
            solid.across,
            self.members,
            begin,
            end,
            z,
            self._scratch(),
            plan.unit_mm,
            plan.area2_min,
        )
        solid_loops: Loops = (x, y, loops)
        if crosses:
            solid_loops = simple_loops(*solid_loops, plan.area2_min)
            solid_area, _ = hatch_kernels.outline_figures(*solid_loops)
        wrong = 0
        if self.lattice is None or len(solid_loops[0]) == 0:
            core = NO_LOOPS if self._paths is None else solid_loops
            outline = Outline(*solid_loops, *solid_loops, solid_area, NO_ISLANDS, core)
        else:
            dense = self._dense(z)
            x, y, loops, whole, wrong = self.lattice.assemble(index, z, solid_loops, dense)
            if wrong:
                # Borders that run along each other cannot be ordered; united they no longer do.
                solid_loops = simple_loops(*solid_loops, plan.area2_min)
                dense = simple_loops(*dense, plan.area2_min)
                x, y, loops, whole, wrong = self.lattice.assemble(index, z, solid_loops, dense)
            for right, up in _NUDGES if wrong else ():
                # Three borders that meet within less than a double can tell apart: moved by a unit they no longer do.
                moved = (dense[0] + right, dense[1] + up, dense[2])
                x, y, loops, whole, wrong = self.lattice.assemble(index, z, solid_loops, moved)
                if not wrong:
                    dense = moved
                    break
            core = NO_LOOPS
            if self._paths is not None:
                # A dense region without a border of its own is what of the material lies in it.
                border = (x, y, loops) if self.lattice.as_one else solid_loops
                core = core_of(border, dense, (x, y, loops), plan.area2_min)
            outline = Outline(x, y, loops, *dense, solid_area, whole, core)
            if not (stamped and self._can_stay(index)):
                outline = self.drawn_out(outline)
        if broken or wrong:
            raise QualityGateError(
                f"{broken} contours of the solid stay open and {wrong} crossings cannot be ordered",
                where=f"layer {index} at z = {z:.3f} mm",
                fix="repair the solid there, or move the part by a tenth of a millimetre",
            )
        return outline

    def _can_stay(self, index: int) -> bool:
        return isinstance(self.lattice, StampedLattice) and self.lattice.can_stay(index)

    def drawn_out(self, outline: Outline) -> Outline:
        """The same layer with the points of its whole islands, which come last."""
        if not isinstance(self.lattice, StampedLattice) or len(outline.whole) == 0:
            return outline
        return self.lattice.drawn_out(outline)

    @property
    def stamp(self) -> Stamp:
        """Curves that whole islands are copies of."""
        return self.lattice.stamp if isinstance(self.lattice, StampedLattice) else NO_STAMP

    def _dense(self, z: float) -> Loops:
        dense = self.plan.dense
        if dense is None:
            return NO_LOOPS
        designed_z = float(dense.scale.designed(np.array([[0.0, 0.0, z]]))[0, 2])
        height = (designed_z - float(dense.origin_mm[2])) / dense.spacing_mm
        k = min(max(int(height), 0), len(dense.grid) - 2)
        return region_kernels.dense_loops(
            dense.grid,
            k,
            min(max(height - k, 0.0), 1.0),
            *self._crossed(dense.grid, k),
            dense.origin_mm,
            dense.spacing_mm,
            self.window,
            DENSE_FINE,
            CHORD_MM,
            self.plan.unit_mm,
            self.plan.area2_min,
            dense.scale.factors,
            dense.scale.centre_mm,
            *self._fine(),
        )

    def hatches(self, index: int, outline: Outline) -> tuple[IntArray, float, IntArray, float]:
        """Filling lines (N, 4) in units and their length in mm: of dense metal, then of lattice."""
        plan, unit = self.plan, self.plan.unit_mm
        if self._paths is not None and not plan.porous:
            return NO_LINES, 0.0, NO_LINES, 0.0  # what fills dense metal then comes with its paths
        dense, dense_units, net, net_units = self._scan(index, outline, plan.hatch_pitch_mm)
        if plan.net_pitch_mm != plan.hatch_pitch_mm:
            _, _, net, net_units = self._scan(index, outline, plan.net_pitch_mm)
        if not plan.porous:
            # Full metal is its own dense region; what rounding leaves outside it is nothing.
            net, net_units = net[:0], 0
        return dense, dense_units * unit, net, net_units * unit

    def _scan(self, index: int, outline: Outline, pitch_mm: float) -> tuple[IntArray, int, IntArray, int]:
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

    def layer(self, index: int) -> tuple[NDArray[np.uint16], FloatArray]:
        """Words and figures of layer ``index``: in one call where only stamps fill it and nothing needs care."""
        plan, stamped, unit = self.plan, self.lattice, self.plan.unit_mm
        if isinstance(stamped, StampedLattice) and plan.dense is None:  # so no paths in dense metal either
            z, z_units = self.first_z + index * plan.layer_mm, self._top_units(index)
            mesh = (*plan.solid.arrays, self.members, self.starts)
            words, found = stamped.layer(index, z, z_units, mesh, self._scratch(), unit)
            if len(words):
                loops, points, area, length, own, more, count, solid_area = found.tolist()
                figures = [loops, points, area * unit**2, length * unit, 0.0, own * unit + more * unit, count]
                return words, np.array([*figures, solid_area * unit**2, length * unit, 0.0, 0.0])
        return self.packed(index, self.outline(index, stamped=True))

    def _top_units(self, index: int) -> int:
        """Height of the upper surface of a layer, which the file names."""
        return round((self.plan.first_layer + index + 1) * self.plan.layer_mm / self.plan.unit_mm)

    def packed(self, index: int, outline: Outline) -> tuple[NDArray[np.uint16], FloatArray]:
        """Words and figures of one layer; the height written is the layer's upper surface."""
        unit = self.plan.unit_mm
        dense, dense_mm, net, net_mm = self.hatches(index, outline)
        level = self.plan.first_layer + index
        passes = None if self._paths is None else self._paths.of_layer(level, outline, net)
        if passes is not None:
            dense, dense_mm = passes.hatches, passes.hatch_units * unit
        z_units = self._top_units(index)
        stamped = self.lattice if isinstance(self.lattice, StampedLattice) else None
        axis, turns, line_starts, lines, stamp = _NO_STAMPS if stamped is None else stamped.islands(index)
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
        if stamped is not None and len(outline.whole):
            more = cli_kernels.whole_figures(
                outline.whole,
                stamped.fillings.curve_figures,
                axis,
                turns,
                line_starts,
                stamped.fillings.length_units,
            )
            area, length, net_mm = area + more[0], length + more[1], net_mm + more[2] * unit
            loops, points, count = loops + len(outline.whole), points + more[3], count + more[4]
        figures = [loops, points, area * unit**2, length * unit, dense_mm, net_mm, count]
        melted = [length * unit, 0.0, 0.0]
        if passes is not None:
            words, melted = passes.packed_onto(words, outline, length, unit)
        return words, np.array([*figures, outline.solid_area * unit**2, *melted])
