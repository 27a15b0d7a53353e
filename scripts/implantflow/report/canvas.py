"""Marking and joining pictures with Pillow: text, outlines, scale bars, letters for the patient's sides, stamps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from implantflow.fonts import dejavu_sans

Float = NDArray[np.float64]
Rgb = tuple[int, int, int]

INK: Rgb = (33, 37, 41)
PAPER: Rgb = (255, 255, 255)
_STAMP_HEIGHT, _GAP_PX = 22, 10


def text(
    image: NDArray[np.uint8],
    at: tuple[int, int],
    words: str,
    *,
    size: int = 14,
    colour: Rgb = INK,
    anchor: str = "la",
    bold: bool = False,
    outline: Rgb | None = None,
) -> NDArray[np.uint8]:
    """Write ``words`` at column, row; ``anchor`` as in Pillow; ``outline`` makes it readable on any ground."""
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text(
        at,
        words,
        fill=colour,
        font=dejavu_sans(size, bold),
        anchor=anchor,
        stroke_width=2 if outline is not None else 0,
        stroke_fill=outline,
    )
    return np.asarray(picture)


def lines(
    image: NDArray[np.uint8], segments_px: Float, colour: Rgb, width_px: float = 1.6
) -> NDArray[np.uint8]:
    """Draw loose segments (S, 2, 2), smooth-edged (drawn three times finer and averaged)."""
    if not len(segments_px):
        return image
    fine = 3
    height, width = image.shape[:2]
    mask = Image.new("L", (width * fine, height * fine), 0)
    pen = ImageDraw.Draw(mask)
    thick = max(1, round(width_px * fine))
    for (x0, y0), (x1, y1) in np.asarray(segments_px) * fine + (fine - 1) / 2.0:
        pen.line((x0, y0, x1, y1), fill=255, width=thick)
    return blend(image, np.asarray(mask.reduce(fine), dtype=np.float32) / 255.0, colour)


def blend(image: NDArray[np.uint8], share: Any, colour: Rgb) -> NDArray[np.uint8]:
    """Mix ``colour`` into ``image`` by ``share`` (H, W) 0-1 (a bool mask counts as 0 and 1)."""
    alpha = np.asarray(share, dtype=np.float32)[..., None]
    mixed = image.astype(np.float32) * (1.0 - alpha) + np.asarray(colour, np.float32) * alpha
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def letters(image: NDArray[np.uint8], markers: tuple[str, str, str, str], *, dark: bool) -> NDArray[np.uint8]:
    """Letters of the patient's sides at the left, right, top and bottom edge."""
    height, width = image.shape[:2]
    ink, edge = ((255, 255, 255), (0, 0, 0)) if dark else (INK, PAPER)
    places = [
        ((7, height // 2), "lm"),
        ((width - 8, height // 2), "rm"),
        ((width // 2, 5), "ma"),
        ((width // 2, height - 6), "md"),
    ]
    for letter, (at, anchor) in zip(markers, places, strict=True):
        image = text(image, at, letter, size=16, colour=ink, anchor=anchor, bold=True, outline=edge)
    return image


def scale_bar(image: NDArray[np.uint8], mm_per_px: float, *, dark: bool) -> NDArray[np.uint8]:
    """A bar of a round length, at most a quarter of the width, at the lower left."""
    height, width = image.shape[:2]
    fitting = [mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm / mm_per_px <= width / 4]
    length_mm = fitting[-1] if fitting else 1
    ink, edge = ((255, 255, 255), (0, 0, 0)) if dark else (INK, PAPER)
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    left, row, end = 12, height - 12, 12 + round(length_mm / mm_per_px)
    pen.rectangle((left - 1, row - 2, end + 1, row + 3), fill=edge)
    pen.rectangle((left, row - 1, end, row + 2), fill=ink)
    return text(
        np.asarray(picture),
        (left, row - 5),
        f"{length_mm} mm",
        size=12,
        colour=ink,
        anchor="ld",
        outline=edge,
    )


def titled(image: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """Put a white strip with a title above a picture."""
    strip = np.full((26, image.shape[1], 3), 255, np.uint8)
    return np.vstack([text(strip, (2, 5), title, size=13, bold=True), image])


def row(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures side by side on white, aligned at the top."""
    height = max(i.shape[0] for i in images)
    parts: list[NDArray[np.uint8]] = []
    for number, image in enumerate(images):
        if number:
            parts.append(np.full((height, _GAP_PX, 3), 255, np.uint8))
        below = np.full((height - image.shape[0], image.shape[1], 3), 255, np.uint8)
        parts.append(np.vstack([image, below]))
    return np.hstack(parts)


def column(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures below one another on white, aligned at the left."""
    width = max(i.shape[1] for i in images)
    parts: list[NDArray[np.uint8]] = []
    for number, image in enumerate(images):
        if number:
            parts.append(np.full((_GAP_PX, width, 3), 255, np.uint8))
        beside = np.full((image.shape[0], width - image.shape[1], 3), 255, np.uint8)
        parts.append(np.hstack([image, beside]))
    return np.vstack(parts)


def legend(image: NDArray[np.uint8], entries: Sequence[tuple[str, Rgb]]) -> NDArray[np.uint8]:
    """Put a strip of coloured squares with names below a picture, wrapped to its width."""
    width = image.shape[1]
    rows: list[NDArray[np.uint8]] = []
    strip, at = np.full((24, width, 3), 255, np.uint8), 4
    for name, colour in entries:
        need = 26 + round(dejavu_sans(13).getlength(name)) + 18
        if at + need > width and at > 4:
            rows.append(strip)
            strip, at = np.full((24, width, 3), 255, np.uint8), 4
        strip = strip.copy()
        strip[6:18, at : at + 14] = colour
        strip = text(strip, (at + 20, 12), name, size=13, anchor="lm")
        at += need
    return np.vstack([image, *rows, strip])


def colour_bar(
    image: NDArray[np.uint8], colours: NDArray[np.uint8], low: str, middle: str, high: str, what: str
) -> NDArray[np.uint8]:
    """Put a colour scale (n, 3) with three figures and its meaning below a picture."""
    strip = np.full((40, image.shape[1], 3), 255, np.uint8)
    width = min(360, image.shape[1] - 20)
    index = np.linspace(0, len(colours) - 1, width).round().astype(int)
    strip[4:16, 10 : 10 + width] = colours[index]
    for words, at, anchor in ((low, 10, "la"), (middle, 10 + width // 2, "ma"), (high, 10 + width, "ra")):
        strip = text(strip, (at, 20), words, size=12, anchor=anchor)
    if image.shape[1] > width + 180:
        strip = text(strip, (width + 24, 3), what, size=13)
        return np.vstack([image, strip])
    named = text(np.full((20, image.shape[1], 3), 255, np.uint8), (10, 2), what, size=13)
    return np.vstack([image, named, strip])


def stamp(image: NDArray[np.uint8], words: str) -> NDArray[np.uint8]:
    """Put a dark strip with ``words`` below a picture; part of the pixels, so it survives copy and paste."""
    if not words:
        return image
    strip = np.full((_STAMP_HEIGHT, image.shape[1], 3), (60, 64, 72), np.uint8)
    size = 12
    while size > 7 and dejavu_sans(size, True).getlength(words) > image.shape[1] - 8:
        size -= 1
    middle = (image.shape[1] // 2, _STAMP_HEIGHT // 2)
    return np.vstack([image, text(strip, middle, words, size=size, colour=PAPER, anchor="mm", bold=True)])


def to_png(image: NDArray[np.uint8]) -> bytes:
    """PNG without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def to_jpeg(image: NDArray[np.uint8]) -> bytes:
    """JPEG without metadata, full colour resolution (thin coloured outlines stay sharp)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=88, subsampling=0, optimize=True)
    return buffer.getvalue()
