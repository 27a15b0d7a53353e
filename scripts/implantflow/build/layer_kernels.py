"""Compiled making of a whole layer of a periodic lattice in one call: outline, filling lines, words and figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.assemble_kernels import assemble
from implantflow.build.cli_kernels import pack_layer, whole_figures
from implantflow.build.hatch_kernels import hatch, outline_figures
from implantflow.build.outline_kernels import solid_outline
from implantflow.build.place_kernels import expand
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]


@kernel
def stamped_layer(
    mesh: tuple[FloatArray, Int32Array, Int32Array, Int32Array, IntArray],
    slot: Int32Array,
    index: int,
    z: float,
    z_units: int,
    unit: float,
    area2_min: int,
    cell: int,
    phase: int,
    loops: tuple[IntArray, IntArray, IntArray, IntArray],
    lines: tuple[IntArray, IntArray, IntArray, IntArray, IntArray],
    table: NDArray[np.float32],
    stays: bool,
    vertical: bool,
    pitch: int,
    shortest: int,
    turns: int,
    filling: tuple[IntArray, IntArray, FloatArray, FloatArray],
    labels: tuple[int, int, int],
) -> tuple[NDArray[np.uint16], FloatArray]:
    """Words of layer ``index`` and its figures (in units), of a solid that one phase of stamps fills.

    ``mesh``: vertices, faces, neighbours, triangles by layer and where each layer's begin (:func:`bucket_triangles`).
    ``loops``, ``lines``, ``table``: the stamps' curves and values. ``stays``: nothing but islands fills the layer.
    ``filling``: blocks, lines, their lengths and the curves' figures. ``labels``: of outlines, hatches and net.

    Returns
    -------
    no words where the layer needs care: contours that cross or stay open, crossings without order, nothing at all.
    figures : loops, points, area, outline length, length of the own net and of whole islands' one, lines, solid area.
    """
    vertices, faces, across, members, begin = mesh
    words, figures = np.empty(0, np.uint16), np.zeros(8)
    sx, sy, sstart, solid_area, broken, crosses = solid_outline(
        vertices, faces, across, members, begin[index], begin[index + 1], z, slot, unit, area2_min
    )
    if broken > 0 or crosses or sx.shape[0] == 0:
        return words, figures
    none, no_loops = np.empty(0, np.int64), np.zeros(1, np.int64)
    x, y, starts, whole, wrong = assemble(
        sx, sy, sstart, none, none, no_loops, cell, phase, *loops, *lines, table, area2_min
    )
    if wrong > 0:
        return words, figures
    if not stays:
        more_x, more_y, more = expand(whole, cell, loops[1], loops[2], loops[3])
        starts = np.concatenate((starts, more[1:] + x.shape[0]))
        x, y, whole = np.concatenate((x, more_x)), np.concatenate((y, more_y)), whole[:0]
    dense, _, net, net_units = hatch(x, y, starts, none, none, no_loops, vertical, pitch, shortest)
    axis = 0 if vertical else 1
    blocks, block_lines, block_units, curves = filling
    words = pack_layer(
        z_units, x, y, starts, labels[0], dense, labels[1], net, labels[2],
        whole, cell, loops[1], loops[2], loops[3], axis, turns, blocks, block_lines,
    )  # fmt: skip
    area, length = outline_figures(x, y, starts)
    more_area, more_length, more_units, points, count = whole_figures(
        whole, curves, axis, turns, blocks, block_units
    )
    figures[0], figures[1] = starts.shape[0] - 1 + whole.shape[0], x.shape[0] + points
    figures[2], figures[3] = area + more_area, length + more_length
    figures[4], figures[5], figures[6] = net_units, more_units, net.shape[0] + count
    figures[7] = solid_area
    return words, figures
