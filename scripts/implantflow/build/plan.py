"""What slicing needs, and what a layer is before it is packed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from implantflow.build.scale import Scale
from implantflow.build.solid import Solid
from implantflow.build.stamps import Stamps
from implantflow.config.paths import Paths
from implantflow.field.material import Material
from implantflow.geometry import FloatArray

#: Hatches shorter than this are not written (mm): a quarter of the melt pool, already melted by the outline.
HATCH_MIN_MM = 0.05

IntArray = NDArray[np.int64]
Loops = tuple[IntArray, IntArray, IntArray]

NO_ISLANDS = np.empty((0, 3), dtype=np.int64)

NO_LOOPS: Loops = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64))

#: Columns of the figures of a layer, in this order. contour_mm: outlines; melted_contour_mm: what the beam runs along
#: as contour, of which inner_contour_mm are passes inside the outer one; thin_mm: net of places too thin for a contour.
FIGURES = (
    "loops",
    "points",
    "area_mm2",
    "contour_mm",
    "hatch_mm",
    "net_mm",
    "hatches",
    "solid_area_mm2",
    "melted_contour_mm",
    "inner_contour_mm",
    "thin_mm",
)


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
    stamps : lattice that fills the rest, where one period of contours is all there is to it.
    sampled : what fills the solid where it is not; neither of the two means full metal everywhere.
    layer_mm, unit_mm : thickness of a layer, unit of the file; both whole multiples as config checks.
    hatch_pitch_mm, net_pitch_mm : line distance in dense metal and in lattice.
    area_min_mm2 : loops below are dropped. paths : where the beam runs in dense metal; None for along its outline.
    """

    solid: Solid
    dense: DenseGrid | None
    stamps: Stamps | None
    layer_mm: float
    unit_mm: float
    hatch_pitch_mm: float
    net_pitch_mm: float
    area_min_mm2: float
    sampled: Material | None = None
    paths: Paths | None = None

    @property
    def porous(self) -> bool:
        """Is any of it lattice?"""
        return self.stamps is not None or self.sampled is not None

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

    @cached_property
    def area2_min(self) -> int:
        """Twice the smallest area in units^2."""
        return round(2.0 * self.area_min_mm2 / self.unit_mm**2)


@dataclass(frozen=True)
class Outline:
    """Borders of one layer in units: the material's loops, the dense region's loops, the solid's area.

    Each loop set is x, y, starts; metal lies left of every loop. ``whole`` (W, 3) are further loops of the material:
    curve of the stamps, column and row of its tile. ``core``: loops of the dense metal, where its paths are made.
    """

    x: IntArray
    y: IntArray
    starts: IntArray
    dense_x: IntArray
    dense_y: IntArray
    dense_starts: IntArray
    solid_area: float
    whole: IntArray
    core: Loops = NO_LOOPS

    def without(self, loops: set[int]) -> Outline:
        """The same layer without some of its loops; whole islands count on after the others."""
        lengths = np.diff(self.starts)
        keep = np.ones(len(lengths) + len(self.whole), dtype=bool)
        keep[sorted(loops)] = False
        whole = self.whole[keep[len(lengths) :]]
        keep = keep[: len(lengths)]
        points = np.repeat(keep, lengths)
        starts = np.concatenate([[0], np.cumsum(lengths[keep])]).astype(np.int64)
        out = [
            slice(a, b) for (a, b), kept in zip(pairwise(self.starts.tolist()), keep, strict=True) if not kept
        ]
        core = _not_of(self.core, [np.column_stack([self.x[part], self.y[part]]) for part in out])
        return replace(self, x=self.x[points], y=self.y[points], starts=starts, whole=whole, core=core)


def _not_of(loops: Loops, pieces: list[IntArray]) -> Loops:
    """The loops without those of the pieces left out, closed (N, 2): a loop of theirs shares a corner and lies within.

    A crumb may touch the part in a corner: the part's own loop then reaches beyond the crumb, and stays.
    """
    corners = np.column_stack([loops[0], loops[1]])
    keys = corners[:, 0] << 20 | corners[:, 1]
    keep = np.ones(len(loops[2]) - 1, dtype=bool)
    for piece in pieces:
        shared = np.isin(keys, piece[:, 0] << 20 | piece[:, 1])
        if not shared.any():
            continue
        inside = (corners >= piece.min(axis=0)).all(axis=1) & (corners <= piece.max(axis=0)).all(axis=1)
        for n, (a, b) in enumerate(pairwise(loops[2].tolist())):
            keep[n] &= not (shared[a:b].any() and inside[a:b].all())
    if keep.all():
        return loops
    lengths = np.diff(loops[2])
    points = np.repeat(keep, lengths)
    return (
        loops[0][points],
        loops[1][points],
        np.concatenate([[0], np.cumsum(lengths[keep])]).astype(np.int64),
    )
