"""Compiled encoding of beam paths as OBP packets: protocol-buffer messages, each behind its length.

A packet is the length of its body, then field 10 (a line) of the message ``Packet``. A line holds the beam's
parameters (field 1), x0, y0, x1, y1 (fields 2 to 5, doubles, um) and the speed (field 6, a varint, um/s). As proto3
has it, a number that is zero is not written, so packets differ in length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

IntArray = NDArray[np.int64]
Bytes = NDArray[np.uint8]

#: No packet of a line is longer: length, tag and length of the line, 12 of parameters, 4 doubles, a speed.
LONGEST = 80
#: Commands of the CLI file's 16-bit forms.
_POLYLINE, _HATCHES = 129, 131


@kernel
def lines_of(words: NDArray[np.uint16], label: int) -> IntArray:
    """(N, 4) lines x0, y0, x1, y1 in units that one packed CLI layer holds under a label, in file order."""
    out = np.empty((0, 4), np.int64)
    for sweep in range(2):
        count = 0
        at = 2
        while at < words.shape[0]:
            if words[at] == _POLYLINE:
                n = int(words[at + 3])
                if words[at + 1] == label:
                    if sweep == 1:
                        for p in range(n - 1):
                            for k in range(4):
                                out[count + p, k] = words[at + 4 + 2 * p + k]
                    count += n - 1
                at += 4 + 2 * n
            else:
                n = int(words[at + 2])
                if words[at + 1] == label:
                    if sweep == 1:
                        for h in range(n):
                            for k in range(4):
                                out[count + h, k] = words[at + 3 + 4 * h + k]
                    count += n
                at += 3 + 4 * n
        if sweep == 0:
            out = np.empty((count, 4), np.int64)
    return out


@kernel
def encode_lines(
    lines: IntArray, unit_um: float, centre_x_um: float, centre_y_um: float, head: Bytes, tail: Bytes
) -> Bytes:
    """Packets of lines: (N, 4) in units of ``unit_um``, written in um from the centre of the plate.

    ``head`` is the encoded field of beam parameters, ``tail`` that of the speed; they are the same in every packet.
    """
    out = np.empty(lines.shape[0] * LONGEST, np.uint8)
    number = np.empty(1, np.float64)
    raw = number.view(np.uint8)
    n = 0
    for l in range(lines.shape[0]):
        start = n
        n += 3
        for k in range(head.shape[0]):
            out[n] = head[k]
            n += 1
        for k in range(4):
            number[0] = lines[l, k] * unit_um - (centre_x_um if k % 2 == 0 else centre_y_um)
            if number[0] != 0.0:
                out[n] = 17 + 8 * k
                for byte in range(8):
                    out[n + 1 + byte] = raw[byte]
                n += 9
        for k in range(tail.shape[0]):
            out[n] = tail[k]
            n += 1
        out[start] = n - start - 1
        out[start + 1] = 82
        out[start + 2] = n - start - 3
    return out[:n]
