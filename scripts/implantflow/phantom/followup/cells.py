"""Lattice cells by this simulator's own formulas, as periodic tables of signed distance.

The implant's field names the cell, its edge and the strut; the shapes are written down here a second time, so that a
mistake in the project's own evaluator cannot hide in the scans that are meant to find it.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel
from implantflow.errors import InputError
from implantflow.geometry import FloatArray

Float32Array = NDArray[np.float32]

#: Nodes along the edge of a cell: 0.04 mm in a cell of 2.5 mm, well below the box grid.
_NODES = 64


def cell_table(cell: str, cell_mm: float, strut_mm: float) -> Float32Array:
    """Signed distance (N, N, N) in mm, axes (z, y, x), at the nodes ``n / N`` of one cell; negative inside metal.

    Raises
    ------
    InputError
        A cell that this simulator does not know.
    """
    if cell == "diamond":
        return _diamond(cell_mm) - np.float32(strut_mm / 2)
    if cell == "gyroid":
        return _gyroid(cell_mm, strut_mm)
    raise InputError(
        f"the follow-up simulator does not know the lattice cell {cell!r}",
        where="lattice/field.json",
        fix="use diamond or gyroid, or add the cell to phantom/followup/cells.py",
    )


def calibrated_shift_mm(table_mm: Float32Array, cell_mm: float, box_mm: float) -> float:
    """What to add to the distances so that a box grid's mean coverage is the true metal fraction.

    A voxel covered by ``clip(0.5 - d / h)`` sees a little too much of a thin round strut: +23 HU in a lattice scanned
    at 0.2 mm if left alone.
    """
    wanted = _fraction(table_mm, cell_mm / len(table_mm))
    low, high = -0.5 * box_mm, 0.5 * box_mm
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _fraction(table_mm + middle, box_mm) > wanted else (low, middle)
    return 0.5 * (low + high)


def metal_fraction(table_mm: Float32Array, cell_mm: float) -> float:
    """Share of the cell that is metal."""
    return _fraction(table_mm, cell_mm / len(table_mm))


def _fraction(distance_mm: NDArray[np.floating], width_mm: float) -> float:
    return float(np.clip(0.5 - distance_mm / width_mm, 0.0, 1.0).mean(dtype=np.float64))


def _diamond(cell_mm: float) -> Float32Array:
    """Distance to the bonds of the diamond crystal: each atom of the face-centred lattice has four neighbours."""
    atoms = [np.array(a) for a in ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))]
    bonds = [0.25 * np.array(b) for b in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    rods = []
    for atom, bond, shift in itertools.product(atoms, bonds, itertools.product((-1, 0, 1), repeat=3)):
        start = atom + np.array(shift)
        ends = np.array([start, start + bond])
        # The nearest bond is never further away than half the cell's edge.
        if (ends.max(0) > -0.3).all() and (ends.min(0) < 1.3).all():
            rods.append(np.concatenate([start, bond]))
    out = np.empty((_NODES,) * 3, np.float32)
    _nearest_rod(np.array(rods), out)
    return out * np.float32(cell_mm)


@kernel
def _nearest_rod(rods: FloatArray, out: Float32Array) -> None:
    """Distance of every node of the unit cell to the nearest rod (start, direction)."""
    n = out.shape[0]
    for k in range(n):
        for j in range(n):
            for i in range(n):
                best = 1e9
                for m in range(rods.shape[0]):
                    x, y, z = i / n - rods[m, 0], j / n - rods[m, 1], k / n - rods[m, 2]
                    u, v, w = rods[m, 3], rods[m, 4], rods[m, 5]
                    part = min(max((x * u + y * v + z * w) / (u * u + v * v + w * w), 0.0), 1.0)
                    best = min(best, (x - part * u) ** 2 + (y - part * v) ** 2 + (z - part * w) ** 2)
                out[k, j, i] = math.sqrt(best)


def _gyroid(cell_mm: float, strut_mm: float) -> Float32Array:
    """First-order distance to the skeletal gyroid whose thinnest place holds a ball of ``strut_mm``."""
    turn = 2.0 * np.pi / cell_mm
    # The thinnest place of a strut is the saddle of the surface function between two of its knots.
    saddle = np.array([0.0, 0.25, 0.125]) * cell_mm
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 121), np.linspace(0, 2 * np.pi, 240), indexing="ij")
    ball = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1
    )
    level = float(_gyroid_function(turn * (saddle + 0.5 * strut_mm * ball))[0].min())
    line = np.arange(_NODES) * cell_mm / _NODES
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    value, slope = _gyroid_function(turn * np.stack([x, y, z], axis=-1))
    return np.asarray((level - value) / (turn * np.maximum(slope, 0.4)), dtype=np.float32)


def _gyroid_function(angles: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Value and slope of ``sin x cos y + sin y cos z + sin z cos x`` at (..., 3) angles."""
    sine, cosine = np.sin(angles), np.cos(angles)
    value = (sine * np.roll(cosine, -1, axis=-1)).sum(-1)
    gradient = cosine * np.roll(cosine, -1, axis=-1) - sine * np.roll(sine, 1, axis=-1)
    return value, np.asarray(np.linalg.norm(gradient, axis=-1))
