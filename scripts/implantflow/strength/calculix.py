"""CalculiX as a second opinion: the same hexahedra, beds and loads written as its input, its answer read back.

``ccx`` (Debian package calculix-ccx) forms its own element matrices (C3D8I, incompatible modes) and solves with its
own solver; only mesh, material shares, loads and springs are ours.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import ImplantflowError
from implantflow.geometry import FloatArray
from implantflow.strength.mesh import Mesh
from implantflow.strength.solver import Model

#: CalculiX numbers the corners of a hexahedron around its faces.
_CORNERS = [0, 1, 3, 2, 4, 5, 7, 6]

#: Its order of strain components (xx, yy, zz, xy, xz, yz) in ours.
_COMPONENTS = [0, 1, 2, 5, 4, 3]

#: CalculiX keeps one material per stiffness and looks each up by name, so shares are rounded to steps of this
#: natural logarithm: at most 0.25 % off an element, in both directions alike.
_SHARE_STEP = 0.005

#: Springs are rounded to this share of the stiffest one.
_SPRING_STEP = 1.0 / 2000.0

#: For grids of any size. CalculiX stops its iterations at a residual of 1e-4 of the mean force and has no setting
#: for that, so this agrees to some tenths of a per cent; SPOOLES, a factorisation, to 1e-5 but on coarse grids only.
SOLVER = "ITERATIVE CHOLESKY"


class CalculixError(ImplantflowError):
    """CalculiX is missing or did not give an answer."""


@dataclass(frozen=True)
class Answer:
    """What CalculiX found.

    Attributes
    ----------
    displacement : (3 N,) array, mm
        In the order of our mesh's corners.
    reactions : dict of (3,) arrays, N
        Force of each bed on the part, as printed by CalculiX for the bed's ground.
    """

    displacement: FloatArray
    reactions: dict[str, FloatArray]


def program() -> str | None:
    """Path of ``ccx``, or None where it is not installed."""
    return shutil.which("ccx")


def solve(
    model: Model,
    force: FloatArray,
    beds: Sequence[tuple[str, FloatArray]],
    folder: Path,
    *,
    solver: str = SOLVER,
) -> Answer:
    """Write, run and read one static load case.

    Parameters
    ----------
    model : Model
        Its ``springs`` must be the sum of ``beds``; given displacements are not supported.
    force : (3 N,) array, N
    beds : sequence of (name, (N,) array)
        Springs of each support to ground, N/mm, the same along every axis.
    folder : Path
        Where the files go; must exist.
    solver : str
        CalculiX's name of it.

    Raises
    ------
    CalculixError
        CalculiX is not installed, failed, or its answer lacks nodes.
    """
    if model.fixed.any():
        raise CalculixError("this comparison takes elastic supports only")
    deck = folder / "implant.inp"
    with deck.open("w") as out:
        out.writelines(nodes(model))
        grounds = [len(model.mesh.points) + 1 + n for n in range(len(beds))]
        out.write("*NODE\n" + "".join(f"{ground},0,0,0\n" for ground in grounds))
        out.writelines(solids(model))
        first = 2 * len(model.mesh.voxels) + 1
        for (name, springs), ground in zip(beds, grounds, strict=True):
            lines, first = _springs(name, springs, ground, first)
            out.writelines(lines)
        out.write("*BOUNDARY\n" + "".join(f"{ground},1,3,0\n" for ground in grounds))
        out.write(f"*STEP\n*STATIC, SOLVER={solver}\n*CLOAD\n")
        out.writelines(_loads(force))
        out.write("*NODE PRINT, NSET=PART\nU\n")
        out.write("".join(f"*NODE PRINT, NSET=G_{name.upper()}\nRF\n" for name, _ in beds))
        out.write("*END STEP\n")
    run(deck)
    blocks = read_dat(deck.with_suffix(".dat"))
    moved = blocks.get(("displacements", "PART"))
    if moved is None or len(moved) != len(model.mesh.points):
        raise CalculixError("CalculiX did not print every displacement", where=str(deck.with_suffix(".dat")))
    reactions = {name: np.asarray(blocks["forces", f"G_{name.upper()}"][0, 1:]) for name, _ in beds}
    return Answer(np.ascontiguousarray(moved[:, 1:]).ravel(), reactions)


def run(deck: Path) -> None:
    """Run ``ccx`` on an input file, on one core: the order of its sums is then always the same.

    Raises
    ------
    CalculixError
        It is missing, or says that it failed.
    """
    command = program()
    if command is None:
        raise CalculixError(
            "CalculiX is not installed", where="ccx", fix="install the Debian package calculix-ccx"
        )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [command, "-i", deck.stem], cwd=deck.parent, env=environment, capture_output=True, text=True
    )
    failed = done.returncode != 0 or "*ERROR" in done.stdout or not deck.with_suffix(".dat").exists()
    if failed:
        said = [line for line in done.stdout.splitlines() if "*ERROR" in line][:3]
        raise CalculixError(
            f"CalculiX failed: {' '.join(said) or done.stderr.strip()[-300:] or done.returncode}",
            where=deck.name,
        )


def read_dat(path: Path) -> dict[tuple[str, str], FloatArray]:
    """Tables of a ``.dat`` file by quantity and set, each (rows, columns) with the number of the row first.

    A quantity printed more than once for a set (several steps) gets its rows appended.
    """
    found: dict[tuple[str, str], list[list[float]]] = {}
    current: list[list[float]] = []
    for line in path.read_text().splitlines():
        words = line.split()
        if not words:
            continue
        if "for set" in line:
            key = (words[0], words[words.index("set") + 1])
            current = found.setdefault(key, [])
        else:
            current.append([float(word) for word in words])
    return {key: np.array(rows) for key, rows in found.items()}


def nodes(model: Model) -> Iterable[str]:
    """Corners of the mesh as the set PART, numbered from 1."""
    yield "*NODE, NSET=PART\n"
    for number, (x, y, z) in enumerate(model.mesh.points, start=1):
        yield f"{number},{x:.9g},{y:.9g},{z:.9g}\n"


def solids(model: Model) -> list[str]:
    """Elements of every material, sorted into groups of one stiffness; two in one place act in parallel."""
    lines: list[str] = []
    for material, (c, scale) in enumerate(zip(model.elasticity, model.scales, strict=True)):
        rows = np.flatnonzero(scale > 0)
        steps = np.rint(np.log(scale[rows]) / _SHARE_STEP).astype(np.int64)
        for group, step in enumerate(np.unique(steps)):
            name = f"M{material}_{group}"
            chosen = rows[steps == step]
            lines += _solid_elements(model.mesh, chosen, name, material * len(model.mesh.voxels))
            lines += _solid_material(name, math.exp(step * _SHARE_STEP) * c)
    return lines


def _solid_elements(mesh: Mesh, rows: NDArray[np.int64], name: str, offset: int = 0) -> list[str]:
    """Hexahedra of the elements ``rows`` as the set ``name``, numbered from ``offset`` + 1."""
    lines = [f"*ELEMENT, TYPE=C3D8I, ELSET={name}\n"]
    for row, corners in zip(rows.tolist(), (mesh.nodes[rows][:, _CORNERS] + 1).tolist(), strict=True):
        lines.append(",".join(map(str, [offset + row + 1, *corners])) + "\n")
    return lines


def _solid_material(name: str, c: FloatArray) -> list[str]:
    """Anisotropic material ``c`` (6, 6), MPa, and the section that gives it to the set ``name``."""
    ours = c[np.ix_(_COMPONENTS, _COMPONENTS)]
    constants = [f"{ours[i, j]:.9g}" for j in range(6) for i in range(j + 1)]
    rows = [constants[:8], constants[8:16], [*constants[16:], "0."]]
    return [
        f"*MATERIAL, NAME={name}\n*ELASTIC, TYPE=ANISO\n",
        *(",".join(row) + "\n" for row in rows),
        f"*SOLID SECTION, ELSET={name}, MATERIAL={name}\n",
    ]


def _springs(name: str, springs: FloatArray, ground: int, first: int) -> tuple[list[str], int]:
    """Springs from the corners to one fixed node, which then shows the whole reaction."""
    lines = [f"*NSET, NSET=G_{name.upper()}\n{ground}\n"]
    unit = float(springs.max()) * _SPRING_STEP
    steps = np.rint(springs / unit).astype(np.int64)
    for step in np.unique(steps[steps > 0]):
        nodes = np.flatnonzero(steps == step) + 1
        for axis in (1, 2, 3):
            group = f"S_{name.upper()}_{step}_{axis}"
            lines.append(f"*ELEMENT, TYPE=SPRING2, ELSET={group}\n")
            lines += [f"{first + n},{node},{ground}\n" for n, node in enumerate(nodes.tolist())]
            lines.append(f"*SPRING, ELSET={group}\n{axis},{axis}\n{step * unit:.9e}\n")
            first += len(nodes)
    return lines, first


def _loads(force: FloatArray) -> Iterable[str]:
    nodal = force.reshape(-1, 3)
    for node, axis in zip(*np.nonzero(nodal), strict=True):
        yield f"{node + 1},{axis + 1},{nodal[node, axis]:.9g}\n"
