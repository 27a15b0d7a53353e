"""Connected pieces of a voxel mask, without a label for every voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pieces:
    """Connected pieces of a mask, in the order of their first nodes.

    Attributes
    ----------
    sizes : (P,) nodes. places : (P, 3) k, j, i of the middle node of each, in the order of rows.
    """

    sizes: NDArray[np.int64]
    places: NDArray[np.int64]


def pieces_of(mask: NDArray[np.bool_], *, corners: bool) -> Pieces:
    """Pieces of ``mask`` (K, J, I) whose nodes touch by faces or, with ``corners``, by edges and corners as well."""
    from implantflow.lattice import piece_kernels as kernels

    nk, nj, ni = mask.shape
    starts = np.zeros(nk * nj + 1, dtype=np.int64)
    none = np.empty(0, dtype=np.int32)
    kernels.runs_of(mask, starts, none, none)
    starts = np.cumsum(starts)
    begins, ends, parent = (np.empty(int(starts[-1]), dtype=np.int32) for _ in range(3))
    kernels.runs_of(mask, starts, begins, ends)
    kernels.join_runs((nk, nj, ni), starts, begins, ends, parent, corners)
    sizes = np.zeros(len(parent), dtype=np.int64)
    places = np.zeros((len(parent), 2), dtype=np.int64)
    kernels.middles(starts, begins, ends, parent, sizes, places)
    roots = np.flatnonzero(sizes)
    row, i = places[roots].T
    return Pieces(sizes[roots], np.column_stack([row // nj, row % nj, i]))
