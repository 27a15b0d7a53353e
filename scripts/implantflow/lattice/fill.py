"""Closed pores up to a stated size are melted shut: what no powder can leave is better metal than powder.

Where a strut meets a dense face a pore may come out closed by chance; a design that moved by a tenth of a millimetre
has another one. An engineer would fill it, so does this stage where the case allows it, and says where.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from implantflow.field.field import DISTANCE_STEP_MM, Field
from implantflow.field.make import BAND_MM
from implantflow.lattice.part_measures import Spot


@dataclass(frozen=True)
class Filled:
    """A pore that was melted shut, and the ball of dense metal (radius in mm about its place) that does it."""

    pore: Spot
    radius_mm: float

    def as_json(self, field: Field) -> dict[str, Any]:
        """Pore, place in both frames, and ball."""
        return self.pore.as_json(field) | {"ball_radius_mm": self.radius_mm}


def fill_pores(field: Field, pores: list[Spot]) -> tuple[Field, list[Filled]]:
    """The field with a ball of dense metal on each pore; the outer surface still bounds it.

    A ball reaches a node of the grid beyond the pore: between nodes distances are linear, which takes up to about half
    a node off a small ball. Whether the pore is shut, and no other one made, the next measurement tells.
    """
    dense = field.dense.copy()
    filled = []
    for pore in pores:
        radius = pore.reach_mm + field.spacing_mm
        place = np.array(pore.place_mm)
        node = (place - field.origin_mm) / field.spacing_mm
        half = int(np.ceil((radius + BAND_MM) / field.spacing_mm)) + 1
        low = np.maximum(np.floor(node).astype(int) - half, 0)
        high = np.minimum(np.ceil(node).astype(int) + half + 1, dense.shape[::-1])
        x, y, z = (
            field.origin_mm[a] + field.spacing_mm * np.arange(low[a], high[a]) - place[a] for a in range(3)
        )
        away = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) - radius
        # Whole micrometres, as all stored distances.
        steps = np.round(np.minimum(away, BAND_MM) * 1000.0) * (0.001 / DISTANCE_STEP_MM)
        box = dense[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
        np.minimum(box, steps.astype(np.int16), out=box)
        filled.append(Filled(pore, radius))
    return replace(field, dense=dense), filled
