"""Raised letters on a solid: a pixel font of five by seven, each pixel a block that follows the surface."""

from __future__ import annotations

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray
from implantflow.solids.booleans import to_manifold, union
from implantflow.solids.mesh import Solid
from implantflow.solids.shapes import oriented_box

ROWS, COLUMNS = 7, 5

# Seven rows of five dots per character, the topmost first, leftmost dot in the highest bit.
_FONT = {
    " ": "00000000000000", "-": "0000001F000000", "_": "0000000000001F", ".": "00000000000C0C",
    "0": "0E11131519110E", "1": "040C040404040E", "2": "0E11010204081F", "3": "1F02040201110E",
    "4": "02060A121F0202", "5": "1F101E0101110E", "6": "0608101E11110E", "7": "1F010204080808",
    "8": "0E11110E11110E", "9": "0E11110F01020C", "A": "0E11111F111111", "B": "1E11111E11111E",
    "C": "0E11101010110E", "D": "1C12111111121C", "E": "1F10101E10101F", "F": "1F10101E101010",
    "G": "0E11101711110F", "H": "1111111F111111", "I": "0E04040404040E", "J": "0702020202120C",
    "K": "11121418141211", "L": "1010101010101F", "M": "111B1515111111", "N": "11111915131111",
    "O": "0E11111111110E", "P": "1E11111E101010", "Q": "0E11111115120D", "R": "1E11111E141211",
    "S": "0F10100E01011E", "T": "1F040404040404", "U": "1111111111110E", "V": "11111111110A04",
    "W": "1111111515150A", "X": "11110A040A1111", "Y": "1111110A040404", "Z": "1F01020408101F",
}  # fmt: skip


def dots(text: str) -> FloatArray:
    """Column and row (N, 2) of every dot of ``text``, row 0 at the bottom, one column between characters.

    Raises
    ------
    GeometryError
        A character has no glyph.
    """
    places: list[tuple[int, int]] = []
    for number, character in enumerate(text.upper()):
        if character not in _FONT:
            raise GeometryError(f"no glyph for {character!r} in {text!r}", fix="use A-Z, 0-9, '-', '_', '.'")
        code = _FONT[character]
        for row in range(ROWS):
            bits = int(code[2 * row : 2 * row + 2], 16)
            for column in range(COLUMNS):
                if bits >> (COLUMNS - 1 - column) & 1:
                    places.append((number * (COLUMNS + 1) + column, ROWS - 1 - row))
    return np.array(places, dtype=np.float64).reshape(-1, 2)


def text_size_mm(text: str, pixel_mm: float) -> tuple[float, float]:
    """Width and height of ``text`` in mm."""
    return (len(text) * (COLUMNS + 1) - 1) * pixel_mm, ROWS * pixel_mm


def emboss(
    solid: Solid,
    text: str,
    centre_mm: FloatArray,
    rotation: FloatArray,
    pixel_mm: float,
    height_mm: float,
    root_mm: float = 1.0,
) -> Solid:
    """``solid`` with ``text`` standing out of its surface by ``height_mm``.

    Parameters
    ----------
    centre_mm : (3,) point on the surface under the middle of the text.
    rotation : (3, 3) columns: reading direction, up of the letters, outward normal.
    root_mm : how far each block reaches below the surface, so that it is one piece with the solid.

    Raises
    ------
    GeometryError
        A dot finds no surface below it: the place is too small for the text.
    """
    manifold = to_manifold(solid)
    width, tall = text_size_mm(text, pixel_mm)
    blocks = []
    for column, row in dots(text):
        flat = np.array([(column + 0.5) * pixel_mm - width / 2.0, (row + 0.5) * pixel_mm - tall / 2.0, 0.0])
        base = centre_mm + rotation @ flat
        hits = manifold.ray_cast(
            (base + 6.0 * rotation[:, 2]).tolist(), (base - 6.0 * rotation[:, 2]).tolist()
        )
        if not hits:
            raise GeometryError(f"no surface below a letter of {text!r}", fix="use smaller letters")
        level = 6.0 - 12.0 * min(hit.distance for hit in hits)
        middle = base + rotation[:, 2] * (level + (height_mm - root_mm) / 2.0)
        size = [1.04 * pixel_mm, 1.04 * pixel_mm, height_mm + root_mm]
        blocks.append(oriented_box(middle, rotation, size))
    return union(solid, *blocks)


def preview(text: str) -> str:
    """The text as it will look, in characters (for tests and logs)."""
    width = len(text) * (COLUMNS + 1) - 1
    grid = np.full((ROWS, width), ".")
    for column, row in dots(text).astype(int):
        grid[ROWS - 1 - row, column] = "#"
    return "\n".join("".join(line) for line in grid)
