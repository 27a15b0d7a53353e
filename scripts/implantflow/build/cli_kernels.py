"""Compiled packing of one layer into the 16-bit words of a binary CLI file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

IntArray = NDArray[np.int64]

#: Commands of the short (16-bit) forms, and the most items one command can announce.
LAYER_SHORT, POLYLINE_SHORT, HATCHES_SHORT, MOST_ITEMS = 128, 129, 131, 65535


@kernel
def pack_layer(
    z_units: int,
    xs: IntArray,
    ys: IntArray,
    starts: IntArray,
    contour_id: int,
    hatches: IntArray,
    hatch_id: int,
    nets: IntArray,
    net_id: int,
) -> NDArray[np.uint16]:
    """Words of one layer: its height, outlines (outer counter-clockwise, first point repeated), hatches.

    Returns no words at all when something cannot be written in 16 bits.
    """
    loops = starts.shape[0] - 1
    blocks = -(-hatches.shape[0] // MOST_ITEMS) - (-nets.shape[0] // MOST_ITEMS)
    size = 2 + 6 * loops + 2 * xs.shape[0] + 3 * blocks + 4 * (hatches.shape[0] + nets.shape[0])
    out = np.empty(size, np.uint16)
    if z_units < 0 or z_units > MOST_ITEMS:
        return out[:0]
    for p in range(xs.shape[0]):
        if xs[p] < 0 or ys[p] < 0 or xs[p] > MOST_ITEMS or ys[p] > MOST_ITEMS:
            return out[:0]
    out[0] = LAYER_SHORT
    out[1] = z_units
    n = 2
    for c in range(loops):
        a, b = starts[c], starts[c + 1]
        if b - a + 1 > MOST_ITEMS:
            return out[:0]
        twice = 0
        p = b - 1
        for q in range(a, b):
            twice += xs[p] * ys[q] - xs[q] * ys[p]
            p = q
        out[n] = POLYLINE_SHORT
        out[n + 1] = contour_id
        out[n + 2] = 1 if twice > 0 else 0
        out[n + 3] = b - a + 1
        n += 4
        for q in range(a, b + 1):
            p = q if q < b else a
            out[n] = xs[p]
            out[n + 1] = ys[p]
            n += 2
    n = _pack_hatches(out, n, hatches, hatch_id)
    n = _pack_hatches(out, n, nets, net_id)
    return out[:n]


@kernel
def _pack_hatches(out: NDArray[np.uint16], n: int, lines: IntArray, label: int) -> int:
    for first in range(0, lines.shape[0], MOST_ITEMS):
        last = min(first + MOST_ITEMS, lines.shape[0])
        out[n] = HATCHES_SHORT
        out[n + 1] = label
        out[n + 2] = last - first
        n += 3
        for h in range(first, last):
            for k in range(4):
                out[n] = lines[h, k]
                n += 1
    return n
