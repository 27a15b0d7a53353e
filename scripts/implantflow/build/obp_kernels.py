"""Compiled encoding of beam paths as compressed OBP packets: protocol-buffer messages, each behind its length.

A packet is the length of its body, then field 10 (a line) of the message ``Packet``. A line holds the beam's
parameters (field 1), x0, y0, x1, y1 (fields 2 to 5, doubles, um) and the speed (field 6, a varint, um/s). As proto3
has it, a number that is zero is not written, so packets differ in length.

The packets of a beam path are the same but for the numbers, and of these only a few bytes change from one to the
next. So they are compressed as they are made: what is as it was one packet before is a match at that distance, an
end where the line before began or ended, or where its own line began, is a match at another, and the rest are
literals. The packets themselves are never in memory. Their CRC-32 is linear in the bytes, so it is summed up from
tables, one for each place in a packet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.deflate_kernels import HEADER_WORDS, LONGEST_MATCH, WAYS, finish, put_block
from implantflow.compiled import kernel

IntArray = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Tokens = NDArray[np.uint16]
Table = NDArray[np.uint32]

#: Where a packet's first double has its tag: behind length, tag and length of the line, 12 bytes of parameters.
_TAG_AT = 15
#: A double with its tag, and a point.
_DOUBLE, _POINT = 9, 18
#: Lines of a block with a Huffman code of its own: the header is some 80 bytes, the tokens stay in the cache.
_BLOCK_LINES = 2048
#: Ways of a match less one: the packet before, the other end of it, this line's own start.
_BEFORE, _END_BEFORE, _START_BEFORE, _OWN_START = range(WAYS)
#: Command of a polyline in the CLI file's 16-bit form; what else comes is hatches.
_POLYLINE = 129


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
def packet_of(head: Bytes, tail: Bytes) -> Bytes:
    """A packet with zeros in the places of the numbers; ``head``: beam parameters, ``tail``: speed."""
    out = np.zeros(3 + head.shape[0] + 4 * _DOUBLE + tail.shape[0], np.uint8)
    out[0], out[1], out[2] = out.shape[0] - 1, 82, out.shape[0] - 3
    out[3:_TAG_AT] = head
    for k in range(4):
        out[_TAG_AT + _DOUBLE * k] = 17 + 8 * k
    out[out.shape[0] - tail.shape[0] :] = tail
    return out


@kernel
def crc_tables(size: int) -> Table:
    """(size, 256) what a byte adds to the CRC-32 of ``size`` bytes, by its place; the last row is the usual table."""
    out = np.empty((size, 256), np.uint32)
    for byte in range(256):
        crc = np.uint32(byte)
        for _ in range(8):
            crc = crc >> np.uint32(1) ^ (np.uint32(0xEDB88320) if crc & np.uint32(1) else np.uint32(0))
        out[size - 1, byte] = crc
    for row in range(size - 2, -1, -1):
        for byte in range(256):
            crc = out[row + 1, byte]
            out[row, byte] = out[size - 1, crc & np.uint32(255)] ^ crc >> np.uint32(8)
    return out


@kernel
def _byte_of(packet: Bytes, bits: NDArray[np.uint64], at: int) -> int:
    """The byte at a place of a packet that holds these four numbers."""
    k, byte = (at - _TAG_AT) // _DOUBLE, (at - _TAG_AT) % _DOUBLE - 1
    if 0 <= k < 4 and byte >= 0:
        return int(bits[k] >> np.uint64(8 * byte) & np.uint64(255))
    return int(packet[at])


@kernel
def _put_run(tokens: Tokens, n: int, run: int, packet: Bytes, bits: NDArray[np.uint64], end: int) -> int:
    """Append the ``run`` bytes before the place ``end`` of a packet, which are those one packet before."""
    while run > LONGEST_MATCH:
        tokens[n] = 256 + 255 - 3
        n += 1
        run -= 255
    if run >= 3:
        tokens[n] = 256 + run - 3
        return n + 1
    for at in range(end - run, end):
        tokens[n] = _byte_of(packet, bits, at)
        n += 1
    return n


@kernel
def _put_whole(
    tokens: Tokens, n: int, packet: Bytes, bits: NDArray[np.uint64], table: Table, crc: np.uint32
) -> tuple[int, np.uint32, int]:
    """Append a packet byte by byte, without the numbers that are zero; its size is the third result."""
    missing = 0
    for k in range(4):
        missing += _DOUBLE if bits[k] == 0 else 0
    for at in range(packet.shape[0]):
        k = (at - _TAG_AT) // _DOUBLE
        if 0 <= k < 4 and bits[k] == 0:
            continue
        byte = _byte_of(packet, bits, at)
        if at == 0 or at == 2:
            byte -= missing
        tokens[n] = byte
        n += 1
        crc = table[table.shape[0] - 1, (crc ^ np.uint32(byte)) & np.uint32(255)] ^ crc >> np.uint32(8)
    return n, crc, packet.shape[0] - missing


@kernel
def _crc_after(crc: np.uint32, fixed: np.uint32, bits: NDArray[np.uint64], table: Table) -> np.uint32:
    """CRC register behind a packet with all four numbers; ``fixed`` is what its other bytes add."""
    out = fixed
    for byte in range(4):
        out ^= table[byte, crc >> np.uint32(8 * byte) & np.uint32(255)]
    for k in range(4):
        at = _TAG_AT + 1 + _DOUBLE * k
        value = bits[k]
        # A zero adds nothing, and most coordinates are whole numbers of um: their lower half is zero.
        if value & np.uint64(0xFFFFFFFF) != 0:
            for byte in range(4):
                out ^= table[at + byte, value >> np.uint64(8 * byte) & np.uint64(255)]
        for byte in range(4, 8):
            out ^= table[at + byte, value >> np.uint64(8 * byte) & np.uint64(255)]
    return out


@kernel
def compress_lines(
    lines: IntArray, unit_um: float, centre_x_um: float, centre_y_um: float, packet: Bytes, table: Table
) -> tuple[Bytes, int, int]:
    """Packets of lines: (N, 4) in units of ``unit_um``, written in um from the centre of the plate.

    Returns
    -------
    raw deflate data, CRC-32 and size of the packets. ``packet`` and ``table`` are those of :func:`packet_of` and
    :func:`crc_tables`.
    """
    count, period = lines.shape[0], packet.shape[0]
    blocks = count // _BLOCK_LINES + 1
    # Most that literals can take, two bytes each; pages that are not written to are not in memory.
    out = np.empty(count * period // 2 + blocks * HEADER_WORDS, np.uint32)
    at = np.zeros(3, np.int64)
    ways = np.array([period, period - _POINT, period + _POINT, _POINT])
    tokens = np.empty(min(count, _BLOCK_LINES) * (period + 2) + 16, np.uint16)
    number, before = np.zeros(4), np.zeros(4)
    now, old = number.view(np.uint64), before.view(np.uint64)
    fixed = np.uint32(0)
    for place in range(period):
        fixed ^= table[place, packet[place]]
    crc = np.uint32(0xFFFFFFFF)
    size, n, run = 0, 0, 0
    follows = False
    for l in range(count):
        whole = True
        for k in range(4):
            before[k] = number[k]
            number[k] = lines[l, k] * unit_um - (centre_x_um if k % 2 == 0 else centre_y_um)
            whole = whole and number[k] != 0.0
        if whole and follows:
            crc = _crc_after(crc, fixed, now, table)
            size += period
            run += _TAG_AT
            for k in range(4):
                run += 1
                change = now[k] ^ old[k]
                if change == 0:
                    run += 8
                    continue
                low, high = 0, 7
                if change & np.uint64(0xFFFFFFFF) == 0:
                    low = 4
                while change >> np.uint64(8 * low) & np.uint64(255) == 0:
                    low += 1
                while change >> np.uint64(8 * high) == 0:
                    high -= 1
                way = _BEFORE
                if high > low and k < 2:
                    way = _END_BEFORE if now[k] == old[k + 2] else _BEFORE
                elif high > low:
                    way = _OWN_START if now[k] == now[k - 2] else _BEFORE
                    way = _START_BEFORE if now[k] == old[k - 2] else way
                if way != _BEFORE:
                    low = min(low, 5)
                run += low
                if 3 <= run <= LONGEST_MATCH:
                    tokens[n] = 256 + run - 3
                    n += 1
                else:
                    n = _put_run(tokens, n, run, packet, now, _TAG_AT + _DOUBLE * k + 1 + low)
                if way != _BEFORE:
                    tokens[n] = 256 + 256 * way + 5 - low
                    n += 1
                    run = 0
                    continue
                for byte in range(low, high + 1):
                    tokens[n] = now[k] >> np.uint64(8 * byte) & np.uint64(255)
                    n += 1
                run = 7 - high
            run += period - _TAG_AT - 4 * _DOUBLE
        else:
            n = _put_run(tokens, n, run, packet, old, period)
            run = 0
            n, crc, length = _put_whole(tokens, n, packet, now, table, crc)
            size += length
        follows = whole
        if l % _BLOCK_LINES == _BLOCK_LINES - 1 and l < count - 1:
            n = _put_run(tokens, n, run, packet, now, period)
            put_block(out, at, tokens[:n], ways, False)
            run, n = 0, 0
    n = _put_run(tokens, n, run, packet, now, period)
    put_block(out, at, tokens[:n], ways, True)
    return out.view(np.uint8)[: finish(out, at)].copy(), int(crc) ^ 0xFFFFFFFF, size
