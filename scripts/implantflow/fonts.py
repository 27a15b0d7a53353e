"""The typeface of all pictures that stages and report draw."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any


@functools.cache
def dejavu_sans(size: int, bold: bool = False) -> Any:
    """DejaVu Sans for Pillow, ``size`` in pixels.

    The file that matplotlib ships, laid out without libraqm: no font or layout engine of the machine is used, so the
    same words give the same pixels everywhere.
    """
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
