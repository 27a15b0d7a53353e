"""Damage to one file. Every function takes the bytes, a generator and the tally, and gives damaged bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tests.fuzz.bases import COMPRESSED
from tests.fuzz.elements import KEYWORDS, Element, find, pixel_element, syntax_of

Rng = np.random.Generator

#: Bits of float text that matter: what a wrong digit can be.
_DIGITS = b"0123456789"
_VRS = (
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV "
    b"ZZ xx"
).split()


@dataclass
class Tally:
    """What was done to the stored pixels: bits flipped in uncompressed ones, damage to compressed streams."""

    pixel_bits: int = 0
    stream: bool = False
    notes: list[str] = field(default_factory=list)


Damage = Callable[[bytearray, Rng, Tally], None]


def _flip(data: bytearray, at: int, rng: Rng) -> None:
    if at < len(data):
        data[at] ^= 1 << int(rng.integers(0, 8))


def _header_end(data: bytes | bytearray) -> int:
    pixels = pixel_element(bytes(data))
    return pixels.start if pixels else len(data)


def _element(data: bytearray, rng: Rng, keywords: tuple[str, ...] = KEYWORDS) -> Element | None:
    """A random place of a random keyword that is in the file."""
    for keyword in rng.permutation(keywords):
        places = find(bytes(data), str(keyword))
        if places:
            return places[int(rng.integers(len(places)))]
    return None


def header_bits(data: bytearray, rng: Rng, tally: Tally) -> None:
    """One to three bits anywhere before the pixel data, preamble included."""
    end = _header_end(data)
    for _ in range(int(rng.integers(1, 4))):
        _flip(data, int(rng.integers(0, max(end, 1))), rng)


def element_bits(data: bytearray, rng: Rng, tally: Tally) -> None:
    """One bit in the value, or in tag, representation or length, of an element that matters."""
    element = _element(data, rng)
    if element is None:
        return
    tally.notes.append(element.keyword)
    # What looks like an element by chance must not reach into the pixels.
    last = min(element.end, max(_header_end(data), element.value))
    inside = rng.random() < 0.7 and last > element.value and element.keyword != "PixelData"
    low, high = (element.value, last) if inside else (element.start, element.value)
    _flip(data, int(rng.integers(low, high)), rng)


def wrong_digit(data: bytearray, rng: Rng, tally: Tally) -> None:
    """Another digit in a number that places or scales the image."""
    numbers = (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    )
    element = _element(data, rng, numbers)
    if element is None:
        return
    tally.notes.append(element.keyword)
    digits = [at for at in range(element.value, min(element.end, _header_end(data))) if data[at] in _DIGITS]
    if digits:
        data[int(rng.choice(digits))] = int(rng.choice(list(_DIGITS)))


def wrong_vr(data: bytearray, rng: Rng, tally: Tally) -> None:
    """Another value representation, known or not."""
    element = _element(data, rng)
    if element is not None and element.vr is not None:
        tally.notes.append(element.keyword)
        data[element.vr : element.vr + 2] = _VRS[int(rng.integers(len(_VRS)))]


def wrong_length(data: bytearray, rng: Rng, tally: Tally) -> None:
    """A length that cannot be: huge, undefined, odd, negative."""
    element = _element(data, rng)
    if element is None:
        return
    tally.notes.append(element.keyword)
    sizes = (0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0x80000000, 0x10000000, 0xFFFF, 0x7FFF, 0x101, 1, 0)
    value = int(rng.choice(sizes)) & (2 ** (8 * element.length_size) - 1)
    data[element.length_at : element.value] = value.to_bytes(element.length_size, "little")


def remove_element(data: bytearray, rng: Rng, tally: Tally) -> None:
    """An element taken out whole."""
    element = _element(data, rng)
    if element is not None:
        tally.notes.append(element.keyword)
        del data[element.start : element.end]


def swap_values(data: bytearray, rng: Rng, tally: Tally) -> None:
    """One element's value written over another's."""
    first, second = _element(data, rng), _element(data, rng)
    if first is None or second is None or "PixelData" in (first.keyword, second.keyword):
        return
    tally.notes.append(f"{first.keyword} over {second.keyword}")
    size = max(0, min(first.end - first.value, min(second.end, _header_end(data)) - second.value))
    data[second.value : second.value + size] = data[first.value : first.value + size]


def pixel_bits(data: bytearray, rng: Rng, tally: Tally) -> None:
    """One to four bits of the pixel data."""
    element = pixel_element(bytes(data))
    if element is None or element.end <= element.value:
        return
    compressed = syntax_of(bytes(data)) in COMPRESSED
    for _ in range(int(rng.integers(1, 5))):
        _flip(data, int(rng.integers(element.value, element.end)), rng)
        tally.pixel_bits += not compressed
    tally.stream |= compressed


def truncate(data: bytearray, rng: Rng, tally: Tally) -> None:
    """Cut anywhere, or by a few bytes only."""
    keep = (
        int(rng.integers(0, max(len(data), 1)))
        if rng.random() < 0.6
        else len(data) - int(rng.integers(1, 40))
    )
    tally.stream |= syntax_of(bytes(data)) in COMPRESSED
    del data[max(keep, 0) :]


def insert_or_lose(data: bytearray, rng: Rng, tally: Tally) -> None:
    """A few bytes too many or too few, as after a transfer in text mode."""
    at, size = int(rng.integers(0, max(len(data), 1))), int(rng.integers(1, 9))
    compressed, inside = syntax_of(bytes(data)) in COMPRESSED, at >= _header_end(data)
    tally.stream |= compressed and inside
    # Bytes put in here and lost there again leave the length as it was, and shift the pixels in between.
    tally.pixel_bits += (len(data) - at) if inside and not compressed else 0
    if rng.random() < 0.5:
        data[at:at] = rng.bytes(size)
    else:
        del data[at : at + size]


def overwrite(data: bytearray, rng: Rng, tally: Tally) -> None:
    """A stretch of zeros, ones or noise, as from a bad sector."""
    at, size = int(rng.integers(0, max(len(data), 1))), int(rng.choice([16, 64, 512]))
    size = min(size, len(data) - at)
    end = _header_end(data)
    compressed = syntax_of(bytes(data)) in COMPRESSED
    inside = max(0, at + size - max(at, end))
    tally.pixel_bits += 0 if compressed else inside * 8
    tally.stream |= compressed and inside > 0
    data[at : at + size] = (b"\0" * size, b"\xff" * size, rng.bytes(size))[int(rng.integers(3))]


def garbage(data: bytearray, rng: Rng, tally: Tally) -> None:
    """Nothing of the file is left: empty, noise, or text."""
    data[:] = (b"", rng.bytes(400), b"\0" * 132 + b"DICM" + rng.bytes(60), b"<html></html>")[
        int(rng.integers(4))
    ]


DAMAGES: dict[str, tuple[float, Damage]] = {
    "header_bits": (3.0, header_bits),
    "element_bits": (4.0, element_bits),
    "wrong_digit": (2.0, wrong_digit),
    "wrong_vr": (1.5, wrong_vr),
    "wrong_length": (1.5, wrong_length),
    "remove_element": (1.0, remove_element),
    "swap_values": (0.7, swap_values),
    "pixel_bits": (1.5, pixel_bits),
    "truncate": (1.0, truncate),
    "insert_or_lose": (1.0, insert_or_lose),
    "overwrite": (0.7, overwrite),
    "garbage": (0.3, garbage),
}
