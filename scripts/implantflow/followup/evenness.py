"""How unlike neighbouring parts of the lattice are: what noise, streaks and shading leave in a mean over places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.followup.rigid import blocks
from implantflow.geometry import FloatArray

#: Edge of cubes within which noise and streaks are alike, mm; how many of them the usual unevenness counts for.
_BLOCK_MM, _USUAL_BLOCKS = 10.0, 10.0
#: Edge of a neighbourhood that holds a few struts, mm.
_STRUTS_MM = 6.0


def unevenness(values: FloatArray, places: FloatArray, group: NDArray[np.int64]) -> float:
    """Standard deviation between the means of (N,) ``values`` over cubes of 10 mm, within each ``group`` (N,) >= 0.

    Streaks and shading differ between scans over more than a small region shows of itself.
    """
    if not len(values):
        return 0.0
    groups = int(group.max()) + 1
    cell, number = np.unique(blocks(places, _BLOCK_MM) * groups + group, return_inverse=True)
    count = np.bincount(number.reshape(-1))
    mean = np.bincount(number.reshape(-1), values) / count
    own = cell % groups
    level = np.bincount(own, count * mean) / np.maximum(np.bincount(own, count), 1)
    return float(np.sqrt(np.average((mean - level[own]) ** 2, weights=count.astype(float) ** 2)))


def block_error(values: FloatArray, places: FloatArray, usual: float) -> float:
    """Standard error of the mean of (N,) ``values`` that are alike within cubes of 10 mm.

    Two or three cubes cannot tell how much cubes differ: ``usual``, their standard deviation elsewhere, counts as
    :data:`_USUAL_BLOCKS` of them.
    """
    _, number = np.unique(blocks(places, _BLOCK_MM), return_inverse=True)
    number = number.reshape(-1)
    rest, size = np.bincount(number, values - values.mean()), np.bincount(number).astype(float)
    free = len(rest) - 1
    # The sandwich's correction, (free + 1) / free, pooled by its freedom: free cancels.
    own = float((rest**2).sum()) * (free + 1)
    spread = (own + _USUAL_BLOCKS * usual**2 * float((size**2).sum())) / (free + _USUAL_BLOCKS)
    return float(np.sqrt(spread)) / len(values)


def within_blocks(values: FloatArray, places: FloatArray) -> FloatArray:
    """(N, C) ``values`` less their mean over the neighbourhood, cubes of a few struts: shading and grading are gone."""
    _, number = np.unique(blocks(places, _STRUTS_MM), return_inverse=True)
    number = number.reshape(-1)
    count = np.bincount(number)
    means = [np.bincount(number, column) / count for column in values.T]
    return values - np.stack(means, axis=1)[number]
