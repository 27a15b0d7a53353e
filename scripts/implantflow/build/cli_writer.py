"""Writing a binary CLI 2.0 file layer by layer; the whole file is never in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from implantflow.config.site import NOT_CLINICAL

#: Labels of the paths in the file; the id stands before each block.
CONTOUR_ID, HATCH_ID, NET_ID = 1, 2, 3
LABELS = {CONTOUR_ID: "contour", HATCH_ID: "hatch", NET_ID: "net"}
#: Supports are named in the header of files that hold some, and nowhere else.
SUPPORT_ID, SUPPORT = 4, "support"
#: So are these, of files whose dense metal is melted inside its outline. The outline is then the part's border and
#: nothing that the beam follows; every other label begins with the theme that melts it.
OUTLINE_ID, OUTER_ID, INNER_ID, EDGE_ID, THIN_ID = 5, 6, 7, 8, 9
OUTLINE = "outline"
PATH_LABELS = {
    OUTLINE_ID: OUTLINE,
    OUTER_ID: "contour outer",
    INNER_ID: "contour inner",
    EDGE_ID: "contour of struts",
    THIN_ID: "net of thin places",
}


def _clean(text: str) -> str:
    """ASCII without the characters that structure a header."""
    return "".join(c if c.isascii() and c.isprintable() and c not in "$,/" else "_" for c in text)


@dataclass(frozen=True)
class CliHeader:
    """What the header states.

    Attributes
    ----------
    unit_mm : size of one unit; layers : number of layers; box_mm : (2, 3) lowest and highest corner.
    facts : name -> text, written as user data in the given order (case, side, revision, digests).
    clinical : without it the header says that the file is not for clinical use.
    date : ddmmyy from the case, never the day of writing; left out when None.
    supports : the file holds supports. paths : dense metal is melted along paths inside its outline.
    """

    unit_mm: float
    layers: int
    box_mm: NDArray[np.float64]
    facts: Mapping[str, str] = field(default_factory=dict)
    clinical: bool = False
    date: str | None = None
    supports: bool = False
    paths: bool = False

    def encode(self) -> bytes:
        """The ASCII header; binary data begins with the next byte."""
        lines = ["$$HEADERSTART", "$$BINARY", f"$$UNITS/{self.unit_mm:.6f}", "$$VERSION/200"]
        if self.date is not None:
            lines.append(f"$$DATE/{self.date}")
        corners = ",".join(f"{value:.4f}" for value in np.asarray(self.box_mm).ravel())
        lines.append(f"$$DIMENSION/{corners}")
        lines.append(f"$$LAYERS/{self.layers:06d}")
        lines += [f"$$LABEL/{number},{name}" for number, name in LABELS.items()]
        if self.supports:
            lines.append(f"$$LABEL/{SUPPORT_ID},{SUPPORT}")
        if self.paths:
            lines += [f"$$LABEL/{number},{name}" for number, name in PATH_LABELS.items()]
        notes = [f"{_clean(name)}={_clean(text)}" for name, text in self.facts.items()]
        if not self.clinical:
            notes.insert(0, NOT_CLINICAL)
        lines += [f"$$USERDATA/implantflow,{len(note)},{note}" for note in notes]
        return ("\n".join(lines) + "\n$$HEADEREND").encode("ascii")


class CliWriter:
    """Context manager that writes the header and then blocks of packed layers in the order given."""

    def __init__(self, path: Path, header: CliHeader) -> None:
        self._path = path
        self._header = header
        self._file: BinaryIO | None = None

    def __enter__(self) -> CliWriter:
        self._file = self._path.open("wb")
        self._file.write(self._header.encode())
        return self

    def write(self, words: NDArray[np.uint16]) -> None:
        """Append one packed layer (little-endian words)."""
        assert self._file is not None
        self._file.write(words.astype("<u2", copy=False).data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
