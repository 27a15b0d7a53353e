"""Frames of enhanced multi-frame images: each by its own functional groups, never by its place in the file.

DICOM PS3.3 C.7.6.16. A frame's item in the per-frame sequence overrides the shared one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Functional group -> the attributes in it that place, scale or tell apart a frame.
GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": ("FrameAcquisitionNumber", "TemporalPositionIndex", "StackID"),
    "CTImageFrameTypeSequence": ("FrameType",),
    "MRImageFrameTypeSequence": ("FrameType",),
    "MREchoSequence": ("EffectiveEchoTime",),
    "CTReconstructionSequence": ("ConvolutionKernel",),
}

#: Names that the classic, single-frame objects use for the same thing.
CLASSIC = {
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "EffectiveEchoTime": "EchoTime",
}


#: More frames than any scan has; a damaged number must not be believed.
_MOST_FRAMES = 50_000


def frames_of(dataset: Mapping[str, Any]) -> int:
    """Number of frames that the pixel data of ``dataset`` holds."""
    count = int(dataset.get("NumberOfFrames") or 1)
    if not 1 <= count <= _MOST_FRAMES:
        raise ValueError("number of frames")
    return count


def frame_datasets(dataset: Mapping[str, Any]) -> list[tuple[int | None, Mapping[str, Any]]]:
    """(frame number, attributes) of every plane of an image.

    A single-frame object gives ``(None, dataset)``. For a multi-frame object the attributes are a mapping
    with the keywords of single-frame objects; what no functional group states is absent, so that a file of
    frames without functional groups (a cine, an old secondary capture) has no position and cannot become a
    volume.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    count = frames_of(dataset)
    if not per_frame:
        return [(None, dataset)] if count == 1 else [(frame, {}) for frame in range(count)]
    if len(per_frame) != count:
        raise ValueError("number of functional groups and of frames differ")
    shared = dataset.get("SharedFunctionalGroupsSequence")
    base = _attributes(shared[0]) if shared else {}
    return [(frame, {**base, **_attributes(item)}) for frame, item in enumerate(per_frame)]


def _attributes(item: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group, keywords in GROUPS.items():
        sequence = item.get(group)
        if not sequence:
            continue
        for keyword in keywords:
            value = sequence[0].get(keyword)
            if value is not None:
                found[CLASSIC.get(keyword, keyword)] = value
    return found
