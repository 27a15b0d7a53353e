"""Tissues: codes, and what CT and Gd-enhanced T1-weighted MR show of them.

HU are those of textbooks; MR signals are arbitrary units with fat at 250.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Tissue(IntEnum):
    """Codes of everything that is not bone."""

    AIR = 0
    SKIN = 1
    FAT = 2
    VISCERAL_FAT = 3
    MUSCLE = 4
    BOWEL = 5
    BOWEL_FULL = 6
    GAS = 7
    BLOOD = 8
    BLADDER_WALL = 9
    URINE = 10
    ANNULUS = 11
    NUCLEUS = 12
    THECAL_SAC = 13
    EPIDURAL_FAT = 14
    LIGAMENT = 15
    TABLE = 16
    NERVE = 17
    CARTILAGE = 18


#: tissue -> (HU, its slow variation, MR signal, its slow variation)
_APPEARANCE: dict[Tissue, tuple[float, float, float, float]] = {
    Tissue.AIR: (-1000, 0, 2, 0),
    Tissue.SKIN: (25, 5, 120, 5),
    Tissue.FAT: (-103, 7, 250, 8),
    Tissue.VISCERAL_FAT: (-98, 9, 240, 10),
    Tissue.MUSCLE: (52, 9, 105, 9),
    Tissue.BOWEL: (28, 10, 130, 14),
    Tissue.BOWEL_FULL: (42, 14, 115, 18),
    Tissue.GAS: (-940, 0, 4, 0),
    Tissue.BLOOD: (44, 2, 290, 10),
    Tissue.BLADDER_WALL: (40, 4, 130, 6),
    Tissue.URINE: (6, 1, 45, 2),
    Tissue.ANNULUS: (98, 8, 70, 5),
    Tissue.NUCLEUS: (76, 6, 85, 5),
    Tissue.THECAL_SAC: (14, 3, 60, 4),
    Tissue.EPIDURAL_FAT: (-70, 8, 235, 10),
    Tissue.LIGAMENT: (62, 14, 60, 10),
    Tissue.TABLE: (-170, 0, 2, 0),
    Tissue.NERVE: (30, 3, 140, 5),
    Tissue.CARTILAGE: (55, 12, 95, 8),
}


def appearance(column: int) -> NDArray[np.float64]:
    """Table over tissue codes: column 0 HU, 1 its variation, 2 MR signal, 3 its variation."""
    return np.array([_APPEARANCE[tissue][column] for tissue in Tissue], dtype=np.float64)
