"""A folder's images as parts, each of which could be one volume, and the table that shows them.

A part is told from its neighbours by series, frame of reference, size, pixel spacing and orientation; where
places coincide or alternate also by phase, echo, stack or reconstruction. Reads no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from implantflow.dicom.headers import Slice
from implantflow.dicom.uids import remap_uid
from implantflow.geometry import FloatArray

#: Two planes belong to one grid when their corners, seen from the first pixel, differ by less than this.
SAME_GRID_MM = 0.02

#: Planes closer than this along the normal are at one place.
SAME_PLACE_MM = 0.01

#: Planes whose normals differ by more than this look in different directions.
_OTHER_DIRECTION_DEG = 20.0

#: A survey has at most this many planes in one direction.
_SURVEY_PLANES = 30

#: Longer tables are cut: a folder can hold hundreds of series.
_TABLE_ROWS = 40

#: Header fields that tell apart planes at one place, the most telling first.
TELLING: dict[str, Callable[[Slice], str]] = {
    "StackID": lambda image: image.stack_id,
    "TemporalPositionIdentifier": lambda image: image.temporal_position,
    "EchoTime": lambda image: image.echo_time,
    "ImageType": lambda image: "\\".join(image.image_type),
    "AcquisitionNumber": lambda image: image.acquisition_number,
    "ConvolutionKernel": lambda image: image.kernel,
}

#: Those of them that tell nothing where they come and go along the stack of one MR scan: slices are excited in turns,
#: and each one's gradients may move its echo a little.
_IN_TURNS_ON_MR = frozenset({"EchoTime", "AcquisitionNumber"})

_VOLUME_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "converted enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "converted enhanced MR",
}

#: Image types (DICOM PS3.3 C.7.6.1.1.2, C.8.16.1.3) whose values belong to no single plane of the patient.
_NO_PLANES = {
    "LOCALIZER": "localizer",
    "MIP": "projection",
    "MINIP": "projection",
    "MAX_IP": "projection",
    "MIN_IP": "projection",
    "PROJECTION IMAGE": "projection",
}


@dataclass(frozen=True)
class Part:
    """Images that could be one volume, or why they cannot.

    Attributes
    ----------
    images : in order of appearance
    series_uid : what ``ingest.series.NAME.series_uid`` would name: the remapped UID of the series, or one of
        its own when the series has several parts.
    reason : why it is no volume, "" when it could be one
    telling : what tells it from the other parts of its series, "" when it is the only one
    """

    images: list[Slice]
    series_uid: str
    reason: str
    telling: str

    @property
    def modality(self) -> str:
        """DICOM modality of the images."""
        return self.images[0].modality

    @property
    def kind(self) -> str:
        """ "volume", or "no volume" with the reason."""
        return f"no volume: {self.reason}" if self.reason else "volume"

    def __str__(self) -> str:
        first = self.images[0]
        spacing = "no spacing"
        if first.spacing_mm is not None:
            spacing = "{:.4g}x{:.4g} mm".format(*first.spacing_mm)
        size = f"{first.pixels.rows}x{first.pixels.columns}"
        words = [orientation_word(first), steps_word(self.images), self.telling, self.kind]
        described = ", ".join(word for word in words if word)
        uid = self.series_uid or "(none)"
        return f"{self.modality or '??':3} {len(self.images):5d} images {size} {spacing} {described}; series_uid: {uid}"


def class_modality(image: Slice) -> str:
    """The modality that the image's class stands for, CT or MR; "" for any other class."""
    return _VOLUME_CLASSES.get(image.sop_class, "").rpartition(" ")[2]


def why_no_volume(image: Slice) -> str:
    """Why ``image`` cannot be a plane of a volume ("" when it can)."""
    if image.sop_class not in _VOLUME_CLASSES:
        return "not a CT or MR image"
    for value in image.image_type:
        for word in (value, *value.split()):
            if word in _NO_PLANES:
                return _NO_PLANES[word]
    if image.position_mm is None or image.orientation is None or image.spacing_mm is None:
        return "no position, orientation or pixel spacing"
    return ""


def split(slices: Sequence[Slice]) -> list[Part]:
    """Every image in one part, parts in order of appearance."""
    series: dict[str, list[Slice]] = {}
    for image in slices:
        series.setdefault(image.series_uid, []).append(image)
    return [part for uid, members in series.items() for part in _parts_of_series(uid, members)]


def table_text(parts: Sequence[Part]) -> str:
    """The parts as lines of text, volumes first; the first forty of them."""
    ordered = sorted(parts, key=lambda part: bool(part.reason))
    lines = [f"    {part}" for part in ordered[:_TABLE_ROWS]]
    if len(parts) > _TABLE_ROWS:
        lines.append(f"    and {len(parts) - _TABLE_ROWS} more; `new-case` lists them all")
    return "\n".join(lines)


def corners_mm(image: Slice) -> tuple[float, ...]:
    """Vectors from the first pixel to the ends of the first row and column, taken from the header as they are."""
    assert image.orientation is not None and image.spacing_mm is not None
    along_row = (image.pixels.columns - 1) * image.spacing_mm[1]
    along_column = (image.pixels.rows - 1) * image.spacing_mm[0]
    return (
        *(cosine * along_row for cosine in image.orientation[:3]),
        *(cosine * along_column for cosine in image.orientation[3:]),
    )


def heights_mm(images: Sequence[Slice]) -> FloatArray:
    """(N,) place of every image along the first one's normal."""
    first = images[0]
    assert first.orientation is not None
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    return np.asarray(np.array([image.position_mm for image in images], dtype=np.float64) @ normal)


def orientation_word(image: Slice) -> str:
    """axial, coronal, sagittal, or oblique (more than 20 degrees off all three)."""
    if image.orientation is None:
        return "unplaced"
    normal = np.abs(np.cross(image.orientation[:3], image.orientation[3:]))
    axis = int(normal.argmax())
    word = ("sagittal", "coronal", "axial")[axis]
    return word if normal[axis] > np.cos(np.radians(_OTHER_DIRECTION_DEG)) else "oblique"


def steps_word(images: Sequence[Slice]) -> str:
    """Distances between neighbours, "" for images that have none."""
    if len(images) < 2 or any(image.position_mm is None or image.orientation is None for image in images):
        return ""
    steps = np.diff(np.sort(heights_mm(images)))
    steps = steps[steps > SAME_PLACE_MM]
    if len(steps) == 0:
        return ""
    low, high = f"{steps.min():.4g}", f"{steps.max():.4g}"
    return f"every {low} mm" if low == high else f"every {low} to {high} mm"


def _parts_of_series(uid: str, members: Sequence[Slice]) -> list[Part]:
    planes = [image for image in members if not why_no_volume(image)]
    grids = by_grid(planes)
    reason = _why_no_series(grids)
    stacks = [found for grid in grids for found in _by_phase(grid)]
    parts = []
    for images, telling in stacks:
        own = remap_uid(uid) if len(stacks) == 1 else _part_uid(uid, images)
        parts.append(Part(images, own, reason or _why_no_stack(images), telling))
    others: dict[Hashable, list[Slice]] = {}
    for image in members:
        if why := why_no_volume(image):
            key = (why, image.modality, image.pixels.rows, image.pixels.columns, orientation_word(image))
            others.setdefault(key, []).append(image)
    return parts + [Part(images, remap_uid(uid), why_no_volume(images[0]), "") for images in others.values()]


def _part_uid(uid: str, images: Sequence[Slice]) -> str:
    """Depends on nothing but the part's own first image, so that other files in the folder do not change it."""
    first = min((image.sop_uid, -1 if image.frame is None else image.frame) for image in images)
    return remap_uid(f"{uid}/{first[0]}/{first[1]}")


def by_grid(planes: Sequence[Slice]) -> list[list[Slice]]:
    """Planes grouped by what must be equal within a volume."""
    exact: dict[tuple[Hashable, Hashable, Hashable], list[Slice]] = {}
    for image in planes:
        size = (image.pixels.rows, image.pixels.columns)
        same: Hashable = (image.modality, image.frame_of_reference, size)
        exact.setdefault((same, image.orientation, image.spacing_mm), []).append(image)
    groups: list[tuple[Hashable, FloatArray, list[Slice]]] = []
    for (same, *_), images in exact.items():
        corners = np.array(corners_mm(images[0]))
        for other, seen, group in groups:
            if other == same and np.abs(seen - corners).max() <= SAME_GRID_MM:
                group.extend(images)
                break
        else:
            groups.append((same, corners, list(images)))
    return [group for _, _, group in groups]


def in_turns(images: Sequence[Slice]) -> list[str]:
    """Names of :data:`TELLING` whose values come and go along the stack: scans that were laid into each other.

    Values that each fill one stretch of it are parts of one scan, rotation by rotation or range by range.
    """
    ordered = [images[n] for n in np.argsort(heights_mm(images), kind="stable")]
    found = []
    for name, value_of in TELLING.items():
        values = [value_of(image) for image in ordered]
        stretches = 1 + sum(a != b for a, b in pairwise(values))
        if stretches > len(set(values)) and (ordered[0].modality == "CT" or name not in _IN_TURNS_ON_MR):
            found.append(name)
    return found


def _by_phase(grid: Sequence[Slice]) -> list[tuple[list[Slice], str]]:
    """One grid's planes apart by what tells planes at one place from each other, where anything does."""
    whole = [(list(grid), "")]
    if not _collide(grid) and not in_turns(grid):
        return whole
    differing = {name: value for name, value in TELLING.items() if len({value(image) for image in grid}) > 1}
    for names in [(name,) for name in differing] + [tuple(differing)]:
        phases: dict[tuple[str, ...], list[Slice]] = {}
        for image in grid:
            phases.setdefault(tuple(differing[name](image) for name in names), []).append(image)
        if len(phases) > 1 and all(
            len(p) > 1 and not _collide(p) and not in_turns(p) for p in phases.values()
        ):
            return [
                (images, " and ".join(f"{name} {value}" for name, value in zip(names, values, strict=True)))
                for values, images in phases.items()
            ]
    return whole


def _collide(images: Sequence[Slice]) -> bool:
    """True when two different planes lie at one place; copies of one and the same object do not count."""
    distinct = list({(image.sop_uid, image.frame): image for image in images}.values())
    return bool((np.diff(np.sort(heights_mm(distinct))) <= SAME_PLACE_MM).any())


def _why_no_stack(images: Sequence[Slice]) -> str:
    one_place = float(np.ptp(heights_mm(images))) <= SAME_PLACE_MM
    return "a volume needs at least two slices at different places" if one_place else ""


def _why_no_series(grids: Sequence[Sequence[Slice]]) -> str:
    """ "survey" for a few planes each in several directions, none of which outweighs the others."""
    if len(grids) < 2:
        return ""
    sizes = np.array([len(grid) for grid in grids])
    normals = np.array([np.cross(g[0].orientation[:3], g[0].orientation[3:]) for g in grids])  # type: ignore[index]
    spread = np.abs(normals @ normals.T).min()
    several = spread < np.cos(np.radians(_OTHER_DIRECTION_DEG))
    few = sizes.max() < _SURVEY_PLANES and sizes.max() < 3 * (sizes.sum() - sizes.max())
    return "survey in several directions" if several and few else ""
