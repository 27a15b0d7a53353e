"""Label maps as DICOM Segmentation objects (PS3.3 A.51), written with highdicom."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.dicom.export.codes import Concept
from implantflow.dicom.export.context import (
    SOFTWARE,
    Case,
    Source,
    code_item,
    content_uid,
    describe,
    forget_the_moment,
    referenced_series,
    save,
    version,
)
from implantflow.errors import GeometryError
from implantflow.volumes import Volume

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
#: How a segment was made (PS3.3 C.8.20.2.3).
AUTOMATIC, SEMIAUTOMATIC, MANUAL = "AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"


@dataclass(frozen=True)
class Segment:
    """One structure of a label map.

    Attributes
    ----------
    value : voxels of the array that are this structure; arrays of a stack of masks are told by place instead
    label : its name (64 characters at most)
    category, kind : what it is
    side : concept of its laterality, or None
    algorithm : AUTOMATIC, SEMIAUTOMATIC or MANUAL
    family : kind of algorithm (CID 7162); None when made by hand
    """

    value: int
    label: str
    category: Concept
    kind: Concept
    side: Concept | None
    algorithm: str
    family: Concept | None


@dataclass(frozen=True)
class Written:
    """What others refer to: the object's class and UIDs, and the number of each segment."""

    study_uid: str
    series_uid: str
    sop_class: str
    sop_uid: str
    source_series_uid: str
    numbers: Mapping[str, int]


def write_segmentation(
    path: Path,
    case: Case,
    source: Source,
    masks: Sequence[Volume],
    segments: Sequence[Segment],
    *,
    planes_are_images: bool,
    text: str,
    number: int,
) -> Written:
    """Write masks on one grid in the space of ``source`` as a binary segmentation.

    Parameters
    ----------
    masks : one (K, J, I) volume of labels for all segments, or one volume of 0 and 1 per segment (they may
        overlap); patient LPS of ``source``
    segments : in the order of their segment numbers, from 1
    planes_are_images : whether plane k of the masks is image k of the source, so that it can be named
    text : for the series description
    number : place of the series among our own

    Raises
    ------
    GeometryError
        Masks on different grids, or a segment without a single voxel.
    """
    from highdicom.seg import Segmentation

    planes = _planes(masks, segments)
    digest = hashlib.sha256(
        np.packbits(planes).tobytes() + masks[0].affine_lps.round(6).tobytes()
    ).hexdigest()
    said = [f"{s.label}|{s.kind.value}|{s.algorithm}" for s in segments]
    uids = [
        content_uid(kind, digest, source.series_uid, case.name, version(), case.day.isoformat(), text, *said)
        for kind in ("segmentation", "segmentation series", "segmentation dimensions")
    ]
    named = planes_are_images and len(source.images) == len(planes)
    ds: Any = Segmentation(
        source_images=_stand_ins(source, masks[0], named=named),
        pixel_array=_volume(planes, masks[0], source),
        segmentation_type="BINARY",
        segment_descriptions=[_description(s, n, uids[0]) for n, s in enumerate(segments, 1)],
        series_instance_uid=uids[1],
        series_number=number,
        sop_instance_uid=uids[0],
        instance_number=1,
        manufacturer=SOFTWARE,
        manufacturer_model_name=SOFTWARE,
        software_versions=version(),
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description=text[:64],
    )
    describe(ds, case, source, number=number, text=text)
    _settle(ds, source, uids[2], named=named)
    save(path, ds)
    numbers = {s.label: n for n, s in enumerate(segments, 1)}
    return Written(source.study_uid, uids[1], SEGMENTATION_STORAGE, uids[0], source.series_uid, numbers)


def _planes(masks: Sequence[Volume], segments: Sequence[Segment]) -> NDArray[np.uint8]:
    """(K, J, I) segment numbers, or (K, J, I, segments) of 0 and 1 where masks may overlap."""
    first = masks[0]
    for mask in masks:
        if mask.array.shape != first.array.shape or not np.allclose(
            mask.affine_lps, first.affine_lps, atol=1e-6
        ):
            raise GeometryError("the masks of one segmentation object lie on different grids")
    if len(masks) > 1:
        planes = np.stack([(mask.array != 0).astype(np.uint8) for mask in masks], axis=-1)
        found = np.asarray(planes.any(axis=(0, 1, 2)))
    else:
        planes, found = _numbered(first.array, segments)
    empty = [segment.label for segment, there in zip(segments, found, strict=True) if not there]
    if empty:
        raise GeometryError(f"segments without a single voxel: {', '.join(empty)}")
    return planes


def _numbered(
    labels: NDArray[Any], segments: Sequence[Segment]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Segment numbers in place of label values, and which segments have a voxel; plane by plane, to stay small."""
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[[s.value for s in segments]] = np.arange(1, len(segments) + 1)
    planes = np.empty(labels.shape, dtype=np.uint8)
    counts = np.zeros(len(segments) + 1, dtype=np.int64)
    for plane, out in zip(labels, planes, strict=True):
        np.take(numbers, plane, out=out)
        counts += np.bincount(out.reshape(-1), minlength=len(counts))
    return planes, counts[1:] > 0


def _volume(planes: NDArray[np.uint8], grid: Volume, source: Source) -> Any:
    from highdicom import Volume as HighdicomVolume

    channels: Any = {"SegmentNumber": list(range(1, planes.shape[3] + 1))} if planes.ndim == 4 else None
    # highdicom's affine maps array indices (k, j, i).
    affine = grid.affine_lps[:, [2, 1, 0, 3]]
    return HighdicomVolume(
        planes, affine, "PATIENT", frame_of_reference_uid=source.frame_uid, channels=channels
    )


def _description(segment: Segment, number: int, uid: str) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

    algorithm = None
    if segment.family is not None:
        algorithm = AlgorithmIdentificationSequence(
            name=SOFTWARE, family=segment.family.coded(), version=version()
        )
    description: Any = SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=segment.category.coded(),
        segmented_property_type=segment.kind.coded(),
        algorithm_type=segment.algorithm,
        algorithm_identification=algorithm,
        tracking_uid=content_uid("tracking", uid, segment.label),
        tracking_id=segment.label,
    )
    if segment.side is not None:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        side = code_item(segment.side.value, segment.side.scheme, segment.side.meaning)
        kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    return description


def _stand_ins(source: Source, grid: Volume, *, named: bool) -> list[Any]:
    """What highdicom needs of the source images: one per plane of ``grid``, by its place; no pixels."""
    from pydicom.dataset import Dataset

    sop_class, _ = source.images[0]
    cosines = (grid.affine_lps[:3, :2] / grid.spacing_mm[:2]).T.reshape(-1)
    found = []
    for k in range(len(grid.array)):
        ds: Any = Dataset()
        ds.SOPClassUID = sop_class
        # An image that is not one plane of the grid is not named plane by plane: see _settle.
        ds.SOPInstanceUID = source.images[k][1] if named else f"2.25.{k + 1}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = source.study_uid, source.series_uid
        ds.FrameOfReferenceUID, ds.Modality = source.frame_uid, source.modality
        ds.PositionReferenceIndicator = ""
        for keyword in (
            "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
            "StudyTime", "ReferringPhysicianName",
        ):  # fmt: skip
            setattr(ds, keyword, "")
        ds.Rows, ds.Columns = grid.array.shape[1:]
        ds.ImageOrientationPatient = [_ds(v) for v in cosines]
        ds.ImagePositionPatient = [_ds(v) for v in grid.affine_lps[:3, 3] + k * grid.affine_lps[:3, 2]]
        ds.SliceThickness = _ds(grid.spacing_mm[2])
        ds.PixelSpacing = [_ds(grid.spacing_mm[1]), _ds(grid.spacing_mm[0])]
        found.append(ds)
    return found


def _ds(value: float) -> str:
    """A number as a decimal string of at most 16 characters."""
    return f"{value:.10g}"


def _settle(ds: Any, source: Source, dimensions_uid: str, *, named: bool) -> None:
    """Take out what depends on the moment, and what cannot be said of sources that are no single planes."""
    forget_the_moment(ds)
    for item in ds.DimensionOrganizationSequence:
        item.DimensionOrganizationUID = dimensions_uid
    for item in ds.DimensionIndexSequence:
        item.DimensionOrganizationUID = dimensions_uid
    if not named:
        for group in ds.PerFrameFunctionalGroupsSequence:
            if "DerivationImageSequence" in group:
                del group.DerivationImageSequence
    ds.ReferencedSeriesSequence = [referenced_series(source)]
