"""What an accepted header says against itself: too often wrong in good scans to refuse, too telling to keep quiet.

Mostly these are all there is to check a multi-frame file or the first and the last slice of a series by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from implantflow.dicom.folder import FolderContents
from implantflow.dicom.headers import Slice
from implantflow.dicom.parts import TELLING, heights_mm

#: Field of view and size of the image differ by less than this share in scans that state both rightly.
_SAME_SIZE = 0.02
#: Numbers of a series cut out of a longer one begin anywhere; those that begin here had an image or a few before them.
_FIRST_NUMBERS = range(2, 11)
#: Distance of the slices, and what the header states of it, differ by less than this share where both are right.
_SAME_STEP = 0.02
#: Slices further apart than so many times their thickness leave a gap that few scans are meant to have.
_WIDE_STEP = 1.5
#: Edges of the voxels of CT and MR, with room to spare.
_VOXEL_MM = (0.05, 15.0)
#: Direction cosines that are off by more than this at the image's far corner (mm) were rounded too coarsely.
_CORNER_MM = 0.1


def doubts(slices: Sequence[Slice], facts: Mapping[str, Any]) -> list[str]:
    """Notes for the manifest, empty where the header agrees with itself.

    Parameters
    ----------
    slices : planes of the volume
    facts : of :func:`implantflow.dicom.facts.read_facts`
    """
    first, found = slices[0], []
    assert first.spacing_mm is not None
    sizes_mm = (first.pixels.rows * first.spacing_mm[0], first.pixels.columns * first.spacing_mm[1])
    field_mm = facts.get("fov_mm")
    # An image that is not square may be cropped along one side.
    if field_mm is not None and all(abs(size - field_mm) > _SAME_SIZE * field_mm for size in sizes_mm):
        found.append(
            f"DOUBT: the header states a reconstruction diameter of {field_mm:.6g} mm, its pixel spacing makes "
            f"{sizes_mm[0]:.6g} x {sizes_mm[1]:.6g} mm; if the spacing is wrong, so is every size: "
            "compare a known length"
        )
    stated = facts.get("images_in_acquisition")
    if stated is not None and stated > len(slices):
        found.append(
            f"DOUBT: the header counts {stated:.0f} images in the acquisition, {len(slices)} are here; if they are "
            "not a part that was exported on purpose, slices are missing at an end"
        )
    odd = [size for size in (*first.spacing_mm, _step_mm(slices)) if not _VOXEL_MM[0] <= size <= _VOXEL_MM[1]]
    if odd:
        found.append(
            f"DOUBT: the header makes voxels of {odd[0]:.6g} mm, which no scan of a person has; if the unit is wrong, "
            "so is every size: compare a known length"
        )
    numbers = [image.instance_number for image in slices if image.instance_number is not None]
    if numbers and first.frame is None and min(numbers) in _FIRST_NUMBERS:
        found.append(
            f"DOUBT: instance numbers begin at {min(numbers)}; if the images before are slices, an end is missing"
        )
    return [*found, *_step_doubts(slices, facts, numbers), *_corner_doubt(first), *_ranges(slices)]


def unlisted(series_uid: str, contents: FolderContents) -> list[str]:
    """A note when a DICOMDIR in the folder lists images of the series that are not there."""
    there = {image.sop_uid for image in contents.slices}
    gone = sum(series == series_uid and uid not in there for series, uid in contents.listed)
    if gone == 0:
        return []
    return [
        f"DOUBT: the DICOMDIR in the folder lists {gone} images of the series that are not here; if they are not a "
        "part that was left out on purpose, slices are missing at an end"
    ]


def _step_doubts(slices: Sequence[Slice], facts: Mapping[str, Any], numbers: Sequence[int]) -> list[str]:
    """What speaks against the distance between slices, or says that some of them were left out evenly."""
    found = []
    step_mm = _step_mm(slices)
    stated, thick_mm = facts.get("slice_spacing_stated_mm"), facts.get("slice_thickness_mm")
    # Some MR scanners state the gap alone.
    gap_alone = slices[0].modality == "MR" and thick_mm is not None
    meant = () if stated is None else (stated, stated + thick_mm) if gap_alone else (stated,)
    if meant and all(abs(value - step_mm) > _SAME_STEP * step_mm for value in meant):
        found.append(
            f"DOUBT: the header states slices every {stated:.6g} mm, their positions make {step_mm:.6g} mm; if the "
            "positions are wrong, so is every height: compare a known length"
        )
    if thick_mm is not None and step_mm > _WIDE_STEP * thick_mm:
        found.append(
            f"DOUBT: slices {thick_mm:.6g} mm thick lie {step_mm:.6g} mm apart; if the scan had more of them, only "
            "some were exported"
        )
    apart = np.diff(sorted(set(numbers)))
    if len(numbers) == len(slices) and len(apart) and apart.min() > 1:
        found.append(
            f"DOUBT: instance numbers go in steps of {apart.min()}; if the images between are slices, they are missing"
        )
    return found


def _step_mm(slices: Sequence[Slice]) -> float:
    return float(np.median(np.diff(np.sort(heights_mm(slices)))))


def _corner_doubt(first: Slice) -> list[str]:
    """Rows and columns that are not quite at right angles, or not quite of length one, were rounded or changed."""
    assert first.orientation is not None and first.spacing_mm is not None
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    lengths = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
    off = max(*(abs(length - 1) for length in lengths), abs(float(row @ column)))
    off_mm = off * max(first.pixels.rows * first.spacing_mm[0], first.pixels.columns * first.spacing_mm[1])
    if off_mm <= _CORNER_MM:
        return []
    return [
        f"DOUBT: the direction cosines are no exact pair of directions: places at the image's far corner are known "
        f"to {off_mm:.2g} mm only"
    ]


def _ranges(slices: Sequence[Slice]) -> list[str]:
    """A note where the volume was put together from several acquisitions, one after the other."""
    count = len({TELLING["AcquisitionNumber"](image) for image in slices})
    if count < 2:
        return []
    return [f"put together from {count} acquisitions: whether the patient moved between them is not checked"]
