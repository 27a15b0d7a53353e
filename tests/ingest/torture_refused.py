"""Series that must be refused: how each is spoilt, what the message must say, which file it must name."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
from pydicom.dataset import Dataset
from synthetic_series import (
    AXIAL,
    COLUMNS,
    SPACING,
    STEP_MM,
    UID,
    make_slices,
    plane_hu,
    words_of,
)
from synthetic_series import (
    ROWS as PIXEL_ROWS,
)

Change = Callable[[list[Dataset]], list[Dataset] | None]

#: First pixel of the axial planes, as make_slices centres them.
CORNER = np.array([2.0 - SPACING[1] * (COLUMNS - 1) / 2, -2.0 - SPACING[0] * (PIXEL_ROWS - 1) / 2, 0.0])


def at(slices: list[Dataset], positions: np.ndarray) -> list[Dataset]:
    """As many of ``slices`` as there are positions, each showing what lies there; the object is not moved."""
    first = slices[0]
    found = []
    for number, position in enumerate(positions, 1):
        ds = deepcopy(first)
        ds.SOPInstanceUID = f"{UID}.4.{number}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.InstanceNumber = number
        ds.ImagePositionPatient = [float(f"{v:.6f}") for v in position]
        hu = plane_hu(tuple(float(v) for v in position), AXIAL)
        stored = np.rint((hu - float(first.RescaleIntercept)) / float(first.RescaleSlope)).astype(np.int64)
        ds.PixelData = stored.astype(np.uint16).tobytes()
        found.append(ds)
    return found


def heights(z: np.ndarray) -> np.ndarray:
    """Positions above each other at the heights ``z``."""
    return CORNER + np.asarray(z, dtype=float)[:, None] * [0.0, 0.0, 1.0]


def missing(*numbers: int) -> Change:
    return lambda slices: [ds for n, ds in enumerate(slices) if n not in numbers]


def tilt(degrees: float, tag: float | None) -> Change:
    def change(slices: list[Dataset]) -> list[Dataset]:
        z = STEP_MM * np.arange(30.0)
        y = np.tan(np.radians(degrees)) * (z - 29.0)
        tilted = at(slices, heights(z) + y[:, None] * [0.0, 1.0, 0.0])
        for ds in tilted:
            if tag is not None:
                ds.GantryDetectorTilt = tag
        return tilted

    return change


def one_then_three(slices: list[Dataset]) -> list[Dataset]:
    return at(slices, heights(np.concatenate([np.arange(20.0), 19 + 3 * np.arange(1, 14)])))


def jittered(slices: list[Dataset]) -> list[Dataset]:
    z = 2.0 * np.arange(30)
    z[11] += 0.3
    return at(slices, heights(z))


def sideways(slices: list[Dataset]) -> list[Dataset]:
    positions = heights(2.0 * np.arange(30))
    positions[17, 0] += 2.0
    return at(slices, positions)


def differing_duplicate(slices: list[Dataset]) -> list[Dataset]:
    twin = at(slices, np.array([slices[9].ImagePositionPatient], dtype=float))[0]
    words = words_of(twin)
    words[5, 5] ^= 1
    twin.PixelData = words.tobytes()
    return [*slices, twin]


def two_phases(slices: list[Dataset]) -> list[Dataset]:
    late = at(slices, np.array([ds.ImagePositionPatient for ds in slices], dtype=float))
    for ds in late:
        ds.PixelData = (words_of(ds) ^ 1).tobytes()
        ds.AcquisitionNumber = 2
    return [*slices, *late]


def untagged_localizer(slices: list[Dataset]) -> list[Dataset]:
    return [*slices, *make_slices(orientation=(1, 0, 0, 0, 0, -1), count=1)]


def two_series(slices: list[Dataset]) -> list[Dataset]:
    return [*slices, *make_slices(series=2, count=28)]


def one(number: int, **tags: object) -> Change:
    def change(slices: list[Dataset]) -> None:
        for keyword, value in tags.items():
            setattr(slices[number], keyword, value)

    return change


def all_of_them(**tags: object) -> Change:
    def change(slices: list[Dataset]) -> None:
        for number in range(len(slices)):
            one(number, **tags)(slices)

    return change


def two_behind_nobody(slices: list[Dataset]) -> None:
    slices[0].PatientID = ""
    one(7, PatientID="ANOTHER-SECRET")(slices)


def laid_into_each_other(slices: list[Dataset]) -> None:
    for ds in slices[1::2]:
        ds.AcquisitionNumber = 2
        ds.PixelData = (words_of(ds) ^ 1).tobytes()


def padding_of_tissue(slices: list[Dataset]) -> None:
    for ds in slices:
        value = words_of(ds).view(np.int16 if ds.PixelRepresentation else np.uint16)[0, 0]
        ds.add_new("PixelPaddingValue", "SS" if ds.PixelRepresentation else "US", int(value))


def without_rescale(slices: list[Dataset]) -> None:
    for ds in slices:
        del ds.RescaleIntercept


def turned(slices: list[Dataset]) -> None:
    a = np.radians(1.0)
    slices[8].ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(a)), float(np.sin(a))]


def half_coarse(slices: list[Dataset]) -> None:
    for ds in slices[15:]:
        ds.PixelSpacing = [1.8, 1.8]


ROWS: dict[str, tuple[Change, str, str]] = {
    "1 slice missing": (missing(12), "1 slices are missing", "image011.dcm"),
    "6 slices missing": (missing(*range(12, 18)), "6 slices are missing.*too wide", "image011.dcm"),
    "duplicate slice": (differing_duplicate, "same place", "image009.dcm"),
    "gantry tilt 15 deg, tag present": (tilt(15, 15), r"tilted by 15\.00 deg", "image000.dcm"),
    "gantry tilt 15 deg, tag absent": (tilt(15, None), r"tilted by 15\.00 deg", "image029.dcm"),
    "gantry tilt 15 deg, tag wrong": (tilt(15, -8), r"tilted by 15\.00 deg", "image029.dcm"),
    "spacing 1 mm then 3 mm": (one_then_three, r"irregular: from 1\.000 to 3\.000 mm", "image019.dcm"),
    "one slice displaced": (jittered, "irregular", "image010.dcm"),
    "one slice sideways": (sideways, "sideways", "image017.dcm"),
    "localizer inside the series": (untagged_localizer, "orientation changes", "image030.dcm"),
    "two series in a folder": (two_series, "2 series that could be a volume", "image000.dcm"),
    "two phases under one SeriesInstanceUID": (
        two_phases,
        r"AcquisitionNumber \(1, 2\)",
        "image000.dcm",
    ),
    "one slice with PixelSpacing 10 % off": (
        one(7, PixelSpacing=[SPACING[0], SPACING[1] * 1.1]),
        "pixel spacing or orientation changes",
        "image007.dcm",
    ),
    "half the slices with another PixelSpacing": (
        half_coarse,
        "pixel spacing or orientation changes",
        "image015.dcm",
    ),
    "one slice turned by 1 deg": (turned, "pixel spacing or orientation changes", "image008.dcm"),
    "one frame of reference": (
        one(3, FrameOfReferenceUID=f"{UID}.77"),
        "frame of reference changes",
        "image003.dcm",
    ),
    "two patients": (one(5, PatientID="ANOTHER-SECRET"), "more than one patient", "image005.dcm"),
    "two birth dates": (one(5, PatientBirthDate="19990101"), "PatientBirthDate", "image005.dcm"),
    "two patients behind an image that names nobody": (
        two_behind_nobody,
        "more than one patient",
        "image007.dcm",
    ),
    "two scans laid into each other": (
        laid_into_each_other,
        r"lie between each other.*AcquisitionNumber \(1, 2\)",
        "image000.dcm",
    ),
    "one image's UID at two places": (
        lambda slices: one(9, SOPInstanceUID=slices[4].SOPInstanceUID)(slices),
        "carry one SOPInstanceUID",
        "image004.dcm and image009.dcm",
    ),
    "class and modality that contradict": (all_of_them(Modality="MR"), "of the class CT", "image000.dcm"),
    "last slice called a localizer": (
        one(29, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "calls itself a localizer",
        "image029.dcm",
    ),
    "padding that tissue has": (padding_of_tissue, "40 HU padding", "image0"),
    "CT without intercept": (without_rescale, "Hounsfield units", "image000.dcm"),
    "rescale slope that is no number": (
        all_of_them(RescaleSlope=float("nan")),
        "no finite number",
        "image000.dcm",
    ),
    "rescale intercept that is no number": (
        all_of_them(RescaleIntercept=float("nan")),
        "no finite number",
        "image000.dcm",
    ),
    "rescale that leaves no image": (
        all_of_them(RescaleSlope="1e-6", RescaleIntercept=0),
        "no image any more",
        "image000.dcm",
    ),
    "not HU": (all_of_them(RescaleType="ED"), "not to HU", "image000.dcm"),
    "inverted": (all_of_them(PhotometricInterpretation="MONOCHROME1"), "MONOCHROME1", "image000.dcm"),
    "localizer only": (
        all_of_them(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "localizer",
        "image000.dcm",
    ),
    "maximum intensity projection": (
        all_of_them(ImageType=["DERIVED", "SECONDARY", "AXIAL", "CSA MIP"]),
        "projection",
        "image000.dcm",
    ),
    "one slice": (lambda slices: slices[:1], "at least two slices", "image000.dcm"),
    "values beyond 16 bits": (all_of_them(RescaleSlope=100.0), "do not fit 16 bits", "image0"),
    "axes that are not orthogonal": (
        all_of_them(ImageOrientationPatient=[1, 0, 0, 0.2, 0.98, 0]),
        "not orthogonal",
        "image000.dcm",
    ),
    "position that is no number": (
        one(6, ImagePositionPatient=[1e9, 0, 0]),
        "makes no sense",
        "image006.dcm",
    ),
}
