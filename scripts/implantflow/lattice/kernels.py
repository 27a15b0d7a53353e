"""Compiled measures of the periodic cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

IntArray = NDArray[np.int64]


@kernel
def first_percolation(order: IntArray, n: int) -> int:
    """How many nodes of a periodic n^3 grid, opened in this order, it takes until an endless path exists.

    Open nodes that are face neighbours are joined; each node remembers by how many periods it is shifted
    against its root. Joining two nodes of one cluster with another shift closes a path through the period.
    Returns the number of nodes opened, or -1 when no path appears.
    """
    total = n * n * n
    parent = np.full(total, -1, np.int64)
    shift = np.zeros((total, 3), np.int64)
    size = np.ones(total, np.int64)
    steps = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    here = np.zeros(3, np.int64)
    there = np.zeros(3, np.int64)
    wrap = np.zeros(3, np.int64)
    place = np.zeros(3, np.int64)
    for count in range(order.shape[0]):
        node = order[count]
        parent[node] = node
        place[0], place[1], place[2] = node // (n * n), (node // n) % n, node % n
        for s in range(6):
            other = 0
            for a in range(3):
                c = place[a] + steps[s, a]
                wrap[a] = -1 if c < 0 else (1 if c >= n else 0)
                other = other * n + (c - wrap[a] * n)
            if parent[other] < 0:
                continue
            a_root = _find(parent, shift, node, here)
            b_root = _find(parent, shift, other, there)
            if a_root == b_root:
                for a in range(3):
                    if here[a] != there[a] + wrap[a]:
                        return count + 1
                continue
            # Position of a node = its root's position + shift periods; hang the smaller cluster below.
            if size[a_root] >= size[b_root]:
                parent[b_root] = a_root
                size[a_root] += size[b_root]
                for a in range(3):
                    shift[b_root, a] = here[a] - wrap[a] - there[a]
            else:
                parent[a_root] = b_root
                size[b_root] += size[a_root]
                for a in range(3):
                    shift[a_root, a] = there[a] + wrap[a] - here[a]
    return -1


@kernel
def _find(parent: IntArray, shift: IntArray, node: int, out: IntArray) -> int:
    """Root of a node; ``out`` gets the shift of the node against it."""
    out[:] = 0
    while parent[node] != node:
        for a in range(3):
            out[a] += shift[node, a]
        node = parent[node]
    return node
