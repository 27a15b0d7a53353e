"""A periodic cell solved by CalculiX: opposite faces tied by equations, stiffness from the energy it prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from implantflow.strength import calculix
from implantflow.strength.mesh import Grid, build_mesh
from implantflow.strength.solver import Model

#: Strains whose energies give the three constants of a cubic cell: xx, xx and yy together, yz.
STRAINS = (((0, 0),), ((0, 0), (1, 1)), ((1, 2),))


def cubic_constants(
    share: np.ndarray, metal: np.ndarray, folder: Path, solver: str = "SPOOLES", empty: float = 1e-3
) -> tuple[float, float, float]:
    """C11, C12, C44 of a cell with metal ``share`` (n, n, n), taken as cubic, in the unit of ``metal``."""
    n = len(share)
    grid = Grid(np.zeros(3), 1.0 / n, share.shape)
    mesh = build_mesh(grid, share > empty)
    model = Model.of(mesh, [metal], mesh.pick(share)[None])
    count = len(mesh.points)
    with (folder / "cell.inp").open("w") as out:
        out.writelines(calculix.nodes(model))
        out.write("*NODE, NSET=STRAIN\n" + "".join(f"{count + b},0,0,0\n" for b in (1, 2, 3)))
        solids = calculix.solids(model)
        out.writelines(solids)
        sets = [line.split("ELSET=")[1].strip() for line in solids if line.startswith("*ELEMENT")]
        out.write("*ELSET, ELSET=ALL\n" + "\n".join(sets) + "\n")
        out.writelines(_ties(mesh.points, n, count))
        out.write("*BOUNDARY\n1,1,3\n")
        for strain in STRAINS:
            out.write(f"*STEP\n*STATIC, SOLVER={solver}\n*BOUNDARY, OP=NEW\n1,1,3\n")
            gradient = np.zeros((3, 3))
            for i, j in strain:
                gradient[i, j] += 0.5
                gradient[j, i] += 0.5
            given = [(count + 1 + b, a + 1, gradient[a, b]) for b in range(3) for a in range(3)]
            out.writelines(f"{node},{axis},{axis},{value:.3f}\n" for node, axis, value in given)
            out.write("*EL PRINT, ELSET=ALL, TOTALS=ONLY\nELSE\n*END STEP\n")
    calculix.run(folder / "cell.inp")
    first, both, shear = calculix.read_dat(folder / "cell.dat")["total", "ALL"][:, 0]
    c11 = 2.0 * first
    return float(c11), float(both - c11), float(2.0 * shear)


def _ties(points: np.ndarray, n: int, count: int) -> list[str]:
    """Equations: a corner moves like its image, plus the overall strain times the distance between them."""
    index = np.rint(points * n).astype(int)
    seen: dict[tuple[int, ...], int] = {}
    lines = []
    for node, place in enumerate(index):
        image = tuple((place % n).tolist())
        master = seen.setdefault(image, node)
        if master == node:
            continue
        span = (place - index[master]) // n
        for a in (1, 2, 3):
            terms = [(node + 1, a, 1.0), (master + 1, a, -1.0)]
            terms += [(count + 1 + b, a, -float(span[b])) for b in range(3) if span[b]]
            written = [f"{t[0]},{t[1]},{t[2]}" for t in terms]
            rows = [",".join(written[k : k + 4]) for k in range(0, len(written), 4)]
            lines.append(f"*EQUATION\n{len(terms)}\n" + "\n".join(rows) + "\n")
    return lines
