"""A zip file written entry by entry from data that was compressed elsewhere, the same bytes every time."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from implantflow.errors import QualityGateError

#: 1 January 1980, the first day a zip file can name: nobody's clock.
_DATE = (1 << 5) | 1
_VERSION, _STORED, _DEFLATED = 20, 0, 8
#: What the plain format can count; beyond it lies zip64, which not every machine reads.
MOST_ENTRIES, MOST_BYTES = 65535, 0xFFFFFFFF


class Entry(NamedTuple):
    """A file of the archive: its data as they are stored, CRC-32 and size of what they hold, how they are packed."""

    data: bytes | memoryview
    crc: int
    size: int
    method: int

    @classmethod
    def stored(cls, raw: bytes) -> Entry:
        """A file as it is: compression by zlib would make the bytes depend on its version."""
        return cls(raw, zlib.crc32(raw), len(raw), _STORED)

    @classmethod
    def deflated(cls, data: bytes | memoryview, crc: int, size: int) -> Entry:
        """A file that was compressed elsewhere to raw deflate data."""
        return cls(data, crc, size, _DEFLATED)


class ZipStream:
    """Context manager that writes entries in the order given and the directory at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._directory: list[bytes] = []
        self._at = 0

    def __enter__(self) -> ZipStream:
        self._file = self._path.open("wb")
        return self

    def add(self, name: str, entry: Entry) -> None:
        """Append one file.

        Raises
        ------
        QualityGateError
            More entries or bytes than a plain zip file can hold.
        """
        text = name.encode("ascii")
        common = struct.pack(
            "<HHHHHIIIHH",
            _VERSION,
            0,
            entry.method,
            0,
            _DATE,
            entry.crc,
            len(entry.data),
            entry.size,
            len(text),
            0,
        )
        central = b"PK\x01\x02" + struct.pack("<H", _VERSION) + common
        self._directory.append(central + struct.pack("<HHHII", 0, 0, 0, 0, self._at) + text)
        self._write(b"PK\x03\x04" + common + text)
        self._write(entry.data)
        if len(self._directory) > MOST_ENTRIES or max(self._at, entry.size) > MOST_BYTES:
            raise QualityGateError(
                f"{len(self._directory)} files of {self._at} bytes do not fit a plain zip file",
                where=str(self._path.name),
                fix="build the part in two, or with a thicker layer",
            )

    def _write(self, data: bytes | memoryview) -> None:
        assert self._file is not None
        self._file.write(data)
        self._at += len(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        if kind is None:
            start, listing = self._at, b"".join(self._directory)
            self._write(listing)
            count = len(self._directory)
            self._write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(listing), start, 0))
        self._file.close()
