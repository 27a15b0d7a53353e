"""The rows of the torture suite: how each series is made, and what a reader must do with it.

Read by the tests (ours) and by ``make bench`` (ours beside the peers), so that all see the same files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torture_refused as refused
from jpeg_lossless import compress
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from synthetic_series import enhanced, make_slices, save, words_of

Change = Callable[[list[Dataset]], list[Dataset] | None]

#: Layouts of the stored values in which every row is made.
FORMATS: dict[str, dict[str, Any]] = {
    "unsigned 16 bit": {},
    "signed 16 bit": {"signed": True, "intercept": 0.0},
    "unsigned 12 bit": {"bits_stored": 12},
    "signed 12 bit": {"signed": True, "bits_stored": 12, "intercept": 100.0},
}


@dataclass(frozen=True)
class Row:
    """One series of the suite.

    Attributes
    ----------
    options : of :func:`synthetic_series.make_slices`
    change : what is done to the slices before they are saved; may return others
    write : how they are saved
    cause, file : for a series to be refused, what the message must say and which file it must name; None for one
        that must be read exactly
    """

    options: dict[str, Any]
    change: Change | None = None
    write: Callable[[list[Dataset], Path], Path] = save
    cause: str | None = None
    file: str = ""

    def make(self, form: str, folder: Path) -> Path:
        """Write the series in one of :data:`FORMATS`; returns the folder."""
        slices = make_slices(**{**FORMATS[form], **self.options})
        changed = self.change(slices) if self.change else None
        return self.write(slices if changed is None else changed, folder)


def stored(ds: Dataset) -> np.ndarray:
    """Stored values of one plane as numbers."""
    words = words_of(ds)
    return words.view(np.int16).astype(int) if ds.PixelRepresentation else words.astype(int)


def store(ds: Dataset, values: np.ndarray) -> None:
    ds.PixelData = values.astype(np.int64).astype(np.uint16).tobytes()


def encapsulated(syntax: str) -> Change:
    def change(slices: list[Dataset]) -> None:
        for ds in slices:
            ds.compress(syntax)

    return change


def jpeg_lossless(syntax: str, selection: int) -> Change:
    def change(slices: list[Dataset]) -> None:
        for ds in slices:
            compress(ds, syntax, selection)

    return change


def transfer(syntax: str) -> Change:
    def change(slices: list[Dataset]) -> None:
        for ds in slices:
            ds.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                ds.PixelData = words_of(ds).byteswap().tobytes()

    return change


def slopes_by_slice(slices: list[Dataset]) -> None:
    for number, ds in enumerate(slices):
        hu = stored(ds) + int(ds.RescaleIntercept)
        slope, intercept = (1, ds.RescaleIntercept - 7 * (number % 9)) if number % 2 else (0.5, -20)
        if slope == 0.5 and not ds.PixelRepresentation:
            intercept = -1000
        ds.RescaleSlope, ds.RescaleIntercept = slope, float(intercept)
        store(ds, (hu - intercept) / slope)


def garbage_high_bits(slices: list[Dataset]) -> None:
    for number, ds in enumerate(slices):
        ds.BitsStored, ds.HighBit = 12, 11
        store(ds, (stored(ds) & 0xFFF) | ((number % 16) << 12))


def shifted_bits(slices: list[Dataset]) -> None:
    for ds in slices:
        ds.BitsStored, ds.HighBit = 12, 15
        store(ds, (stored(ds) & 0xFFF) << 4)


def reversed_numbers(slices: list[Dataset]) -> None:
    for number, ds in enumerate(slices):
        ds.InstanceNumber = len(slices) - number
    slices.reverse()


def shuffled(slices: list[Dataset]) -> list[Dataset]:
    return [slices[n] for n in np.random.default_rng(3).permutation(len(slices))]


def lying_tags(slices: list[Dataset]) -> None:
    for ds in slices:
        ds.SpacingBetweenSlices, ds.SliceThickness, ds.GantryDetectorTilt, ds.SliceLocation = 9, 5, 12, 0


def big_padding(slices: list[Dataset]) -> None:
    """Corners, far from the balls, hold a value that no scanner measures, and the header says so."""
    for ds in slices:
        value = -32768 if ds.PixelRepresentation else 63536
        values = stored(ds)
        values[:2, :2] = value
        store(ds, values)
        ds.add_new("PixelPaddingValue", "SS" if ds.PixelRepresentation else "US", value)


def one_enhanced(slices: list[Dataset]) -> list[Dataset]:
    return [enhanced(slices)]


def shuffled_enhanced(slices: list[Dataset]) -> list[Dataset]:
    return [enhanced(shuffled(slices))]


def shuffled_enhanced_rle(slices: list[Dataset]) -> list[Dataset]:
    ds = enhanced(shuffled(slices))
    ds.compress(RLELossless)
    return [ds]


def with_tagged_localizer(slices: list[Dataset]) -> list[Dataset]:
    scout = make_slices(orientation=(1, 0, 0, 0, 0, -1), count=1)
    scout[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return [*slices, *scout]


def with_identical_duplicates(slices: list[Dataset]) -> list[Dataset]:
    return [*slices, *slices[4:7]]


def without_suffix(slices: list[Dataset], folder: Path) -> Path:
    return save(slices, folder, "IM{:06d}")


def nested_with_dicomdir(slices: list[Dataset], folder: Path) -> Path:
    """As on a patient's disc: DICOMDIR at the top, files in folders, and what else lies there."""
    disc = FileSet()
    for ds in slices:
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.SeriesNumber = "20190405", "101112", "S1", 1
        disc.add(ds)
    disc.write(folder)
    (folder / "readme.txt").write_text("not an image")
    (folder / "AUTORUN.INF").write_text("[autorun]")
    return folder


def oblique(pitch_deg: float, yaw_deg: float) -> tuple[float, ...]:
    """Direction cosines of a plane turned about two axes."""
    a, b = np.radians([pitch_deg, yaw_deg])
    row = np.array([np.cos(b), np.sin(b), 0.0])
    column = np.cross([0.0, 0.0, 1.0], row) * np.cos(a) + np.array([0, 0, 1.0]) * np.sin(a)
    return (*row, *column)


READ = {
    "plain": Row({}),
    "slope 0.5": Row({"slope": 0.5}),
    "slope and intercept change from slice to slice": Row({}, slopes_by_slice),
    "garbage above the stored bits": Row({}, garbage_high_bits),
    "12 bits in the upper end of the word": Row({}, shifted_bits),
    "big padding": Row({}, big_padding),
    "reversed": Row({}, reversed_numbers),
    "shuffled": Row({}, shuffled),
    "lying tags": Row({}, lying_tags),
    "sagittal": Row({"orientation": (0, 1, 0, 0, 0, -1), "count": 40}),
    "coronal": Row({"orientation": (1, 0, 0, 0, 0, -1)}),
    "oblique": Row({"orientation": oblique(20, 11), "count": 34}),
    "feet first": Row({"orientation": (-1, 0, 0, 0, 1, 0)}),
    "prone": Row({"orientation": (-1, 0, 0, 0, -1, 0)}),
    "no .dcm suffix": Row({}, write=without_suffix),
    "nested, with DICOMDIR": Row({}, write=nested_with_dicomdir),
    "implicit": Row({}, transfer(ImplicitVRLittleEndian)),
    "big endian": Row({}, transfer(ExplicitVRBigEndian)),
    "deflated": Row({}, transfer(DeflatedExplicitVRLittleEndian)),
    "RLE": Row({}, encapsulated(RLELossless)),
    "JPEG lossless": Row({}, jpeg_lossless(JPEGLossless, 2)),
    "JPEG lossless SV1": Row({}, jpeg_lossless(JPEGLosslessSV1, 1)),
    "JPEG 2000": Row({}, encapsulated(JPEG2000Lossless)),
    "JPEG-LS": Row({}, encapsulated(JPEGLSLossless)),
    "enhanced multi-frame": Row({}, one_enhanced),
    "enhanced, frames shuffled": Row({}, shuffled_enhanced),
    "enhanced, frames shuffled, RLE": Row({}, shuffled_enhanced_rle),
    "MR": Row({"modality": "MR"}),
    "enhanced MR, frames shuffled": Row({"modality": "MR"}, shuffled_enhanced),
    "identical duplicates": Row({}, with_identical_duplicates),
    "tagged localizer in the series": Row({}, with_tagged_localizer),
}

REFUSED = {
    name: Row({}, change, cause=cause, file=file) for name, (change, cause, file) in refused.ROWS.items()
}

ROWS = {**READ, **REFUSED}
