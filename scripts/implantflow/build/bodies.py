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
    from implantflow.build import body_kernels
    from implantflow.field.volume_kernels import enclosed

    count, body = body_kernels.bodies(across)
    if count == 1:
        return
    order = np.argsort(body, kind="stable")
    for number, mine in enumerate(np.split(order, np.searchsorted(body[order], np.arange(1, count)))):
        volume = enclosed(vertices, faces[mine], vertices[faces[mine[0], 0]])
        if abs(volume) <= _SLIVER_MM3:
            continue
        places = mine[np.linspace(0, len(mine) - 1, min(_PLACES, len(mine))).astype(int)]
        middles = vertices[faces[places]].mean(axis=1)
        others = faces[body != number].astype(np.int64)
        inside = (_times_inside(vertices, others, middle) > 0 for middle in middles)
        where = "near " + ", ".join(f"{x:.2f}" for x in middles[0]) + " mm"
        if volume < 0.0:
            if not any(inside):
                raise GeometryError(
                    f"one of the mesh's {count} bodies is inside out (volume {volume:.2f} mm3)",
                    where=where,
                    fix="flip its triangles",
                )
        elif all(inside):
            raise GeometryError(
                f"one of the mesh's {count} bodies lies in the metal of another (volume {volume:.2f} mm3)",
                where=where,
                fix="flip its triangles if it is a cavity; unite the two, or leave it out, if it is metal",
            )


def _times_inside(vertices: FloatArray, faces: NDArray[np.int64], place: FloatArray) -> int:
    """How often closed triangles enclose a place (3,): what a line from it upwards leaves, less what it enters."""
    from implantflow.build import column_kernels

    x, y, z = place.tolist()
    _, height, crossed = column_kernels.crossings(vertices, faces, x, y, 1.0, 1, 1)
    a, b, c = (vertices[corner] for corner in faces[crossed[height > z]].T)
    upwards = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return int(np.sign(upwards).sum())
