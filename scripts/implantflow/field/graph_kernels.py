"""Compiled sorting of struts into boxes, so that the nearest strut of a point is found among a few."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel
from implantflow.field.cell_kernels import segment_distance2

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def bin_pass(
    segments: FloatArray,
    origin: FloatArray,
    size: float,
    shape: IntArray,
    reach: float,
    nearest: FloatArray,
    starts: IntArray,
    members: IntArray,
    stage: int,
) -> None:
    """One of three passes over struts (S, 7) and boxes (x fastest) whose middle lies within reach plus half a diagonal.

    0: least distance of a middle to a strut, to ``nearest``. 1: counts, to ``starts[box + 1]``, the struts that can be
    nearest somewhere in the box and within reach there. 2: writes them to ``members`` and advances ``starts``.
    """
    half = 0.5 * math.sqrt(3.0) * size
    far = reach + half
    for s in range(segments.shape[0]):
        g = segments[s]
        low = np.empty(3, np.int64)
        high = np.empty(3, np.int64)
        for a in range(3):
            start, end = min(g[a], g[a] + g[a + 3]), max(g[a], g[a] + g[a + 3])
            low[a] = max(math.ceil((start - far - origin[a]) / size - 0.5), 0)
            high[a] = min(math.floor((end + far - origin[a]) / size - 0.5), shape[a] - 1)
        for k in range(low[2], high[2] + 1):
            z = origin[2] + (k + 0.5) * size
            for j in range(low[1], high[1] + 1):
                y = origin[1] + (j + 0.5) * size
                for i in range(low[0], high[0] + 1):
                    b = (k * shape[1] + j) * shape[0] + i
                    d = math.sqrt(segment_distance2(segments, s, origin[0] + (i + 0.5) * size, y, z))
                    if stage == 0:
                        nearest[b] = min(nearest[b], d)
                    # No point of a box is further from its middle than half the diagonal.
                    elif d <= min(nearest[b] + 2.0 * half, far) + 1e-9:
                        if stage == 1:
                            starts[b + 1] += 1
                        else:
                            members[starts[b]] = s
                            starts[b] += 1
