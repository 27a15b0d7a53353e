"""A filling that repeats nowhere (graded, stochastic, filleted, rugged): contours sampled from the field.

Each layer is evaluated where the solid is, contours are traced on the raster with crossings of third order, thinned and
rounded to the file's units with their area kept, and merged with the borders as exactly as stamps are.
"""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np

from implantflow.build.plan import NO_ISLANDS, IntArray, Loops, Plan
from implantflow.build.regular import simple_loops
from implantflow.field.material import Material
from implantflow.geometry import FloatArray

#: Nodes lie at most this far apart (mm): crossings err by under a micrometre, and corners where
#: struts meet are put back to a few micrometres; 99 % of a contour lie within 10 um.
STEP_MM = 0.0625
#: A dropped crossing lies at most this far from the chord (mm).
CHORD_MM = 0.004
#: Nodes of room around the solid.
_ROOM = 5

_NONE: Loops = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64))


class SampledLattice:
    """Draws one layer of the field and merges it with the borders.

    A bare lattice is merged with the dense region's own contours, so that their corners stay sharp. With fillets or a
    texture the borders of the two are no longer apart, and the material is drawn as a whole.
    """

    def __init__(self, material: Material, plan: Plan) -> None:
        cell_mm = material.lattice.cell_mm
        self._step_mm = cell_mm / math.ceil(cell_mm / STEP_MM - 1e-9)
        self.as_one = material.fillet_mm > 0.0 or material.texture is not None
        if material.lattice.graph is not None:
            # Further from every strut there is no metal, however far exactly.
            reach = 0.5 * material.lattice.strut_range_mm[1] + material.fillet_mm + 4.0 * self._step_mm
            material = replace(material, lattice=replace(material.lattice, reach_mm=reach))
        self._source = material if self.as_one else material.lattice
        # Made here, before the threads ask for them.
        _ = material.arrays, material.lattice.arrays, material.lattice.by_height
        low, high = (f(plan.solid.vertices_mm[:, :2], axis=0) for f in (np.min, np.max))
        first = np.floor(low / self._step_mm).astype(int) - _ROOM
        count = np.ceil(high / self._step_mm).astype(int) + _ROOM + 1 - first
        self._origin_mm = (float(first[0] * self._step_mm), float(first[1] * self._step_mm))
        self._shape = (int(count[1]), int(count[0]))
        self._unit_mm = plan.unit_mm
        self._area2_min = plan.area2_min
        self._local = threading.local()

    def _scratch(self) -> tuple[FloatArray, IntArray]:
        """Working memory of this thread: values of the nodes, links between crossings (all -1 between layers)."""
        if not hasattr(self._local, "held"):
            links = np.full(2 * self._shape[0] * self._shape[1], -1, dtype=np.int64)
            self._local.held = np.empty(self._shape), links
        held: tuple[FloatArray, IntArray] = self._local.held
        return held

    def contours(self, z_mm: float, solid: Loops) -> Loops:
        """Contours of the filling about the solid's loops at a height: x, y, starts in units, metal on the left."""
        from implantflow.build import raster_kernels, search_kernels

        values, links = self._scratch()
        origin = np.array(self._origin_mm) / self._unit_mm
        step = self._step_mm / self._unit_mm
        spans = raster_kernels.spans_of(*solid, origin, step, self._shape[0])
        self._source.layer(z_mm, self._origin_mm, self._step_mm, self._shape, spans, values)
        cells = raster_kernels.surround(values, spans)
        chord = CHORD_MM / self._unit_mm
        loops = raster_kernels.raster_loops(values, cells, links, origin, step, chord, self._area2_min)
        if len(loops[0]) and search_kernels.has_self_crossing(*loops):
            return simple_loops(*loops, self._area2_min)
        return loops

    def assemble(
        self, index: int, z_mm: float, solid: Loops, dense: Loops
    ) -> tuple[IntArray, IntArray, IntArray, IntArray, int]:
        """Loops of the material of a layer (x, y, starts), no whole islands, and how many crossings are wrong."""
        from implantflow.build import assemble_kernels

        filling = self.contours(z_mm, solid)
        x, y, starts, wrong = assemble_kernels.assemble_curves(
            *solid, *(_NONE if self.as_one else dense), *filling, self._area2_min
        )
        return x, y, starts, NO_ISLANDS, wrong
