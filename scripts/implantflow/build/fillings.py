"""Filling lines of the lattice's whole islands, made once for every curve and every place on the scan lines' grid.

Scan lines lie at whole multiples of their pitch from the plate's corner, and tiles at whole multiples of the cell:
a tile's place among the lines repeats after a few tiles, so an island's lines are known beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.build.stamps import Stamps
from implantflow.geometry import FloatArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Fillings:
    """Lines of every closed curve of the stamps.

    Attributes
    ----------
    turns : after so many tiles the lines repeat.
    starts (L * turns + 1,), lines (N, 4) : lines of curve s in tile t are block s * turns + t % turns, where t is
        the tile's row or column, whichever counts across the lines; units, relative to the tile.
    length_units : (L * turns,) their length.
    curve_figures : (L, 3) area (units^2), length (units) and points of each curve.
    """

    turns: int
    starts: IntArray
    lines: IntArray
    length_units: FloatArray
    curve_figures: FloatArray


def islands_only(stamps: Stamps) -> NDArray[np.bool_]:
    """(phases,) phases without endless curves and without holes: every closed curve is an island by itself."""
    flags = np.asarray(np.diff(stamps.line_phase) == 0)
    for phase in range(stamps.phases):
        for s in range(stamps.loop_phase[phase], stamps.loop_phase[phase + 1]):
            x, y = (
                c[stamps.loop_start[s] : stamps.loop_start[s + 1]] for c in (stamps.loop_x, stamps.loop_y)
            )
            flags[phase] &= bool((np.roll(x, 1) * y - x * np.roll(y, 1)).sum() > 0)
    return flags


def make_fillings(stamps: Stamps, pitch_units: int, shortest_units: int) -> Fillings:
    """Lines of every closed curve; odd phases are scanned along y, even ones along x, as the layers are."""
    from implantflow.build import hatch_kernels

    turns = pitch_units // math.gcd(pitch_units, stamps.cell_units)
    none, no_loops = np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    blocks: list[IntArray] = []
    lengths: list[float] = []
    figures = np.zeros((len(stamps.loop_start) - 1, 3))
    for phase in range(stamps.phases):
        vertical = phase % 2 == 1
        for s in range(stamps.loop_phase[phase], stamps.loop_phase[phase + 1]):
            x, y = (
                c[stamps.loop_start[s] : stamps.loop_start[s + 1]] for c in (stamps.loop_x, stamps.loop_y)
            )
            ends = np.array([0, len(x)], dtype=np.int64)
            figures[s] = *hatch_kernels.outline_figures(x, y, ends), len(x)
            for turn in range(turns):
                move = turn * stamps.cell_units * np.array([1, 0] if vertical else [0, 1])
                _, _, lines, length = hatch_kernels.hatch(
                    x + move[0],
                    y + move[1],
                    ends,
                    none,
                    none,
                    no_loops,
                    vertical,
                    pitch_units,
                    shortest_units,
                )
                blocks.append(lines - np.tile(move, 2))
                lengths.append(float(length))
    return Fillings(
        turns,
        np.cumsum([0, *(len(b) for b in blocks)]).astype(np.int64),
        np.concatenate(blocks) if blocks else np.empty((0, 4), dtype=np.int64),
        np.array(lengths),
        figures,
    )
