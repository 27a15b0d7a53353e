"""Compiled search for straight lines deep inside bone, on a grid of depths below the cortex."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]


@inner
def _depth(grid: Floats, x: float, y: float, z: float) -> float:
    """Trilinear value at a place in grid steps, 0 outside the grid."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    if i < 0 or j < 0 or k < 0 or i + 1 >= grid.shape[0] or j + 1 >= grid.shape[1] or k + 1 >= grid.shape[2]:
        return 0.0
    u, v, w = x - i, y - j, z - k
    a = (1.0 - u) * grid[i, j, k] + u * grid[i + 1, j, k]
    b = (1.0 - u) * grid[i, j + 1, k] + u * grid[i + 1, j + 1, k]
    c = (1.0 - u) * grid[i, j, k + 1] + u * grid[i + 1, j, k + 1]
    d = (1.0 - u) * grid[i, j + 1, k + 1] + u * grid[i + 1, j + 1, k + 1]
    return float((1.0 - w) * ((1.0 - v) * a + v * b) + w * ((1.0 - v) * c + v * d))


@inner
def _barred(way: Bytes, low: Floats, steps: Floats, start: Floats, direction: Floats) -> bool:
    """True when the way back from ``start`` meets a barred node; ``steps`` as in :func:`deepest_directions`."""
    for s in range(int(steps[1]), int(steps[3]), 2):
        i = round((start[0] - s * direction[0] - low[0]) / steps[0])
        j = round((start[1] - s * direction[1] - low[1]) / steps[0])
        k = round((start[2] - s * direction[2] - low[2]) / steps[0])
        if i < 0 or j < 0 or k < 0 or i >= way.shape[0] or j >= way.shape[1] or k >= way.shape[2]:
            return False
        if way[i, j, k] == 1 or (way[i, j, k] == 2 and s >= steps[2]):
            return True
    return False


@kernel
def is_barred(way: Bytes, low: Floats, steps: Floats, start: Floats, direction: Floats) -> bool:
    """As `_barred`, for one line."""
    return _barred(way, low, steps, start, direction)


@kernel
def deepest_directions(
    grid: Floats,
    low: Floats,
    step_mm: float,
    entries: Floats,
    directions: Floats,
    free_mm: float,
    length_mm: float,
    way: Bytes,
    way_low: Floats,
    way_steps_mm: Floats,
) -> tuple[Floats, NDArray[np.int64]]:
    """Best of ``directions`` (D, 3) for each of ``entries`` (N, 3): smallest depth on the way, and its number.

    Above ``free_mm`` a perpendicular entry can be no deeper than its way so far: there depth counts in proportion
    to that way, which keeps a line from running flat below the surface before it goes in. Stations are 1 mm apart.
    A line whose way back is barred is none: no driver gets there. ``way`` (1: a neighbour, 2: the bone itself) has
    nodes ``way_steps_mm[0]`` apart and is looked at from [1] (neighbour) or [2] (itself) to [3] behind the entry.
    """
    value = np.full(len(entries), -1.0)
    chosen = np.zeros(len(entries), np.int64)
    count = int(length_mm)
    for n in range(len(entries)):
        x = (entries[n, 0] - low[0]) / step_mm
        y = (entries[n, 1] - low[1]) / step_mm
        z = (entries[n, 2] - low[2]) / step_mm
        for m in range(len(directions)):
            dx, dy, dz = directions[m, 0] / step_mm, directions[m, 1] / step_mm, directions[m, 2] / step_mm
            worst = np.inf
            # Outside in: the tip leaves the bone more often than the entry does.
            for s in range(count, 0, -1):
                here = _depth(grid, x + s * dx, y + s * dy, z + s * dz)
                worst = min(worst, here * max(1.0, free_mm / s))
                if worst <= value[n]:
                    break
            if worst > value[n] and not _barred(way, way_low, way_steps_mm, entries[n], directions[m]):
                value[n], chosen[n] = worst, m
    return value, chosen


@inner
def _walk(
    grid: Floats, ilium: Bytes, x: float, y: float, z: float, dx: float, dy: float, dz: float, free_mm: float
) -> tuple[float, float]:
    """Smallest depth until ``free_mm`` before the line leaves the bone, and where; depth -1 unless out of the ilium."""
    depths = np.empty(200)
    out = 0
    for s in range(200):
        here = _depth(grid, x + s * dx, y + s * dy, z + s * dz)
        if here <= 0.0:
            break
        depths[s] = here
        out = s
    # Three millimetres before the way out the nearest node is inside the bone that is left there.
    last = max(0, out - 3)
    i, j, k = round(x + last * dx), round(y + last * dy), round(z + last * dz)
    if out < 30 or out >= 199 or ilium[i, j, k] == 0:
        return -1.0, float(out)
    worst = np.inf
    for s in range(max(1, out - int(free_mm))):
        worst = min(worst, depths[s])
    return worst, float(out)


@kernel
def deepest_crossings(
    grid: Floats,
    ilium: Bytes,
    low: Floats,
    step_mm: float,
    places: Floats,
    directions: Floats,
    free_mm: float,
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Lines through ``places`` (N, 3) that run to both sides until they come out of an ilium.

    Returns
    -------
    Smallest depth (N,) of each place's best direction (-1: none), its number (N,), and the two lengths (N, 2) in mm.
    """
    value = np.full(len(places), -1.0)
    chosen = np.zeros(len(places), np.int64)
    length = np.zeros((len(places), 2))
    for n in range(len(places)):
        x = (places[n, 0] - low[0]) / step_mm
        y = (places[n, 1] - low[1]) / step_mm
        z = (places[n, 2] - low[2]) / step_mm
        if _depth(grid, x, y, z) <= 0.0:
            continue
        for m in range(len(directions)):
            dx, dy, dz = directions[m, 0] / step_mm, directions[m, 1] / step_mm, directions[m, 2] / step_mm
            ahead, there = _walk(grid, ilium, x, y, z, dx, dy, dz, free_mm)
            if ahead <= value[n]:
                continue
            back, here = _walk(grid, ilium, x, y, z, -dx, -dy, -dz, free_mm)
            if min(ahead, back) > value[n]:
                value[n], chosen[n] = min(ahead, back), m
                length[n, 0], length[n, 1] = here, there
    return value, chosen, length
