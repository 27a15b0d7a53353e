"""The one finite element of this stage: a cube with eight corners and incompatible bending modes.

Corner ``c`` sits at (c & 1, (c >> 1) & 1, c >> 2); degree of freedom ``3 c + a`` moves corner c along axis a.
Strains and stresses are six-vectors in the order xx, yy, zz, yz, xz, xy with engineering shear strains.

A plain trilinear cube bends too stiffly, by a third and more when a wall is only one or two elements thick,
which is how thin contact faces look on an affordable grid. The incompatible modes of Wilson and Taylor cure
that; on cubes they pass the patch test exactly (Zienkiewicz and Taylor, The Finite Element Method, vol. 1,
chapter on incompatible elements).
"""

from __future__ import annotations

import numpy as np

from implantflow.geometry import FloatArray

#: Order of the six strain components as index pairs.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

#: Corner positions in units of the edge, (8, 3).
CORNERS = np.array([[c & 1, (c >> 1) & 1, c >> 2] for c in range(8)], dtype=np.float64)


def isotropic(modulus: float, poisson: float) -> FloatArray:
    """Elasticity matrix (6, 6) of an isotropic material, in the unit of ``modulus``."""
    first = modulus * poisson / ((1.0 + poisson) * (1.0 - 2.0 * poisson))
    shear = modulus / (2.0 * (1.0 + poisson))
    c = np.zeros((6, 6))
    c[:3, :3] = first
    c[np.arange(6), np.arange(6)] += [2 * shear, 2 * shear, 2 * shear, shear, shear, shear]
    return c


def _strain_matrix(gradients: FloatArray) -> FloatArray:
    """(6, 3 n) strain-displacement matrix of n functions with ``gradients`` (n, 3)."""
    b = np.zeros((6, 3 * len(gradients)))
    for n, (gx, gy, gz) in enumerate(gradients):
        b[0, 3 * n] = b[5, 3 * n + 1] = b[4, 3 * n + 2] = gx
        b[1, 3 * n + 1] = b[5, 3 * n] = b[3, 3 * n + 2] = gy
        b[2, 3 * n + 2] = b[3, 3 * n + 1] = b[4, 3 * n] = gz
    return b


def _corner_gradients(point: FloatArray) -> FloatArray:
    """(8, 3) gradients of the corner functions at ``point`` in [0, 1]^3 of the unit cube."""
    factors = np.where(CORNERS > 0.5, point, 1.0 - point)
    slopes = np.where(CORNERS > 0.5, 1.0, -1.0)
    gradients = np.empty((8, 3))
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        gradients[:, axis] = slopes[:, axis] * factors[:, others[0]] * factors[:, others[1]]
    return gradients


def centre_strain_matrix() -> FloatArray:
    """(6, 24) matrix B: strain at the centre of the unit cube from its corner displacements.

    For a cube of edge h divide by h. The incompatible modes have no slope at the centre, so the corners alone
    give the strain there.
    """
    return _strain_matrix(_corner_gradients(np.full(3, 0.5)))


def stiffness(c: FloatArray) -> FloatArray:
    """Stiffness matrix (24, 24) of the unit cube with elasticity ``c`` (6, 6); times h for a cube of edge h."""
    place = 0.5 / np.sqrt(3.0)
    points = np.array([[0.5 + (2 * s - 1) * place for s in corner] for corner in CORNERS])
    kuu, kua, kaa = np.zeros((24, 24)), np.zeros((24, 9)), np.zeros((9, 9))
    for point in points:
        b = _strain_matrix(_corner_gradients(point))
        # Modes 1 - (2 x - 1)^2 along each axis: their gradient is -4 (2 x - 1).
        m = _strain_matrix(np.diag(-4.0 * (2.0 * point - 1.0)))
        kuu += b.T @ c @ b / 8.0
        kua += b.T @ c @ m / 8.0
        kaa += m.T @ c @ m / 8.0
    condensed = kuu - kua @ np.linalg.solve(kaa, kua.T)
    return np.asarray(0.5 * (condensed + condensed.T))


def von_mises(stress: FloatArray) -> FloatArray:
    """Von Mises stress (N,) of stress six-vectors (N, 6)."""
    s = np.asarray(stress, dtype=np.float64)
    xx, yy, zz, yz, xz, xy = s.T
    normal = (xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2
    return np.asarray(np.sqrt(0.5 * normal + 3.0 * (yz**2 + xz**2 + xy**2)))


def von_mises_form() -> FloatArray:
    """(6, 6) matrix V with von Mises squared = s' V s for a stress six-vector s."""
    v = np.zeros((6, 6))
    v[:3, :3] = 1.5 * np.eye(3) - 0.5
    v[3:, 3:] = 3.0 * np.eye(3)
    return v
