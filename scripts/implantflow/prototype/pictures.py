"""Pictures of solids as PNG bytes: orthographic, shaded, with the patient's sides and a scale bar."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.fonts import dejavu_sans
from implantflow.geometry import FloatArray, unit
from implantflow.solids.mesh import Solid

BONE = (0.90, 0.86, 0.74)
METAL = (0.62, 0.68, 0.76)
_BACKGROUND = 1.0
#: White at the sides and the top, where the letters stand; at the bottom also the scale bar.
_EDGE_PX, _FOOT_PX = 34, 48
_BAR_MM = 20.0
_SIDES = (("R", "L"), ("A", "P"), ("F", "H"))

#: Name -> (viewing direction into the picture, up), patient LPS. Level cuts are seen from the feet, as radiologists and
#: the report show them: seen from above they would be their mirror images.
VIEWS = {
    "from the front": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "from behind": ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "from the left": ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "from the right": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "from the feet": ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
}


@dataclass(frozen=True)
class Item:
    """A solid and its colour: one (3,) for all, or one per triangle (M, 3), components 0-1."""

    solid: Solid
    colour: tuple[float, float, float] | FloatArray


def edge_letters(view: str) -> tuple[str, str, str, str]:
    """The patient's sides at the left, right, top and bottom edge of a view: of R, L, A, P, H, F."""
    into, up = (np.asarray(v) for v in VIEWS[view])
    right = np.cross(into, up)
    return _side(-right), _side(right), _side(up), _side(-up)


def _side(direction: FloatArray) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return _SIDES[axis][int(direction[axis] > 0)]


def render(items: Sequence[Item], view: str, width_px: int = 520) -> bytes:
    """PNG of ``items`` seen in one of :data:`VIEWS`, scaled to fit, with side letters and a 20 mm scale bar."""
    from implantflow.prototype.raster import draw

    into, up = (np.asarray(v) for v in VIEWS[view])
    right = np.cross(into, up)
    frame = np.column_stack([right, -up, into])
    places = [item.solid.vertices @ frame for item in items]
    low = np.min([p.min(axis=0) for p in places], axis=0)
    high = np.max([p.max(axis=0) for p in places], axis=0)
    scale = (width_px - 2 * _EDGE_PX) / max(high[0] - low[0], (high[1] - low[1]) / 1.2)
    height_px = int((high[1] - low[1]) * scale) + _EDGE_PX + _FOOT_PX
    image = np.full((height_px, width_px, 3), _BACKGROUND)
    depth = np.full((height_px, width_px), np.inf)
    shift = np.array([(width_px - (high[0] - low[0]) * scale) / 2.0, _EDGE_PX])
    light = unit(-into - 0.5 * right + 0.6 * up)
    for item, place in zip(items, places, strict=True):
        flat = place.copy()
        flat[:, :2] = (place[:, :2] - low[:2]) * scale + shift
        normal = item.solid.normals
        towards = normal @ -into
        shade = 0.30 + 0.70 * np.clip(normal @ light, 0.0, 1.0)
        colour = np.broadcast_to(np.asarray(item.colour, dtype=np.float64), (len(normal), 3))
        visible = towards > 0
        corners = np.ascontiguousarray(flat[item.solid.faces[visible]])
        draw(corners, np.ascontiguousarray((colour * shade[:, None])[visible]), image, depth)
    image[-12:-8, 12 : 12 + round(_BAR_MM * scale)] = 0.0
    return png_bytes(_marked((np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), view))


def _marked(image: NDArray[np.uint8], view: str) -> NDArray[np.uint8]:
    """The picture with its side letters and the length of its bar, rimmed white: readable on any ground."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    middle = (height - _FOOT_PX + _EDGE_PX) // 2
    places = (
        (6, middle, "lm"),
        (width - 6, middle, "rm"),
        (width // 2, 4, "ma"),
        (width // 2, height - 4, "md"),
    )
    texts = [
        (x, y, anchor, text, 24) for (x, y, anchor), text in zip(places, edge_letters(view), strict=True)
    ]
    for x, y, anchor, text, size in [*texts, (12, height - 16, "ld", f"{_BAR_MM:g} mm", 14)]:
        font = dejavu_sans(size, bold=True)
        pen.text((x, y), text, fill=0, font=font, anchor=anchor, stroke_width=2, stroke_fill=(255, 255, 255))
    return np.asarray(picture)


def change_colours(change_mm: FloatArray, limit_mm: float) -> FloatArray:
    """Colours (M, 3): grey unchanged, red grown, blue removed, full at ``limit_mm``."""
    t = np.clip(change_mm / limit_mm, -1.0, 1.0)[:, None]
    grey, red, blue = np.array([0.80, 0.80, 0.80]), np.array([0.85, 0.15, 0.10]), np.array([0.10, 0.30, 0.85])
    return np.asarray(np.where(t > 0, grey + t * (red - grey), grey - t * (blue - grey)))


def png_bytes(rgb: NDArray[np.uint8]) -> bytes:
    """PNG file of an (H, W, 3) image (ISO/IEC 15948, no filter, no date)."""
    height, width, _ = rgb.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), rgb.reshape(height, width * 3)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
