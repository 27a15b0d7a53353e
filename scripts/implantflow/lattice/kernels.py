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


@kernel
def _across(far2: IntArray, most: int, out: IntArray) -> None:
    """``out`` (A, N, B): least far2[a, m, b] + (n - m)^2 over places m of the periodic middle axis within ``most``."""
    na, n, nb = far2.shape
    for a in range(na):
        for p in range(n):
            for b in range(nb):
                best = far2[a, p, b]
                d = 1
                while d <= most and d * d < best:
                    best = min(best, far2[a, (p + d) % n, b] + d * d, far2[a, (p - d) % n, b] + d * d)
                    d += 1
                out[a, p, b] = best


@kernel
def periodic_distance2(mask: NDArray[np.bool_], most: int) -> IntArray:
    """Squared distance (in nodes) from each node of a periodic n^3 grid to the nearest outside ``mask``.

    Exact up to ``most`` nodes; beyond, some number above its square.
    """
    n = mask.shape[0]
    one = np.empty((n, n, n), np.int64)
    for k in range(n):
        for j in range(n):
            for i in range(n):
                one[k, j, i] = (most + 1) ** 2 if mask[k, j, i] else 0
    other = np.empty_like(one)
    _across(one.reshape(n * n, n, 1), most, other.reshape(n * n, n, 1))
    _across(other, most, one)
    _across(one.reshape(1, n, n * n), most, other.reshape(1, n, n * n))
    return other
