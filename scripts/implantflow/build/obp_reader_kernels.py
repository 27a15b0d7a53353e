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
def beam_figures(lines: FloatArray, beam: FloatArray) -> tuple[int, float, float, float]:
    """Lines (N, 7) driven with another beam than (3,) speed, power, spot; length in mm, time in s, energy in J."""
    foreign = 0
    length, seconds, joules = 0.0, 0.0, 0.0
    for n in range(lines.shape[0]):
        row = lines[n]
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
    return foreign, length / 1000.0, seconds, joules


@kernel
def jump_mm(lines: FloatArray) -> float:
    """Length of the ways between the end of a line (um) and the start of the next."""
    total = 0.0
    for n in range(1, lines.shape[0]):
        total += np.hypot(lines[n, X0] - lines[n - 1, X1], lines[n, Y0] - lines[n - 1, Y1])
    return total / 1000.0


@kernel
def fingerprint(lines: FloatArray, unit_um: float, centre_x_um: float, centre_y_um: float) -> tuple[int, int]:
    """A number that a set of lines has whatever their order and direction, and how many lines are on no unit.

    A line of the build file is four 16-bit numbers. Each line's 64 bits are mixed (splitmix64's finaliser) and
    added up, so that sets which differ in one bit of one line differ, but for one chance in 2**64.
    """
    total = np.uint64(0)
    astray = 0
    whole = np.empty(4, np.int64)
    for n in range(lines.shape[0]):
        good = True
        for k in range(4):
            place = (lines[n, k] + (centre_x_um if k % 2 == 0 else centre_y_um)) / unit_um
            near = np.floor(place + 0.5)
            if not (abs(place - near) <= 1e-3 and near >= 0.0 and near <= 65535.0):
                good = False
                break
            whole[k] = int(near)
        if not good:
            astray += 1
            continue
        a = np.uint64(whole[0]) << np.uint64(16) | np.uint64(whole[1])
        b = np.uint64(whole[2]) << np.uint64(16) | np.uint64(whole[3])
        h = min(a, b) << np.uint64(32) | max(a, b)
        h += np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ h >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ h >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        total += h ^ h >> np.uint64(31)
    return int(total), astray
