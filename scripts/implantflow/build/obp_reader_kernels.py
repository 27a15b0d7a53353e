"""Compiled reading of OBP packets; shares nothing with the encoder.

Written from the message definitions that the format's makers publish: any order of fields, any field left out that
holds its zero, nothing that is not defined there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

Bytes = NDArray[np.uint8]
FloatArray = NDArray[np.float64]

#: Columns of a line that was read: um, um/s, W, um.
X0, Y0, X1, Y1, SPEED, POWER, SPOT = range(7)


@kernel
def _varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Value of the varint at ``at`` and the place behind it; -1 where there is none that ends before ``end``."""
    value, shift = 0, 0
    while at < end and shift < 63:
        byte = int(data[at])
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    return 0, -1


@kernel
def _beam(data: Bytes, at: int, end: int, row: FloatArray, single: NDArray[np.float32]) -> bool:
    """Beam parameters between ``at`` and ``end`` into a row; whether they can be read."""
    raw = single.view(np.uint8)
    while at < end:
        tag = int(data[at])
        if (tag != 13 and tag != 21) or at + 5 > end:
            return False
        for byte in range(4):
            raw[byte] = data[at + 1 + byte]
        row[SPOT if tag == 13 else POWER] = single[0]
        at += 5
    return True


@kernel
def _line(
    data: Bytes, at: int, end: int, row: FloatArray, number: FloatArray, single: NDArray[np.float32]
) -> bool:
    """The line between ``at`` and ``end`` into a row; whether it can be read."""
    raw = number.view(np.uint8)
    row[:] = 0.0
    while at < end:
        tag = int(data[at])
        if tag in (17, 25, 33, 41):
            if at + 9 > end:
                return False
            for byte in range(8):
                raw[byte] = data[at + 1 + byte]
            row[(tag - 17) // 8] = number[0]
            at += 9
        elif tag == 48:
            speed, at = _varint(data, at + 1, end)
            if at < 0:
                return False
            row[SPEED] = speed
        elif tag == 10:
            size, at = _varint(data, at + 1, end)
            if at < 0 or size > end - at or not _beam(data, at, at + size, row, single):
                return False
            at += size
        else:
            return False
    return True


@kernel
def read_lines(data: Bytes) -> tuple[FloatArray, int]:
    """(N, 7) lines of a file of packets, and -1, or the place of the first packet that cannot be read as a line."""
    end = data.shape[0]
    count, at = 0, 0
    while at < end:
        size, body = _varint(data, at, end)
        if body < 0 or size > end - body:
            return np.empty((0, 7)), at
        count += 1
        at = body + size
    out = np.empty((count, 7))
    # Made once: an allocation a line would take longer than the line.
    number, single = np.empty(1, np.float64), np.empty(1, np.float32)
    at = 0
    for n in range(count):
        size, body = _varint(data, at, end)
        last = body + size
        # Field 10 of the packet, a message; no other kind of path is written by this project.
        if size < 2 or data[body] != 82:
            return out[:0], at
        inner, first = _varint(data, body + 1, last)
        if first < 0 or first + inner != last or not _line(data, first, last, out[n], number, single):
            return out[:0], at
        at = last
    return out, -1


@kernel
def hold_against(
    lines: FloatArray, wanted: FloatArray, beam: FloatArray, same_um: float
) -> tuple[int, int, float, float, float]:
    """Lines that were read against those that should be there, one by one.

    Parameters
    ----------
    lines : (N, 7) as read. wanted : (M, 4) ends in um. beam : (3,) speed, power, spot of the theme.
    same_um : ends this far apart are the same.

    Returns
    -------
    lines that differ, lines driven with another beam; length in mm, time in s and energy in J of what was read.
    """
    differing = abs(lines.shape[0] - wanted.shape[0])
    foreign = 0
    length, seconds, joules = 0.0, 0.0, 0.0
    for n in range(lines.shape[0]):
        row = lines[n]
        if n < wanted.shape[0]:
            for k in range(4):
                # Written so that a number that is none differs.
                if not abs(row[k] - wanted[n, k]) <= same_um:
                    differing += 1
                    break
        # Speed is a whole number of um/s in the format, power and spot are single precision.
        same = abs(row[SPEED] - beam[0]) <= 0.5
        same = (
            same
            and abs(row[POWER] - beam[1]) <= 1e-6 * beam[1]
            and abs(row[SPOT] - beam[2]) <= 1e-6 * beam[2]
        )
        foreign += 0 if same else 1
        step = np.hypot(row[X1] - row[X0], row[Y1] - row[Y0])
        time = step / row[SPEED] if row[SPEED] > 0.0 else np.inf
        length += step
        seconds += time
        joules += time * row[POWER]
    return differing, foreign, length / 1000.0, seconds, joules
