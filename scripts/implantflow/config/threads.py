"""Metric coarse threads: nominal diameter, pitch and limits of the core diameter of a tapped hole.

Series: ISO 261/262, coarse. Limits of the minor diameter of an internal thread, class 6H: ISO 965-2, as commonly
tabulated (the standards were not read); the lower one is the basic profile's D - 1.0825 P (ISO 724), the upper one adds
the tolerance of ISO 965-1. tests/implant checks both against those formulas.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

ThreadSize = Literal["M3", "M4", "M5", "M6", "M7", "M8", "M10", "M12"]


class Thread(NamedTuple):
    """Millimetres: nominal (major) diameter, pitch, least and greatest core diameter before the thread is cut."""

    diameter_mm: float
    pitch_mm: float
    core_min_mm: float
    core_max_mm: float


THREADS: dict[ThreadSize, Thread] = {
    "M3": Thread(3.0, 0.5, 2.459, 2.599),
    "M4": Thread(4.0, 0.7, 3.242, 3.422),
    "M5": Thread(5.0, 0.8, 4.134, 4.334),
    "M6": Thread(6.0, 1.0, 4.917, 5.153),
    "M7": Thread(7.0, 1.0, 5.917, 6.153),
    "M8": Thread(8.0, 1.25, 6.647, 6.912),
    "M10": Thread(10.0, 1.5, 8.376, 8.676),
    "M12": Thread(12.0, 1.75, 10.106, 10.441),
}
