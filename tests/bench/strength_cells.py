"""The homogenised modulus of every cell against CalculiX: ``python -m tests.bench.strength_cells``.

Two comparisons per cell. "Same voxels": CalculiX solves the very voxels of one of our levels, so only elements,
periodic ties and solver differ. "Own voxels": CalculiX alone, on voxels that are either metal or empty, carried on
to voxels of size zero through two levels; compared with the modulus we state and its error bar.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "strength"))

from calculix_cell import cubic_constants

from implantflow.field.cells import CELLS, occupancy
from implantflow.strength import element, homogenise

CELL_MM, STRUT_MM = 2.5, 0.67
METAL = element.isotropic(112.0, 0.34)

#: Levels of CalculiX's own voxels; the share of each is thresholded so that the density stays that of the cell.
OWN = (24, 48)
SAME = 32
FINEST = 64


def black_and_white(share: np.ndarray) -> np.ndarray:
    """The fullest voxels as metal, as many as keep the cell's density."""
    count = round(float(share.sum()))
    order = np.argsort(-share.ravel(), kind="stable")
    out = np.zeros(share.size)
    out[order[:count]] = 1.0
    return out.reshape(share.shape)


def modulus(constants: tuple[float, float, float]) -> float:
    """Young's modulus along an axis of a cubic cell."""
    c11, c12, _ = constants
    return (c11 - c12) * (c11 + 2 * c12) / (c11 + c12)


def row(cell: str, strut_mm: float) -> str:
    """One line of the table."""

    def share(n: int) -> np.ndarray:
        return np.asarray(occupancy(cell, CELL_MM, strut_mm, n))

    def calculix(voxels: np.ndarray, solver: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return modulus(cubic_constants(voxels, METAL, Path(folder), solver))

    tensor, _, study = homogenise.converge(share, METAL, FINEST)
    stated = homogenise.engineering_constants(tensor)["e_z"]
    same = homogenise.engineering_constants(homogenise.homogenise(share(SAME), METAL).elasticity)["e_z"]
    theirs = calculix(share(SAME), "SPOOLES")
    coarse, fine = (calculix(black_and_white(share(n)), "ITERATIVE CHOLESKY") for n in OWN)
    own = 2.0 * fine - coarse
    return (
        f"| {cell} {CELL_MM}/{strut_mm} | {100 * share(FINEST).mean():.1f} % | {stated:.3f} ± {study['error_pct']:.1f} % "
        f"| {same:.4f} | {theirs:.4f} | {100 * (same / theirs - 1):+.2f} % "
        f"| {coarse:.3f} | {fine:.3f} | {own:.3f} | {100 * (stated / own - 1):+.1f} % |"
    )


def main() -> None:
    """Print the table."""
    print(
        f"| cell | metal | stated E (GPa) | ours, {SAME} voxels | CalculiX, same voxels | difference "
        f"| CalculiX alone, {OWN[0]} | {OWN[1]} | carried on | stated against it |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for cell in CELLS:
        started = time.process_time()
        print(row(cell, STRUT_MM), flush=True)
        print(f"{cell}: {time.process_time() - started:.0f} CPU-s of ours", file=sys.stderr)


if __name__ == "__main__":
    main()
