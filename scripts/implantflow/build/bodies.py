"""Bodies of one mesh: each must be metal by itself, or a cavity in others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

#: Triangles of a body, spread over it, whose middles are asked what they lie in.
_PLACES = 9
#: Slivers up to this (mm3) are drawn as they come: folds that cutting has left, a hundred of them where stock meets a
#: machined part. No layer shows more of one than what is too small for a loop.
_SLIVER_MM3 = 1e-4


def require_nested(vertices: FloatArray, faces: NDArray[np.int32], across: NDArray[np.int32]) -> None:
    """Refuse bodies that face inwards and lie in no other, and such as face outwards and lie in another altogether.

    Bodies that are pushed into each other are metal once, and need no more than contours that cross.

    Raises
    ------
    GeometryError
        What is metal and what is not cannot be told.
    """
    from implantflow.build import body_kernels as kernels

    count, body = kernels.bodies(across)
    if count == 1:
        return
    volumes = kernels.volumes(vertices, faces, body, count)
    order = np.argsort(body, kind="stable")
    begins = np.searchsorted(body[order], np.arange(count + 1))
    for number in np.flatnonzero(np.abs(volumes) > _SLIVER_MM3).tolist():
        mine = order[begins[number] : begins[number + 1]]
        places = mine[np.linspace(0, len(mine) - 1, min(_PLACES, len(mine))).astype(int)]
        middles = vertices[faces[places]].mean(axis=1)
        inside = (
            kernels.times_inside(vertices, faces, body, number, *middle) > 0 for middle in middles.tolist()
        )
        where = "near " + ", ".join(f"{x:.2f}" for x in middles[0]) + " mm"
        if volumes[number] < 0.0:
            if not any(inside):
                raise GeometryError(
                    f"one of the mesh's {count} bodies is inside out (volume {volumes[number]:.2f} mm3)",
                    where=where,
                    fix="flip its triangles",
                )
        elif all(inside):
            raise GeometryError(
                f"one of the mesh's {count} bodies lies in the metal of another (volume {volumes[number]:.2f} mm3)",
                where=where,
                fix="flip its triangles if it is a cavity; unite the two, or leave it out, if it is metal",
            )
