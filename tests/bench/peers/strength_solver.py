"""An implant-like body of two materials on an elastic bed, one load case: by our solver or by CalculiX."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from implantflow.strength import calculix, element
from implantflow.strength.mesh import Grid, build_mesh
from implantflow.strength.multigrid import Multigrid
from implantflow.strength.solver import Model, solve

#: Voxels of 2 mm: the size of the body that ``hemisacrum`` of tests/bench/inputs.py describes.
SHAPE, VOXEL_MM = (55, 29, 30), 2.0


def body() -> tuple[Model, np.ndarray, np.ndarray]:
    """Half an ellipsoid with a dense core in a lattice a twentieth as stiff; loaded on top, held at its flat side."""
    k, j, i = np.indices(SHAPE)
    scaled = np.stack([(k + 0.5) / SHAPE[0] * 2 - 1, (j + 0.5) / SHAPE[1] * 2 - 1, (i + 0.5) / SHAPE[2]])
    inside = (scaled**2).sum(axis=0) < 1.0
    mesh = build_mesh(Grid(np.zeros(3), VOXEL_MM, SHAPE), inside)
    core = mesh.pick(((j - SHAPE[1] / 2) ** 2 + (i - 10) ** 2 < 9).astype(np.float64))
    metal, lattice = element.isotropic(112e3, 0.34), element.isotropic(5.9e3, 0.3)
    held = np.where(mesh.points[:, 0] < 1e-9, 50.0 * VOXEL_MM**2, 0.0)
    force = np.zeros((len(mesh.points), 3))
    top = mesh.points[:, 2] > mesh.points[:, 2].max() - 8.0
    force[top, 2] = -900.0 / top.sum()
    model = Model.of(mesh, [metal, lattice], np.stack([core, 1.0 - core]), np.repeat(held, 3))
    return model, force.ravel(), held


def main() -> None:
    """Solve by the named program."""
    model, force, held = body()
    if sys.argv[1] == "count":
        print(len(model.mesh.voxels))
    elif sys.argv[1] == "calculix":
        with tempfile.TemporaryDirectory() as folder:
            answer = calculix.solve(model, force, [("bed", held)], Path(folder))
        print(np.abs(answer.displacement).max())
    else:
        print(np.abs(solve(model, force, precondition=Multigrid(model)).displacement).max())


if __name__ == "__main__":
    main()
