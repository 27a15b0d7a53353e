"""Colours of the report, from the Okabe-Ito set (told apart with any kind of colour blindness)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]

BONE: Rgb = (222, 206, 178)
SACRUM: Rgb = (240, 196, 106)
HIP_LEFT: Rgb = (86, 180, 233)
HIP_RIGHT: Rgb = (0, 158, 115)
L5: Rgb = (204, 121, 167)
TUMOUR: Rgb = (213, 94, 0)
TUMOUR_AFTER: Rgb = (0, 158, 205)
SPECIMEN: Rgb = (230, 159, 0)
IMPLANT: Rgb = (0, 114, 178)
POROUS: Rgb = (141, 186, 217)
DENSE: Rgb = (0, 72, 124)
CONTACT: Rgb = (230, 159, 0)
HOLE: Rgb = (213, 94, 0)
CABLE: Rgb = (204, 121, 167)
PLANE: Rgb = (0, 158, 115)
JOINT: Rgb = (204, 121, 167)
#: Stress that the strength check does not judge.
NOT_JUDGED: Rgb = (205, 205, 205)

#: Colour of each bone surface by its name in `segment/`.
BONES: dict[str, Rgb] = {"sacrum": SACRUM, "hip_left": HIP_LEFT, "hip_right": HIP_RIGHT, "l5": L5}


def unit_rgb(colour: Rgb) -> tuple[float, float, float]:
    """0-255 to 0-1."""
    return (colour[0] / 255.0, colour[1] / 255.0, colour[2] / 255.0)


def _ramp(stops: list[Rgb]) -> NDArray[np.uint8]:
    at = np.linspace(0.0, 1.0, len(stops))
    x = np.linspace(0.0, 1.0, 256)
    table = np.stack([np.interp(x, at, [s[c] for s in stops]) for c in range(3)], axis=1)
    return np.asarray(np.rint(table), dtype=np.uint8)


#: Below zero blue, zero near white, above zero orange-red; lightness falls alike on both sides.
DIVERGING = _ramp(
    [
        (5, 66, 128),
        (67, 137, 194),
        (186, 216, 235),
        (242, 240, 236),
        (248, 197, 154),
        (222, 114, 52),
        (140, 45, 4),
    ]
)
#: Dark violet to yellow, lightness strictly rising.
SEQUENTIAL = _ramp(
    [(48, 18, 80), (72, 60, 140), (42, 120, 142), (53, 170, 120), (150, 210, 70), (253, 231, 37)]
)


def diverging(values: NDArray[np.float64], limit: float) -> NDArray[np.uint8]:
    """Colours (..., 3) of signed values; ``limit`` is the value of full colour."""
    index = np.clip((np.asarray(values) / limit + 1.0) / 2.0, 0.0, 1.0) * 255.0
    return np.asarray(DIVERGING[np.rint(np.nan_to_num(index, nan=127.0)).astype(int)])


def sequential(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Colours (..., 3) of values from ``low`` to ``high``."""
    index = np.clip((np.asarray(values) - low) / max(high - low, 1e-12), 0.0, 1.0) * 255.0
    return np.asarray(SEQUENTIAL[np.rint(np.nan_to_num(index)).astype(int)])
