"""Codes of the label map."""

from __future__ import annotations

SACRUM, HIP_LEFT, HIP_RIGHT, L5, L4_AND_ABOVE, FEMORA, COCCYX, OTHER = 1, 2, 3, 4, 5, 6, 7, 9
LABELS = {
    "sacrum": SACRUM,
    "hip_left": HIP_LEFT,
    "hip_right": HIP_RIGHT,
    "l5": L5,
    "l4_and_above": L4_AND_ABOVE,
    "femora": FEMORA,
    "coccyx": COCCYX,
    "other_bone": OTHER,
}
