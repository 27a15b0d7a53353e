"""Images of a series that contradict their neighbours: damage that each file alone would not show.

A scanner may give every slice its own rescale; damage hits some. So what most images agree on and a few state
differently is refused, and what changes all along the series is taken as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from implantflow.dicom.headers import Slice
from implantflow.dicom.parts import by_grid, class_modality, why_no_volume
from implantflow.dicom.sort import names, plane_vectors
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray

#: An image of another series that continues a stack this well belongs to it.
_SAME_STACK_MM = 0.02

_STATED: dict[str, Callable[[Slice], Hashable]] = {
    "rescale slope": lambda image: image.slope,
    "rescale intercept": lambda image: image.intercept,
    "padding value": lambda image: image.padding,
    "number of stored bits": lambda image: (image.pixels.bits_stored, image.pixels.high_bit),
    "signedness": lambda image: image.pixels.signed,
    "bits allocated": lambda image: image.pixels.bits_allocated,
}


def refuse_exceptions(slices: Sequence[Slice]) -> None:
    """Refuse a series of which a minority states another rescale, padding or pixel format than all others.

    Raises
    ------
    InputError
        Names what they state differently, and the images.
    """
    for what, value_of in _STATED.items():
        counts = Counter(value_of(image) for image in slices)
        usual, number = counts.most_common(1)[0]
        others = len(slices) - number
        # More than half, and more than one: two images cannot outvote each other.
        if others and number > max(len(slices) / 2, 1):
            odd = [image for image in slices if value_of(image) != usual]
            raise InputError(
                f"{others} of {len(slices)} images state another {what} than all others: values would be wrong "
                "there if the header is damaged",
                where=names(odd),
                fix="fetch the series again; if the scanner wrote it so, have it exported with one rescale",
            )


def refuse_lost(chosen: Sequence[Slice], everything: Sequence[Slice]) -> None:
    """Refuse when an image that seems to belong to the chosen ones was set aside: a slice would be lost unseen.

    Parameters
    ----------
    chosen : planes of the volume
    everything : all images of the folder

    Raises
    ------
    InputError
        An image of the same series and format cannot be placed.
    GeometryError
        An image alone in another series is the next plane of this stack by its place or its number.
    """
    taken = {id(image) for image in chosen}
    rest = [image for image in everything if id(image) not in taken]
    if not rest:
        return
    first = chosen[0]
    unplaced = [i for i in rest if i.series_uid == first.series_uid and _lacking(i, first)]
    if unplaced:
        raise InputError(
            f"{len(unplaced)} images of the series cannot be placed: {why_no_volume(unplaced[0])}",
            where=names(unplaced),
            fix="fetch the series again, or take these images out of the folder if they are no slices",
        )
    called_otherwise = [
        image
        for image in rest
        if image.series_uid == first.series_uid
        and why_no_volume(image)
        and _on_grid(image, first)
        and _continues(image, chosen)
    ]
    if called_otherwise:
        raise GeometryError(
            f"an image of the series is its next slice by place, size and direction, but calls itself a "
            f"{why_no_volume(called_otherwise[0])}: the volume would be one slice short",
            where=names(called_otherwise),
            fix="fetch the series again, or take this image out of the folder if it is no slice",
        )
    places: dict[str, set[Hashable]] = {}
    for image in everything:
        places.setdefault(image.series_uid, set()).add(image.position_mm)
    alone = [i for i in rest if len(places[i.series_uid]) == 1]
    strays = [
        image
        for image in alone
        if (_lacking(image, first) or not why_no_volume(image))
        # Whatever size it claims: a damaged size is one more damage.
        and (_continues(image, chosen) or _counted(image, chosen))
    ]
    if strays:
        raise GeometryError(
            "an image that is alone in its series is the next slice of this series by its place or number: its "
            "series may have been changed, and the volume would be one slice short",
            where=names(strays),
            fix="fetch the series again, or take this image out of the folder",
        )


def refuse_other_class(slices: Sequence[Slice]) -> None:
    """InputError when an image states one modality and is of another's class: what its values mean is not known."""
    for image in slices:
        if class_modality(image) != image.modality:
            raise InputError(
                f"the image states modality {image.modality}, but is an object of the class {class_modality(image)}: "
                "whether its values are Hounsfield units cannot be told",
                where=image.name,
                fix="fetch the series again, or correct the headers at their source",
            )


def refuse_missing_pieces(slices: Sequence[Slice]) -> None:
    """GeometryError when a multi-frame object was split into several files and not all of them are there."""
    pieces: dict[str, set[str]] = {}
    for image in slices:
        if image.concatenation:
            pieces.setdefault(image.concatenation, set()).add(image.sop_uid)
    for image in slices:
        there = len(pieces.get(image.concatenation, ()))
        if there < image.concatenation_total:
            raise GeometryError(
                f"the multi-frame image was split into {image.concatenation_total} files, of which {there} are here: "
                "slices are missing",
                where=image.name,
                fix="fetch the complete series",
            )


def _on_grid(image: Slice, first: Slice) -> bool:
    """Whether ``image`` is placed and could be a plane of the same volume as ``first``."""
    if image.position_mm is None or image.orientation is None or image.spacing_mm is None:
        return False
    return len(by_grid([first, image])) == 1


def _same_size(image: Slice, other: Slice) -> bool:
    return (image.pixels.rows, image.pixels.columns) == (other.pixels.rows, other.pixels.columns)


def _lacking(image: Slice, other: Slice) -> bool:
    """Whether only its header's lack keeps the image out: a localizer or a colour picture says what it is."""
    reason = why_no_volume(image)
    if reason.startswith("no position"):
        return True
    return reason.startswith("not a CT") and _same_size(image, other) and image.pixels.samples != 3


def _continues(image: Slice, chosen: Sequence[Slice]) -> bool:
    """Whether ``image`` lies one step beyond either end of the stack, or one of its planes is missing there."""
    places = np.array([plane.position_mm for plane in chosen], dtype=np.float64)
    if len(places) < 2 or image.position_mm is None:
        return False
    normal = plane_vectors(chosen[0])[:, 2]
    heights = places @ normal
    order = np.argsort(heights)
    step = _usual_step(places[order])
    ends = np.array([places[order[0]] - step, places[order[-1]] + step])
    place = np.array(image.position_mm, dtype=np.float64)
    return bool(np.linalg.norm(ends - place, axis=1).min() < _SAME_STACK_MM)


def _counted(image: Slice, chosen: Sequence[Slice]) -> bool:
    """Whether ``image`` has the next instance number, in the same frame of reference."""
    numbers = [plane.instance_number for plane in chosen if plane.instance_number is not None]
    first = chosen[0]
    if not numbers or not first.frame_of_reference or image.frame_of_reference != first.frame_of_reference:
        return False
    return image.modality == first.modality and image.instance_number in (min(numbers) - 1, max(numbers) + 1)


def _usual_step(places: FloatArray) -> FloatArray:
    return np.asarray(np.median(np.diff(places, axis=0), axis=0))
