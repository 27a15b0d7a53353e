"""The simulator's own small reader of binary CLI 2.0: outlines only, and what the header says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import InputError
from implantflow.geometry import FloatArray
from implantflow.phantom.printed import cli_kernels

_HEADER_END = b"$$HEADEREND"
#: Longest header that is looked through (bytes).
_HEADER_MAX = 1 << 16


@dataclass(frozen=True)
class BuildFile:
    """A build file as the machine gets it.

    Attributes
    ----------
    words : (N,) uint16, everything behind the header. starts : (layers + 1,) word at which each layer begins.
    unit_mm : mm per unit of the coordinates. bottom_mm, layer_mm : lower surface of the first layer, thickness.
    box_mm : (2, 3) box that the header states, build_xyz.
    scale_xyz : (3,) factors by which the file says it draws the design larger.
    """

    words: NDArray[np.uint16]
    starts: NDArray[np.int64]
    unit_mm: float
    bottom_mm: float
    layer_mm: float
    box_mm: FloatArray
    scale_xyz: FloatArray

    @classmethod
    def read(cls, path: Path) -> BuildFile:
        """Read a binary CLI file with layers of one thickness.

        Raises
        ------
        InputError
            Not binary CLI, cut short, fewer than two layers, or layers of unequal thickness.
        """
        with path.open("rb") as handle:
            head = handle.read(_HEADER_MAX)
        end = head.find(_HEADER_END)
        if end < 0 or b"$$BINARY" not in head[:end]:
            raise InputError("not a binary CLI file", where=str(path), fix="build the revision again")
        lines = head[:end].decode("ascii", "replace").splitlines()
        words = np.fromfile(path, dtype="<u2", offset=end + len(_HEADER_END))
        starts, heights = cli_kernels.layers_of(words)
        unit = float(_after(lines, "$$UNITS/", path))
        z = heights * unit
        steps = np.diff(z)
        if len(z) < 2 or np.ptp(steps) > 1e-3 * steps.mean() or steps.min() <= 0:
            raise InputError(
                f"{len(z)} layers that could be read, or of unequal thickness",
                where=str(path),
                fix="build again",
            )
        layer = float(z[-1] - z[0]) / (len(z) - 1)
        box = np.array([float(v) for v in _after(lines, "$$DIMENSION/", path).split(",")]).reshape(2, 3)
        stated = [line.split("=", 1)[1] for line in lines if "USERDATA" in line and ",scale xyz=" in line]
        scale = np.array([float(v) for v in stated[0].split()]) if stated else np.ones(3)
        return cls(words, starts, unit, float(z[0]) - layer, layer, box, scale)


def _after(lines: list[str], key: str, path: Path) -> str:
    for line in lines:
        if line.startswith(key):
            return line[len(key) :]
    raise InputError(f"the header of the build file has no {key}", where=str(path), fix="build again")
