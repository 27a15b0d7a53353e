"""The way of a driver to a screw's entry, and the room of its head: which lines the bones about it bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray, unit
from implantflow.plan import line_kernels
from implantflow.solids.booleans import crop
from implantflow.solids.mesh import Solid
from implantflow.solids.offset import distance_grid

#: Half the width of a usual head with room, mm, and without what may be taken off the bone that is entered for it;
#: the way reaches this far back.
_RADIUS_MM, _OWN_RADIUS_MM, REACH_MM = 6.5, 4.0, 60.0
#: A neighbour bars from here on; the bone that is entered only above the head's foot, which may stand proud of it.
NEAR_MM, OWN_FROM_MM = 2.0, 12.0
_STEP_MM = 2.0
NEIGHBOUR, OWN = 1, 2


@dataclass(frozen=True)
class Way:
    """Nodes (I, J, K) that an axis' way back must not pass: ``NEIGHBOUR``, ``OWN`` or 0; node 0 lies at ``low``."""

    barred: NDArray[np.uint8]
    low: FloatArray
    step_mm: float = _STEP_MM

    @classmethod
    def open(cls) -> Way:
        """Nothing in the way."""
        return cls(np.zeros((1, 1, 1), dtype=np.uint8), np.zeros(3))

    @classmethod
    def about(cls, entry_mm: FloatArray, own: Solid, neighbours: Sequence[Solid]) -> Way:
        """Behind some entries (N, 3) on ``own``: what lies within 6.5 mm of a neighbour, 4 mm of the bone itself."""
        low, high = entry_mm.min(axis=0) - REACH_MM, entry_mm.max(axis=0) + REACH_MM
        n = np.ceil((high - low) / _STEP_MM).astype(int) + 1
        shape = (int(n[0]), int(n[1]), int(n[2]))
        barred = np.zeros(shape, dtype=np.uint8)
        barring = [(own, OWN, _OWN_RADIUS_MM), *((bone, NEIGHBOUR, _RADIUS_MM) for bone in neighbours)]
        for solid, code, radius_mm in barring:
            part = crop(solid, low - _RADIUS_MM, high + _RADIUS_MM)
            if len(part.faces):
                near = distance_grid(part, low, shape, _STEP_MM, radius_mm + _STEP_MM) < radius_mm
                barred[near] = code
        return cls(barred, low)

    def is_clear(self, start: FloatArray, end: FloatArray) -> bool:
        """Whether the way back from ``start`` (3,) of the line to ``end`` meets no barred node."""
        steps = np.array([self.step_mm, NEAR_MM, OWN_FROM_MM, REACH_MM])
        return not line_kernels.is_barred(self.barred, self.low, steps, start, unit(end - start))
