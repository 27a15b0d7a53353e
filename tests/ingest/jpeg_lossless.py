"""A plain encoder of JPEG lossless (ITU-T T.81, process 14): pydicom has none, and the reader must be tested."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

#: Length of every code of the one Huffman table: 16 categories of 4 bits would be all ones, so 5 bits for the last.
_CATEGORIES = 17


def _codes() -> tuple[bytes, list[tuple[int, int]]]:
    """Counts per code length for the DHT segment, and (code, length) per category 0..16."""
    lengths = [4] * 14 + [5] * 3
    counts = bytes(lengths.count(n) for n in range(1, 17))
    codes, code, length = [], 0, lengths[0]
    for wanted in lengths:
        code <<= wanted - length
        length = wanted
        codes.append((code, wanted))
        code += 1
    return counts, codes


def encode(words: np.ndarray, precision: int, selection: int) -> bytes:
    """(rows, columns) uint16 -> one JPEG frame; ``selection`` 1 predicts from the left, 2 from above."""
    rows, columns = words.shape
    values = words.astype(np.int64)
    predicted = np.empty_like(values)
    if selection == 1:
        predicted[:, 1:] = values[:, :-1]
        predicted[1:, 0] = values[:-1, 0]
        predicted[0, 0] = 1 << (precision - 1)
    else:
        predicted[1:] = values[:-1]
        predicted[0, 1:] = values[0, :-1]
        predicted[0, 0] = 1 << (precision - 1)
    differences = ((values - predicted + 0x8000) & 0xFFFF) - 0x8000
    counts, codes = _codes()
    out = bytearray()
    out += b"\xff\xd8"
    out += b"\xff\xc3" + (11).to_bytes(2, "big") + bytes([precision])
    out += rows.to_bytes(2, "big") + columns.to_bytes(2, "big") + bytes([1, 1, 0x11, 0])
    out += (
        b"\xff\xc4" + (2 + 17 + _CATEGORIES).to_bytes(2, "big") + b"\x00" + counts + bytes(range(_CATEGORIES))
    )
    out += b"\xff\xda" + (8).to_bytes(2, "big") + bytes([1, 1, 0x00, selection, 0, 0])
    out += _bits(differences.ravel(), codes)
    return bytes(out + b"\xff\xd9")


def _bits(differences: np.ndarray, codes: list[tuple[int, int]]) -> bytes:
    text = []
    for value in differences.tolist():
        size = abs(value).bit_length()
        code, length = codes[size]
        text.append(format(code, f"0{length}b"))
        if 0 < size < 16:  # 16 stands for 32768 alone and has no bits of its own
            text.append(format(value if value > 0 else value + (1 << size) - 1, f"0{size}b"))
    joined = "".join(text)
    joined += "1" * (-len(joined) % 8)
    data = int(joined, 2).to_bytes(len(joined) // 8, "big")
    return data.replace(b"\xff", b"\xff\x00")


def compress(ds: Dataset, syntax: str, selection: int) -> None:
    """Replace the native pixel data of ``ds`` by a JPEG lossless frame, in place."""
    words = np.frombuffer(ds.PixelData, np.uint16).reshape(ds.Rows, ds.Columns)
    if ds.BitsStored < 16:
        words = words & ((1 << ds.BitsStored) - 1)
    ds.PixelData = encapsulate([encode(words, ds.BitsStored, selection)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
