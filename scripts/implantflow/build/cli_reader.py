"""Reading binary CLI 2.0 files: written from the description of the format, sharing nothing with the writer.

Header: ASCII lines from ``$$HEADERSTART`` to ``$$HEADEREND``; binary data starts with the next byte. Then
little-endian commands: 127 layer (float32 z), 128 layer (uint16 z), 129 polyline (uint16 id, dir, n, then n
times x, y), 130 polyline (int32 id, dir, n, then n times float32 x, y), 131 hatches (uint16 id, n, then n times
xs, ys, xe, ye), 132 hatches (int32 id, n, float32 coordinates). All lengths are in ``$$UNITS`` mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class CliLayer:
    """One layer as it stands in the file, in units.

    Attributes
    ----------
    z : height in units.
    points : (P, 2) all polyline points; starts : (L + 1,) where each polyline begins.
    direction, label : (L,) ``dir`` and id of each polyline.
    hatches : (H, 4) xs, ys, xe, ye; hatch_label : (H,) id.
    """

    z: float
    points: FloatArray
    starts: IntArray
    direction: IntArray
    label: IntArray
    hatches: FloatArray
    hatch_label: IntArray


class CliFile:
    """A binary CLI file: header fields at once, layers one at a time.

    Attributes
    ----------
    header : list of (key, value), in file order, without the dollar signs.
    unit_mm : mm per unit; declared_layers : what ``$$LAYERS`` says, None when absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as handle:
            head = handle.read(_LONGEST_HEADER)
        end = head.find(b"$$HEADEREND")
        if not head.lstrip().startswith(b"$$HEADERSTART") or end < 0:
            raise InputError("not a CLI file: no header", where=str(path))
        text = head[:end].decode("ascii", "replace")
        self.header = [
            (line[2:].partition("/")[0].strip(), line.partition("/")[2].strip())
            for line in (piece.strip() for piece in text.splitlines())
            if line.startswith("$$")
        ]
        keys = dict(self.header)
        if "BINARY" not in keys:
            raise InputError("only binary CLI files are read", where=str(path), fix="export it as binary CLI")
        if "ALIGN" in keys:
            raise InputError("a CLI file with 32-bit alignment is not read", where=str(path))
        try:
            self.unit_mm = float(keys["UNITS"])
            self.declared_layers = int(keys["LAYERS"]) if "LAYERS" in keys else None
        except (KeyError, ValueError) as error:
            raise InputError("the CLI header has no usable $$UNITS or $$LAYERS", where=str(path)) from error
        self.labels = {
            int(value.split(",")[0]): value.split(",", 1)[1]
            for key, value in self.header
            if key == "LABEL" and "," in value and value.split(",")[0].isdigit()
        }
        size = path.stat().st_size - (end + 11)
        if size % 2:
            raise InputError("the CLI file ends in the middle of a word", where=str(path))
        self._words: NDArray[np.uint16] = np.memmap(
            path, dtype="<u2", mode="r", offset=end + 11, shape=(size // 2,)
        )

    @property
    def words(self) -> NDArray[np.uint16]:
        """The binary part as it stands in the file, 16 bits each; not in memory."""
        return self._words

    def layers(self) -> Iterator[CliLayer]:
        """Read the layers in file order.

        Raises
        ------
        InputError
            An unknown command or a block that runs over the end of the file.
        """
        from implantflow.build import cli_reader_kernels as kernels

        words = self._words
        at = 0
        if len(words) and words[0] not in (127, 128):
            raise InputError("geometry before the first layer", where=str(self.path))
        while at < len(words):
            end, points, lines, hatches = kernels.measure_layer(words, at)
            if end < 0:
                raise InputError(
                    "an unknown command, or a block that runs over the end of the file",
                    where=f"{self.path}, word {-end - 1}",
                    fix="the file is damaged: build it again",
                )
            z, xy, starts, direction, label, hatch, hatch_label = kernels.read_layer(
                words[at:end], points, lines, hatches
            )
            yield CliLayer(z, xy, starts, direction, label, hatch, hatch_label)
            at = end
