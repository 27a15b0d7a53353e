"""Compiled writing of deflate blocks (RFC 1951) with Huffman codes of their own, from tokens that somebody else chose.

A token is a literal (0 to 255) or a match: 256, plus 256 times the way (which of a few fixed distances), plus its
length less 3. Nothing here searches for matches, and no zlib is involved: the bytes depend on the tokens alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel

IntArray = NDArray[np.int64]

#: Ways that tokens may name; a packet has four of them: see :mod:`implantflow.build.obp_kernels`.
WAYS = 4
#: Numbers that a token can be, and the longest match.
TOKENS, LONGEST_MATCH = 256 * (1 + WAYS), 258
#: The longest block header there can be, and more (words of 32 bits).
HEADER_WORDS = 160
#: Order in which a block header holds the lengths of the codes of lengths (RFC 1951, 3.2.7).
_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])
_END_OF_BLOCK, _LENGTHS, _DISTANCES = 256, 286, 30
#: Where a token's code keeps its number of bits.
_SIZE_AT = np.uint64(58)


@kernel
def _length_symbol(length: int) -> tuple[int, int, int]:
    """Symbol of the length of a match, number of extra bits and their value."""
    if length == LONGEST_MATCH:
        return 285, 0, 0
    rest = length - 3
    extra = 0
    while rest >> extra >= 8:
        extra += 1
    return 257 + 4 * extra + (rest >> extra), extra, rest & ((1 << extra) - 1)


@kernel
def _distance_symbol(distance: int) -> tuple[int, int, int]:
    """Symbol of a distance, number of extra bits and their value."""
    rest = distance - 1
    extra = 0
    while rest >> extra >= 4:
        extra += 1
    return 2 * extra + (rest >> extra), extra, rest & ((1 << extra) - 1)


@kernel
def code_lengths(counts: IntArray, longest: int) -> IntArray:
    """Bits of each symbol's Huffman code, at most ``longest``; 0 for symbols that do not occur.

    Where the best code is too long the counts are halved until it is not: a little more than the least.
    """
    symbols = counts.shape[0]
    out = np.zeros(symbols, np.int64)
    weights = counts.copy()
    while True:
        # Count and symbol in one number: no two are equal, so the order is one and the same everywhere.
        keys = np.sort(weights[weights > 0] * 1024 + np.flatnonzero(weights))
        leaves = keys.shape[0]
        weight = np.empty(2 * leaves, np.int64)
        parent = np.zeros(2 * leaves, np.int64)
        for n in range(leaves):
            weight[n] = keys[n] // 1024
        leaf, node, end = 0, leaves, leaves
        while end < 2 * leaves - 1:
            total = 0
            for _ in range(2):
                if leaf < leaves and (node >= end or weight[leaf] <= weight[node]):
                    pick = leaf
                    leaf += 1
                else:
                    pick = node
                    node += 1
                total += weight[pick]
                parent[pick] = end
            weight[end] = total
            end += 1
        depth = np.zeros(2 * leaves, np.int64)
        for n in range(end - 2, -1, -1):
            depth[n] = depth[parent[n]] + 1
        if depth[:leaves].max() <= longest:
            for n in range(leaves):
                out[keys[n] % 1024] = depth[n]
            return out
        weights = (weights + 1) // 2


@kernel
def codes_of(lengths: IntArray) -> IntArray:
    """Canonical codes of these lengths, their first bit lowest, as they go into the stream."""
    out = np.zeros(lengths.shape[0], np.int64)
    code = 0
    for bits in range(1, 16):
        code <<= 1
        for symbol in range(lengths.shape[0]):
            if lengths[symbol] == bits:
                turned = 0
                for k in range(bits):
                    turned |= (code >> k & 1) << (bits - 1 - k)
                out[symbol] = turned
                code += 1
    return out


@kernel
def _put(out: NDArray[np.uint32], at: IntArray, value: int, bits: int) -> None:
    """Append bits; ``at`` holds the whole words, the bits that wait and their number."""
    at[1] |= value << at[2]
    at[2] += bits
    if at[2] >= 32:
        out[at[0]] = at[1] & 0xFFFFFFFF
        at[0] += 1
        at[1] >>= 32
        at[2] -= 32


@kernel
def _put_header(out: NDArray[np.uint32], at: IntArray, lengths: IntArray, distances: IntArray) -> None:
    """The lengths of both codes, themselves coded; runs of zeros are shortened."""
    literals, ways = _LENGTHS, _DISTANCES
    while literals > 257 and lengths[literals - 1] == 0:
        literals -= 1
    while ways > 1 and distances[ways - 1] == 0:
        ways -= 1
    row = np.concatenate((lengths[:literals], distances[:ways]))
    items = np.empty((row.shape[0], 3), np.int64)
    count, n = 0, 0
    while n < row.shape[0]:
        run = 0
        while n + run < row.shape[0] and row[n + run] == 0 and run < 138:
            run += 1
        if run >= 11:
            items[count, 0], items[count, 1], items[count, 2] = 18, run - 11, 7
        elif run >= 3:
            items[count, 0], items[count, 1], items[count, 2] = 17, run - 3, 3
        else:
            run = 1
            items[count, 0], items[count, 1], items[count, 2] = row[n], 0, 0
        count += 1
        n += run
    counts = np.zeros(19, np.int64)
    for n in range(count):
        counts[items[n, 0]] += 1
    bits = code_lengths(counts, 7)
    codes = codes_of(bits)
    shown = 19
    while shown > 4 and bits[_ORDER[shown - 1]] == 0:
        shown -= 1
    _put(out, at, literals - 257, 5)
    _put(out, at, ways - 1, 5)
    _put(out, at, shown - 4, 4)
    for n in range(shown):
        _put(out, at, bits[_ORDER[n]], 3)
    for n in range(count):
        _put(out, at, codes[items[n, 0]], bits[items[n, 0]])
        _put(out, at, items[n, 1], items[n, 2])


@kernel
def put_block(
    out: NDArray[np.uint32], at: IntArray, tokens: NDArray[np.uint16], ways: IntArray, last: bool
) -> None:
    """Append one block; ``ways`` are the (WAYS,) distances that tokens name, none above 256."""
    seen = np.zeros(TOKENS, np.int64)
    for n in range(tokens.shape[0]):
        seen[tokens[n]] += 1
    counts = np.zeros(_LENGTHS, np.int64)
    distances = np.zeros(_DISTANCES, np.int64)
    counts[_END_OF_BLOCK] = 1
    for token in range(TOKENS):
        if seen[token] > 0 and token < 256:
            counts[token] += seen[token]
        elif seen[token] > 0:
            counts[_length_symbol((token & 255) + 3)[0]] += seen[token]
            distances[_distance_symbol(ways[(token >> 8) - 1])[0]] += seen[token]
    # Two symbols at least in each code: some readers refuse a code of one.
    for n in range(2):
        counts[n] = max(counts[n], 1)
        distances[n] = max(distances[n], 1)
    lengths, reach = code_lengths(counts, 15), code_lengths(distances, 15)
    codes, reach_codes = codes_of(lengths), codes_of(reach)
    # At most 15 + 5 bits for a length, 4 (six distances) + 7 for a distance: with 31 that wait, less than 63.
    table = np.zeros(TOKENS, np.uint64)
    for token in range(TOKENS):
        if seen[token] == 0:
            continue
        if token < 256:
            code, bits = codes[token], lengths[token]
        else:
            symbol, extra, value = _length_symbol((token & 255) + 3)
            code, bits = codes[symbol], lengths[symbol]
            code |= value << bits
            bits += extra
            symbol, extra, value = _distance_symbol(ways[(token >> 8) - 1])
            code |= reach_codes[symbol] << bits
            bits += reach[symbol]
            code |= value << bits
            bits += extra
        table[token] = np.uint64(code) | np.uint64(bits) << _SIZE_AT
    _put(out, at, 5 if last else 4, 3)
    _put_header(out, at, lengths, reach)
    word, waits, bits = at[0], np.uint64(at[1]), np.uint64(at[2])
    mask = (np.uint64(1) << _SIZE_AT) - np.uint64(1)
    for n in range(tokens.shape[0]):
        entry = table[tokens[n]]
        waits |= (entry & mask) << bits
        bits += entry >> _SIZE_AT
        if bits >= np.uint64(32):
            out[word] = np.uint32(waits & np.uint64(0xFFFFFFFF))
            word += 1
            waits >>= np.uint64(32)
            bits -= np.uint64(32)
    at[0], at[1], at[2] = word, np.int64(waits), np.int64(bits)
    _put(out, at, codes[_END_OF_BLOCK], lengths[_END_OF_BLOCK])


@kernel
def finish(out: NDArray[np.uint32], at: IntArray) -> int:
    """Write the bits that wait; length of the stream in bytes."""
    size = 4 * int(at[0]) + (int(at[2]) + 7) // 8
    _put(out, at, 0, 32)
    return size
