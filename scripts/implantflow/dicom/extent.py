"""Where the pixel data of a file lie, and that the file is whole: nothing missing, nothing too much.

Decoders accept a stream that was cut or in which bytes were lost or put in; both shift an image against its grid.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO

from implantflow.errors import InputError

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1"
_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
#: Deflated headers end within this of a file's begin.
_META_MAX = 4096
#: A data set may inflate to this in any case, and further as far as real images do (2 to 10 times).
_INFLATED_MIN = 64 << 20
_INFLATED_RATIO = 20
#: Value representations whose length takes four bytes (PS3.5 7.1.2).
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UNDEFINED = 0xFFFFFFFF


def opened(path: Path) -> tuple[BinaryIO, int, bool]:
    """The file for the parser, its size, and whether it was inflated (then its offsets are not the file's).

    Raises
    ------
    InputError
        A deflated data set that is damaged, or inflates to more than any image would.
    """
    handle = path.open("rb")
    head = handle.read(_META_MAX)
    handle.seek(0)
    if _DEFLATED not in head or head[128:132] != b"DICM":
        return handle, path.stat().st_size, False
    with handle:
        data = handle.read()
    clear = _inflated(data)
    return io.BytesIO(clear), len(clear), True


def _inflated(data: bytes) -> bytes:
    """The same file in explicit little endian."""
    start = 144 + int.from_bytes(data[140:144], "little")
    most = max(_INFLATED_MIN, _INFLATED_RATIO * len(data))
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        clear = engine.decompress(data[start:], most)
    except zlib.error as error:
        raise InputError("its deflated data set is damaged") from error
    if engine.unconsumed_tail:
        raise InputError(f"its deflated data set grows to more than {most >> 20} MB: no image does")
    if not engine.eof or len(engine.unused_data) > 1:
        raise InputError("its deflated data set is cut short, or something follows it")
    meta = data[:start].replace(_DEFLATED, _EXPLICIT.ljust(len(_DEFLATED), b"\0"))
    return meta + clear


def pixel_extent(handle: BinaryIO, size: int, syntax: str) -> tuple[int, int] | None:
    """(offset, length) of native pixel data in ``handle``, None when they are compressed.

    ``handle`` stands at the pixel data element, where the parser stopped.

    Raises
    ------
    InputError
        No pixel data, fewer bytes than announced, a broken chain of fragments, or bytes after them that are no
        elements.
    """
    order = "big" if syntax == _BIG_ENDIAN else "little"
    start = handle.tell()
    head = handle.read(12)
    if head[:4] != (b"\x7f\xe0\x00\x10" if order == "big" else b"\xe0\x7f\x10\x00"):
        raise InputError("the file is cut short: no pixel data")
    implicit = syntax == _IMPLICIT
    if not implicit and head[4:6] not in (b"OB", b"OW"):
        raise InputError("damaged: its pixel data are of another representation than pixels have")
    length = int.from_bytes(head[4:8] if implicit else head[8:12], order)  # type: ignore[arg-type]
    offset = start + (8 if implicit else 12)
    if length == _UNDEFINED:
        _refuse_trailing(handle, size, _end_of_fragments(handle, size, offset), order, implicit=False)
        return None
    if offset + length > size:
        raise InputError(
            f"the file is cut short: pixel data of {length} bytes announced, {max(size - offset, 0)} there"
        )
    _refuse_trailing(handle, size, offset + length, order, implicit=implicit)
    return offset, length


def _end_of_fragments(handle: BinaryIO, size: int, offset: int) -> int:
    """Follow the items of compressed pixel data to their end mark; returns the offset after it."""
    while offset + 8 <= size:
        handle.seek(offset)
        head = handle.read(8)
        if head[:4] == b"\xfe\xff\xdd\xe0":
            return offset + 8
        if head[:4] != b"\xfe\xff\x00\xe0":
            break
        offset += 8 + int.from_bytes(head[4:8], "little")
    raise InputError("the file is cut short inside its compressed pixel data")


def _refuse_trailing(handle: BinaryIO, size: int, offset: int, order: str, *, implicit: bool) -> None:
    """What follows the pixel data must be elements of higher tags, to the last byte."""
    while offset < size:
        handle.seek(offset)
        head = handle.read(12)
        if len(head) < 8:
            break
        first, second = (int.from_bytes(head[n : n + 2], order) for n in (0, 2))  # type: ignore[arg-type]
        if (first, second) <= (0x7FE0, 0x0010):
            break
        long = implicit or head[4:6] in _LONG
        at, width = (4, 4) if implicit else ((8, 4) if long else (6, 2))
        length = int.from_bytes(head[at : at + width], order)  # type: ignore[arg-type]
        if length == _UNDEFINED:
            return  # a sequence, whose end only a parser finds
        offset += at + width + length
    if offset != size:
        raise InputError("damaged: bytes after the pixel data that belong to nothing")
