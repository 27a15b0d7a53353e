"""Compiled part of following pieces from layer to layer: nearly all of them stand on what stands on the plate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

IntArray = NDArray[np.int64]


@kernel
def carried(pairs: IntArray, below: IntArray, count: int, grounded: bool) -> tuple[IntArray, IntArray]:
    """Which of the ``count`` pieces of a layer touch what stands on the plate, and the pairs that need care.

    Parameters
    ----------
    pairs : (N, 2) touching pieces of the layer before and of this one, in any order, also more than once.
    below : set of each piece of the layer before; 0 stands on the plate.
    grounded : all pieces of this layer stand on the plate.

    Returns
    -------
    set of each piece, 0 or -1 (not known yet); pairs (M, 2) whose lower piece is of another set, each once, sorted.
    """
    sets = np.full(count, 0 if grounded else -1, np.int64)
    keys = np.empty(pairs.shape[0], np.int64)
    found = 0
    for n in range(pairs.shape[0]):
        u, v = pairs[n, 0], pairs[n, 1]
        if below[u] == 0:
            sets[v] = 0
        else:
            keys[found] = u * count + v
            found += 1
    loose = np.empty((found, 2), np.int64)
    if found == 0:
        return sets, loose
    keys = np.sort(keys[:found])
    kept = 0
    for n in range(found):
        if n == 0 or keys[n] != keys[n - 1]:
            loose[kept, 0], loose[kept, 1] = keys[n] // count, keys[n] % count
            kept += 1
    return sets, loose[:kept]
