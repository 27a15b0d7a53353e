"""A second solution of the same equations that shares nothing with the first but the mesh and the loads.

Element matrices come from products of one-dimensional integrals instead of quadrature, the matrix is assembled
and factorised by SuperLU instead of applied and iterated, and strains are differences of opposite faces.
"""

from __future__ import annotations

import itertools

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.strength.solver import Model

#: Six-vector place of a tensor index pair.
_PLACE = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])

#: One-dimensional functions on [0, 1]: 1 - x, x, 4 x (1 - x) and 1; integrals of products of them (values and
#: slopes), by hand.
_VALUE_VALUE = np.array(
    [
        [1 / 3, 1 / 6, 1 / 3, 1 / 2],
        [1 / 6, 1 / 3, 1 / 3, 1 / 2],
        [1 / 3, 1 / 3, 8 / 15, 2 / 3],
        [1 / 2, 1 / 2, 2 / 3, 1],
    ]
)
_SLOPE_VALUE = np.array(
    [
        [-1 / 2, -1 / 2, -2 / 3, -1],
        [1 / 2, 1 / 2, 2 / 3, 1],
        [2 / 3, -2 / 3, 0, 0],
        [0, 0, 0, 0],
    ]
)
_SLOPE_SLOPE = np.array([[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 16 / 3, 0], [0, 0, 0, 0]])

#: Corner functions and the three incompatible modes as triples of one-dimensional functions.
_FUNCTIONS = [(c & 1, (c >> 1) & 1, c >> 2) for c in range(8)] + [(2, 3, 3), (3, 2, 3), (3, 3, 2)]


def element_matrix(c: FloatArray) -> FloatArray:
    """Stiffness (24, 24) of the unit cube with elasticity ``c`` (6, 6)."""
    size = len(_FUNCTIONS)
    k = np.zeros((size, 3, size, 3))
    for f, g in itertools.product(range(size), repeat=2):
        for p, q in itertools.product(range(3), repeat=2):
            integral = _gradient_integral(_FUNCTIONS[f], _FUNCTIONS[g], p, q)
            for r, s in itertools.product(range(3), repeat=2):
                k[f, r, g, s] += c[_PLACE[r, p], _PLACE[s, q]] * integral
    full = k.reshape(3 * size, 3 * size)
    corners, modes = slice(0, 24), slice(24, 33)
    inner = np.linalg.inv(full[modes, modes])
    return np.asarray(full[corners, corners] - full[corners, modes] @ inner @ full[modes, corners])


def _gradient_integral(f: tuple[int, ...], g: tuple[int, ...], p: int, q: int) -> float:
    """Integral over the unit cube of the slope of f along p times the slope of g along q."""
    product = 1.0
    for axis in range(3):
        a, b = f[axis], g[axis]
        if axis == p and axis == q:
            product *= _SLOPE_SLOPE[a, b]
        elif axis == p:
            product *= _SLOPE_VALUE[a, b]
        elif axis == q:
            product *= _SLOPE_VALUE[b, a]
        else:
            product *= _VALUE_VALUE[a, b]
    return float(product)


def solve_directly(model: Model, forces: FloatArray) -> FloatArray:
    """Displacements (3 N, L) in mm for ``forces`` (3 N, L) in N.

    Raises
    ------
    GeometryError
        The model has displacements that are given (this path knows elastic supports only).
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    if model.fixed.any():
        raise GeometryError("the direct solution takes elastic supports only")
    mesh = model.mesh
    dofs = (3 * mesh.nodes.astype(np.int64)[:, :, None] + np.arange(3)).reshape(-1, 24)
    rows = np.repeat(dofs, 24, axis=1).ravel()
    columns = np.tile(dofs, (1, 24)).ravel()
    values = np.zeros((len(dofs), 576))
    for c, scale in zip(model.elasticity, model.scales, strict=True):
        values += scale[:, None] * element_matrix(c).ravel() * mesh.grid.voxel_mm
    size = 3 * len(mesh.points)
    matrix = sparse.coo_matrix((values.ravel(), (rows, columns)), shape=(size, size)).tocsc()
    matrix = matrix + sparse.diags(model.springs)
    factor = splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    return np.asarray(factor.solve(forces))


def centre_strain(model: Model, displacement: FloatArray) -> FloatArray:
    """Strain six-vectors (E, 6) at element centres, from mean displacements of opposite faces."""
    corner = displacement.reshape(-1, 3)[model.mesh.nodes]
    sides = np.array(_FUNCTIONS[:8])
    slope = np.empty((len(corner), 3, 3))
    for axis in range(3):
        far = corner[:, sides[:, axis] == 1].mean(axis=1)
        near = corner[:, sides[:, axis] == 0].mean(axis=1)
        slope[:, :, axis] = (far - near) / model.mesh.grid.voxel_mm
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    return np.stack([slope[:, a, b] if a == b else slope[:, a, b] + slope[:, b, a] for a, b in pairs], axis=1)
