"""All layers of a part in order: made on several threads, crumbs left out, words handed on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from implantflow.build.crumbs import CrumbFilter, Crumbs
from implantflow.build.islands import Rows
from implantflow.build.pipeline import ordered
from implantflow.build.plan import FIGURES, Outline
from implantflow.build.slicer import Slicer
from implantflow.geometry import FloatArray


def slice_layers(
    slicer: Slicer, write: Callable[[NDArray[np.uint16]], None], threads: int, crumb_max_mm3: float = 0.0
) -> tuple[FloatArray, Crumbs]:
    """Make all layers and hand their words to ``write`` in order.

    Parameters
    ----------
    crumb_max_mm3 : loose bits of lattice up to this volume are left out; 0 leaves everything in.

    Returns
    -------
    (layers, len(FIGURES)) float array
        The figures of every layer, the same on any number of threads.
    crumbs
        What was left out.
    """
    plan = slicer.plan
    figures = np.zeros((plan.layers, len(FIGURES)))

    def take(index: int, made: tuple[NDArray[np.uint16], FloatArray]) -> None:
        write(made[0])
        figures[index] = made[1]

    if crumb_max_mm3 <= 0 or not plan.porous:
        for index, layer in enumerate(ordered(range(plan.layers), slicer.layer, threads)):
            take(index, layer)
        return figures, Crumbs()
    width_mm = float(plan.solid.vertices_mm[:, 1].max())
    crumbs = CrumbFilter(width_mm, plan.unit_mm, plan.layer_mm, crumb_max_mm3)
    held: dict[int, Outline] = {}

    def emit(last: bool) -> None:
        for index, loops in crumbs.ready(last):
            outline = held.pop(index)
            take(index, slicer.packed(index, outline.without(loops) if loops else outline))

    def cut(index: int) -> tuple[Outline, Rows]:
        outline = slicer.outline(index, stamped=True)
        return outline, crumbs.cut(outline, slicer.stamp)

    for index, (outline, layer_rows) in enumerate(ordered(range(plan.layers), cut, threads)):
        held[index] = outline
        crumbs.push(layer_rows)
        emit(last=False)
    emit(last=True)
    return figures, crumbs.crumbs
