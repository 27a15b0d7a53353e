"""Compiled assembly of one layer: S AND (D OR L), from its borders and the stamps or curves of the lattice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.cross_kernels import DENSE, LATTICE, SOLID
from implantflow.build.merge_kernels import merge
from implantflow.build.place_kernels import place_lattice
from implantflow.build.search_kernels import BIN_BITS, find_crossings, link_after, make_grid
from implantflow.compiled import kernel

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@kernel
def borders(
    sx: IntArray, sy: IntArray, sstart: IntArray, dx: IntArray, dy: IntArray, dstart: IntArray
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    """Loops of S and D in one: x, y, starts, index of the point after each, kinds."""
    xs = np.concatenate((sx, dx))
    ys = np.concatenate((sy, dy))
    starts = np.concatenate((sstart, dstart[1:] + sx.shape[0]))
    kinds = np.empty(xs.shape[0], np.int64)
    kinds[: sx.shape[0]] = SOLID
    kinds[sx.shape[0] :] = DENSE
    return xs, ys, starts, link_after(starts), kinds


@kernel
def _joined(
    border_x: IntArray,
    border_y: IntArray,
    border_start: IntArray,
    border_after: IntArray,
    border_kind: IntArray,
    lx: IntArray,
    ly: IntArray,
    lstart: IntArray,
    closed: BoolArray,
    table: NDArray[np.float32],
    cell: int,
    area2_min: int,
) -> tuple[IntArray, IntArray, IntArray, int]:
    """Find the crossings of the borders with the lattice's curves and merge them (see :func:`merge`)."""
    none_joined = np.empty(0, np.bool_)
    grid = make_grid(border_x, border_y, border_after, BIN_BITS)
    borders = border_x.shape[0]
    xs = np.concatenate((border_x, lx))
    ys = np.concatenate((border_y, ly))
    curve_start = np.concatenate((border_start, lstart[1:] + borders))
    after = np.concatenate((border_after, link_after(lstart) + borders))
    kinds = np.concatenate((border_kind, np.full(lx.shape[0], LATTICE, np.int64)))
    for c in range(closed.shape[0]):
        if not closed[c]:
            after[borders + lstart[c + 1] - 1] = -1
    capacity = 256 + xs.shape[0]
    crossing = find_crossings(xs, ys, after, kinds, grid, none_joined, capacity)
    while crossing[0] < 0:
        capacity *= 4
        crossing = find_crossings(xs, ys, after, kinds, grid, none_joined, capacity)
    sides = np.zeros(curve_start.shape[0] - 1, np.int64)
    return merge(xs, ys, after, kinds, curve_start, grid, table, cell, crossing, sides, area2_min)


@kernel
def assemble(
    sx: IntArray,
    sy: IntArray,
    sstart: IntArray,
    dx: IntArray,
    dy: IntArray,
    dstart: IntArray,
    cell: int,
    phase: int,
    loop_phase: IntArray,
    loop_start: IntArray,
    loop_x: IntArray,
    loop_y: IntArray,
    line_phase: IntArray,
    line_start: IntArray,
    line_shift: IntArray,
    line_x: IntArray,
    line_y: IntArray,
    table: NDArray[np.float32],
    area2_min: int,
) -> tuple[IntArray, IntArray, IntArray, IntArray, int]:
    """One layer's material: loops of S (at least one), loops of D, one phase of L.

    Returns
    -------
    x, y, starts of the loops (units, metal on the left) that borders cut or come near.
    whole : (W, 3) curve, column and row of the copies of closed curves that are metal as they are.
    wrong : the number of mismatched crossings.
    """
    border_x, border_y, border_start, border_after, border_kind = borders(sx, sy, sstart, dx, dy, dstart)
    box = np.array([border_x.min(), border_y.min(), border_x.max(), border_y.max()])
    lx, ly, lstart, closed, whole = place_lattice(
        border_x,
        border_y,
        border_after,
        border_kind,
        box,
        cell,
        phase,
        loop_phase,
        loop_start,
        loop_x,
        loop_y,
        line_phase,
        line_start,
        line_shift,
        line_x,
        line_y,
    )
    mx, my, mstart, wrong = _joined(
        border_x,
        border_y,
        border_start,
        border_after,
        border_kind,
        lx,
        ly,
        lstart,
        closed,
        table,
        cell,
        area2_min,
    )
    return mx, my, mstart, whole, wrong


@kernel
def assemble_curves(
    sx: IntArray,
    sy: IntArray,
    sstart: IntArray,
    dx: IntArray,
    dy: IntArray,
    dstart: IntArray,
    lx: IntArray,
    ly: IntArray,
    lstart: IntArray,
    area2_min: int,
) -> tuple[IntArray, IntArray, IntArray, int]:
    """One layer's material from loops of S (at least one), of D and of L: x, y, starts, mismatched crossings."""
    border_x, border_y, border_start, border_after, border_kind = borders(sx, sy, sstart, dx, dy, dstart)
    return _joined(
        border_x,
        border_y,
        border_start,
        border_after,
        border_kind,
        lx,
        ly,
        lstart,
        np.ones(lstart.shape[0] - 1, np.bool_),
        np.empty((0, 0), np.float32),
        1,
        area2_min,
    )
