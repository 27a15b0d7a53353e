"""The sacroiliac joint as one height field shared by sacrum and ilium, so that its gap is exact by construction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner
from implantflow.phantom.parameters import Shape

FloatArray = NDArray[np.float64]

#: Obliquity of the joint: change of |x| per mm of y and z (wedge shape seen axially and coronally).
_PER_Y, _PER_Z = -0.22, 0.06


def joint_coefficients(shape: Shape) -> FloatArray:
    """(2, 7) array, row 0 right and row 1 left: half width, wave, gap, and four phases of the waves."""
    rng = np.random.default_rng([shape.seed, 51])
    rows = [
        [shape.si_half_width_mm, shape.si_wave_mm, shape.si_gap_mm, *rng.uniform(0, 2 * np.pi, 4)]
        for _ in range(2)
    ]
    return np.array(rows)


@inner
def joint_x(y: float, z: float, c: FloatArray) -> float:
    """|x| of the joint's middle surface at (y, z), mm, for one row of :func:`joint_coefficients`."""
    wave = math.sin(y / 5.3 + z / 9.0 + c[3]) + 0.8 * math.sin(z / 6.1 - y / 11.0 + c[4])
    below = min(z + 38.0, 0.0)
    dimple = 1.6 * math.exp(-((y - 26.0) ** 2 + (z + 22.0) ** 2) / 160.0)
    plane = c[0] + _PER_Y * (y - 8.0) + _PER_Z * (z + 20.0)
    return float(plane - 0.0035 * below * below + c[1] * wave - dimple)


@inner
def joint_gap(y: float, z: float, c: FloatArray) -> float:
    """Width of the joint space at (y, z), mm."""
    return float(c[2] + 0.4 * math.sin(y / 7.0 + c[5]) * math.sin(z / 8.0 + c[6]))
