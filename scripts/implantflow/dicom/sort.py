"""Which images of a folder make a volume: one series, one frame of reference, one plane grid, one patient."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from implantflow.dicom.folder import FolderContents
from implantflow.dicom.headers import Slice
from implantflow.dicom.parts import Part, by_grid, split, table_text, why_no_volume
from implantflow.dicom.uids import remap_uid
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray

#: Names of an error message's files: the first ones, then "and n more".
_SHOWN = 3


@dataclass(frozen=True)
class Choice:
    """The planes that are wanted.

    Attributes
    ----------
    images : planes of one series, or of one part of it
    part_uid : UID of that part (as the table shows it) when the series has several, else None
    notes : what was set aside
    """

    images: list[Slice]
    part_uid: str | None
    notes: list[str]


def names(images: Sequence[Slice]) -> str:
    """Base names of some images, shortened for an error message."""
    shown = ", ".join(image.name for image in images[:_SHOWN])
    return shown if len(images) <= _SHOWN else f"{shown} and {len(images) - _SHOWN} more"


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


def choose_series(contents: FolderContents, series_uid: str | None) -> Choice:
    """The planes of the one series that is wanted, and notes on what was set aside.

    Parameters
    ----------
    series_uid : str or None
        UID of the table (a series, or a part of one), or the original UID of a series; None when the folder
        holds one volume series only.

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
        raise InputError(
            "the folder holds no DICOM image",
            fix="give the folder that holds the DICOM files (in a case config ingest.series.*.dicom)",
        )
    refuse_mixed_patients(contents.slices)
    parts = split(contents.slices)
    chosen, part_uid = _wanted(parts, series_uid)
    uid = chosen[0].series_uid
    taken = {id(image) for image in chosen}
    aside = [part for part in parts if part.images[0].series_uid == uid and id(part.images[0]) not in taken]
    notes = [
        f"{len(part.images)} images of the series set aside: {part.reason or part.telling or 'another grid'}"
        for part in aside
    ]
    if contents.other_files:
        notes.append(f"{contents.other_files} files that are no DICOM images were passed over")
    return Choice(chosen, part_uid, notes)


def _wanted(parts: Sequence[Part], series_uid: str | None) -> tuple[list[Slice], str | None]:
    for part in parts:
        whole = remap_uid(part.images[0].series_uid)
        if part.series_uid == series_uid != whole and not part.reason:
            return part.images, part.series_uid
    available = list(dict.fromkeys(part.images[0].series_uid for part in parts if not part.reason))
    wanted = [uid for uid in available if series_uid in (None, uid, remap_uid(uid))]
    if len(wanted) != 1:
        what = f"the folder holds {len(available)} series that could be a volume"
        if series_uid is not None:
            what = "the configured series_uid is no volume series of this folder"
        raise InputError(
            f"{what}; it holds:\n{table_text(parts)}",
            where=parts[0].images[0].name,
            fix="choose a series marked 'volume': ingest.series.NAME.series_uid in a case config, --series UID of "
            "the command",
        )
    # All planes of the series, odd ones too: whether they belong together is for the checks that follow.
    images = [image for part in parts for image in part.images if image.series_uid == wanted[0]]
    return [image for image in images if not why_no_volume(image)], None


def refuse_mixed_patients(slices: Sequence[Slice]) -> None:
    """InputError when patient ID, birth date or sex differ between images (values are not shown)."""
    known = slices[0].identity
    for number, image in enumerate(slices):
        if image.identity == known:
            continue
        differing = known.differences(image.identity)
        if differing:
            other = next(i for i in slices[:number] if i.identity.differences(image.identity))
            raise InputError(
                f"the folder holds images of more than one patient ({', '.join(differing)} differ)",
                where=f"{other.name} and {image.name}",
                fix="keep one patient's images in the folder",
            )
        known = known.filled_by(image.identity)


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
    seen: set[Hashable] = set()
    for image in slices:
        if (image.orientation, image.spacing_mm) not in seen:
            seen.add((image.orientation, image.spacing_mm))
            plane_vectors(image)  # refuses what is no pair of directions
    grid_of = {id(image): number for number, grid in enumerate(by_grid(slices)) for image in grid}
    _refuse_minority(slices, "pixel spacing or orientation", [grid_of[id(image)] for image in slices])


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
        + table_text(split(slices)),
        where=names(odd),
        fix="set ingest.series.NAME.series_uid to the part that is wanted, or take the other images away",
    )
