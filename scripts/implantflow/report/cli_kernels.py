"""Numba kernel that finds the layers of a binary CLI file without keeping anything else of it."""

from __future__ import annotations

from typing import Any

from implantflow.compiled import kernel

#: Codes of a scan: the file ended in the middle of a command; a command that CLI 2.0 does not know.
TRUNCATED, UNKNOWN = -1, -2


@kernel
def _u16(data: Any, at: int) -> int:
    return int(data[at]) | int(data[at + 1]) << 8


@kernel
def _i32(data: Any, at: int) -> int:
    return int(data[at]) | int(data[at + 1]) << 8 | int(data[at + 2]) << 16 | int(data[at + 3]) << 24


@kernel
def layer_offsets(data: Any, offsets: Any) -> int:
    """Write the byte offset of every layer command of ``data`` (uint8, header cut off) into ``offsets``.

    Returns
    -------
    int
        How many layers there are (may exceed ``len(offsets)``; then only the first were written), or a code.
    """
    at, count, end = 0, 0, data.shape[0]
    while at + 2 <= end:
        command = _u16(data, at)
        if command == 127 or command == 128:
            if count < offsets.shape[0]:
                offsets[count] = at
            count += 1
            at += 6 if command == 127 else 4
            continue
        if command == 129 or command == 131:
            head = 8 if command == 129 else 6
            if at + head > end:
                return TRUNCATED
            at += head + _u16(data, at + head - 2) * (4 if command == 129 else 8)
        elif command == 130 or command == 132:
            head = 14 if command == 130 else 10
            if at + head > end:
                return TRUNCATED
            at += head + _i32(data, at + head - 4) * (8 if command == 130 else 16)
        else:
            return UNKNOWN
    return count if at == end else TRUNCATED
