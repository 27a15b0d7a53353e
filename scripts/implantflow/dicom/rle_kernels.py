"""Compiled walk along one run-length coded segment (DICOM PS3.5 G.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel


@kernel
def walk(data: NDArray[np.uint8], wanted: int) -> tuple[int, int]:
    """Bytes that the segment ``data`` decodes to, and coded bytes used, up to ``wanted`` decoded ones."""
    used, made = 0, 0
    while made < wanted and used < len(data):
        count = int(data[used])
        used += 1
        if count < 128:
            made += count + 1
            used += count + 1
        elif count > 128:
            made += 257 - count
            used += 1
    return made, used
