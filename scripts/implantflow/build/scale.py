"""The build's thermal scale: the part is drawn larger than designed by what it shrinks when it cools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray


@dataclass(frozen=True)
class Scale:
    """Where the build file draws the points of the design; both in build_xyz.

    Attributes
    ----------
    factors : (3,) along x, y, z.
    centre_mm : (3,) the place that stays: middle of the part's footprint at its lowest height, so that the part
        stays in the middle of the plate and its lowest point at its gap above it.
    """

    factors: FloatArray
    centre_mm: FloatArray

    @classmethod
    def about_foot(cls, factors: Sequence[float], vertices_mm: FloatArray) -> Scale:
        """Scale of a part (vertices (N, 3) in build_xyz, as designed) about the middle of its foot."""
        low, high = vertices_mm.min(0), vertices_mm.max(0)
        centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        return cls(np.asarray(factors, dtype=np.float64), centre)

    @classmethod
    def none(cls) -> Scale:
        """Drawn as designed."""
        return cls(np.ones(3), np.zeros(3))

    @cached_property
    def is_one(self) -> bool:
        """Is the part drawn as designed?"""
        return bool((self.factors == 1.0).all())

    def drawn(self, points_mm: FloatArray) -> FloatArray:
        """(N, 3) points of the design -> where the file draws them, to the nanometre."""
        if self.is_one:
            return points_mm
        return np.asarray(np.round(self.centre_mm + self.factors * (points_mm - self.centre_mm), 6))

    def designed(self, points_mm: FloatArray) -> FloatArray:
        """(N, 3) points of the file -> their place in the design."""
        if self.is_one:
            return points_mm
        return np.asarray(self.centre_mm + (points_mm - self.centre_mm) / self.factors)

    def facts(self) -> dict[str, str]:
        """What the build file's header says of the scale; nothing of a part drawn as designed."""
        return {} if self.is_one else {"scale xyz": " ".join(f"{factor:.6f}" for factor in self.factors)}

    def as_json(self, cell_mm: float, layer_mm: float) -> dict[str, Any]:
        """Keys of ``build.json``."""
        return {
            "scale_xyz": self.factors,
            "scale_centre_mm": self.centre_mm,
            "scale_applies_to": "outer solid and dense region; the lattice keeps its cell of "
            f"{cell_mm:g} mm = {round(cell_mm / layer_mm)} layers and its place",
        }

    def require_room(self, vertices_mm: FloatArray, envelope_mm: ArrayLike) -> None:
        """Refuse a scaled part (vertices (N, 3) as drawn) that leaves the machine (0 .. envelope).

        Raises
        ------
        GeometryError
            How far it reaches out, and along which axis.
        """
        if self.is_one:
            return
        beyond = np.maximum(-vertices_mm.min(0), vertices_mm.max(0) - np.asarray(envelope_mm))
        axis = int(beyond.argmax())
        if beyond[axis] > 0:
            raise GeometryError(
                f"drawn {self.factors[axis]:g} times as large the part leaves the machine by {beyond[axis]:.3f} mm "
                f"along {'xyz'[axis]}",
                where="build.revisions: scale_xyz",
                fix="turn the part (build.orientation), reduce support_gap_mm or choose a larger machine",
            )
