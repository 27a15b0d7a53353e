"""Small files that ask for much: deep nesting, claims of huge images, streams that expand a thousandfold."""

from __future__ import annotations

import struct
import zlib

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from tests.fuzz.elements import dataset_start, find, pixel_element, syntax_of
from tests.fuzz.mutate import Damage, Rng, Tally


def _insert_before_pixels(data: bytearray, element: bytes) -> None:
    pixels = pixel_element(bytes(data))
    at = pixels.start if pixels else len(data)
    data[at:at] = element


def nesting(data: bytearray, rng: Rng, tally: Tally) -> None:
    """A private sequence in a sequence in a sequence, of undefined length, closed or not."""
    depth = int(rng.choice([20, 200, 1500, 5000, 20000]))
    if syntax_of(bytes(data)) == ImplicitVRLittleEndian:
        opened = b"\x29\x00\x10\x10\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    else:
        opened = b"\x29\x00\x10\x10SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    tally.notes.append(f"depth {depth}")
    _insert_before_pixels(data, opened * depth + (closed * depth if rng.random() < 0.5 else b""))


def _write_us(data: bytearray, keyword: str, value: int) -> None:
    order = ">H" if syntax_of(bytes(data)) == ExplicitVRBigEndian else "<H"
    for element in find(bytes(data), keyword):
        if element.end - element.value == 2:
            data[element.value : element.end] = struct.pack(order, value)


def _stream_size(data: bytearray, rows: int, columns: int) -> None:
    """Make the compressed stream claim the size that the header claims."""
    syntax = syntax_of(bytes(data))
    if syntax == JPEG2000Lossless:
        at = data.find(b"\xff\x4f\xff\x51")
        if at >= 0:
            struct.pack_into(">II", data, at + 8, columns, rows)
            struct.pack_into(">II", data, at + 24, columns, rows)
    if syntax == JPEGLSLossless:
        at = data.find(b"\xff\xf7")
        if at >= 0:
            struct.pack_into(">HH", data, at + 5, rows, columns)


def huge_image(data: bytearray, rng: Rng, tally: Tally) -> None:
    """Rows and columns that a few hundred bytes cannot hold; half of the time the stream claims them too."""
    rows, columns = (int(rng.choice([4096, 16384, 40000, 65535])) for _ in range(2))
    tally.notes.append(f"{rows}x{columns}")
    _write_us(data, "Rows", rows)
    _write_us(data, "Columns", columns)
    if rng.random() < 0.5:
        _stream_size(data, rows, columns)
    tally.stream = True


def rle_bomb(data: bytearray, rng: Rng, tally: Tally) -> None:
    """RLE runs of zeros: 64 bytes for each byte, up to what rows and columns claim."""
    if syntax_of(bytes(data)) != RLELossless:
        return huge_image(data, rng, tally)
    side = int(rng.choice([2048, 8192, 16384]))
    runs = b"\x81\x00" * (side * side // 128 + 1)
    runs = runs[: 2 << 20]
    header = struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13)
    frame = header + runs + runs
    frame += b"\0" * (len(frame) % 2)
    pixels = pixel_element(bytes(data))
    if pixels is None:
        return None
    items = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0" + struct.pack("<I", len(frame)) + frame
    data[pixels.value :] = items + b"\xfe\xff\xdd\xe0\0\0\0\0"
    _write_us(data, "Rows", side)
    _write_us(data, "Columns", side)
    tally.stream = True
    tally.notes.append(f"{side}x{side}")


def many_frames(data: bytearray, rng: Rng, tally: Tally) -> None:
    """A number of frames that is not there."""
    value = str(int(rng.choice([0, 5, 7, 65535, 10**9, -3]))).encode()
    value += b" " * (len(value) % 2)
    places = find(bytes(data), "NumberOfFrames")
    for element in places:
        data[element.length_at : element.end] = len(value).to_bytes(element.length_size, "little") + value
    if not places:
        implicit = syntax_of(bytes(data)) == ImplicitVRLittleEndian
        head = struct.pack("<I", len(value)) if implicit else b"IS" + struct.pack("<H", len(value))
        rows = find(bytes(data), "Rows")
        if rows:
            data[rows[0].start : rows[0].start] = b"\x28\x00\x08\x00" + head + value


def deflate_bomb(data: bytes, rng: Rng) -> bytes:
    """A deflated file whose data set inflates to hundreds of megabytes of a private element."""
    if syntax_of(data) != DeflatedExplicitVRLittleEndian:
        return data
    start = dataset_start(data)
    size = int(rng.choice([64, 400, 1600])) << 20
    clear = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:])
    pixels = clear.rfind(b"\xe0\x7f\x10\x00")
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [packer.compress(clear[:pixels] + b"\x29\x00\x10\x10OB\0\0" + struct.pack("<I", size))]
    block = b"\0" * (1 << 20)
    parts += [packer.compress(block) for _ in range(size >> 20)]
    parts += [packer.compress(clear[pixels:]), packer.flush()]
    packed = b"".join(parts)
    return data[:start] + packed + b"\0" * (len(packed) % 2)


BOMBS: dict[str, tuple[float, Damage]] = {
    "nesting": (0.8, nesting),
    "huge_image": (1.2, huge_image),
    "rle_bomb": (0.3, rle_bomb),
    "many_frames": (0.6, many_frames),
}
