"""Parallel surfaces of a solid through a signed-distance grid.

Accuracy: distances at grid nodes are exact; between them the surface is linear, so a surface of curvature
radius R errs by about ``grid_mm``^2 / (8 R), and edges sharper than the grid are rounded by up to ``grid_mm`` / 2.
For thin offsets of smooth bone at 0.7 mm that is below 0.02 mm for R > 3 mm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.solids.distance import Surface
from implantflow.solids.level import level_surface
from implantflow.solids.mesh import Solid, require_closed

_BLOCK = 4
_OFF_LEVEL_MM = 5e-4
_OFF_CORNERS_MM = np.array([0.0, 1.37e-4, 2.11e-4])


def distance_grid(
    solid: Solid, low_mm: ArrayLike, shape: tuple[int, int, int], grid_mm: float, band_mm: float
) -> FloatArray:
    """Signed distance (I, J, K) at nodes ``low_mm + grid_mm * (i, j, k)``, clipped to +-``band_mm``.

    Only blocks near the surface are evaluated. The sign comes from parity along x (:func:`inside_grid`), which a
    razor-thin fold of the surface cannot mislead.
    """
    surface = Surface(solid)
    low = np.asarray(low_mm, dtype=np.float64)
    blocks = [int(np.ceil(n / _BLOCK)) for n in shape]
    centres = np.stack(np.meshgrid(*[np.arange(b) for b in blocks], indexing="ij"), -1).reshape(-1, 3)
    half = (_BLOCK - 1) / 2.0
    reach = band_mm + grid_mm * (half * np.sqrt(3.0) + 0.01)
    near = surface.nearest(low + grid_mm * (centres * _BLOCK + half), reach, signed=False).triangle >= 0
    inner = np.stack(np.meshgrid(*[np.arange(_BLOCK)] * 3, indexing="ij"), -1).reshape(-1, 3)
    nodes = (centres[near][:, None] * _BLOCK + inner).reshape(-1, 3)
    nodes = nodes[(nodes < np.array(shape)).all(axis=1)]
    grid = np.full(shape, band_mm)
    grid[tuple(nodes.T)] = surface.nearest(low + grid_mm * nodes, band_mm, signed=False).distance_mm
    return np.where(inside_grid(solid, low, shape, grid_mm), -grid, grid)


def inside_grid(
    solid: Solid, low_mm: ArrayLike, shape: tuple[int, int, int], grid_mm: float
) -> NDArray[np.bool_]:
    """Which nodes (I, J, K) at ``low_mm + grid_mm * (i, j, k)`` lie inside ``solid``, by parity along x.

    The grid is shifted by a fraction of a micrometre, so that no row runs exactly through a corner.
    """
    from implantflow.solids import kernels

    low = np.asarray(low_mm, dtype=np.float64) + _OFF_CORNERS_MM
    toggles = np.zeros((shape[0] + 1, shape[1], shape[2]), dtype=np.uint8)
    kernels.toggle_crossings(np.ascontiguousarray(solid.triangles_mm), low, grid_mm, toggles)
    return np.asarray(np.bitwise_xor.accumulate(toggles, axis=0)[:-1] > 0)


def isosurface(grid: FloatArray, low_mm: ArrayLike, grid_mm: float, level_mm: float) -> Solid:
    """Closed surface where a grid (I, J, K) of signed values crosses ``level_mm`` (flying edges).

    The grid's outermost nodes must lie above the level, else the surface would be open.
    """
    values = np.asarray(grid - level_mm, dtype=np.float64)
    # A node on the level makes triangles without area, whose corners single precision cannot tell apart.
    values[np.abs(values) < _OFF_LEVEL_MM] = _OFF_LEVEL_MM
    points, faces = level_surface(values.transpose(2, 1, 0), 0.0, spacing=grid_mm)
    if len(faces) == 0:
        raise GeometryError("an offset surface is empty", fix="use a smaller offset")
    # The filter works in single precision: placed here, not there, it keeps 0.01 um.
    vertices = points + np.asarray(low_mm)
    solid = Solid.of(vertices, faces)
    return solid if solid.volume_mm3 > 0 else Solid.of(vertices, faces[:, ::-1])


def offset(solid: Solid, distance_mm: float, grid_mm: float = 0.7) -> Solid:
    """The set of points within ``distance_mm`` of the solid (or, negative, deeper than that inside it).

    See the module's text for the accuracy.
    """
    band = abs(distance_mm) + 3.0 * grid_mm
    margin = max(distance_mm, 0.0) + 4.0 * grid_mm
    low, high = solid.bounds_mm[0] - margin, solid.bounds_mm[1] + margin
    nodes = np.ceil((high - low) / grid_mm).astype(int) + 1
    grid = distance_grid(solid, low, (int(nodes[0]), int(nodes[1]), int(nodes[2])), grid_mm, band)
    result = isosurface(grid, low, grid_mm, distance_mm)
    require_closed(result, "an offset surface")
    return result
