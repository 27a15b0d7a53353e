"""The homogenised modulus of every cell against CalculiX: ``python -m tests.bench.strength_cells``.

CalculiX solves the very voxels of one of our levels: elements, periodic ties and solver are its own. What the voxels
themselves cost is in the error bar of the modulus we state, which three levels give.
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

#: Voxels along the cell's edge: in the comparison, and at the finest level of what we state.
SAME = 24
FINEST = 64


def modulus(constants: tuple[float, float, float]) -> float:
    """Young's modulus along an axis of a cubic cell."""
    c11, c12, _ = constants
    return (c11 - c12) * (c11 + 2 * c12) / (c11 + c12)


def row(cell: str, strut_mm: float) -> str:
    """One line of the table."""

    def share(n: int) -> np.ndarray:
        return np.asarray(occupancy(cell, CELL_MM, strut_mm, n))

    ours = homogenise.homogenise(share(SAME), METAL).elasticity
    with tempfile.TemporaryDirectory() as folder:
        constants = cubic_constants(share(SAME), METAL, Path(folder), "ITERATIVE CHOLESKY")
    compared = (
        (homogenise.engineering_constants(ours)["e_z"], modulus(constants)),
        (ours[3, 3], constants[2]),
    )
    tensor, _, study = homogenise.converge(share, METAL, FINEST)
    stated = homogenise.engineering_constants(tensor)
    columns = [
        f"{cell} {CELL_MM}/{strut_mm}",
        f"{100 * share(FINEST).mean():.1f} %",
        *(text for a, b in compared for text in (f"{a:.3f}", f"{b:.3f}", f"{100 * (a / b - 1):+.2f} %")),
        f"{stated['e_z']:.2f} ± {study['error_pct']:.1f} %",
        f"{stated['zener']:.2f}",
        f"{100 * homogenise.cubic_deviation(tensor):.2g} %",
    ]
    return "| " + " | ".join(columns) + " |"


def main() -> None:
    """Print the table."""
    heads = ["cell", "metal", "E ours", "E CalculiX", "off", "C44 ours", "C44 CalculiX", "off"]
    heads += ["E stated (GPa)", "anisotropy", "off cubic"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for cell in CELLS:
        started = time.process_time()
        print(row(cell, STRUT_MM), flush=True)
        print(f"{cell}: {time.process_time() - started:.0f} CPU-s of ours", file=sys.stderr)


if __name__ == "__main__":
    main()
