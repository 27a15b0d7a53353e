"""Compiled parsing of CLI commands for :mod:`implantflow.build.cli_reader`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Words = NDArray[np.uint16]


@kernel
def _int32(words: Words, at: int) -> int:
    value = int(words[at]) + 65536 * int(words[at + 1])
    return value - 4294967296 if value >= 2147483648 else value


@kernel
def _float32(words: Words, at: int) -> float:
    bits = np.empty(1, np.uint32)
    bits[0] = np.uint32(words[at]) | (np.uint32(words[at + 1]) << np.uint32(16))
    return float(bits.view(np.float32)[0])


@kernel
def _extent(words: Words, at: int) -> tuple[int, int, int]:
    """Length in words (0 when it cannot be), number of items and command of the block at ``at``."""
    size = words.shape[0]
    command = int(words[at])
    if command == 127:
        return 3, 0, command
    if command == 128:
        return 2, 0, command
    if command == 129:
        if at + 4 > size:
            return 0, 0, command
        n = int(words[at + 3])
        return 4 + 2 * n, n, command
    if command == 131:
        if at + 3 > size:
            return 0, 0, command
        n = int(words[at + 2])
        return 3 + 4 * n, n, command
    if command == 130:
        if at + 7 > size:
            return 0, 0, command
        n = _int32(words, at + 5)
        return (7 + 4 * n, n, command) if n >= 0 else (0, 0, command)
    if command == 132:
        if at + 5 > size:
            return 0, 0, command
        n = _int32(words, at + 3)
        return (5 + 8 * n, n, command) if n >= 0 else (0, 0, command)
    return 0, 0, command


@kernel
def measure_layer(words: Words, at: int) -> tuple[int, int, int, int]:
    """End of the layer that begins at ``at``, and its numbers of points, polylines and hatches.

    The end is -1 - position when the command there cannot be read.
    """
    points, lines, hatches = 0, 0, 0
    first = at
    while at < words.shape[0]:
        length, items, command = _extent(words, at)
        if length == 0 or at + length > words.shape[0]:
            return -1 - at, 0, 0, 0
        if command <= 128:
            if at > first:
                break
        elif command <= 130:
            points += items
            lines += 1
        else:
            hatches += items
        at += length
    return at, points, lines, hatches


@kernel
def read_layer(
    words: Words, points: int, lines: int, hatches: int
) -> tuple[float, FloatArray, IntArray, IntArray, IntArray, FloatArray, IntArray]:
    """Content of one layer: z, points, starts, dir, id of polylines, hatches and their ids."""
    xy = np.empty((points, 2))
    starts = np.zeros(lines + 1, np.int64)
    direction = np.empty(lines, np.int64)
    label = np.empty(lines, np.int64)
    hatch = np.empty((hatches, 4))
    hatch_label = np.empty(hatches, np.int64)
    z = 0.0
    p, line, h = 0, 0, 0
    at = 0
    while at < words.shape[0]:
        length, items, command = _extent(words, at)
        if command == 127:
            z = _float32(words, at + 1)
        elif command == 128:
            z = float(words[at + 1])
        elif command == 129 or command == 130:
            short = command == 129
            label[line] = int(words[at + 1]) if short else _int32(words, at + 1)
            direction[line] = int(words[at + 2]) if short else _int32(words, at + 3)
            for n in range(items):
                if short:
                    xy[p, 0] = words[at + 4 + 2 * n]
                    xy[p, 1] = words[at + 5 + 2 * n]
                else:
                    xy[p, 0] = _float32(words, at + 7 + 4 * n)
                    xy[p, 1] = _float32(words, at + 9 + 4 * n)
                p += 1
            line += 1
            starts[line] = p
        else:
            short = command == 131
            number = int(words[at + 1]) if short else _int32(words, at + 1)
            for n in range(items):
                for k in range(4):
                    if short:
                        hatch[h, k] = words[at + 3 + 4 * n + k]
                    else:
                        hatch[h, k] = _float32(words, at + 5 + 8 * n + 2 * k)
                hatch_label[h] = number
                h += 1
        at += length
    return z, xy, starts, direction, label, hatch, hatch_label
