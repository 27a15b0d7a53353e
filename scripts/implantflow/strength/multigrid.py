"""A multigrid preconditioner: the implant on ever coarser grids.

On elastic beds the slowest motions of the implant are those of the whole body; conjugate gradients with a
diagonal preconditioner need thousands of steps for them. One V-cycle over grids of doubled voxels removes them:
material is averaged over the eight children, corners are interpolated linearly, a Chebyshev polynomial smooths,
and the coarsest grid is solved exactly. The cycle is symmetric, as conjugate gradients ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.geometry import FloatArray
from implantflow.strength.mesh import Grid, Mesh, build_mesh
from implantflow.strength.solver import Model

#: Grids are coarsened until they have at most this many degrees of freedom.
COARSEST = 1500

#: Applications of the stiffness in one smoothing, and the share of the spectrum left to the coarser grids.
SMOOTHING = 2
LOW_SHARE = 0.1


@dataclass(frozen=True)
class _Level:
    model: Model
    matrices: FloatArray
    inverse_diagonal: FloatArray
    highest: float
    to_coarser: Any


class Multigrid:
    """Approximate inverse of a model's stiffness; the model must be held by springs, not by given displacements.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        if model.fixed.any():
            raise ValueError("multigrid takes elastic supports only")
        self._levels: list[_Level] = []
        while 3 * len(model.mesh.points) > COARSEST and min(model.mesh.grid.shape) > 2:
            coarser, interpolation = _coarsen(model)
            self._levels.append(_level(model, interpolation))
            model = coarser
        self._exact = np.linalg.inv(_dense(model))

    def __call__(self, residual: FloatArray) -> FloatArray:
        """One V-cycle from zero: (3 N,) forces to (3 N,) displacements."""
        return self._cycle(0, residual)

    def _cycle(self, depth: int, r: FloatArray) -> FloatArray:
        if depth == len(self._levels):
            return np.asarray(self._exact @ r)
        level = self._levels[depth]
        z = _smooth(level, r, None)
        rest = (r - _product(level, z)).reshape(-1, 3)
        down = np.ascontiguousarray(level.to_coarser @ rest).ravel()
        up = level.to_coarser.T @ self._cycle(depth + 1, down).reshape(-1, 3)
        return _smooth(level, r, z + np.ascontiguousarray(up).ravel())


def _level(model: Model, interpolation: Any) -> _Level:
    from implantflow.strength import kernels

    matrices = model.matrices()
    diagonal = model.springs.copy()
    kernels.assemble_diagonal(diagonal, model.mesh.nodes, model.scales, matrices)
    # Largest eigenvalue of inverse diagonal times stiffness: never above the largest of any one element.
    highest = max(float(np.linalg.eigvals(m / np.diag(m)[:, None]).real.max()) for m in matrices)
    return _Level(model, matrices, 1.0 / diagonal, highest, interpolation.T.tocsr())


def _product(level: _Level, u: FloatArray) -> FloatArray:
    from implantflow.strength import kernels

    mesh = level.model.mesh
    y = level.model.springs * u
    kernels.add_stiffness(u, y, mesh.nodes, mesh.slab_start, level.model.scales, level.matrices)
    return y


def _smooth(level: _Level, r: FloatArray, start: FloatArray | None) -> FloatArray:
    """Chebyshev iteration on the upper part of the spectrum."""
    low = LOW_SHARE * level.highest
    middle, half = (level.highest + low) / 2.0, (level.highest - low) / 2.0
    z = np.zeros_like(r) if start is None else start
    rest = r if start is None else r - _product(level, z)
    move = level.inverse_diagonal * rest / middle
    rho = half / middle
    for k in range(SMOOTHING):
        z = z + move
        if k + 1 == SMOOTHING:
            break
        rest = rest - _product(level, move)
        following = 1.0 / (2.0 * middle / half - rho)
        move = following * rho * move + (2.0 * following / half) * (level.inverse_diagonal * rest)
        rho = following
    return z


def _coarsen(model: Model) -> tuple[Model, Any]:
    """The model on voxels twice as large, and the (N fine, N coarse) interpolation of corner values."""
    grid = model.mesh.grid
    shape = tuple(-(-n // 2) for n in grid.shape)
    pad = [(0, 2 * c - n) for c, n in zip(shape, grid.shape, strict=True)]

    def merge(values: FloatArray) -> FloatArray:
        volume = np.pad(model.mesh.spread(values), pad)
        return np.asarray(volume.reshape(shape[0], 2, shape[1], 2, shape[2], 2).mean(axis=(1, 3, 5)))

    scales = np.stack([merge(s) for s in model.scales])
    mesh = build_mesh(Grid(grid.origin_mm, 2.0 * grid.voxel_mm, shape), scales.sum(axis=0) > 0)  # type: ignore[arg-type]
    interpolation = _interpolation(model.mesh, mesh)
    springs = np.ascontiguousarray(interpolation.T @ model.springs.reshape(-1, 3)).ravel()
    picked = np.stack([mesh.pick(s) for s in scales])
    return Model.of(mesh, model.elasticity, picked, springs), interpolation


def _interpolation(fine: Mesh, coarse: Mesh) -> Any:
    from scipy import sparse

    index = np.rint((fine.points - fine.grid.origin_mm) / fine.grid.voxel_mm).astype(np.int64)
    corner = np.rint((coarse.points - fine.grid.origin_mm) / coarse.grid.voxel_mm).astype(np.int64)
    sides = np.array(coarse.grid.shape[::-1]) + 1
    number = np.full(int(np.prod(sides)), -1, dtype=np.int64)
    number[corner @ [1, sides[0], sides[0] * sides[1]]] = np.arange(len(corner))
    rows, columns, weights = [], [], []
    for c in range(8):
        side = np.array([c & 1, (c >> 1) & 1, c >> 2])
        target = index // 2 + side
        weight = np.where(index % 2 == 1, 0.5, 1.0 - side).prod(axis=1)
        used = weight > 0
        rows.append(np.flatnonzero(used))
        columns.append(number[target[used] @ [1, sides[0], sides[0] * sides[1]]])
        weights.append(weight[used])
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(entries, shape=(len(index), len(corner)))


def _dense(model: Model) -> FloatArray:
    """The whole stiffness matrix of a small model."""
    size = 3 * len(model.mesh.points)
    out = np.diag(model.springs)
    dofs = (3 * model.mesh.nodes.astype(np.int64)[:, :, None] + np.arange(3)).reshape(-1, 24)
    for scale, matrix in zip(model.scales, model.matrices(), strict=True):
        place = (dofs[:, :, None] * size + dofs[:, None, :]).ravel()
        values = (scale[:, None, None] * matrix).ravel()
        out += np.bincount(place, values, size * size).reshape(size, size)
    return out
