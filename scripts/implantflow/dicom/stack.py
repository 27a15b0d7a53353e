"""The geometry of a stack of planes, from positions alone.

Tags such as SliceLocation, SpacingBetweenSlices, InstanceNumber or GantryDetectorTilt are not used: they are
often wrong, positions are what the scanner measured (imaging.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from implantflow.dicom.headers import Slice
from implantflow.dicom.sort import names, plane_vectors
from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

#: Largest distance of a plane from the common affine (imaging.md).
MAX_RESIDUAL_MM = 0.02

#: Planes closer than this along the normal are at one place.
SAME_PLACE_MM = 0.01

#: More than this share of odd steps is an irregular stack rather than one with slices missing.
_IRREGULAR_SHARE = 0.25

SamePixels = Callable[[Slice, Slice], bool]


@dataclass(frozen=True)
class Stack:
    """Planes in order along their normal, on one regular, orthogonal grid.

    Attributes
    ----------
    slices : list of Slice
        From the first to the last along row x column.
    affine_lps : (4, 4) array
        Voxel index (i, j, k) to patient LPS mm.
    tilt_deg : float
        Angle between the stacking direction and the planes' normal.
    max_residual_mm : float
        Largest distance of a plane's position from ``affine_lps``.
    spacing_range_mm : (smallest, largest) step between neighbours.
    notes : list of str
    """

    slices: list[Slice]
    affine_lps: FloatArray
    tilt_deg: float
    max_residual_mm: float
    spacing_range_mm: tuple[float, float]
    notes: list[str]


def arrange(slices: Sequence[Slice], same_pixels: SamePixels) -> Stack:
    """Order planes of one grid into a regular stack.

    Parameters
    ----------
    slices : planes that passed :func:`implantflow.dicom.sort.refuse_mixed_grids`
    same_pixels : tells whether two planes show the same image

    Raises
    ------
    GeometryError
        Different planes at one place, several phases, missing slices, irregular spacing, a tilted stack.
    """
    normal = plane_vectors(slices[0])[:, 2]
    ordered = sorted(slices, key=lambda image: float(_position(image) @ normal))
    ordered, notes = _drop_duplicates(ordered, normal, same_pixels)
    if len(ordered) < 2:
        raise GeometryError(
            "a volume needs at least two slices at different places",
            where=names(ordered),
            fix="check that the folder holds the whole series",
        )
    positions = np.array([_position(image) for image in ordered])
    count = len(ordered)
    index = np.arange(count)[:, None]
    step = (positions[-1] - positions[0]) / (count - 1)
    straight = normal * float(step @ normal)
    tilt_deg = float(np.degrees(np.arctan2(np.linalg.norm(step - straight), np.linalg.norm(straight))))
    steps_mm = np.diff(positions @ normal)
    residual = float(np.linalg.norm(positions - positions[0] - index * straight, axis=1).max())
    if residual > MAX_RESIDUAL_MM:
        sheared = float(np.linalg.norm(positions - positions[0] - index * step, axis=1).max())
        _refuse(ordered, steps_mm, tilt_deg, residual, sheared)
    affine = np.eye(4)
    affine[:3, :2] = plane_vectors(ordered[0])[:, :2]
    affine[:3, 2] = straight
    affine[:3, 3] = positions[0]
    spacing_range = (float(steps_mm.min()), float(steps_mm.max()))
    return Stack(ordered, affine, tilt_deg, residual, spacing_range, notes)


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
    telling = {
        "AcquisitionNumber": {image.acquisition_number for image in ordered},
        "TemporalPositionIdentifier": {image.temporal_position for image in ordered},
        "EchoTime": {image.echo_time for image in ordered},
        "ImageType": {"\\".join(image.image_type) for image in ordered},
    }
    apart = [
        f"{key} ({', '.join(sorted(values))})" for key, values in telling.items() if 1 < len(values) <= 12
    ]
    if apart and 3 * len(differing) >= len(ordered):
        raise GeometryError(
            "the series holds several phases, echoes or reconstructions of the same places, told apart by "
            + " and ".join(apart),
            where=f"{first.name} and {second.name}",
            fix="keep one of them in the folder, or export each as a series of its own",
        )
    raise GeometryError(
        f"{len(differing)} pairs of slices lie at the same place but show different images",
        where=f"{first.name} and {second.name}",
        fix="find out which of them belongs to the scan and take the other out of the folder",
    )


def _refuse(
    ordered: Sequence[Slice], steps_mm: FloatArray, tilt_deg: float, residual_mm: float, sheared_mm: float
) -> None:
    if sheared_mm <= MAX_RESIDUAL_MM:
        raise GeometryError(
            f"the stack is tilted by {tilt_deg:.2f} deg against its planes (gantry tilt, sheared export), "
            f"{residual_mm:.1f} mm at its far end",
            where=f"{ordered[0].name} to {ordered[-1].name}",
            fix="use a series reconstructed without gantry tilt; a tilted one is never straightened silently",
        )
    usual = float(np.median(steps_mm))
    odd = np.flatnonzero(np.abs(steps_mm - usual) > MAX_RESIDUAL_MM)
    if len(odd) == 0:
        raise GeometryError(
            f"slices are shifted sideways against each other by up to {residual_mm:.2f} mm",
            where=f"{ordered[0].name} to {ordered[-1].name}",
            fix="use the scanner's original series",
        )
    before, after = ordered[int(odd[0])], ordered[int(odd[0]) + 1]
    ratio = steps_mm[odd] / usual
    missing = np.rint(ratio) - 1
    whole = bool((missing >= 1).all() and (np.abs(ratio - missing - 1) < 0.1).all())
    if whole and len(odd) <= max(1, _IRREGULAR_SHARE * len(steps_mm)):
        raise GeometryError(
            f"{int(missing.sum())} slices are missing in {len(odd)} places: {steps_mm[odd[0]]:.3f} mm "
            f"between neighbours in a stack of {usual:.3f} mm",
            where=f"between {before.name} and {after.name}",
            fix="fetch the complete series",
        )
    raise GeometryError(
        f"slice spacing is irregular: from {steps_mm.min():.3f} to {steps_mm.max():.3f} mm, up to "
        f"{residual_mm:.2f} mm off a regular stack",
        where=f"first change between {before.name} and {after.name}",
        fix="use a series with constant spacing; an irregular one is never resampled silently",
    )
