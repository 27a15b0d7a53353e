"""Figures of the periodic cell, measured on its own field: density, pore, throat, strut, surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.field.cells import fits, occupancy
from implantflow.field.lattice import Lattice
from implantflow.geometry import FloatArray

#: Nodes along the cell: a multiple of 16, so that the symmetric places of the cells are nodes.
NODES = 80
#: Half width of the layer about the surface that is counted for the specific surface (mm).
SURFACE_BAND_MM = 0.03


@dataclass(frozen=True)
class CellFigures:
    """Measured figures of one cell; lengths in mm.

    Attributes
    ----------
    relative_density : metal share.
    pore_mm : diameter of the largest sphere in the void. throat_mm : of the largest that passes for ever.
    strut_mm, pores_mm : 5th, 50th and 95th percentile of the local thickness of the metal and of the void.
    surface_per_mm : surface per volume of the porous region (1/mm).
    resolution_mm : spacing of the nodes it was measured on.
    """

    relative_density: float
    pore_mm: float
    throat_mm: float
    strut_mm: tuple[float, float, float]
    pores_mm: tuple[float, float, float]
    surface_per_mm: float
    resolution_mm: float


def cell_grid(cell: str, cell_mm: float, strut_mm: float, n: int) -> FloatArray:
    """(n, n, n) values in mm of the cell (or periodic sample) on its nodes, axes z, y, x."""
    lattice, edge = Lattice.sample(cell, cell_mm, strut_mm)
    line = np.arange(n) * (edge / n)
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    return lattice.value(points).reshape(n, n, n)


def _periodic_distance(mask: NDArray[np.bool_], step: float) -> FloatArray:
    """Distance in mm from each node of ``mask`` to the surface of the rest, on a periodic grid.

    Distances between nodes overshoot the surface by half a step on average, which is taken off.
    """
    from implantflow.lattice import kernels

    # No sphere in a cell that percolates is wider than 0.8 cells.
    most = int(0.4 * mask.shape[0]) + 1
    distance = np.sqrt(kernels.periodic_distance2(mask, most)) * step
    return np.asarray(np.where(mask, np.maximum(distance - step / 2.0, 0.0), 0.0))


def void_distance(cell: str, values: FloatArray, step: float) -> FloatArray:
    """Distance in mm of each node to the metal: the value itself for strut cells, which is exact."""
    if not cell.startswith("gyroid"):
        return np.maximum(values, 0.0)
    return _periodic_distance(values > 0.0, step)


def throat_mm(distance: FloatArray) -> float:
    """Diameter of the largest sphere that can travel through the periodic void without end (0 if none)."""
    from implantflow.lattice import kernels

    flat = distance.ravel()
    order = np.argsort(-flat, kind="stable")
    order = order[flat[order] > 0]
    opened = kernels.first_percolation(order, distance.shape[0])
    return 0.0 if opened < 0 else 2.0 * float(flat[order[opened - 1]])


def local_thickness(metal: NDArray[np.bool_], step: float) -> FloatArray:
    """Diameter in mm of the largest sphere within the metal that covers each metal node (periodic).

    Twelve radii between 0.3 and 1 of the largest are told apart; nodes that not even the smallest of them
    covers (corners of the voxels, skin of nodes) are left out.
    """
    from implantflow.lattice import kernels

    depth = _periodic_distance(metal, step)
    thickness = np.zeros_like(depth)
    # Spheres reach no further than the deepest node.
    most = int(np.ceil(float(depth.max()) / step)) + 1
    for radius in np.linspace(0.3, 1.0, 12) * float(depth.max()):
        reach = np.sqrt(kernels.periodic_distance2(depth < radius - 1e-9, most)) * step
        thickness[reach <= radius] = 2.0 * radius
    return np.asarray(thickness[metal & (thickness > 0)])


def measure_cell(cell: str, cell_mm: float, strut_mm: float) -> CellFigures:
    """Measure one periodic cell on its field."""
    step = Lattice.sample(cell, cell_mm, strut_mm)[1] / NODES
    values = cell_grid(cell, cell_mm, strut_mm, NODES)
    distance = void_distance(cell, values, step)
    thick = local_thickness(values < 0.0, step)
    # Pores are wide: every other node shows them well enough.
    pores = local_thickness(values[::2, ::2, ::2] > 0.0, 2.0 * step)
    near = float((np.abs(values) < SURFACE_BAND_MM).mean())
    return CellFigures(
        relative_density=float(occupancy(cell, cell_mm, strut_mm, 40).mean()),
        pore_mm=2.0 * float(distance.max()),
        throat_mm=throat_mm(distance),
        strut_mm=_percentiles(thick),
        pores_mm=_percentiles(pores),
        surface_per_mm=near / (2.0 * SURFACE_BAND_MM),
        resolution_mm=step,
    )


def _percentiles(values: FloatArray) -> tuple[float, float, float]:
    p5, p50, p95 = (float(v) for v in np.percentile(values, [5, 50, 95]))
    return p5, p50, p95


def tradeoff(cell: str, cell_mm: float, struts_mm: tuple[float, ...]) -> list[dict[str, float]]:
    """Porosity, pore and throat against strut for one cell size: what a change of strut would cost."""
    rows = []
    for strut in struts_mm:
        if not fits(cell, cell_mm, strut):
            continue
        n = NODES // 2 if cell.startswith("gyroid") else NODES
        values = cell_grid(cell, cell_mm, strut, n)
        step = Lattice.sample(cell, cell_mm, strut)[1] / n
        distance = void_distance(cell, values, step)
        metal = float(np.clip(0.5 - values / step, 0.0, 1.0).mean())
        rows.append(
            {
                "strut_mm": strut,
                "porosity": 1.0 - metal,
                "pore_um": 2000.0 * float(distance.max()),
                "throat_um": 1000.0 * throat_mm(distance),
            }
        )
    return rows
