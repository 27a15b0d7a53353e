"""Bones labelled in another program: checked for grid and side, then only surfaced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError, InputError
from implantflow.foreign.read import Foreign, labels_on, read_foreign
from implantflow.segment.grid import Box, crop
from implantflow.segment.labels import LABELS
from implantflow.segment.masks import bounding_box, counts
from implantflow.volumes import Volume

#: Smallest share of the labelled voxels that must be bright, so that the map belongs to this scan.
MIN_BRIGHT_FRACTION = 0.2


@dataclass(frozen=True)
class LabelMap:
    """An imported label map (codes of :data:`LABELS`) as its file places it."""

    foreign: Foreign

    @property
    def name(self) -> str:
        """Base name of the file."""
        return self.foreign.name

    def region_on(self, view: Volume) -> tuple[Volume, NDArray[np.uint8], Box, bool]:
        """Labels on the crop of ``view`` (canonical CT) that holds them.

        Returns
        -------
        hu : the crop; region : (K, J, I) uint8; box : its place; resampled : whether the grids differed.

        Raises
        ------
        GeometryError
            The map lies outside the scan, or its voxels are not bone there.
        """
        array, resampled = self.on(view)
        box = bounding_box(array > 0, 8)
        part = crop(view, box)
        hu = Volume(np.ascontiguousarray(part.array), part.affine_lps)
        return hu, np.ascontiguousarray(array[box.slices]), box, resampled

    def on(self, hu: Volume) -> tuple[NDArray[np.uint8], bool]:
        """Labels (K, J, I) on the grid of ``hu``, and whether the grids differed; GeometryError as above."""
        array, how = labels_on(self.foreign, hu, resample=True)
        bright = float((hu.array[array > 0] > 100.0).mean())
        if bright < MIN_BRIGHT_FRACTION:
            raise GeometryError(
                f"only {100 * bright:.0f} % of the labelled voxels are brighter than 100 HU: the label map does "
                "not lie on the bones of this scan",
                where=self.name,
                fix="export the labels in the space of the planning CT, in LPS or RAS as its file says",
            )
        return np.asarray(array, dtype=np.uint8), how.startswith("resampled")


def read_label_map(path: Path) -> LabelMap:
    """Read a label map; InputError when it lacks a bone or holds codes that are not known."""
    foreign = read_foreign(path)
    array = foreign.volume.array
    held = np.flatnonzero(counts(array, 255)) if array.dtype == np.uint8 else np.unique(array)
    codes = {int(c) for c in held} - {0}
    known = set(LABELS.values())
    missing = [n for n in ("sacrum", "hip_left", "hip_right", "l5") if LABELS[n] not in codes]
    if missing or not codes <= known:
        table = ", ".join(f"{code} {name}" for name, code in LABELS.items())
        raise InputError(
            f"the label map lacks {missing or 'nothing'} and holds unknown codes {sorted(codes - known)}",
            where=path.name,
            fix=f"use these codes: {table}",
        )
    return LabelMap(foreign)


def as_report(name: str, resampled: bool) -> dict[str, Any]:
    """The ``prior`` entry of ``segment.json`` for an imported map."""
    return {
        "kind": "label_map",
        "file": name,
        "resampled": resampled,
        "note": "Bones labelled in another program; checked for grid and side and surfaced here, not cut.",
    }
