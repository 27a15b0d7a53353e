"""How much metal the field holds, and its classes on a voxel grid, by exact vertical lines through the solid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.field.cells import STRUT_CELLS, gyroid_iso, strut_table
from implantflow.field.columns import Columns
from implantflow.geometry import FloatArray

VOID, LATTICE_METAL, DENSE_METAL = 1, 2, 3

#: Spacing of the samples (mm): shares no period with cells of whole tenths of a millimetre, so that no layer of
#: struts is favoured.
SAMPLE_MM = 0.2237


@dataclass(frozen=True)
class Volumes:
    """Volumes in mm3: the whole solid, its dense part, its porous part and the metal in that."""

    solid_mm3: float
    dense_mm3: float
    porous_mm3: float
    lattice_mm3: float

    @property
    def material_mm3(self) -> float:
        """All metal."""
        return self.dense_mm3 + self.lattice_mm3

    @property
    def relative_density(self) -> float:
        """Metal share of the porous part."""
        return self.lattice_mm3 / self.porous_mm3 if self.porous_mm3 > 0 else 1.0


def classify(
    vertices_mm: FloatArray,
    faces: NDArray[np.int64],
    dense: tuple[NDArray[np.int16], FloatArray, float] | None,
    lattice: tuple[str, float, float],
    step_mm: float,
    keep: bool,
) -> tuple[Volumes, NDArray[np.uint8], FloatArray]:
    """Sample the field inside the solid.

    Parameters
    ----------
    vertices_mm, faces : closed solid in build_xyz.
    dense : grid of distances, place of its node (0, 0, 0), spacing; None where nothing is dense.
    lattice : cell, cell_mm, strut_mm.
    step_mm : spacing of the samples.
    keep : also return the class of every node (0 outside, 1 void, 2 lattice metal, 3 dense).

    Returns
    -------
    volumes, labels (K, J, I; empty without ``keep``), origin (3,) of node (0, 0, 0).
    """
    from implantflow.field import volume_kernels

    low, high = vertices_mm.min(0), vertices_mm.max(0)
    origin = low - 1.5 * step_mm
    count = np.ceil((high - origin) / step_mm).astype(int) + 2
    columns = Columns.of(vertices_mm, faces, origin, step_mm, (int(count[1]), int(count[0])))
    labels = np.zeros(tuple(count[::-1]) if keep else (0, 1, 1), dtype=np.uint8)
    cell, cell_mm, strut_mm = lattice
    strut = cell in STRUT_CELLS
    segments, starts, members, bins = strut_table(cell if strut else STRUT_CELLS[0])
    level = strut_mm / 2.0 if strut else gyroid_iso(cell_mm, strut_mm)
    grid, grid_origin, spacing = dense or (np.zeros((0, 1, 1), dtype=np.int16), np.zeros(3), 1.0)
    counts = np.zeros(4, dtype=np.int64)
    volume_kernels.classify_columns(
        columns.starts,
        columns.heights_mm,
        columns.shape,
        columns.origin_mm,
        step_mm,
        float(origin[2]),
        grid,
        grid_origin,
        spacing,
        strut,
        segments,
        starts,
        members,
        bins,
        cell_mm,
        level,
        labels,
        counts,
    )
    # The lines know the solid's volume exactly along z; the samples only share it out.
    solid = columns.volume_mm3()
    share = counts / max(int(counts.sum()), 1)
    volumes = Volumes(
        solid, float(share[3] * solid), float((share[1] + share[2]) * solid), float(share[2] * solid)
    )
    return volumes, labels, origin
