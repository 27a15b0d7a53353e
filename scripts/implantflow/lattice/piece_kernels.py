"""Compiled search for connected pieces of a mask, as runs along its rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]


@kernel
def runs_of(mask: NDArray[np.bool_], starts: IntArray, begins: Int32Array, ends: Int32Array) -> None:
    """Runs of the rows of ``mask`` (K, J, I): their number to ``starts`` (K*J + 1), or where it is known the runs.

    With ``begins`` of no length the runs of row r are counted to ``starts[r + 1]``; otherwise run n of row r, which
    covers nodes begins[n] to ends[n] - 1, is written at n = starts[r] and so on.
    """
    nk, nj, ni = mask.shape
    fill = begins.shape[0] > 0
    for k in range(nk):
        for j in range(nj):
            row = k * nj + j
            n = starts[row] if fill else 0
            i = 0
            while i < ni:
                if not mask[k, j, i]:
                    i += 1
                    continue
                first = i
                while i < ni and mask[k, j, i]:
                    i += 1
                if fill:
                    begins[n], ends[n] = first, i
                n += 1
            if not fill:
                starts[row + 1] = n


@kernel
def root_of(parent: Int32Array, n: int) -> int:
    """First run of the piece that run ``n`` belongs to; shortens the way there."""
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n


@kernel
def join_rows(
    starts: IntArray, begins: Int32Array, ends: Int32Array, parent: Int32Array, a: int, b: int, corner: int
) -> None:
    """Join the runs of rows ``a`` and ``b`` that touch; with ``corner`` 1 also those that meet in an edge or corner."""
    m, n = starts[a], starts[b]
    while m < starts[a + 1] and n < starts[b + 1]:
        if begins[m] < ends[n] + corner and begins[n] < ends[m] + corner:
            one, other = root_of(parent, m), root_of(parent, n)
            # The smaller number wins, so a root is always the first run of its piece.
            if one < other:
                parent[other] = one
            else:
                parent[one] = other
        if ends[m] < ends[n]:
            m += 1
        else:
            n += 1


@kernel
def join_runs(
    shape: tuple[int, int, int],
    starts: IntArray,
    begins: Int32Array,
    ends: Int32Array,
    parent: Int32Array,
    corners: bool,
) -> None:
    """Join touching runs: by faces, or by edges and corners as well. ``parent`` ends up holding each run's root."""
    nk, nj, _ = shape
    for n in range(parent.shape[0]):
        parent[n] = n
    for k in range(nk):
        for j in range(nj):
            row = k * nj + j
            if j > 0:
                join_rows(starts, begins, ends, parent, row, row - 1, 1 if corners else 0)
            if k > 0:
                join_rows(starts, begins, ends, parent, row, row - nj, 1 if corners else 0)
            if k > 0 and corners and j > 0:
                join_rows(starts, begins, ends, parent, row, row - nj - 1, 1)
            if k > 0 and corners and j + 1 < nj:
                join_rows(starts, begins, ends, parent, row, row - nj + 1, 1)
    for n in range(parent.shape[0]):
        parent[n] = root_of(parent, n)


@kernel
def middles(
    starts: IntArray,
    begins: Int32Array,
    ends: Int32Array,
    parent: Int32Array,
    sizes: IntArray,
    places: IntArray,
) -> None:
    """Nodes of each piece, to ``sizes`` at its root, and (row, i) of its middle node in their order, to ``places``."""
    for n in range(parent.shape[0]):
        sizes[parent[n]] += ends[n] - begins[n]
    passed = np.zeros(sizes.shape[0], np.int64)
    for row in range(starts.shape[0] - 1):
        for n in range(starts[row], starts[row + 1]):
            root, length = parent[n], ends[n] - begins[n]
            ahead = sizes[root] // 2 - passed[root]
            if 0 <= ahead < length:
                places[root, 0], places[root, 1] = row, begins[n] + ahead
            passed[root] += length
