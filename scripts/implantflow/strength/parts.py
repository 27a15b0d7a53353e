"""The implant cut into voxels: how much of each is solid metal, how much is lattice, and how dense that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from implantflow.errors import GeometryError
from implantflow.field.columns import Columns
from implantflow.field.field import Field
from implantflow.geometry import FloatArray
from implantflow.strength.mesh import Grid

#: Largest distance of sample points and vertical lines, mm: to measure the lattice's density, and else.
LATTICE_SAMPLE_MM = 0.25
SAMPLE_MM = 0.4

#: Samples along an edge that are enough where the lattice is not measured.
MOST_SAMPLES = 8

#: Each voxel shifts its sample points by its own amount: on points that repeat with the lattice, whole strut
#: faces would fall between them and the density come out several per cent off. The shifts are multiples of
#: numbers that fill a cube evenly (powers of the root of x^4 = x + 1).
SHIFTS = np.array([0.8191725134, 0.6710436067, 0.5497004779])

Distance = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Parts:
    """Shares of each voxel's volume, (K, J, I) arrays on ``grid`` (frame of the field).

    Attributes
    ----------
    grid : Grid
    solid : share inside the implant's outer surface, exact along z.
    dense : share that is solid metal.
    porous : share that is lattice, metal and pores together.
    density : metal share of the lattice, averaged over one cell about the voxel.
    """

    grid: Grid
    solid: FloatArray
    dense: FloatArray
    porous: FloatArray
    density: FloatArray


def capsule_distance(segments: list[tuple[FloatArray, FloatArray, float]]) -> Distance:
    """Signed distance to the union of rods with round ends: (start, end, radius) in mm."""

    def distance(points: FloatArray) -> FloatArray:
        out = np.full(len(points), np.inf)
        for start, end, radius in segments:
            along = end - start
            length2 = float(along @ along)
            rel = points - start
            t = np.clip(rel @ along / length2, 0.0, 1.0) if length2 > 0 else np.zeros(len(points))
            away = rel - t[:, None] * along
            np.minimum(out, np.sqrt(np.einsum("ij,ij->i", away, away)) - radius, out=out)
        return out

    return distance


def voxelise(
    field: Field, voxel_mm: float, *, more_dense: Distance | None = None, density: float | None = None
) -> Parts:
    """Cut a field into voxels.

    Parameters
    ----------
    field : Field
    voxel_mm : float
        Edge of a voxel; half a lattice cell makes the average over one cell exact.
    more_dense : callable, optional
        Signed distance of further dense metal at (N, 3) points of the field's frame.
    density : float, optional
        Metal share to assume for the lattice instead of measuring it in the field.

    Raises
    ------
    GeometryError
        The surface is not closed, or the voxels are too coarse to hold the implant.
    """
    low, high = field.bounds_mm
    first = np.floor(low / voxel_mm + 1e-9).astype(int)
    count = np.ceil(high / voxel_mm - 1e-9).astype(int) - first
    shape = (int(count[2]), int(count[1]), int(count[0]))
    if min(shape) < 3:
        raise GeometryError(
            f"voxels of {voxel_mm} mm are too coarse for an implant of {np.round(high - low, 1).tolist()} mm",
            where="strength.voxel_mm",
        )
    grid = Grid(first * voxel_mm, voxel_mm, shape)
    solid = _solid_share(field, grid, density is None)
    dense = np.zeros(shape)
    metal = np.zeros(shape)
    for k in range(shape[0]):
        _sample_slab(field, grid, k, solid[k], dense[k], metal[k], more_dense, density is None)
    porous = solid - dense
    if density is None:
        local = cell_average(metal * porous, porous, field.cell_mm / voxel_mm)
    else:
        local = np.full(shape, density)
    return Parts(grid, solid, dense, porous, np.where(porous > 0, local, 0.0))


def _samples(grid: Grid, measure: bool) -> int:
    if measure:
        return max(3, math.ceil(grid.voxel_mm / LATTICE_SAMPLE_MM - 1e-9))
    return min(max(3, math.ceil(grid.voxel_mm / SAMPLE_MM - 1e-9)), MOST_SAMPLES)


def _solid_share(field: Field, grid: Grid, measure: bool) -> FloatArray:
    from implantflow.strength import kernels

    samples = _samples(grid, measure)
    step = grid.voxel_mm / samples
    lines = (grid.shape[1] * samples, grid.shape[2] * samples)
    # The lines stand a hair off the middle of their cells, clear of vertices on round coordinates.
    place = grid.origin_mm[:2] + step * np.array([0.5 + 1.7e-5, 0.5 + 2.3e-5])
    columns = Columns.of(field.vertices_mm, field.faces, place, step, lines)
    out = np.zeros(grid.shape)
    kernels.fill_columns(
        columns.starts, columns.heights_mm, float(grid.origin_mm[2]), grid.voxel_mm, samples, out
    )
    return np.clip(out, 0.0, 1.0)


def _sample_slab(
    field: Field,
    grid: Grid,
    k: int,
    solid: FloatArray,
    dense: FloatArray,
    metal: FloatArray,
    more_dense: Distance | None,
    measure: bool,
) -> None:
    """Fill one layer of voxels (J, I): ``dense`` as a share of the voxel, ``metal`` as a share of the lattice."""
    rows, columns = np.nonzero(solid > 0)
    if len(rows) == 0:
        return
    samples = _samples(grid, measure)
    step = grid.voxel_mm / samples
    line = np.arange(samples) * step
    z, y, x = (a.ravel() for a in np.meshgrid(line, line, line, indexing="ij"))
    index = np.column_stack([columns, rows, np.full(len(rows), k)])
    number = (index @ np.array([1, grid.shape[2], grid.shape[2] * grid.shape[1]]) + 1)[:, None]
    corner = grid.origin_mm + grid.voxel_mm * index + step * (number * SHIFTS % 1.0)
    points = (corner[:, None, :] + np.column_stack([x, y, z])[None]).reshape(-1, 3)

    def share(value: FloatArray) -> FloatArray:
        return np.clip(0.5 - value / step, 0.0, 1.0).reshape(len(rows), -1)

    inside = share(field.solid_value(points)) + 1e-9
    value = field.dense_value(points)
    if more_dense is not None:
        value = np.minimum(value, more_dense(points))
    is_dense = share(value)
    dense[rows, columns] = solid[rows, columns] * (inside * is_dense).sum(1) / inside.sum(1)
    if measure:
        room = inside * (1.0 - is_dense)
        filled = (room * (field.lattice_value(points).reshape(room.shape) < 0)).sum(1)
        metal[rows, columns] = np.divide(filled, room.sum(1), out=np.zeros(len(rows)), where=room.sum(1) > 0)


def cell_average(amount: FloatArray, room: FloatArray, width: float) -> FloatArray:
    """``amount / room`` with both averaged over a cube of ``width`` voxels about each voxel."""
    from scipy import ndimage

    reach = int(np.ceil((width - 1.0) / 2.0 - 1e-9)) if width > 1 else 0
    taps = np.ones(2 * reach + 1)
    if reach:
        taps[0] = taps[-1] = (width - (2 * reach - 1)) / 2.0
    for axis in range(3):
        amount = ndimage.convolve1d(amount, taps, axis=axis, mode="constant")
        room = ndimage.convolve1d(room, taps, axis=axis, mode="constant")
    return np.asarray(np.divide(amount, room, out=np.zeros_like(amount), where=room > 1e-9))
