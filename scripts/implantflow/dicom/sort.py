"""Which images of a folder make a volume: one series, one frame of reference, one plane grid, one patient."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from implantflow.dicom.headers import FolderContents, Slice
from implantflow.dicom.uids import remap_uid
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray

#: Two planes belong to one grid when their corners, seen from the first pixel, differ by less than this.
SAME_GRID_MM = 0.02

#: Names of an error message's files: the first ones, then "and n more".
_SHOWN = 3

_VOLUME_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "converted enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "converted enhanced MR",
}


@dataclass(frozen=True)
class SeriesRow:
    """One line of the table of what a folder holds; UIDs are remapped ones."""

    series_uid: str
    modality: str
    images: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float] | None
    orientation: str
    kind: str

    def __str__(self) -> str:
        spacing = "no spacing" if self.spacing_mm is None else "{:.4g}x{:.4g} mm".format(*self.spacing_mm)
        return (
            f"{self.modality or '??':3} {self.images:5d} images {self.rows}x{self.columns} {spacing} "
            f"{self.orientation}, {self.kind}; series_uid: {self.series_uid or '(none)'}"
        )


def names(images: Sequence[Slice]) -> str:
    """Base names of some images, shortened for an error message."""
    shown = ", ".join(image.name for image in images[:_SHOWN])
    return shown if len(images) <= _SHOWN else f"{shown} and {len(images) - _SHOWN} more"


def why_no_volume(image: Slice) -> str:
    """Why ``image`` cannot be a plane of a volume ("" when it can)."""
    if image.sop_class not in _VOLUME_CLASSES:
        return "not a CT or MR image"
    if "LOCALIZER" in image.image_type:
        return "localizer"
    if image.position_mm is None or image.orientation is None or image.spacing_mm is None:
        return "no position, orientation or pixel spacing"
    return ""


def plane_vectors(image: Slice) -> FloatArray:
    """Columns: one step along i (to the next column), one along j (to the next row), the unit normal; (3, 3).

    Raises
    ------
    GeometryError
        The direction cosines are not two orthogonal unit vectors, or a spacing is not positive.
    """
    assert image.orientation is not None and image.spacing_mm is not None
    row, column = np.array(image.orientation[:3]), np.array(image.orientation[3:])
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > 1e-3 or abs(float(row @ column)) > 1e-3 or min(image.spacing_mm) <= 0:
        raise GeometryError(
            "direction cosines are not orthogonal unit vectors, or a pixel spacing is not positive",
            where=image.name,
            fix="export the series again: its geometry tags are damaged",
        )
    row = row / lengths[0]
    column = column - row * (row @ column)
    column /= np.linalg.norm(column)
    step_i, step_j = row * image.spacing_mm[1], column * image.spacing_mm[0]
    return np.column_stack([step_i, step_j, np.cross(row, column)])


def orientation_word(image: Slice) -> str:
    """axial, coronal, sagittal, or oblique (more than 20 degrees off all three)."""
    if image.orientation is None:
        return "unplaced"
    normal = np.abs(np.cross(image.orientation[:3], image.orientation[3:]))
    axis = int(normal.argmax())
    word = ("sagittal", "coronal", "axial")[axis]
    return word if normal[axis] > np.cos(np.radians(20)) else "oblique"


def table(slices: Sequence[Slice]) -> list[SeriesRow]:
    """One row per series and kind of image in it, in order of appearance."""
    groups: dict[tuple[Hashable, ...], list[Slice]] = {}
    for image in slices:
        spacing = None if image.spacing_mm is None else tuple(round(s, 4) for s in image.spacing_mm)
        size = (image.pixels.rows, image.pixels.columns)
        key = (image.series_uid, image.modality, size, spacing, orientation_word(image), why_no_volume(image))
        groups.setdefault(key, []).append(image)
    found = []
    for members in groups.values():
        first = members[0]
        reason = why_no_volume(first)
        found.append(
            SeriesRow(
                series_uid=remap_uid(first.series_uid),
                modality=first.modality,
                images=len(members),
                rows=first.pixels.rows,
                columns=first.pixels.columns,
                spacing_mm=None if first.spacing_mm is None else (first.spacing_mm[0], first.spacing_mm[1]),
                orientation=orientation_word(first),
                kind=f"no volume: {reason}" if reason else "volume",
            )
        )
    return found


def table_text(slices: Sequence[Slice]) -> str:
    """The table as lines of text."""
    return "\n".join(f"    {row}" for row in table(slices))


def choose_series(contents: FolderContents, series_uid: str | None) -> tuple[list[Slice], list[str]]:
    """The planes of the one series that is wanted, and notes on what was set aside.

    Parameters
    ----------
    series_uid : str or None
        Remapped (as the table shows it) or original UID; None when the folder holds one volume series only.

    Raises
    ------
    InputError
        A damaged file, two patients, no volume series, an unknown UID, or several series to choose from.
    """
    if contents.damaged:
        name, reason = contents.damaged[0]
        more = f" (and {len(contents.damaged) - 1} more such files)" if len(contents.damaged) > 1 else ""
        raise InputError(
            f"a file in the DICOM folder cannot be read: {reason}{more}",
            where=name,
            fix="fetch the series again; take files that are no DICOM images out of the folder",
        )
    if not contents.slices:
        raise InputError("the folder holds no DICOM image", fix="check ingest.series.*.dicom")
    refuse_mixed_patients(contents.slices)
    volumes = [image for image in contents.slices if not why_no_volume(image)]
    available = list(dict.fromkeys(image.series_uid for image in volumes))
    if series_uid is not None:
        wanted = [uid for uid in available if series_uid in (uid, remap_uid(uid))]
    else:
        wanted = available
    if len(wanted) != 1:
        what = f"the folder holds {len(available)} series that could be a volume"
        if series_uid is not None:
            what = "the configured series_uid is no volume series of this folder"
        raise InputError(
            f"{what}; it holds:\n{table_text(contents.slices)}",
            where=names(contents.slices[:1]),
            fix="set ingest.series.NAME.series_uid to one of the series marked 'volume'",
        )
    chosen = [image for image in volumes if image.series_uid == wanted[0]]
    aside = [image for image in contents.slices if image.series_uid == wanted[0] and why_no_volume(image)]
    notes = [f"{len(aside)} images of the series set aside: {why_no_volume(aside[0])}"] if aside else []
    if contents.other_files:
        notes.append(f"{contents.other_files} files that are no DICOM images were passed over")
    return chosen, notes


def refuse_mixed_patients(slices: Sequence[Slice]) -> None:
    """InputError when patient ID, birth date or sex differ between images (values are not shown)."""
    for image in slices:
        differing = slices[0].identity.differences(image.identity)
        if differing:
            raise InputError(
                f"the folder holds images of more than one patient ({', '.join(differing)} differ)",
                where=f"{slices[0].name} and {image.name}",
                fix="keep one patient's images in the folder",
            )


def refuse_mixed_grids(slices: Sequence[Slice]) -> None:
    """Refuse images of one series that do not share modality, frame of reference, size, spacing, orientation.

    Raises
    ------
    GeometryError
        Names what changes and the files that differ from the majority.
    """
    properties: list[tuple[str, Callable[[Slice], Hashable]]] = [
        ("modality", lambda s: s.modality),
        ("frame of reference", lambda s: s.frame_of_reference),
        ("number of rows and columns", lambda s: (s.pixels.rows, s.pixels.columns)),
    ]
    for label, value_of in properties:
        _refuse_minority(slices, label, [value_of(image) for image in slices])
    far = np.array([slices[0].pixels.columns - 1, slices[0].pixels.rows - 1])
    vectors = [plane_vectors(image)[:, :2] for image in slices]
    corners = np.array([np.concatenate([v[:, 0] * far[0], v[:, 1] * far[1]]) for v in vectors])
    centre = np.median(corners, axis=0)
    odd = np.abs(corners - centre).max(axis=1) > SAME_GRID_MM
    _refuse_minority(slices, "pixel spacing or orientation", [bool(o) for o in odd])


def _refuse_minority(slices: Sequence[Slice], label: str, values: Sequence[Hashable]) -> None:
    counts: dict[Hashable, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    if len(counts) == 1:
        return
    common = max(counts, key=lambda value: counts[value])
    odd = [image for image, value in zip(slices, values, strict=True) if value != common]
    raise GeometryError(
        f"one series, but {label} changes within it ({len(odd)} of {len(slices)} images differ):\n"
        + table_text(slices),
        where=names(odd),
        fix="take these images out of the folder, or export them as a series of their own",
    )
