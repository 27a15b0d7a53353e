"""Masks: the box they fill, the bodies they fall into, a rim more or less. Each looks at no more than it must."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel
from implantflow.segment.components import find_runs
from implantflow.segment.grid import Box

BoolArray = NDArray[np.bool_]


def bounding_box(mask: BoolArray, margin: int) -> Box:
    """Box of the True voxels with ``margin`` voxels around, clipped to the array."""
    planes = np.any(mask, axis=2)
    hits = [np.any(planes, axis=1), np.any(planes, axis=0), np.any(mask, axis=(0, 1))]
    ends = [np.flatnonzero(hit)[[0, -1]] for hit in hits]
    start = [max(int(first) - margin, 0) for first, _ in ends]
    stop = [min(int(last) + margin + 1, n) for (_, last), n in zip(ends, mask.shape, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def bodies(mask: BoolArray, *, corners: bool = False) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number (K, J, I) of the body that holds a voxel, 0 outside, and the voxels of each number.

    Bodies hang together over faces, with ``corners`` over edges and corners as well; numbered in scan order.
    """
    runs = find_runs(mask, corners=corners)
    first = runs.root == np.arange(len(runs.root))
    number = np.cumsum(first, dtype=np.int32)
    numbers = np.zeros(mask.shape, dtype=np.int32)
    runs.paint(number[runs.root], numbers)
    sizes = runs.sizes()[first]
    return numbers, np.concatenate([[mask.size - sizes.sum()], sizes])


def counts(numbers: NDArray[np.int32] | NDArray[np.uint8], largest: int) -> NDArray[np.int64]:
    """How often each of 0 to ``largest`` occurs; unlike numpy's own, without a copy eight bytes a voxel wide."""
    return np.asarray(_counts(numbers.ravel(), largest))


@kernel
def _counts(numbers: Any, largest: int) -> Any:
    found = np.zeros(largest + 1, dtype=np.int64)
    for n in range(numbers.size):
        found[numbers[n]] += 1
    return found


def largest_component(mask: BoolArray) -> BoolArray:
    """The 6-connected component with most voxels (the first in scan order if two are equal)."""
    if not mask.any():
        return mask
    runs = find_runs(mask)
    out = np.zeros(mask.shape, dtype=bool)
    runs.paint(runs.root == runs.sizes().argmax(), out)
    return out


def grown(mask: BoolArray, rounds: int = 1) -> BoolArray:
    """``mask`` with ``rounds`` layers of voxels (over faces) more."""
    for _ in range(rounds):
        more = mask.copy()
        for axis in range(3):
            here, there = _neighbours(axis)
            more[here] |= mask[there]
            more[there] |= mask[here]
        mask = more
    return mask


def shrunk(mask: BoolArray, rounds: int = 1, *, border: bool) -> BoolArray:
    """``mask`` with ``rounds`` layers less; ``border`` says whether the mask goes on beyond the array."""
    for _ in range(rounds):
        less = mask.copy()
        for axis in range(3):
            here, there = _neighbours(axis)
            less[here] &= mask[there]
            less[there] &= mask[here]
            if not border:
                np.moveaxis(less, axis, 0)[[0, -1]] = False
        mask = less
    return mask


def _neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    here, there = [slice(None)] * 3, [slice(None)] * 3
    here[axis], there[axis] = slice(0, -1), slice(1, None)
    return tuple(here), tuple(there)
