"""Effective elasticity of one periodic cell, and what its metal feels under a given overall strain.

Six overall strains are imposed on the cell with periodic fluctuations (first-order periodic homogenisation).
Where the voxels show that the cell looks the same after
x -> y -> z -> x, two of the six solutions give the other four exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.strength import element
from implantflow.strength.element import CORNERS, VOIGT
from implantflow.strength.mesh import Grid, Mesh, build_mesh
from implantflow.strength.solver import Model, solve

#: Elements whose metal share is below this carry next to nothing and are left out.
EMPTY_FRACTION = 1e-3


@dataclass(frozen=True)
class UnitCell:
    """A cell's answer to the six unit strains.

    Attributes
    ----------
    elasticity : (6, 6) array
        Effective elasticity in the unit of the metal's, cell axes.
    relative_density : float
    fraction : (E,) array
        Metal share of each element.
    localisation : (E, 6, 6) array
        Strain at an element's centre = localisation @ overall strain.
    iterations : int
        Largest number of solver iterations of one strain.
    """

    elasticity: FloatArray
    relative_density: float
    fraction: FloatArray
    localisation: FloatArray
    iterations: int


def homogenise(
    occupancy: FloatArray, metal: FloatArray, *, tolerance: float = 1e-5, filler: float = 0.0
) -> UnitCell:
    """Effective elasticity of a periodic cell.

    Parameters
    ----------
    occupancy : (n, n, n) array
        Metal share of each voxel of one cell, 0 to 1; (K, J, I) order, even sides.
    metal : (6, 6) array
        Elasticity of the metal.
    tolerance : float
        Of the solver; the tensor's error is about its square.
    filler : float
        Stiffness of the void as a share of the metal's (0 for pores; used for laminates of two materials).

    Raises
    ------
    GeometryError
        The cell is empty or has an odd side.
    """
    density = np.asarray(occupancy, dtype=np.float64)
    share = filler + (1.0 - filler) * density
    grid = Grid(np.zeros(3), 1.0 / density.shape[0], density.shape)  # type: ignore[arg-type]
    mesh = build_mesh(grid, share > EMPTY_FRACTION, periodic=True)
    model = Model.of(mesh, [metal], mesh.pick(share)[None])
    cyclic = _is_cyclic(density)
    affine = _affine_corners(mesh)
    answers: dict[int, FloatArray] = {}
    iterations = 0
    for case in [0, 3] if cyclic else range(6):
        fluctuation, count = _fluctuation(model, affine[case], tolerance)
        iterations = max(iterations, count)
        answers[case] = fluctuation
    if cyclic:
        _turn_answers(mesh, answers)
    corner = np.stack([affine[c][None] + answers[c][mesh.nodes].reshape(-1, 24) for c in range(6)])
    stiffness = model.matrices()[0]
    scale = model.scales[0]
    forces = corner @ stiffness
    cell_volume = float(np.prod(density.shape)) * grid.voxel_mm**3
    tensor = np.einsum("e,aei,bei->ab", scale, corner, forces, optimize=True) / cell_volume
    b = element.centre_strain_matrix() / grid.voxel_mm
    localisation = np.einsum("si,aei->esa", b, corner, optimize=True)
    return UnitCell(
        0.5 * (tensor + tensor.T),
        float(density.mean()),
        mesh.pick(density),
        localisation,
        iterations,
    )


def _is_cyclic(density: FloatArray) -> bool:
    """Whether the cell is unchanged when x becomes y, y becomes z and z becomes x."""
    if len(set(density.shape)) != 1:
        return False
    return bool(np.allclose(density, density.transpose(1, 2, 0), rtol=0, atol=1e-9))


def _affine_corners(mesh: Mesh) -> FloatArray:
    """(6, 24) corner displacements of one element under each unit strain."""
    out = np.zeros((6, 24))
    for case, (i, j) in enumerate(VOIGT):
        gradient = np.zeros((3, 3))
        gradient[i, j] += 0.5
        gradient[j, i] += 0.5
        out[case] = (mesh.grid.voxel_mm * CORNERS @ gradient).ravel()
    return out


def _fluctuation(model: Model, affine: FloatArray, tolerance: float) -> tuple[FloatArray, int]:
    """Periodic fluctuation (N, 3) that brings the cell into equilibrium under one overall strain."""
    push = model.matrices()[0] @ affine
    force = np.zeros((len(model.mesh.points), 3))
    for c in range(8):
        part = model.scales[0][:, None] * push[3 * c : 3 * c + 3]
        for a in range(3):
            force[:, a] -= np.bincount(model.mesh.nodes[:, c], part[:, a], len(force))
    size = float(np.abs(force).max())
    if size <= 1e-12 * float(np.abs(push).max()):
        return np.zeros_like(force), 0
    answer = solve(model, force.ravel(), tolerance=tolerance)
    return answer.displacement.reshape(-1, 3), answer.iterations


def _turn_answers(mesh: Mesh, answers: dict[int, FloatArray]) -> None:
    """Fill the four missing answers by the cyclic exchange of axes.

    If u solves the xx strain, then moving every point (x, y, z) to (z, x, y) and its displacement with it
    solves the yy strain, and so on; yz goes to xz and then to xy.
    """
    side = mesh.grid.shape[0]
    index = np.rint(mesh.points / mesh.grid.voxel_mm).astype(np.int64)
    number = {key: n for n, key in enumerate((index @ [1, side, side * side]).tolist())}
    target = np.roll(index, 1, axis=1)
    to = np.array([number[key] for key in (target @ [1, side, side * side]).tolist()])
    for start, following in ((0, (1, 2)), (3, (4, 5))):
        current = answers[start]
        for case in following:
            turned = np.empty_like(current)
            turned[to] = np.roll(current, 1, axis=1)
            answers[case] = current = turned


def engineering_constants(elasticity: FloatArray) -> dict[str, float]:
    """Moduli along the axes and body diagonal, in the unit of ``elasticity``, and the anisotropy.

    ``zener`` is 2 C44 / (C11 - C12), averaged over the axes: 1 for an isotropic cell.
    """
    s = np.linalg.inv(elasticity)
    c = elasticity
    diagonal = modulus_along(elasticity, np.ones(3))
    c11, c12 = np.trace(c[:3, :3]) / 3, (c[0, 1] + c[0, 2] + c[1, 2]) / 3
    c44 = (c[3, 3] + c[4, 4] + c[5, 5]) / 3
    return {
        "e_x": 1 / s[0, 0],
        "e_y": 1 / s[1, 1],
        "e_z": 1 / s[2, 2],
        "e_diagonal": diagonal,
        "shear_yz": 1 / s[3, 3],
        "shear_xz": 1 / s[4, 4],
        "shear_xy": 1 / s[5, 5],
        "poisson_xy": -s[1, 0] / s[0, 0],
        "poisson_xz": -s[2, 0] / s[0, 0],
        "zener": 2 * c44 / (c11 - c12),
    }


def cubic_deviation(elasticity: FloatArray) -> float:
    """Distance of an elasticity matrix from its nearest cubic one (same axes), as a share of its own size.

    Zero for a cell whose three axes are alike and that couples no shear to anything else.
    """
    c = np.asarray(elasticity)
    cubic = np.zeros((6, 6))
    cubic[:3, :3] = (c[0, 1] + c[0, 2] + c[1, 2]) / 3.0
    cubic[np.arange(3), np.arange(3)] = np.trace(c[:3, :3]) / 3.0
    cubic[np.arange(3, 6), np.arange(3, 6)] = np.trace(c[3:, 3:]) / 3.0
    return float(np.linalg.norm(c - cubic) / np.linalg.norm(c))


def modulus_along(elasticity: FloatArray, direction: FloatArray) -> float:
    """Young's modulus in ``direction`` (3,)."""
    d = np.asarray(direction, dtype=np.float64)
    d = d / np.linalg.norm(d)
    stress = np.array([d[i] * d[j] for i, j in VOIGT])
    return float(1.0 / (stress @ np.linalg.inv(elasticity) @ stress))


def converge(
    occupancy: Callable[[int], FloatArray], metal: FloatArray, finest: int
) -> tuple[FloatArray, UnitCell, dict[str, Any]]:
    """Effective elasticity carried on to voxels of size zero, with an error bar.

    A voxel that the metal fills only in part is as stiff as its share says when layers lie along the load, and
    softer otherwise: taking the share itself errs high, its square errs low, both by an amount that shrinks with
    the voxel. Both are computed at a quarter, a half and all of ``finest`` and each is carried on by the
    parabola through its three levels; the mean is the result, and their distance is part of its error. So is the
    distance to a third rule, which knows no partly filled voxels: as much metal in voxels that are full or empty, at
    half of ``finest``.

    Parameters
    ----------
    occupancy : callable
        Metal shares (n, n, n) of one cell for n voxels a side.
    metal : (6, 6) array
    finest : int
        Voxels a side at the finest level, a multiple of 32.

    Returns
    -------
    elasticity : (6, 6) array
        In the unit of ``metal``.
    cell : UnitCell
        Finest level, share itself: for strains inside the cell.
    study : dict
        ``levels`` with moduli of both rules, ``e_z_full_or_empty``, and ``error_pct``: the largest of half the
        distance of the two rules, the distance to the straight line through the last two levels, and that to the
        third rule, in per cent of the modulus.
    """
    tensors: list[list[FloatArray]] = []
    levels: list[dict[str, Any]] = []
    cell: UnitCell | None = None
    crude = _full_or_empty(occupancy(finest // 2), metal)
    for n in (finest // 4, finest // 2, finest):
        share = occupancy(n)
        soft = homogenise(share**2, metal)
        cell = homogenise(share, metal)
        tensors.append([cell.elasticity, soft.elasticity])
        levels.append(
            {
                "voxels": n,
                "relative_density": cell.relative_density,
                "e_z_upper": engineering_constants(cell.elasticity)["e_z"],
                "e_z_lower": engineering_constants(soft.elasticity)["e_z"],
            }
        )
    assert cell is not None
    coarse, middle, fine = (np.stack(pair) for pair in tensors)
    parabola = coarse / 3.0 - 2.0 * middle + 8.0 * fine / 3.0
    line = 2.0 * fine - middle
    result = parabola.mean(axis=0)
    if np.linalg.eigvalsh(result)[0] <= 0:
        raise GeometryError(
            "the cell has no stiffness in some direction at this resolution",
            where="strength.cell_voxels, lattice.strut_mm",
            fix="use more voxels a cell or a thicker strut",
        )
    spread = _moduli(parabola[0]) - _moduli(parabola[1])
    bend = _moduli(line.mean(axis=0)) - _moduli(result)
    other = _moduli(crude) - _moduli(result)
    error = np.max([np.abs(spread) / 2.0, np.abs(bend), np.abs(other)], axis=0) / _moduli(result)
    study = {
        "levels": levels,
        "e_z_full_or_empty": engineering_constants(crude)["e_z"],
        "error_pct": 100.0 * float(error.max()),
    }
    return result, cell, study


def _full_or_empty(share: FloatArray, metal: FloatArray) -> FloatArray:
    """Elasticity of the cell on voxels that are full or empty, at the metal share of ``share``.

    Voxels that are alike by symmetry are filled together, so the share is met between two fillings, one with too
    little metal and one with too much.
    """
    full = min(round(float(share.sum())), share.size - 1)
    least = np.partition(share.ravel(), share.size - full)[share.size - full]
    # Shares that are the same by symmetry differ by rounding.
    less, more = share > least + 1e-9, share >= least - 1e-9
    if not less.any():
        return homogenise(more.astype(np.float64), metal).elasticity
    weight = (full - less.sum()) / (more.sum() - less.sum())
    sides = [homogenise(filled.astype(np.float64), metal).elasticity for filled in (less, more)]
    return np.asarray((1.0 - weight) * sides[0] + weight * sides[1])


def _moduli(elasticity: FloatArray) -> FloatArray:
    constants = engineering_constants(elasticity)
    return np.array([constants["e_z"], constants["shear_xy"]])


def density_samples(
    occupancy: Callable[[float], FloatArray],
    metal: FloatArray,
    struts_mm: list[float],
    more: Callable[[UnitCell], dict[str, float]] = lambda _: {},
) -> list[dict[str, float]]:
    """Modulus against density over a few strut sizes.

    Parameters
    ----------
    occupancy : callable
        Metal shares of the cell for a strut size in mm.
    more : callable
        Further figures of each cell.

    Returns
    -------
    samples : list of dict
        Strut, relative density, relative modulus with the half distance of the two mixing rules. Their mean at one
        resolution serves to scale stiffness with density, not to state it.
    """
    modulus = 1.0 / float(np.linalg.inv(metal)[2, 2])
    samples = []
    for strut in struts_mm:
        share = occupancy(strut)
        cells = [homogenise(share**power, metal) for power in (1, 2)]
        upper, lower = (_moduli(cell.elasticity)[0] / modulus for cell in cells)
        samples.append(
            {
                "strut_mm": strut,
                "relative_density": float(share.mean()),
                "relative_modulus": 0.5 * (upper + lower),
                "half_range": 0.5 * (upper - lower),
                **more(cells[0]),
            }
        )
    return samples


def density_law(samples: list[dict[str, float]]) -> tuple[float, float]:
    """C and n of E / E_metal = C * relative density ** n (Gibson and Ashby), fitted on logarithms."""
    x = np.log([s["relative_density"] for s in samples])
    y = np.log([s["relative_modulus"] for s in samples])
    n, offset = np.polyfit(x, y, 1)
    return float(np.exp(offset)), float(n)
