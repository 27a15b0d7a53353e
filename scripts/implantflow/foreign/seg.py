"""DICOM Segmentation objects as label maps: every frame where its own position says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.dicom.quiet import quietly
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray
from implantflow.volumes import Volume

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"

#: A frame may lie this far off the grid of the others.
_OFF_GRID_MM = 0.02


def read_seg(path: Path) -> Volume:
    """Label map whose values are the segment numbers, over all planes from the first to the last.

    Raises
    ------
    InputError, GeometryError
        No binary segmentation, segments that overlap, frames that are on no regular stack.
    """
    import pydicom
    from pydicom.pixels.utils import pixel_array

    try:
        with quietly():
            dataset = pydicom.dcmread(path)
            if dataset.get("SOPClassUID") != SEGMENTATION_STORAGE:
                raise InputError("a DICOM file that is no Segmentation", where=path.name)
            if dataset.get("SegmentationType") != "BINARY":
                raise InputError(
                    "the segmentation is not binary",
                    where=path.name,
                    fix="export it as a binary segmentation",
                )
            numbers, places = _frames(dataset)
            vectors = _vectors(dataset)
            frames = np.atleast_3d(pixel_array(dataset)).reshape(-1, int(dataset.Rows), int(dataset.Columns))
    except (InputError, GeometryError):
        raise
    except Exception as error:  # whatever a damaged file provokes in the parser or a decoder
        raise InputError(
            f"the segmentation cannot be read ({type(error).__name__})", where=path.name
        ) from error
    if len(frames) != len(numbers):
        raise InputError(f"{len(frames)} frames for {len(numbers)} descriptions", where=path.name)
    return _stack(numbers, places, vectors, frames, path)


def _group(dataset: Any, item: Any, name: str) -> Any:
    """A functional group of one frame, or the one all frames share."""
    if name in item:
        return item[name][0]
    return dataset.SharedFunctionalGroupsSequence[0][name][0]


def _frames(dataset: Any) -> tuple[NDArray[np.int64], FloatArray]:
    """(N,) segment number and (N, 3) position of every frame."""
    numbers, places = [], []
    for item in dataset.PerFrameFunctionalGroupsSequence:
        segment = _group(dataset, item, "SegmentIdentificationSequence")
        numbers.append(int(segment.ReferencedSegmentNumber))
        places.append([float(v) for v in _group(dataset, item, "PlanePositionSequence").ImagePositionPatient])
    return np.array(numbers, dtype=np.int64), np.array(places, dtype=np.float64)


def _vectors(dataset: Any) -> FloatArray:
    """Columns: one step along i, one along j, the unit normal; the same in all frames."""
    seen = set()
    for item in dataset.PerFrameFunctionalGroupsSequence:
        cosines = _group(dataset, item, "PlaneOrientationSequence").ImageOrientationPatient
        spacing = _group(dataset, item, "PixelMeasuresSequence").PixelSpacing
        seen.add((tuple(float(v) for v in cosines), tuple(float(v) for v in spacing)))
    if len(seen) != 1:
        raise GeometryError("orientation or pixel spacing changes within the segmentation")
    cosines, spacing = seen.pop()
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    if abs(float(row @ column)) > 1e-3 or min(spacing) <= 0:
        raise GeometryError("the direction cosines of the segmentation are not orthogonal")
    return np.column_stack([row * spacing[1], column * spacing[0], np.cross(row, column)])


def _stack(
    numbers: NDArray[np.int64], places: FloatArray, vectors: FloatArray, frames: NDArray[Any], path: Path
) -> Volume:
    normal = vectors[:, 2]
    first = places[int((places @ normal).argmin())]
    heights = (places - first) @ normal
    distinct = np.unique(np.round(heights, 3))
    step = float(np.diff(distinct).min()) if len(distinct) > 1 else 1.0
    index = np.rint(heights / step).astype(np.int64)
    step = float(heights.max() / index.max()) if index.max() else step
    off = places - first - np.outer(index * step, normal)
    if float(np.linalg.norm(off, axis=1).max()) > _OFF_GRID_MM:
        raise GeometryError(
            f"frames of the segmentation lie up to {np.linalg.norm(off, axis=1).max():.2f} mm off a regular stack",
            where=path.name,
            fix="export it on the grid of the series it was drawn on",
        )
    labels = np.zeros((int(index.max()) + 1, *frames.shape[1:]), dtype=np.uint16)
    for frame, k, number in zip(frames, index, numbers, strict=True):
        inside = frame > 0
        if (labels[k][inside] != 0).any():
            raise InputError(
                "segments overlap: a voxel belongs to two of them",
                where=path.name,
                fix="export one segment, or segments that do not overlap",
            )
        labels[k][inside] = number
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 2], affine[:3, 3] = vectors[:, :2], normal * step, first
    return Volume(labels, affine)
