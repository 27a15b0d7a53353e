"""The geometry of a stack of planes, from positions alone.

Tags such as SliceLocation, SpacingBetweenSlices, InstanceNumber or GantryDetectorTilt are not used: they are
often wrong, positions are what the scanner measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from implantflow.dicom import irregular
from implantflow.dicom.headers import Slice
from implantflow.dicom.parts import SAME_PLACE_MM, TELLING, in_turns, split, table_text
from implantflow.dicom.sort import names, plane_vectors
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

#: Largest distance of a plane from the common affine.
MAX_RESIDUAL_MM = 0.02

SamePixels = Callable[[Slice, Slice], bool]


@dataclass(frozen=True)
class Stack:
    """Planes in order along their normal.

    Attributes
    ----------
    slices : list of Slice
        From the first to the last along row x column.
    positions_mm : (N, 3) centres of their first pixels, patient LPS.
    vectors : (3, 3)
        Columns: one step along i, one along j, the unit normal.
    regular : bool
        They lie on one orthogonal grid with constant spacing; otherwise they need resampling.
    tilt_deg : float
        Angle between the stacking direction and the planes' normal.
    max_residual_mm : float
        Largest distance of a plane's position from the grid through the first plane.
    spacing_range_mm : (smallest, largest) step between neighbours.
    notes : list of str
    """

    slices: list[Slice]
    positions_mm: FloatArray
    vectors: FloatArray
    regular: bool
    tilt_deg: float
    max_residual_mm: float
    spacing_range_mm: tuple[float, float]
    notes: list[str]

    @property
    def affine_lps(self) -> FloatArray:
        """Voxel index (i, j, k) to patient LPS mm, of the regular stack; (4, 4)."""
        assert self.regular
        normal = self.vectors[:, 2]
        affine = np.eye(4)
        affine[:3, :2] = self.vectors[:, :2]
        whole = float((self.positions_mm[-1] - self.positions_mm[0]) @ normal)
        affine[:3, 2] = normal * (whole / (len(self.slices) - 1))
        affine[:3, 3] = self.positions_mm[0]
        return affine


def arrange(slices: Sequence[Slice], same_pixels: SamePixels, *, resample: bool = False) -> Stack:
    """Order planes of one grid into a stack.

    Parameters
    ----------
    slices : planes that passed :func:`implantflow.dicom.sort.refuse_mixed_grids`
    same_pixels : tells whether two planes show the same image
    resample : accept a stack that is tilted or irregularly spaced, as ``regular=False``

    Raises
    ------
    GeometryError
        Different planes at one place, several phases, scans laid into each other, one image's UID at two places;
        without ``resample`` missing slices, irregular spacing, a tilted stack; with it a stack that cannot be resampled
        without inventing anatomy.
    """
    vectors = plane_vectors(slices[0])
    normal = vectors[:, 2]
    ordered = sorted(slices, key=lambda image: float(_position(image) @ normal))
    ordered, notes = _drop_duplicates(ordered, normal, same_pixels)
    if len(ordered) < 2:
        raise GeometryError(
            "a volume needs at least two slices at different places",
            where=names(ordered),
            fix="check that the folder holds the whole series",
        )
    _refuse_in_turns(ordered)
    _refuse_shared_uid(ordered)
    positions = np.array([_position(image) for image in ordered])
    index = np.arange(len(ordered))[:, None]
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    straight = normal * float(step @ normal)
    tilt_deg = float(np.degrees(np.arctan2(np.linalg.norm(step - straight), np.linalg.norm(straight))))
    steps_mm = np.diff(positions @ normal)
    residual = float(np.linalg.norm(positions - positions[0] - index * straight, axis=1).max())
    regular = residual <= MAX_RESIDUAL_MM
    if not regular:
        trouble = irregular.diagnose(positions, normal, tilt_deg, residual, MAX_RESIDUAL_MM)
        irregular.refuse_unless_wanted(trouble, [image.name for image in ordered], resample=resample)
        notes = [*notes, f"resampled: {trouble.what}"]
    spacing_range = (float(steps_mm.min()), float(steps_mm.max()))
    return Stack(ordered, positions, vectors, regular, tilt_deg, residual, spacing_range, notes)


def _position(image: Slice) -> FloatArray:
    return np.array(image.position_mm, dtype=np.float64)


def _drop_duplicates(
    ordered: list[Slice], normal: FloatArray, same_pixels: SamePixels
) -> tuple[list[Slice], list[str]]:
    """Keep one of planes that are at one place and show the same; refuse those that differ."""
    kept = [ordered[0]]
    dropped = 0
    differing: list[tuple[Slice, Slice]] = []
    for image in ordered[1:]:
        apart = _position(image) - _position(kept[-1])
        if float(apart @ normal) > SAME_PLACE_MM:
            kept.append(image)
        elif float(np.linalg.norm(apart)) <= SAME_PLACE_MM and same_pixels(kept[-1], image):
            dropped += 1
        else:
            differing.append((kept[-1], image))
    if differing:
        _refuse_collision(ordered, differing)
    return kept, [f"{dropped} identical duplicate slices dropped"] if dropped else []


def _refuse_collision(ordered: Sequence[Slice], differing: list[tuple[Slice, Slice]]) -> None:
    first, second = differing[0]
    parts = split(ordered)
    if len(parts) > 1:
        raise GeometryError(
            "the series holds several phases, echoes or reconstructions of the same places, told apart by "
            + f"{_told_apart(ordered, list(TELLING))}:\n{table_text(parts)}",
            where=f"{first.name} and {second.name}",
            fix="set ingest.series.NAME.series_uid to the one that is wanted",
        )
    raise GeometryError(
        f"{len(differing)} pairs of slices lie at the same place but show different images",
        where=f"{first.name} and {second.name}",
        fix="find out which of them belongs to the scan and take the other out of the folder",
    )


def _told_apart(images: Sequence[Slice], keys: Sequence[str]) -> str:
    """Header fields in which ``images`` differ, with their values where those are few."""
    values = {key: sorted({TELLING[key](image) or "none" for image in images}) for key in keys}
    return " and ".join(f"{key} ({', '.join(v)})" for key, v in values.items() if 1 < len(v) <= 12)


def _refuse_in_turns(ordered: Sequence[Slice]) -> None:
    """Refuse scans whose planes lie between each other's: evenly spaced, they would pass for one scan."""
    keys = in_turns(ordered)
    if keys:
        raise GeometryError(
            "slices of several scans, phases or reconstructions lie between each other, told apart by "
            f"{_told_apart(ordered, keys) or ' and '.join(keys)}:\n{table_text(split(ordered))}",
            where=names(ordered),
            fix="set ingest.series.NAME.series_uid to the one that is wanted; where the table shows one only, take the "
            "other scan's images out of the folder",
        )


def _refuse_shared_uid(ordered: Sequence[Slice]) -> None:
    """Refuse one image's UID at two places: one of them is not what its header says."""
    seen: dict[tuple[str, int | None], Slice] = {}
    for image in ordered:
        first = seen.setdefault((image.sop_uid, image.frame), image)
        if image.sop_uid and first is not image:
            raise GeometryError(
                "two slices at different places carry one SOPInstanceUID, which only copies of one image may share",
                where=f"{first.name} and {image.name}",
                fix="find out which of them was changed; fetch the series again, with each image's own UID",
            )
