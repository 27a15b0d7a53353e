"""What the print is compared with: the design, and what the build file draws of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import InputError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid

#: The field's grid is off by less than this (mm) at sharp edges: where that cannot matter, it is read instead of the
#: exact surface.
GRID_ERROR_MM = 0.35
#: No scanned point that matters lies further from the surface (mm).
FAR_MM = 100.0
#: Half the distance over which slopes are taken (mm).
_STEP_MM = 0.01


@dataclass(frozen=True)
class Reference:
    """The design in build_xyz, and the drawn part: the same with outer solid and dense region scaled.

    The lattice is drawn at its own cell whatever the scale (build.json), so struts are known where the file
    draws them, not where the design's field has them.

    Attributes
    ----------
    field : the design. factors, centre_mm : (3,) the scale of the build file and the place that stays.
    """

    field: Field
    factors: FloatArray
    centre_mm: FloatArray

    @classmethod
    def of(cls, field: Field, build: Mapping[str, Any]) -> Reference:
        """Reference of a build revision (content of build.json).

        Raises
        ------
        InputError
            build.json says nothing of the scale it was drawn with.
        """
        try:
            factors = np.array(build["scale_xyz"], dtype=np.float64)
            centre = np.array(build["scale_centre_mm"], dtype=np.float64)
        except KeyError as error:
            raise InputError(
                f"build.json lacks {error}: it was written by an older version",
                fix="build the revision again",
            ) from error
        return cls(field, factors, centre)

    def drawn(self, designed_mm: FloatArray) -> FloatArray:
        """(N, 3) points of the design -> where the file draws them."""
        return np.asarray(self.centre_mm + self.factors * (designed_mm - self.centre_mm))

    def designed(self, drawn_mm: FloatArray) -> FloatArray:
        """(N, 3) points of the file -> their place in the design (of outer solid and dense region)."""
        return np.asarray(self.centre_mm + (drawn_mm - self.centre_mm) / self.factors)

    @cached_property
    def design_surface(self) -> Surface:
        """The designed outer surface as it is printed, machining stock on it, build_xyz."""
        return Surface(Solid.of(*self.field.printed))

    @cached_property
    def drawn_surface(self) -> Surface:
        """The outer surface as drawn, build_xyz of the file."""
        vertices_mm, faces = self.field.printed
        return Surface(Solid.of(self.drawn(vertices_mm), faces))

    @cached_property
    def drawn_box_mm(self) -> FloatArray:
        """(2, 3) box of the drawn part."""
        vertices_mm, _ = self.field.printed
        return self.drawn(np.array([vertices_mm.min(0), vertices_mm.max(0)]))

    def dense(self, drawn_mm: FloatArray) -> FloatArray:
        """(N,) distance to the dense region as drawn, negative inside (mm)."""
        return np.asarray(self.field.dense_value(self.designed(drawn_mm)))

    def inner(self, drawn_mm: FloatArray) -> FloatArray:
        """(N,) distance to dense region or struts as drawn, whichever is nearer, negative inside metal (mm)."""
        return np.minimum(self.dense(drawn_mm), self.field.lattice_value(drawn_mm))

    def inner_slope(self, drawn_mm: FloatArray) -> FloatArray:
        """(N, 3) unit directions in which :meth:`inner` grows."""
        slope = np.empty_like(drawn_mm)
        for axis in range(3):
            step = _STEP_MM * np.eye(3)[axis]
            slope[:, axis] = self.inner(drawn_mm + step) - self.inner(drawn_mm - step)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
        return slope

    def outer(
        self, drawn_mm: FloatArray, above_mm: FloatArray | float
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """Signed distance (N,) to the drawn outer surface, and the triangle nearest.

        Exact wherever it may be ``above_mm``; below that the field's grid is read and the triangle is -1.
        """
        distance = self.field.solid_value(self.designed(drawn_mm))
        triangle = np.full(len(drawn_mm), -1, dtype=np.int64)
        near = np.flatnonzero(distance > above_mm - GRID_ERROR_MM)
        found = self.drawn_surface.nearest(drawn_mm[near], limit_mm=FAR_MM)
        distance[near], triangle[near] = found.distance_mm, found.triangle
        return distance, triangle
