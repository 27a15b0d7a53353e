"""Drawing on grey slices: windows, dots, words; the same bytes on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import temporary
from implantflow.fonts import dejavu_sans

Rgb = tuple[int, int, int]
Image = NDArray[np.uint8]

INK: Rgb = (240, 240, 240)
GROUND: Rgb = (16, 18, 22)


def blank(height: int, width: int) -> Image:
    """Empty picture (height, width, 3)."""
    return np.full((height, width, 3), GROUND, dtype=np.uint8)


def windowed(hu: NDArray[np.float64], level: float, width: float) -> Image:
    """Grey picture (H, W, 3) of (H, W) HU; NaN, where the scan ends, is dark blue."""
    share = np.clip((hu - level) / width + 0.5, 0.0, 1.0)
    grey = np.rint(np.nan_to_num(share, nan=0.0) * 255.0).astype(np.uint8)
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    picture[~np.isfinite(hu)] = (12, 20, 44)
    return picture


def dots(picture: Image, at_px: NDArray[np.float64], colour: Rgb, radius: int = 0) -> None:
    """Paint squares of ``2 * radius + 1`` pixels at (N, 2) columns and rows."""
    height, width = picture.shape[:2]
    for column, row in np.rint(at_px).astype(int):
        top, left = max(row - radius, 0), max(column - radius, 0)
        bottom, right = min(row + radius + 1, height), min(column + radius + 1, width)
        if top < bottom and left < right:
            picture[top:bottom, left:right] = colour


def words(
    picture: Image,
    at_px: tuple[int, int],
    text: str,
    *,
    size: int = 14,
    colour: Rgb = INK,
    anchor: str = "la",
) -> None:
    """Write ``text`` at column and row, with a dark rim so that it is readable on any ground."""
    from PIL import Image as Pil
    from PIL import ImageDraw

    image = Pil.fromarray(picture)
    ImageDraw.Draw(image).text(
        at_px, text, fill=colour, font=dejavu_sans(size), anchor=anchor, stroke_width=2, stroke_fill=GROUND
    )
    picture[:] = np.asarray(image)


def write_png(path: Path, picture: Image) -> None:
    """PNG without any metadata."""
    from PIL import Image as Pil

    with temporary(path) as tmp:
        Pil.fromarray(picture).save(tmp, format="PNG", optimize=False, compress_level=6)
