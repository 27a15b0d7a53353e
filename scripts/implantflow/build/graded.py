"""A strut cell whose struts change in thickness from place to place, laid over the layers piece by piece.

Every point of an outline is moved to where the graded field's own contour lies, to first order from an outline made for
a radius within 2.5 um; pieces that have joined are united exactly. Cells that do not come apart into pieces, or whose
struts change too steeply for that, are sampled (:mod:`implantflow.build.sampled`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from implantflow.build.pieces import NEAR_MM, Pieces, make_pieces
from implantflow.build.plan import NO_ISLANDS, IntArray, Loops, Plan
from implantflow.build.sampled import SampledLattice
from implantflow.field.cells import STRUT_CELLS
from implantflow.field.lattice import Grade
from implantflow.field.material import Material

if TYPE_CHECKING:
    from implantflow.build.graded_kernels import Radii

#: Steepest change of a strut's diameter (mm per mm) that outlines of one radius are moved along.
STEEPEST = 0.08
#: Furthest that a piece reaches from the point whose radius stands for it (cells).
_REACH_CELLS = 0.5
#: Steps of the stored diameters in mm.
_STEP_MM = 1e-4


def steepest(grade: Grade) -> float:
    """Steepest change of the diameter between nodes beside each other, mm per mm along an axis."""
    steps = [
        float(np.abs(np.diff(grade.grid.astype(np.float64), axis=axis)).max(initial=0.0)) * _STEP_MM / spacing
        for axis, spacing in zip((2, 1, 0), grade.spacing_mm, strict=True)
    ]
    return float(max(steps))


@dataclass(frozen=True)
class GradedLattice:
    """Merges the pieces of one phase with the borders of a layer."""

    pieces: Pieces
    grade: Grade
    near_units: float
    unit_mm: float
    first_layer: int
    area2_min: int
    sampled: SampledLattice
    #: Dense metal and lattice are drawn with borders of their own.
    as_one: ClassVar[bool] = False

    @classmethod
    def of(cls, material: Material, plan: Plan) -> GradedLattice | None:
        """The pieces of a material; None where it has to be sampled."""
        lattice = material.lattice
        if lattice.grade is None or lattice.cell not in STRUT_CELLS:
            return None
        if material.fillet_mm > 0.0 or material.texture is not None or min(lattice.grade.grid.shape) < 2:
            return None
        slope = steepest(lattice.grade)
        if slope > STEEPEST:
            return None
        pieces = make_pieces(
            lattice.cell,
            lattice.cell_mm,
            lattice.strut_range_mm,
            plan.layer_mm,
            plan.unit_mm,
            plan.area_min_mm2,
        )
        if pieces is None:
            return None
        near_mm = NEAR_MM + 0.5 * slope * _REACH_CELLS * lattice.cell_mm
        return cls(
            pieces,
            lattice.grade,
            near_mm / plan.unit_mm,
            plan.unit_mm,
            plan.first_layer,
            plan.area2_min,
            SampledLattice(material, plan),
        )

    def _radii(self, z_mm: float) -> Radii:
        from implantflow.build import graded_kernels

        origin, spacing, unit = self.grade.origin_mm, self.grade.spacing_mm, self.unit_mm
        grid = graded_kernels.radii_of_layer(self.grade.grid, origin, spacing, z_mm, 0.5 * _STEP_MM / unit)
        x, y, step_x, step_y = (float(v) / unit for v in (*origin[:2], *spacing[:2]))
        return graded_kernels.Radii(grid, (x, y, 1.0 / step_x, 1.0 / step_y))

    def assemble(
        self, index: int, z_mm: float, solid: Loops, dense: Loops
    ) -> tuple[IntArray, IntArray, IntArray, IntArray, int]:
        """Loops of the material of a layer (x, y, starts), no whole islands, and how many crossings are wrong."""
        from implantflow.build import assemble_kernels, graded_kernels

        border_x, border_y, border_start, _, border_kind = assemble_kernels.borders(*solid, *dense)
        x, y, starts, wrong = graded_kernels.assemble_pieces(
            border_x,
            border_y,
            border_start,
            border_kind,
            self.pieces,
            self._radii(z_mm),
            self.near_units,
            (self.first_layer + index) % self.pieces.phases,
            self.area2_min,
        )
        if wrong:
            return self.sampled.assemble(index, z_mm, solid, dense)
        return x, y, starts, NO_ISLANDS, wrong
