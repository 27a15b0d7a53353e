"""From the patient's frame into the machine's: orientation, place on the plate, room for supports."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray, transform_points, unit


def build_rotation(up_lps: ArrayLike, right_lps: ArrayLike) -> FloatArray:
    """(3, 3) rotation whose rows are the build axes x, y, z in patient LPS; x is made square to z."""
    z = unit(up_lps)
    right = np.asarray(right_lps, dtype=np.float64)
    x = unit(right - np.dot(right, z) * z)
    return np.array([x, np.cross(z, x), z])


def place_on_plate(
    vertices_lps: FloatArray,
    up_lps: ArrayLike,
    right_lps: ArrayLike,
    gap_mm: float,
    envelope_mm: ArrayLike,
    layer_mm: float,
) -> FloatArray:
    """The rigid 4x4 ``build_from_patient`` that stands the part in the middle of the plate.

    Parameters
    ----------
    vertices_lps : (N, 3), mm, patient LPS.
    up_lps, right_lps : patient directions of build +z and (about) +x.
    gap_mm : height of the lowest point over the plate, rounded to whole layers so that layers and lattice
        phases stay aligned with the plate.
    envelope_mm : (3,) size of the machine's build volume, which begins at (0, 0, 0).

    Raises
    ------
    GeometryError
        The part does not fit the envelope in this orientation.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = build_rotation(up_lps, right_lps)
    turned = transform_points(matrix, vertices_lps)
    low, high = turned.min(0), turned.max(0)
    size = high - low
    envelope = np.asarray(envelope_mm, dtype=np.float64)
    gap = round(gap_mm / layer_mm) * layer_mm
    room = envelope - np.array([0.0, 0.0, gap])
    if (size > room).any():
        text = " x ".join(f"{s:.1f}" for s in size)
        raise GeometryError(
            f"the part is {text} mm and does not fit {' x '.join(f'{e:.0f}' for e in room)} mm",
            where="build.orientation",
            fix="turn the part (up_lps, right_lps), reduce support_gap_mm or choose a larger machine",
        )
    target = np.array([envelope[0] / 2, envelope[1] / 2, gap])
    anchor = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    matrix[:3, 3] = np.round(target - anchor, 6)
    # Rounding must not push the lowest point under its layer.
    matrix[2, 3] = np.ceil((target[2] - anchor[2]) * 1e6) / 1e6
    return matrix
