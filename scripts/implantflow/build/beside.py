"""What is built beside the part, in the same layers: supports and a coupon."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cli_writer import SUPPORT_ID
from implantflow.build.part import Part
from implantflow.build.plan import FIGURES
from implantflow.build.supports import DrawnSupports
from implantflow.config.build import Coupon
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

Words = NDArray[np.uint16]

#: Words of a layer before its geometry: the command and the height.
_HEAD = 2
#: Most lines that one block of hatches announces.
_MOST = 65535
#: Corners of a block whose edges are 1, and its twelve triangles, seen from outside counter-clockwise.
_CORNERS = np.array([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)], dtype=np.float64)
_FACES = np.array(
    [
        [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
        [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
    ]
)  # fmt: skip


def coupon_part(part: Part, asked: Coupon) -> Part:
    """Block of the part's periodic lattice to the right of it, its foot at the height of the part's lowest point.

    Its sides lie on whole cells, so that it is the block that tests of the lattice expect.

    Raises
    ------
    GeometryError
        The part has no lattice that repeats.
    """
    if part.lattice is None or part.sampled is not None:
        raise GeometryError(
            "a coupon is a block of whole cells, and this lattice does not repeat from cell to cell",
            where="build.coupon",
            fix="leave it out, or build a case with a uniform periodic lattice",
        )
    cell_mm = part.lattice[1]
    low, high = part.box_mm
    edge, height = asked.cells * cell_mm, (asked.cells + asked.cells // 2) * cell_mm
    left = math.ceil((high[0] + asked.gap_mm) / cell_mm - 1e-9) * cell_mm
    front = round((0.5 * (low[1] + high[1]) - 0.5 * edge) / cell_mm) * cell_mm
    corner = np.array([left, front, low[2]])
    vertices = corner + _CORNERS * np.array([edge, edge, height])
    return Part(vertices, _FACES, None, part.lattice)


@dataclass
class SlicedLayers:
    """Packed layers of a part from layer ``first`` of the plate on, and their figures (layers, len(FIGURES))."""

    first: int
    words: list[Words] = field(default_factory=list)
    figures: FloatArray = field(default_factory=lambda: np.zeros((0, len(FIGURES))))

    def geometry(self, layer: int) -> Words:
        """Words of a layer counted from the plate, without its head; none where it has nothing."""
        n = layer - self.first
        return self.words[n][_HEAD:] if 0 <= n < len(self.words) else np.empty(0, dtype=np.uint16)


def packed_lines(lines: NDArray[np.int64]) -> Words:
    """Support lines (N, 4) in units as blocks of hatches.

    Raises
    ------
    GeometryError
        A line leaves what 16 bits can say.
    """
    if len(lines) and (lines.min() < 0 or lines.max() > _MOST):
        raise GeometryError(
            "supports reach beyond the file's coordinates", fix="place the part inside the envelope"
        )
    blocks = []
    for a in range(0, len(lines), _MOST):
        part = lines[a : a + _MOST]
        blocks += [np.array([131, SUPPORT_ID, len(part)]), part.ravel()]
    return np.concatenate(blocks).astype(np.uint16) if blocks else np.empty(0, dtype=np.uint16)


class Beside:
    """Adds supports and a coupon to the part's layers as they are written.

    Parameters
    ----------
    part_first, part_layers : layers of the part, counted from the plate.
    layer_units : thickness of a layer in units.
    """

    def __init__(
        self,
        part_first: int,
        part_layers: int,
        layer_units: int,
        supports: DrawnSupports | None,
        coupon: SlicedLayers | None,
    ) -> None:
        self._supports, self._coupon = supports, coupon
        self._layer_units = layer_units
        self._part_first, self._part_end = part_first, part_first + part_layers
        self.first, self._end = part_first, self._part_end
        if supports is not None and supports.layers:
            self.first, self._end = 0, max(self._end, supports.layers)
        if coupon is not None:
            self._end = max(self._end, coupon.first + len(coupon.words))
        self.layers = self._end - self.first
        self.support_mm = np.zeros(self.layers)
        self._next = self.first

    def onto(self, write: Callable[[Words], None]) -> Callable[[Words], None]:
        """Where the part's layers go, once it is known who takes the words of the file's layers."""
        self._write = write
        return self.take

    def take(self, words: Words) -> None:
        """Take the next layer of the part."""
        while self._next < self._part_first:
            self._emit(self._head(self._next))
        self._emit(words)

    def close(self) -> None:
        """Write the layers above the part."""
        while self._next < self._end:
            self._emit(self._head(self._next))

    def _head(self, layer: int) -> Words:
        return np.array([128, (layer + 1) * self._layer_units], dtype=np.uint16)

    def _emit(self, words: Words) -> None:
        layer, pieces = self._next, [words]
        if self._coupon is not None:
            pieces.append(self._coupon.geometry(layer))
        if self._supports is not None:
            lines = self._supports.lines(layer)
            length = np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]).sum()
            self.support_mm[layer - self.first] = float(length) * self._supports.unit_mm
            pieces.append(packed_lines(lines))
        self._write(np.concatenate(pieces) if len(pieces) > 1 else words)
        self._next += 1

    def all_figures(self, part: FloatArray) -> FloatArray:
        """Figures of every layer of the file: the part's and the coupon's."""
        figures = np.zeros((self.layers, part.shape[1]))
        figures[self._part_first - self.first :][: len(part)] = part
        if self._coupon is not None:
            figures[self._coupon.first - self.first :][: len(self._coupon.figures)] += self._coupon.figures
        return figures
