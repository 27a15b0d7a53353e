"""Contours of surfaces that cut through themselves, made simple before anything else looks at them.

Watertight meshes may still fold over themselves by some hundredths of a millimetre (offsets and booleans of
anatomical surfaces do). Their contours then cross themselves there: what is covered more than once is metal
once, what is turned inside out is none.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from implantflow.build import mesh_kernels

IntArray = NDArray[np.int64]


def simple_loops(
    xs: IntArray, ys: IntArray, starts: IntArray, area2_min: int
) -> tuple[IntArray, IntArray, IntArray]:
    """The same region as simple loops: the union of everything wound positively (Clipper2).

    Returns
    -------
    x, y, starts in units, outer loops counter-clockwise; loops below ``area2_min`` (2 x area) are dropped.
    """
    import pyclipr

    clipper = pyclipr.Clipper()
    clipper.scaleFactor = 1
    loops = [np.column_stack([xs[a:b], ys[a:b]]) for a, b in itertools.pairwise(starts)]
    clipper.addPaths(loops, pyclipr.Subject)
    found = [
        np.asarray(p, dtype=np.float64) for p in clipper.execute(pyclipr.Union, pyclipr.FillRule.Positive)
    ]
    points = np.concatenate(found) if found else np.empty((0, 2))
    begins = np.cumsum([0, *(len(p) for p in found)]).astype(np.int64)
    return mesh_kernels.quantise_loops(np.ascontiguousarray(points), begins, 1.0, area2_min)
