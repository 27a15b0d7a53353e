"""A few layers of a build file, for pictures: an own small reader of binary CLI 2.0 (common layer interface)."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import InputError
from implantflow.report import cli_kernels

Float = NDArray[np.float64]

_HEADER_END = b"$$HEADEREND"


@dataclass
class Layer:
    """One layer in build_xyz, mm.

    Attributes
    ----------
    z_mm : height.
    outlines : list of (direction, (N, 2) points); direction 0 hole, 1 outer, 2 open.
    hatches : list of (id of the block, (N, 2, 2) start and end points).
    """

    z_mm: float
    outlines: list[tuple[int, Float]] = field(default_factory=list)
    hatches: list[tuple[int, Float]] = field(default_factory=list)


class LayerFile:
    """A binary CLI file, opened for a few of its layers.

    Raises
    ------
    InputError
        Not a binary CLI file, cut short, or with a command the format does not know.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as handle:
            self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        end = self._map.find(_HEADER_END)
        if end < 0:
            raise InputError("not a CLI file: no header end", where=str(path))
        header = self._map[:end].decode("ascii", "replace")
        if "$$BINARY" not in header:
            raise InputError("not a binary CLI file", where=str(path))
        self.unit_mm = float(header.split("$$UNITS/")[1].split()[0])
        self._start = end + len(_HEADER_END)
        self._data = np.frombuffer(self._map, dtype=np.uint8, offset=self._start)
        self._offsets = self._scan()

    def __len__(self) -> int:
        return len(self._offsets)

    def _scan(self) -> NDArray[np.int64]:
        room = np.zeros(100_000, np.int64)
        count = cli_kernels.layer_offsets(self._data, room)
        if count < 0 or count > len(room):
            what = "is cut short" if count == cli_kernels.TRUNCATED else "holds an unknown command"
            raise InputError(f"the build file {what}", where=str(self._path))
        return room[:count]

    def layer(self, index: int) -> Layer:
        """Layer number ``index``, from 0 at the plate."""
        at = int(self._offsets[index])
        end = int(self._offsets[index + 1]) if index + 1 < len(self) else len(self._data)
        block = self._data[at:end].tobytes()
        command = struct.unpack_from("<H", block)[0]
        height = struct.unpack_from("<f" if command == 127 else "<H", block, 2)[0]
        found = Layer(float(height) * self.unit_mm)
        self._read(block, 6 if command == 127 else 4, found)
        return found

    def _read(self, block: bytes, at: int, found: Layer) -> None:
        while at < len(block):
            command = struct.unpack_from("<H", block, at)[0]
            line = command in (129, 130)
            number: Any = "H" if command in (129, 131) else "i"
            head = struct.Struct("<H" + number * (3 if line else 2))
            values = head.unpack_from(block, at)
            count = values[-1] * (2 if line else 4)
            kind = np.dtype("<u2" if number == "H" else "<f4")
            points = np.frombuffer(block, kind, count, at + head.size).astype(np.float64) * self.unit_mm
            if line:
                found.outlines.append((values[2], points.reshape(-1, 2)))
            else:
                found.hatches.append((values[1], points.reshape(-1, 2, 2)))
            at += head.size + count * kind.itemsize
