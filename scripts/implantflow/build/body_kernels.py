"""Compiled kernels that tell the bodies of a mesh apart, and which of its outlines lie in which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.mesh_kernels import double_area
from implantflow.compiled import kernel

IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]


@kernel
def bodies(across: Int32Array) -> tuple[int, Int32Array]:
    """Number of bodies of a closed mesh and the body of each triangle, numbered by their first triangle."""
    body = np.full(across.shape[0], -1, np.int32)
    stack = np.empty(across.shape[0], np.int32)
    count = 0
    for first in range(across.shape[0]):
        if body[first] >= 0:
            continue
        body[first] = count
        stack[0] = first
        held = 1
        while held > 0:
            held -= 1
            t = stack[held]
            for e in range(3):
                other = across[t, e]
                if other >= 0 and body[other] < 0:
                    body[other] = count
                    stack[held] = other
                    held += 1
        count += 1
    return count, body


@kernel
def wrongly_nested(xs: IntArray, ys: IntArray, starts: IntArray) -> bool:
    """Do loops that cross no other lie in metal though they are outlines, or out of it though they are holes?

    Also true where it cannot be told, as all corners of a loop lie on others.
    """
    loops = starts.shape[0] - 1
    if loops == 1:
        return double_area(xs, ys, 0, starts[1]) < 0
    box = np.empty((loops, 4), np.int64)
    for c in range(loops):
        a, b = starts[c], starts[c + 1]
        box[c, 0], box[c, 1] = xs[a:b].min(), xs[a:b].max()
        box[c, 2], box[c, 3] = ys[a:b].min(), ys[a:b].max()
    for c in range(loops):
        a, b = starts[c], starts[c + 1]
        for p in range(a, b):
            x, y = xs[p], ys[p]
            around = 0
            on_border = False
            for d in range(loops):
                if d == c or (x < box[d, 0]) | (x > box[d, 1]) | (y < box[d, 2]) | (y > box[d, 3]):
                    continue
                before = starts[d + 1] - 1
                for q in range(starts[d], starts[d + 1]):
                    if ((ys[before] > y) & (ys[q] > y)) | ((ys[before] < y) & (ys[q] < y)):
                        before = q
                        continue
                    side = (xs[q] - xs[before]) * (y - ys[before]) - (x - xs[before]) * (ys[q] - ys[before])
                    if side == 0 and min(xs[before], xs[q]) <= x <= max(xs[before], xs[q]):
                        on_border = True
                        break
                    if ys[before] <= y and ys[q] > y and side > 0:
                        around += 1
                    elif ys[before] > y and ys[q] <= y and side < 0:
                        around -= 1
                    before = q
                if on_border:
                    break
            if on_border:
                if p == b - 1:
                    return True
                continue
            if around != (0 if double_area(xs, ys, a, b) > 0 else 1):
                return True
            break
    return False
