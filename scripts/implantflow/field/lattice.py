"""The lattice of a field: a periodic cell or a graph of struts, with one thickness or a graded one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import GeometryError
from implantflow.field.cells import (
    GYROID_SLOPE_FLOOR,
    STRUT_CELLS,
    check_cell,
    level_of,
    strut_axes,
    strut_table,
)
from implantflow.geometry import FloatArray

if TYPE_CHECKING:
    from implantflow.field.cell_kernels import LatticeArrays

#: Name of the lattice whose struts repeat nowhere; they are stored with the field.
VORONOI = "voronoi"
#: Boxes per mean cell for finding the nearest strut of a graph.
_BOXES = 2
#: Cells along the periodic sample that stands for a Voronoi lattice.
_SAMPLE_CELLS = 4
#: Levels tabulated for a graded gyroid.
_LEVELS = 65

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """Struts that repeat nowhere: nodes (N, 3) in mm, build_xyz, and beams (B, 2), pairs of nodes."""

    nodes_mm: FloatArray
    beams: IntArray


@dataclass(frozen=True)
class Grade:
    """Strut diameter that changes with place: (K, J, I) int16 in steps of 0.1 um, linear between nodes.

    ``origin_mm`` (3,) is the place of node (0, 0, 0), ``spacing_mm`` (3,) the distance of nodes along x, y, z.
    """

    grid: NDArray[np.int16]
    origin_mm: FloatArray
    spacing_mm: FloatArray


@lru_cache(maxsize=4)
def _sample_graph(cell_mm: float) -> Graph:
    from implantflow.field.voronoi import voronoi_struts

    edge = np.full(3, _SAMPLE_CELLS * cell_mm)
    return Graph(*voronoi_struts(-edge / 4, edge * 1.25, cell_mm, 0, 0.8, _SAMPLE_CELLS))


@dataclass(frozen=True)
class Lattice:
    """An unclipped lattice in build_xyz, origin at (0, 0, 0).

    Attributes
    ----------
    cell : one of :data:`~implantflow.field.cells.CELLS` or :data:`VORONOI`.
    cell_mm : period, or mean cell of a graph (edge of the cube that holds one seed).
    strut_mm : strut (see :mod:`implantflow.field.cells`); of a graded lattice the nominal one.
    graph : the struts of a lattice that repeats nowhere. reach_mm : how far from them distances are told, one mean
        cell unless given. grade : None where every strut is ``strut_mm`` thick.
    """

    cell: str
    cell_mm: float
    strut_mm: float
    graph: Graph | None = None
    grade: Grade | None = None
    reach_mm: float | None = None

    @classmethod
    def of(cls, lattice: Lattice | tuple[str, float, float]) -> Lattice:
        """A uniform periodic lattice from its three figures."""
        return lattice if isinstance(lattice, Lattice) else cls(*lattice)

    def __post_init__(self) -> None:
        if (self.cell == VORONOI) != (self.graph is not None):
            raise GeometryError(
                f"a {self.cell} lattice {'needs its struts' if self.cell == VORONOI else 'has no stored struts'}",
                fix="make the field with the lattice stage",
            )
        if self.graph is None:
            check_cell(self.cell, self.cell_mm, self.strut_mm)
            if self.grade is not None:
                check_cell(self.cell, self.cell_mm, float(self.grade.grid.max()) * 1e-4)

    @property
    def periodic(self) -> bool:
        """Is every cell like the next, so that the contours of one period are those of all?"""
        return self.graph is None and self.grade is None

    @property
    def is_struts(self) -> bool:
        """Is it made of round struts?"""
        return self.graph is not None or self.cell in STRUT_CELLS

    @property
    def strut_range_mm(self) -> tuple[float, float]:
        """Thinnest and thickest strut asked for."""
        if self.grade is None:
            return self.strut_mm, self.strut_mm
        return float(self.grade.grid.min()) * 1e-4, float(self.grade.grid.max()) * 1e-4

    @classmethod
    def sample(cls, cell: str, cell_mm: float, strut_mm: float) -> tuple[Lattice, float]:
        """A lattice with one strut and the edge in mm of the cube that it repeats with.

        Voronoi: a pattern of 4 x 4 x 4 cells that repeats (seed 0, irregularity 0.8) stands for all others; the lattice
        is defined within the cube from 0 to its edge.
        """
        if cell != VORONOI:
            return cls(cell, cell_mm, strut_mm), cell_mm
        edge = _SAMPLE_CELLS * cell_mm
        return cls(cell, cell_mm, strut_mm, _sample_graph(cell_mm)), edge

    def struts_in(self, low_mm: FloatArray, high_mm: FloatArray) -> FloatArray:
        """(S, 2, 3) ends in mm of every strut whose box touches a box, in a fixed order.

        Raises
        ------
        GeometryError
            The cell has no struts.
        """
        if self.graph is not None:
            ends = self.graph.nodes_mm[self.graph.beams]
        else:
            axes = strut_axes(self.cell) * self.cell_mm
            first = np.floor(low_mm / self.cell_mm).astype(int) - 1
            last = np.ceil(high_mm / self.cell_mm).astype(int) + 1
            cells = np.stack(
                np.meshgrid(*[np.arange(first[a], last[a]) for a in range(3)], indexing="ij"), -1
            ).reshape(-1, 1, 1, 3)
            ends = (axes[None] + cells * self.cell_mm).reshape(-1, 2, 3)
        touching = (ends.min(1) <= high_mm).all(1) & (ends.max(1) >= low_mm).all(1)
        return np.asarray(ends[touching])

    @cached_property
    def arrays(self) -> LatticeArrays:
        """The lattice as the kernels take it."""
        from implantflow.field import cell_kernels as kernels

        nothing, none = np.zeros((0, 1, 1), dtype=np.int16), np.zeros(0, dtype=np.int64)
        grade = (
            (nothing, np.zeros(3), np.ones(3))
            if self.grade is None
            else (self.grade.grid, self.grade.origin_mm, self.grade.spacing_mm)
        )
        boxes = (np.zeros((0, 7)), np.zeros(3), 1.0, np.ones(3, dtype=np.int64), none, none)
        kind, reach = kernels.STRUTS, 1e15
        if self.graph is not None:
            reach = self.cell_mm if self.reach_mm is None else self.reach_mm
            boxes = self._graph_boxes(self.graph, reach)
        elif self.cell in STRUT_CELLS:
            segments, starts, members, bins = strut_table(self.cell)
            scaled = segments * np.array([*[self.cell_mm] * 6, self.cell_mm**-2])
            shape = np.full(3, bins, dtype=np.int64)
            boxes = (scaled, np.zeros(3), self.cell_mm / bins, shape, starts, members)
        else:
            kind = kernels.SHEET if self.cell == "gyroid_sheet" else kernels.GYROID
        low, high = self.strut_range_mm
        table = np.zeros(2)
        if self.grade is not None and not self.is_struts:
            table = np.array(
                [
                    level_of(self.cell, self.cell_mm, s)
                    for s in np.linspace(low, max(high, low + 1e-3), _LEVELS)
                ]
            )
        return kernels.LatticeArrays(
            kind,
            self.cell_mm if self.graph is None else 0.0,
            *boxes,
            reach,
            GYROID_SLOPE_FLOOR,
            level_of(self.cell, self.cell_mm, self.strut_mm),
            table,
            low,
            max(high - low, 1e-3) / (_LEVELS - 1),
            *grade,
        )

    def _graph_boxes(
        self, graph: Graph, reach: float
    ) -> tuple[FloatArray, FloatArray, float, IntArray, IntArray, IntArray]:
        from implantflow.field import graph_kernels

        start, end = graph.nodes_mm[graph.beams[:, 0]], graph.nodes_mm[graph.beams[:, 1]]
        along = end - start
        segments = np.column_stack([start, along, 1.0 / (along**2).sum(1)])
        size = self.cell_mm / _BOXES
        # One box of room: the outermost boxes also answer for every point further out.
        origin = graph.nodes_mm.min(0) - reach - size
        shape = (np.ceil((graph.nodes_mm.max(0) + reach + size - origin) / size)).astype(np.int64)
        starts = np.zeros(int(shape.prod()) + 1, dtype=np.int64)
        nearest = np.full(int(shape.prod()), 1e15)
        none = np.zeros(0, dtype=np.int64)
        graph_kernels.bin_pass(segments, origin, size, shape, reach, nearest, starts, none, 0)
        graph_kernels.bin_pass(segments, origin, size, shape, reach, nearest, starts, none, 1)
        starts = np.cumsum(starts)
        members = np.empty(int(starts[-1]), dtype=np.int64)
        graph_kernels.bin_pass(segments, origin, size, shape, reach, nearest, starts[:-1].copy(), members, 2)
        return segments, origin, size, shape, starts, members

    @cached_property
    def by_height(self) -> tuple[IntArray, FloatArray]:
        """Struts by their lowest point, and the greatest height that those up to each reach (``reach`` added)."""
        if self.graph is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        heights = self.graph.nodes_mm[self.graph.beams, 2]
        order = np.argsort(heights.min(1), kind="stable").astype(np.int64)
        return order, np.maximum.accumulate(heights.max(1)[order] + self.arrays.reach)

    def value(self, points_mm: ArrayLike) -> FloatArray:
        """(N,) value in mm at (N, 3) points, negative inside metal; exact for uniform struts.

        Points further than one mean cell from every strut of a graph get that distance.
        """
        from implantflow.field import cell_kernels

        points = np.ascontiguousarray(points_mm, dtype=np.float64)
        out = np.empty(len(points))
        cell_kernels.lattice_values(self.arrays, points, out)
        return out

    def layer(
        self,
        z_mm: float,
        origin_xy_mm: tuple[float, float],
        step_mm: float,
        shape: tuple[int, int],
        spans: IntArray | None = None,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """(J, I) values at the nodes (origin + i*step, origin + j*step) of one plane.

        ``spans`` (J, 2) limits each row to nodes [first, last); the rest is +inf, or left as it is in ``out``.
        """
        from implantflow.field import cell_kernels

        out = np.full(shape, np.inf) if out is None else out
        if spans is None:
            spans = np.tile(np.array([0, shape[1]], dtype=np.int64), (shape[0], 1))
        cell_kernels.lattice_layer(self.arrays, *self.by_height, *origin_xy_mm, step_mm, z_mm, spans, out)
        return out
