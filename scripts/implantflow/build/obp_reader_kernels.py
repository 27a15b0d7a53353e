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
IntArray = NDArray[np.int64]

#: Where the usual packet (one byte a length, 10 of beam parameters, four doubles) has its first double, and its rest.
_TAG_AT, _REST_AT = 15, 51
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
def _packet(data: Bytes, at: int, row: FloatArray, number: FloatArray, single: NDArray[np.float32]) -> int:
    """The packet at ``at`` into a row; the place behind it, or -1 where it cannot be read as a line."""
    size, body = _varint(data, at, data.shape[0])
    if body < 0 or size < 2 or size > data.shape[0] - body:
        return -1
    last = body + size
    # Field 10 of the packet, a message; no other kind of path is written by this project.
    if data[body] != 82:
        return -1
    inner, first = _varint(data, body + 1, last)
    if first < 0 or first + inner != last or not _line(data, first, last, row, number, single):
        return -1
    return last


@kernel
def read_lines(data: Bytes) -> tuple[FloatArray, int]:
    """(N, 7) lines of a file of packets, and -1, or the place of the first packet that cannot be read as a line."""
    # No line is shorter than a packet of two bytes.
    out = np.empty((data.shape[0] // 2 + 1, 7))
    # Made once: an allocation a line would take longer than the line.
    number, single = np.empty(1, np.float64), np.empty(1, np.float32)
    count, at = 0, 0
    while at < data.shape[0]:
        behind = _packet(data, at, out[count], number, single)
        if behind < 0:
            return np.empty((0, 7)), at
        count += 1
        at = behind
    return out[:count].copy(), -1


@kernel
def _usual(data: Bytes, at: int, end: int) -> bool:
    """Does a packet that could be read hold beam parameters, four doubles in their order, and the rest?"""
    if (
        end - at < _REST_AT
        or data[at] > 127
        or data[at + 2] > 127
        or data[at + 3] != 10
        or data[at + 4] != 10
    ):
        return False
    good = True
    for k in range(4):
        good = good and data[at + _TAG_AT + 9 * k] == 17 + 8 * k
    return good


@kernel
def _alike(data: Bytes, at: int, other: int, size: int) -> bool:
    """Are two packets of ``size`` bytes, the other a usual one, the same but for the doubles?"""
    if at + size > data.shape[0]:
        return False
    # Unsigned places: the compiler then need not ask for those that count from the end.
    here, there = np.uint64(at), np.uint64(other)
    change = np.uint8(0)
    for n in range(_TAG_AT + 1):
        change |= data[here + np.uint64(n)] ^ data[there + np.uint64(n)]
    for n in range(_TAG_AT + 9, _REST_AT, 9):
        change |= data[here + np.uint64(n)] ^ data[there + np.uint64(n)]
    for n in range(_REST_AT, size):
        change |= data[here + np.uint64(n)] ^ data[there + np.uint64(n)]
    return bool(change == 0)


@kernel
def _mixed(x0: int, y0: int, x1: int, y1: int) -> np.uint64:
    """A line's four 16-bit numbers, in either direction, as 64 bits that look random (splitmix64's finaliser)."""
    a = np.uint64(x0) << np.uint64(16) | np.uint64(y0)
    b = np.uint64(x1) << np.uint64(16) | np.uint64(y1)
    h = min(a, b) << np.uint64(32) | max(a, b)
    h += np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ h >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ h >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return h ^ h >> np.uint64(31)


@kernel
def _whole_unit(place: float) -> int:
    """The 16-bit number that a coordinate in units is, or -1."""
    near = np.floor(place + 0.5)
    if abs(place - near) <= 1e-3 and near >= 0.0 and near <= 65535.0:
        return int(near)
    return -1


@kernel
def path_figures(
    data: Bytes, beam: FloatArray, unit_um: float, centre_x_um: float, centre_y_um: float
) -> tuple[int, int, int, int, int, FloatArray]:
    """What the packets of a beam path sum to; none of them is kept.

    Parameters
    ----------
    beam : (3,) speed (um/s), power (W) and spot (um) that they should be driven with.

    Returns
    -------
    Place of the first packet that cannot be read as a line (-1: none), lines, lines with another beam, lines on no
    unit, fingerprint; (5,) length in mm, time in s, energy in J, and length in mm of the ways between a line's end
    and the next one's start, of all and of the longest.

    The fingerprint is the same whatever the lines' order and direction: the sum of their mixed bits, so that sets
    which differ in one bit of one line differ, but for one chance in 2**64.
    """
    sums = np.zeros(5)
    row = np.zeros(7)
    number, single = np.empty(1, np.float64), np.empty(1, np.float32)
    bits = np.zeros(4, np.uint64)
    ends = bits.view(np.float64)
    per_unit = 1.0 / unit_um
    total = np.uint64(0)
    count, foreign, astray = 0, 0, 0
    at, usual, size = 0, -1, 0
    same = False
    last_x, last_y = 0.0, 0.0
    while at < data.shape[0]:
        # Most packets differ from the one read before only in the doubles: the parser would take the same steps.
        if usual >= 0 and _alike(data, at, usual, size):
            for k in range(4):
                first = np.uint64(at + _TAG_AT + 1 + 9 * k)
                value = np.uint64(0)
                for byte in range(8):
                    value |= np.uint64(data[first + np.uint64(byte)]) << np.uint64(8 * byte)
                bits[k] = value
            for k in range(4):
                row[k] = ends[k]
            at += size
        else:
            behind = _packet(data, at, row, number, single)
            if behind < 0:
                return at, 0, 0, 0, 0, sums
            usual, size = at if _usual(data, at, behind) else -1, behind - at
            at = behind
            # Speed is a whole number of um/s in the format, power and spot are single precision.
            same = (
                abs(row[SPEED] - beam[0]) <= 0.5
                and abs(row[POWER] - beam[1]) <= 1e-6 * beam[1]
                and abs(row[SPOT] - beam[2]) <= 1e-6 * beam[2]
            )
        foreign += 0 if same else 1
        step = np.sqrt((row[X1] - row[X0]) ** 2 + (row[Y1] - row[Y0]) ** 2)
        time = step / row[SPEED] if row[SPEED] > 0.0 else np.inf
        sums[0] += step / 1000.0
        sums[1] += time
        sums[2] += time * row[POWER]
        if count > 0:
            jump = np.sqrt((row[X0] - last_x) ** 2 + (row[Y0] - last_y) ** 2) / 1000.0
            sums[3] += jump
            sums[4] = max(sums[4], jump)
        last_x, last_y = row[X1], row[Y1]
        count += 1
        x0 = _whole_unit((row[X0] + centre_x_um) * per_unit)
        y0 = _whole_unit((row[Y0] + centre_y_um) * per_unit)
        x1 = _whole_unit((row[X1] + centre_x_um) * per_unit)
        y1 = _whole_unit((row[Y1] + centre_y_um) * per_unit)
        if min(x0, y0, x1, y1) >= 0:
            total += _mixed(x0, y0, x1, y1)
        else:
            astray += 1
    return -1, count, foreign, astray, int(np.int64(total)), sums


@kernel
def cli_figures(
    points: FloatArray,
    starts: IntArray,
    labels: IntArray,
    hatches: FloatArray,
    hatch_labels: IntArray,
    wanted: IntArray,
) -> tuple[int, int, int, float, float]:
    """Lines, lines on no unit and fingerprint of a CLI layer's lines under the ``wanted`` labels, in file order.

    The last two are the ways between them in units, all and the longest.
    """
    line = np.zeros(4)
    total = np.uint64(0)
    count, astray = 0, 0
    jumps, longest, last_x, last_y = 0.0, 0.0, 0.0, 0.0
    for part in range(labels.shape[0] + hatches.shape[0]):
        polyline = part < labels.shape[0]
        h = part - labels.shape[0]
        label = labels[part] if polyline else hatch_labels[h]
        asked = False
        for w in range(wanted.shape[0]):
            asked = asked or wanted[w] == label
        if not asked:
            continue
        first = starts[part] if polyline else 0
        last = starts[part + 1] - 1 if polyline else 1
        for p in range(first, last):
            for k in range(4):
                line[k] = points[p + k // 2, k % 2] if polyline else hatches[h, k]
            if count > 0:
                jump = np.sqrt((line[0] - last_x) ** 2 + (line[1] - last_y) ** 2)
                jumps += jump
                longest = max(longest, jump)
            last_x, last_y = line[2], line[3]
            count += 1
            x0, y0 = _whole_unit(line[0]), _whole_unit(line[1])
            x1, y1 = _whole_unit(line[2]), _whole_unit(line[3])
            if min(x0, y0, x1, y1) >= 0:
                total += _mixed(x0, y0, x1, y1)
            else:
                astray += 1
    return count, astray, int(np.int64(total)), jumps, longest


@kernel
def distinct(labels: IntArray) -> IntArray:
    """The numbers that occur, each once, in rising order."""
    change = np.ones(labels.shape[0], np.bool_)
    for n in range(1, labels.shape[0]):
        change[n] = labels[n] != labels[n - 1]
    return np.unique(labels[change])
