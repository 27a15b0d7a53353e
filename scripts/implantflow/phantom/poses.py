"""How the patient lies in each scanner: small turns and shifts, fixed by the draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from implantflow.geometry import FloatArray, rotation_angle_deg
from implantflow.phantom.parameters import Shape

SERIES = ("ct_planning", "mr_diagnosis", "mr_preoperative")
#: Largest turn about each axis (degrees) and the least the MR differs from the CT by, as a whole.
_CT_TURN_DEG, _MR_TURN_DEG, _LEAST_MR_TURN_DEG = 2.5, 5.0, 4.0


def rigid(turns_deg: ArrayLike, shift_mm: ArrayLike) -> FloatArray:
    """4x4 rotation about x, then y, then z by ``turns_deg``, followed by ``shift_mm``."""
    x, y, z = np.radians(np.asarray(turns_deg, float))
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = about_z @ about_y @ about_x, np.asarray(shift_mm, float)
    return out


def poses(shape: Shape) -> dict[str, FloatArray]:
    """Series name -> rigid 4x4 from the anatomy frame to that scanner's patient LPS (rounded to 1e-6).

    The CT's table position gives its z an offset of several hundred millimetres; each MR is centred at its magnet
    and shows the patient turned by at least four degrees and some ten millimetres off.
    """
    rng = np.random.default_rng([shape.seed, 31])
    ct = rigid(rng.uniform(-1, 1, 3) * _CT_TURN_DEG, [*rng.uniform(-9, 9, 2), rng.uniform(-640, -560)])
    found = {"ct_planning": ct}
    for name in SERIES[1:]:
        while True:
            turns = rng.uniform(-1, 1, 3) * _MR_TURN_DEG
            placed = rigid(turns, np.append(rng.uniform(-12, 12, 2), rng.uniform(8, 30)))
            if rotation_angle_deg(placed[:3, :3] @ ct[:3, :3].T) >= _LEAST_MR_TURN_DEG:
                break
        found[name] = placed
    return {name: np.round(matrix, 6) for name, matrix in found.items()}
