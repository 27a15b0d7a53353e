"""Matrix-free conjugate gradients on a voxel mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import ImplantflowError
from implantflow.geometry import FloatArray
from implantflow.strength import element
from implantflow.strength.mesh import Mesh


class SolverError(ImplantflowError):
    """The equations could not be solved to the tolerance asked for."""


Precondition = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Model:
    """A mesh with its materials.

    Attributes
    ----------
    mesh : Mesh
    elasticity : list of (6, 6) arrays
        One per material, MPa (N/mm2), in the mesh's frame.
    scales : (M, E) array
        Share of each material's stiffness in each element; several materials in one element act in parallel.
    springs : (3 N,) array
        Stiffness to ground of each degree of freedom, N/mm.
    fixed : (3 N,) bool array
        Degrees of freedom whose displacement is given.
    """

    mesh: Mesh
    elasticity: list[FloatArray]
    scales: FloatArray
    springs: FloatArray
    fixed: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        mesh: Mesh,
        elasticity: list[FloatArray],
        scales: FloatArray,
        springs: FloatArray | None = None,
        fixed: NDArray[np.bool_] | None = None,
    ) -> Model:
        """Fill what is not given with zeros; checks the shapes."""
        n = 3 * len(mesh.points)
        scales = np.ascontiguousarray(scales, dtype=np.float64)
        if scales.shape != (len(elasticity), len(mesh.voxels)):
            raise ValueError(
                f"scales {scales.shape} do not fit {len(elasticity)} materials, {len(mesh.voxels)}"
            )
        springs = np.zeros(n) if springs is None else np.ascontiguousarray(springs, dtype=np.float64)
        fixed = np.zeros(n, dtype=bool) if fixed is None else np.asarray(fixed, dtype=bool)
        return cls(mesh, elasticity, scales, springs, fixed)

    def matrices(self) -> FloatArray:
        """(M, 24, 24) element matrices for this voxel size, N/mm."""
        return np.ascontiguousarray([element.stiffness(c) for c in self.elasticity]) * self.mesh.grid.voxel_mm

    def apply(self, u: FloatArray) -> FloatArray:
        """Nodal forces (3 N,) in N, springs included, for displacements (3 N,) in mm."""
        from implantflow.strength import kernels

        y = self.springs * u
        kernels.add_stiffness(u, y, self.mesh.nodes, self.mesh.slab_start, self.scales, self.matrices())
        return y

    def strain(self, u: FloatArray) -> FloatArray:
        """Strain six-vectors (E, 6) at the element centres, mesh frame."""
        b = element.centre_strain_matrix() / self.mesh.grid.voxel_mm
        corner = u.reshape(-1, 3)[self.mesh.nodes].reshape(-1, 24)
        return np.asarray(corner @ b.T)


@dataclass(frozen=True)
class Solution:
    """Displacements (3 N,) in mm, iterations taken, and the relative residual |f - K u| / |f| recomputed."""

    displacement: FloatArray
    iterations: int
    residual: float


def solve(
    model: Model,
    force: FloatArray,
    *,
    given: FloatArray | None = None,
    precondition: Precondition | None = None,
    tolerance: float = 1e-7,
    max_iterations: int = 20000,
) -> Solution:
    """Displacements in equilibrium with ``force``.

    Parameters
    ----------
    force : (3 N,) array, N
    given : (3 N,) array, mm
        Displacements; those at ``model.fixed`` are kept, the others are the starting guess. Zeros when absent.
    precondition : callable, optional
        Symmetric approximate inverse of the stiffness; its diagonal's when absent.
    tolerance : float
        Stop when the preconditioned residual has fallen to this share of the load's.

    Raises
    ------
    SolverError
        Not converged in ``max_iterations``: usually a part that nothing holds.
    """
    from implantflow.strength import kernels

    matrices = model.matrices()
    mesh, scales, springs = model.mesh, model.scales, model.springs

    def product(u: FloatArray) -> FloatArray:
        y = springs * u
        kernels.add_stiffness(u, y, mesh.nodes, mesh.slab_start, scales, matrices)
        return y

    diagonal = springs.copy()
    kernels.assemble_diagonal(diagonal, mesh.nodes, scales, matrices)
    free = ~model.fixed & (diagonal > 0)
    inverse = np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=free)
    improve = precondition or (lambda r: inverse * r)
    x = np.zeros_like(force) if given is None else np.array(given, dtype=np.float64)
    load = np.asarray(force, dtype=np.float64) - product(np.where(model.fixed, x, 0.0))
    target = tolerance**2 * kernels.dot(load, improve(load))
    r = force - product(x)
    z = improve(r)
    p, kp = z.copy(), np.empty_like(z)
    rz = kernels.dot(r, z)
    iterations, beta = 0, 0.0
    while rz > target:
        if iterations == max_iterations:
            raise SolverError(
                f"the finite-element equations did not converge in {max_iterations} iterations",
                fix="check that every part of the implant is held by a support face",
            )
        kernels.turn(p, kp, z, springs, beta)
        kernels.add_stiffness(p, kp, mesh.nodes, mesh.slab_start, scales, matrices)
        kernels.step(x, r, p, kp, rz / kernels.dot(p, kp))
        z = improve(r)
        new = kernels.dot(r, z)
        rz, beta = new, new / rz
        iterations += 1
    rest = np.where(free, force - product(x), 0.0)
    scale = float(np.sqrt(kernels.dot(np.where(free, load, 0.0), np.where(free, load, 0.0))))
    residual = float(np.sqrt(kernels.dot(rest, rest))) / scale if scale > 0 else 0.0
    return Solution(x, iterations, residual)
