"""Compiled packing of one layer into the 16-bit words of a binary CLI file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.place_kernels import bounds
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
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
    whole: IntArray,
    cell: int,
    loop_start: IntArray,
    loop_x: IntArray,
    loop_y: IntArray,
    axis: int,
    turns: int,
    line_start: IntArray,
    lines: IntArray,
) -> NDArray[np.uint16]:
    """Words of one layer: its height, outlines (outer counter-clockwise, first point repeated), hatches.

    After the layer's own outlines come the whole islands ``whole`` (W, 3: curve, column, row), after its own net the
    islands' ``lines``, by curve and by the tile's number along ``axis`` (0 x, 1 y) modulo ``turns``. Whole islands
    are outer loops. Returns no words at all when something cannot be written in 16 bits.
    """
    loops = starts.shape[0] - 1
    net_count = nets.shape[0]
    points = xs.shape[0]
    for w in range(whole.shape[0]):
        s = whole[w, 0]
        k = s * turns + whole[w, 1 + axis] % turns
        net_count += line_start[k + 1] - line_start[k]
        points += loop_start[s + 1] - loop_start[s]
    blocks = -(-hatches.shape[0] // MOST_ITEMS) - (-net_count // MOST_ITEMS)
    size = 2 + 6 * (loops + whole.shape[0]) + 2 * points + 3 * blocks + 4 * (hatches.shape[0] + net_count)
    # Up to the last outline everything is pairs of words: one number, of which the first word is the lower half.
    pairs = np.empty((size + 1) // 2, np.uint32)
    out = pairs.view(np.uint16)
    # A negative number has all high bits set.
    outside = z_units >> 16
    for p in range(xs.shape[0]):
        outside |= (xs[p] >> 16) | (ys[p] >> 16)
    pairs[0] = LAYER_SHORT + (z_units << 16)
    n = 1
    for c in range(loops):
        a, b = starts[c], starts[c + 1]
        if b - a + 1 > MOST_ITEMS:
            return out[:0]
        twice = 0
        p = b - 1
        for q in range(a, b):
            twice += xs[p] * ys[q] - xs[q] * ys[p]
            p = q
        pairs[n] = POLYLINE_SHORT + (contour_id << 16)
        pairs[n + 1] = (1 if twice > 0 else 0) + ((b - a + 1) << 16)
        n += 2
        for p in range(a, b):
            pairs[n] = xs[p] + (ys[p] << 16)
            n += 1
        pairs[n] = xs[a] + (ys[a] << 16)
        n += 1
    # Moving a point over whole tiles adds the same number to its pair, whatever the point.
    curve = np.empty(0, np.uint32)
    left, low, right, high = 0, 0, 0, 0
    for w in range(whole.shape[0]):
        s = whole[w, 0]
        a, b = loop_start[s], loop_start[s + 1]
        if b - a + 1 > MOST_ITEMS:
            return out[:0]
        if w == 0 or s != whole[w - 1, 0]:
            curve = np.empty(b - a, np.uint32)
            for k in range(b - a):
                curve[k] = loop_x[a + k] + (loop_y[a + k] << 16)
            left, low, right, high = bounds(loop_x, loop_y, a, b)
        dx, dy = whole[w, 1] * cell, whole[w, 2] * cell
        outside |= ((left + dx) >> 16) | ((right + dx) >> 16) | ((low + dy) >> 16) | ((high + dy) >> 16)
        pairs[n] = POLYLINE_SHORT + (contour_id << 16)
        pairs[n + 1] = 1 + ((b - a + 1) << 16)
        n += 2
        move = np.uint32(dx + (dy << 16))
        for k in range(curve.shape[0]):
            pairs[n + k] = curve[k] + move
        n += curve.shape[0]
        pairs[n] = curve[0] + move
        n += 1
    if outside != 0:
        return out[:0]
    n *= 2
    for h in range(hatches.shape[0]):
        if h % MOST_ITEMS == 0:
            n = _block_head(out, n, hatch_id, hatches.shape[0] - h)
        for k in range(4):
            out[n] = hatches[h, k]
            n += 1
    written = 0
    for h in range(nets.shape[0]):
        if written % MOST_ITEMS == 0:
            n = _block_head(out, n, net_id, net_count - written)
        for k in range(4):
            out[n] = nets[h, k]
            n += 1
        written += 1
    for w in range(whole.shape[0]):
        dx, dy = whole[w, 1] * cell, whole[w, 2] * cell
        block = whole[w, 0] * turns + whole[w, 1 + axis] % turns
        for h in range(line_start[block], line_start[block + 1]):
            if written % MOST_ITEMS == 0:
                n = _block_head(out, n, net_id, net_count - written)
            out[n] = lines[h, 0] + dx
            out[n + 1] = lines[h, 1] + dy
            out[n + 2] = lines[h, 2] + dx
            out[n + 3] = lines[h, 3] + dy
            n += 4
            written += 1
    return out[:n]


@kernel
def _block_head(out: NDArray[np.uint16], n: int, label: int, left: int) -> int:
    """Write the head of a block of at most MOST_ITEMS of the ``left`` lines; returns the new length."""
    out[n] = HATCHES_SHORT
    out[n + 1] = label
    out[n + 2] = min(left, MOST_ITEMS)
    return n + 3


@kernel
def whole_figures(
    whole: IntArray, figures: FloatArray, axis: int, turns: int, line_start: IntArray, line_units: FloatArray
) -> tuple[float, float, float, int, int]:
    """Sums over whole islands: area, outline length and length of filling lines (units), points, lines.

    ``figures`` (L, 3): area, length and number of points of each closed curve; ``line_units``: length per block.
    """
    area = 0.0
    length = 0.0
    net = 0.0
    points = 0
    lines = 0
    for w in range(whole.shape[0]):
        s = whole[w, 0]
        k = s * turns + whole[w, 1 + axis] % turns
        area += figures[s, 0]
        length += figures[s, 1]
        points += int(figures[s, 2])
        net += line_units[k]
        lines += line_start[k + 1] - line_start[k]
    return area, length, net, points, lines
