"""Voxels as finite elements: which are kept, how their corners are numbered, which may be done at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.strength.element import CORNERS

#: Layers of voxels that one thread works through at a time.
SLAB = 4


@dataclass(frozen=True)
class Grid:
    """A box of cubic voxels along the axes of a frame.

    Attributes
    ----------
    origin_mm : (3,) array
        The low corner of voxel (0, 0, 0), x y z.
    voxel_mm : float
        Edge of a voxel.
    shape : (K, J, I)
        Number of voxels along z, y, x.
    """

    origin_mm: FloatArray
    voxel_mm: float
    shape: tuple[int, int, int]

    def centres(self, flat: NDArray[np.int64]) -> FloatArray:
        """Centres (N, 3) in mm, x y z, of voxels given by flat index."""
        k, j, i = np.unravel_index(flat, self.shape)
        return np.asarray(self.origin_mm + self.voxel_mm * (np.stack([i, j, k], axis=1) + 0.5))


@dataclass(frozen=True)
class Mesh:
    """Elements sorted by slab of :data:`SLAB` layers; slabs two apart share no corner.

    Attributes
    ----------
    grid : Grid
    voxels : (E,) int64 array
        Flat voxel index of each element.
    nodes : (E, 8) int32 array
        Corner numbers, in the order of :data:`implantflow.strength.element.CORNERS`.
    points : (N, 3) array
        Place of each corner in mm, x y z.
    slab_start : (S + 1,) int64 array
        First element of each slab.
    """

    grid: Grid
    voxels: NDArray[np.int64]
    nodes: NDArray[np.int32]
    points: FloatArray
    slab_start: NDArray[np.int64]

    def pick(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Values of a (K, J, I) ``volume`` at the elements."""
        return np.asarray(volume.ravel()[self.voxels])

    def spread(self, values: NDArray[Any], fill: float = 0.0) -> NDArray[Any]:
        """A (K, J, I) volume with ``values`` (E,) at the elements and ``fill`` elsewhere."""
        out = np.full(int(np.prod(self.grid.shape)), fill, dtype=np.result_type(values, np.float32))
        out[self.voxels] = values
        return np.asarray(out.reshape(self.grid.shape))


def build_mesh(grid: Grid, active: NDArray[np.bool_], *, periodic: bool = False) -> Mesh:
    """Elements of the ``active`` (K, J, I) voxels.

    With ``periodic`` the opposite faces of the box are one; its height must then hold an even number of slabs,
    or the first and the last would be worked on together across the seam.

    Raises
    ------
    GeometryError
        No voxel is active, or a periodic box has a height that does not fit.
    """
    if not active.any():
        raise GeometryError("no voxel holds material, so there is nothing to compute")
    if periodic and active.shape[0] % (2 * SLAB):
        raise GeometryError(f"a periodic box needs a multiple of {2 * SLAB} layers, not {active.shape[0]}")
    flat = np.flatnonzero(active).astype(np.int64)
    k, j, i = np.unravel_index(flat, active.shape)
    slab_start = np.searchsorted(k // SLAB, np.arange(-(-active.shape[0] // SLAB) + 1)).astype(np.int64)
    ijk = np.stack([i, j, k], axis=1)
    sides = np.array(active.shape[::-1])
    corner = ijk[:, None, :] + CORNERS.astype(np.int64)[None]
    if periodic:
        corner %= sides
    sides = sides + (0 if periodic else 1)
    number = corner[..., 0] + sides[0] * (corner[..., 1] + sides[1] * corner[..., 2])
    used, nodes = np.unique(number, return_inverse=True)
    lattice = np.stack([used % sides[0], used // sides[0] % sides[1], used // (sides[0] * sides[1])], axis=1)
    points = grid.origin_mm + grid.voxel_mm * lattice
    return Mesh(grid, flat, nodes.reshape(-1, 8).astype(np.int32), points, slab_start)


def largest_part(active: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Keep the largest group of voxels that join face to face.

    Returns
    -------
    kept : (K, J, I) bool array
    groups : int
        How many other groups were dropped. Voxels that touch along an edge only would act as hinges.
    """
    from scipy import ndimage

    label, count = ndimage.label(active)
    if count <= 1:
        return active, 0
    sizes = np.bincount(label.ravel())
    sizes[0] = 0
    return np.asarray(label == int(np.argmax(sizes))), count - 1
