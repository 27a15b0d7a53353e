"""What an accepted header says against itself: too often wrong in good scans to refuse, too telling to keep quiet.

Mostly these are all there is to check a multi-frame file or the first and the last slice of a series by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from implantflow.dicom.headers import Slice

#: Field of view and size of the image differ by less than this share in scans that state both rightly.
_SAME_SIZE = 0.02
#: Numbers of a series cut out of a longer one begin anywhere; those that begin here had an image or a few before them.
_FIRST_NUMBERS = range(2, 11)


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
    numbers = [image.instance_number for image in slices if image.instance_number is not None]
    if numbers and first.frame is None and min(numbers) in _FIRST_NUMBERS:
        found.append(
            f"DOUBT: instance numbers begin at {min(numbers)}; if the images before are slices, an end is missing"
        )
    return found
