"""Seeded Voronoi lattice: struts along the edges of the Voronoi cells of points scattered one to a cube."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

#: Cubes of seeds around the box, so that no edge inside depends on where the seeds end.
_MARGIN = 4
#: Below, seeds lie so regularly that cells meet in single points, which no rounding keeps the same.
IRREGULARITY_MIN = 0.3


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers (finaliser of SplitMix64, Steele et al. 2014, doi:10.1145/2660193.2660195)."""
    with np.errstate(over="ignore"):
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)))


def seeds_mm(index: NDArray[np.int64], cell_mm: float, seed: int, irregularity: float) -> FloatArray:
    """Seed points (N, 3) in mm of the cubes ``index`` (N, 3): what lies in a cube depends on that cube only."""
    state = np.full(len(index), seed, dtype=np.uint64)
    for axis in range(3):
        state = _mixed(state ^ index[:, axis].astype(np.uint64))
    share = np.empty((len(index), 3))
    for axis in range(3):
        state = _mixed(state)
        share[:, axis] = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.asarray((index + 0.5 + irregularity * (share - 0.5)) * cell_mm)


def voronoi_struts(
    low_mm: ArrayLike,
    high_mm: ArrayLike,
    cell_mm: float,
    seed: int,
    irregularity: float,
    period: int = 0,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Edges of the Voronoi cells that touch a box.

    Parameters
    ----------
    low_mm, high_mm : (3,) corners of the box. cell_mm : edge of the cubes that hold one seed each.
    seed : which of the patterns. irregularity : share of its cube, about the middle, that a seed may lie in.
    period : cubes after which the seeds repeat; 0 for never.

    Returns
    -------
    nodes (N, 3) in mm, to 0.1 um, beams (B, 2), both sorted: the same for the same box, seed and cell

    Raises
    ------
    GeometryError
        Seeds too regular.
    """
    from scipy.spatial import Voronoi

    if not IRREGULARITY_MIN <= irregularity <= 1.0:
        raise GeometryError(
            f"an irregularity of {irregularity} is outside {IRREGULARITY_MIN} to 1",
            where="lattice.voronoi.irregularity",
            fix="use a periodic cell for a regular lattice",
        )
    low, high = np.asarray(low_mm, dtype=float), np.asarray(high_mm, dtype=float)
    first = np.floor(low / cell_mm).astype(int) - _MARGIN
    last = np.ceil(high / cell_mm).astype(int) + _MARGIN
    index = np.stack(
        np.meshgrid(*[np.arange(first[a], last[a]) for a in range(3)], indexing="ij"), -1
    ).reshape(-1, 3)
    tile = index % period if period else index
    seeds = seeds_mm(tile, cell_mm, seed, irregularity) + (index - tile) * cell_mm
    cells = Voronoi(seeds)
    rings = [ring for ring in cells.ridge_vertices if ring[0] >= 0 and min(ring) >= 0]
    sizes = np.array([len(ring) for ring in rings])
    flat = np.fromiter(itertools.chain.from_iterable(rings), dtype=np.int64, count=int(sizes.sum()))
    following = np.arange(1, len(flat) + 1)
    ends = np.cumsum(sizes)
    following[ends - 1] = ends - sizes
    pairs = np.column_stack([flat, flat[following]])
    places = np.round(cells.vertices * 1e4).astype(np.int64) / 1e4
    a, b = places[pairs[:, 0]], places[pairs[:, 1]]
    touching = (np.minimum(a, b) <= high).all(1) & (np.maximum(a, b) >= low).all(1)
    joined = np.concatenate([a[touching], b[touching]])
    nodes, inverse = np.unique(joined, axis=0, return_inverse=True)
    beams = np.sort(inverse.reshape(2, -1).T, axis=1)
    beams = np.unique(beams[beams[:, 0] != beams[:, 1]], axis=0)
    return nodes, beams.astype(np.int64)
