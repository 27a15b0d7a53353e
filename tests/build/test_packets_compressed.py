"""Beam paths compressed while they are encoded: zlib reads back the packets that the format's rules give, any lines."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from implantflow.build import deflate_kernels, obp_kernels
from implantflow.build.obf_writer import beam_fields

HEAD, TAIL = beam_fields(250.0, 480.0, 1400.0)
PACKET = obp_kernels.packet_of(HEAD, TAIL)
TABLE = obp_kernels.crc_tables(len(PACKET))
CENTRE_UM = (100_000.0, 90_000.0)


def _plain(lines: np.ndarray, unit_um: float) -> bytes:
    """Packets written one by one."""
    out = []
    for line in lines.tolist():
        body = HEAD.tobytes()
        for k, units in enumerate(line):
            place_um = units * unit_um - CENTRE_UM[k % 2]
            if place_um != 0.0:
                body += bytes([17 + 8 * k]) + struct.pack("<d", place_um)
        body += TAIL.tobytes()
        out.append(bytes([len(body) + 2, 82, len(body)]) + body)
    return b"".join(out)


def _compressed(lines: np.ndarray, unit_um: float) -> bytes:
    """The encoder's data, after zlib, the CRC-32 and the size have agreed with the packets written one by one."""
    data, crc, size = obp_kernels.compress_lines(lines, unit_um, *CENTRE_UM, PACKET, TABLE)
    reader = zlib.decompressobj(-15)
    raw = reader.decompress(data.tobytes())
    assert reader.eof and not reader.unused_data
    assert raw == _plain(lines, unit_um)
    assert (crc, size) == (zlib.crc32(raw), len(raw))
    return data.tobytes()


#: Few different coordinates, so that ends meet, lines repeat and the plate's centre (20000, 18000 at 5 um) is hit.
_UNITS = st.one_of(st.sampled_from([0, 18000, 20000, 20001, 65535]), st.integers(0, 65535))
_LINES = st.lists(st.tuples(_UNITS, _UNITS, _UNITS, _UNITS), max_size=60)


@given(_LINES, st.sampled_from([5.0, 1.0, 4.7, 0.1, 1000.0 / 3.0]), st.integers(1, 40))
@example([], 5.0, 1)
@example([(20000, 18000, 20000, 18000)], 5.0, 40)
@example([(1, 2, 3, 4), (20000, 2, 3, 4), (1, 2, 3, 4), (3, 4, 1, 2), (1, 2, 1, 2)], 5.0, 3)
@settings(deadline=None, max_examples=200)
def test_any_lines_come_back(lines: list[tuple[int, int, int, int]], unit_um: float, repeats: int) -> None:
    """Whole and broken coordinates, chains, repeated lines (matches longer than 258 bytes), zeros."""
    _compressed(np.array(lines * repeats, np.int64).reshape(-1, 4), unit_um)


@pytest.mark.parametrize("count", [0, 1, 2047, 2048, 2049, 4096, 30_000])
def test_many_lines_come_back(count: int) -> None:
    """Blocks that are full, just begun, or many; the same line over and over fills them with matches only."""
    rng = np.random.default_rng(count)
    _compressed(rng.integers(0, 65536, (count, 4)), 5.0)
    _compressed(np.full((count, 4), 7), 5.0)
    _compressed(np.full((count, 4), 20000), 5.0)


def _outlines(rng: np.random.Generator) -> np.ndarray:
    """Closed outlines of struts, 30 short segments each, one after another."""
    turn = 2.0 * np.pi * np.arange(31) / 30
    rings = [
        np.round(centre + 60.0 * np.column_stack([np.cos(turn), np.sin(turn)]))
        for centre in rng.integers(8000, 30000, (400, 2))
    ]
    return np.concatenate([np.hstack([ring[:-1], ring[1:]]) for ring in rings]).astype(np.int64)


def _hatch(rng: np.random.Generator) -> np.ndarray:
    """Parallel lines to and fro, each some units longer or shorter than the one before."""
    y = 8000 + 20 * np.arange(9000) // 4
    left, right = 9000 + rng.integers(0, 300, 9000), 12000 + rng.integers(0, 300, 9000)
    lines = np.column_stack([left, y, right, y])
    lines[1::2] = lines[1::2][:, [2, 3, 0, 1]]
    return lines


@pytest.mark.parametrize("make", [_outlines, _hatch])
def test_no_larger_than_zlib(make: object) -> None:
    lines = make(np.random.default_rng(2))  # type: ignore[operator]
    ours = len(_compressed(lines, 5.0))
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9)
    theirs = len(packer.compress(_plain(lines, 5.0)) + packer.flush())
    assert ours < 1.05 * theirs


@given(st.lists(st.integers(0, 10**7), min_size=2, max_size=286), st.sampled_from([9, 15]))
@example([int(1.618**n) for n in range(40)], 15)
@example([int(1.618**n) for n in range(30)], 9)
@settings(deadline=None, max_examples=100)
def test_code_lengths_make_a_whole_code(counts: list[int], longest: int) -> None:
    """Every symbol that occurs has a code, none too long, and the codes leave nothing over (Kraft's sum is 1)."""
    weights = np.array(counts, np.int64)
    weights[:2] += 1
    lengths = deflate_kernels.code_lengths(weights, longest)
    assert ((lengths > 0) == (weights > 0)).all() and lengths.max() <= longest
    assert (0.5 ** lengths[lengths > 0].astype(float)).sum() == 1.0
