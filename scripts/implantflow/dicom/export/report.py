"""Figures as structured reports of template TID 1500 (PS3.16), written with highdicom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implantflow.dicom.export import codes
from implantflow.dicom.export.codes import Concept
from implantflow.dicom.export.context import (
    FIRST_SERIES_NUMBER,
    SOFTWARE,
    Case,
    Source,
    content_uid,
    describe,
    forget_the_moment,
    save,
    version,
)
from implantflow.dicom.export.segmentation import Written

COMPREHENSIVE_3D_SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88.34"


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    name, unit : what and in which unit
    value : None when it is not determinable: the report then says so in place of a number
    method : how it was measured, where a code says it
    """

    name: Concept
    value: float | None
    unit: Concept
    method: Concept | None = None


@dataclass(frozen=True)
class Group:
    """Figures of one thing at one time.

    Attributes
    ----------
    label : name of the thing, the same at every time
    timepoint : name of the time point
    finding, site, side : what it is and where
    figures : at least one
    gradings : (what is graded, the grade)
    segment : the segmentation and the label in it that the figures belong to, or None
    """

    label: str
    timepoint: str
    finding: Concept
    site: Concept
    side: Concept | None
    figures: Sequence[Figure]
    gradings: Sequence[tuple[Concept, Concept]] = field(default_factory=tuple)
    segment: tuple[Written, str] | None = None


def write_report(
    path: Path, case: Case, sources: Sequence[Source], groups: Sequence[Group], *, text: str, number: int
) -> dict[str, str]:
    """Write the figures of ``groups`` as a report that joins the study of the first source.

    Parameters
    ----------
    sources : series that the figures were measured on
    text : for the series description
    number : place of the series among our own

    Returns
    -------
    dict
        Its UIDs.
    """
    from highdicom.sr import Comprehensive3DSR

    own = sources[0]
    said = [version(), case.name, case.day.isoformat(), text, *(s.series_uid for s in sources)]
    said.append(hashlib.sha256(repr(groups).encode()).hexdigest())
    uids = [content_uid(kind, *said) for kind in ("report", "report series")]
    evidence = [image for source in sources for image in _evidence(source)]
    evidence += _segmentations(groups)
    ds: Any = Comprehensive3DSR(
        evidence=evidence,
        content=_content(case, groups)[0],
        series_instance_uid=uids[1],
        series_number=FIRST_SERIES_NUMBER + number,
        sop_instance_uid=uids[0],
        instance_number=1,
        manufacturer=SOFTWARE,
        # What software found is complete, and nobody has verified it.
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=codes.schemes(),
    )
    describe(ds, case, own, number=number, text=text)
    forget_the_moment(ds)
    save(path, ds)
    return {
        "sop_class_uid": COMPREHENSIVE_3D_SR_STORAGE,
        "sop_instance_uid": uids[0],
        "series_instance_uid": uids[1],
        "study_instance_uid": own.study_uid,
    }


def _content(case: Case, groups: Sequence[Group]) -> Any:
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes as standard

    device = ObserverContext(
        observer_type=standard.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=content_uid("device", SOFTWARE, version()),
            name=SOFTWARE,
            manufacturer_name=SOFTWARE,
            model_name=f"{SOFTWARE} {version()}",
        ),
    )
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device),
        procedure_reported=codes.own(
            "imaging_read", "Reading of images for a patient-specific implant"
        ).coded(),
        imaging_measurements=[_group(case, group) for group in groups],
        title=standard.DCM.ImagingMeasurementReport,
    )


def _group(case: Case, group: Group) -> Any:
    from highdicom.sr import (
        FindingSite,
        MeasurementsAndQualitativeEvaluations,
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TimePointContext,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    said: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            uid=content_uid("tracked", case.name, group.label), identifier=group.label
        ),
        "time_point_context": TimePointContext(time_point=group.timepoint),
        "finding_type": group.finding.coded(),
        "finding_sites": [
            FindingSite(group.site.coded(), laterality=None if group.side is None else group.side.coded())
        ],
        "measurements": [_measurement(f) for f in group.figures if f.value is not None],
        "qualitative_evaluations": _evaluations(group),
    }
    if group.segment is None:
        return MeasurementsAndQualitativeEvaluations(**said)
    written, label = group.segment
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=ReferencedSegment(
            sop_class_uid=written.sop_class,
            sop_instance_uid=written.sop_uid,
            segment_number=written.numbers[label],
            source_series=SourceSeriesForSegmentation(written.source_series_uid),
        ),
        **said,
    )


def _measurement(figure: Figure) -> Any:
    from highdicom.sr import Measurement

    assert figure.value is not None
    return Measurement(
        name=figure.name.coded(),
        # Ten digits, as everywhere else; a decimal string holds no more than sixteen characters.
        value=float(f"{figure.value:.10g}"),
        unit=figure.unit.coded(),
        method=None if figure.method is None else figure.method.coded(),
    )


def _evaluations(group: Group) -> list[Any]:
    """Grades, and for each figure without a value that it is not determinable."""
    from highdicom.sr import QualitativeEvaluation

    said = [*group.gradings, *((f.name, codes.NOT_DETERMINABLE) for f in group.figures if f.value is None)]
    return [QualitativeEvaluation(name.coded(), value.coded()) for name, value in said]


def _evidence(source: Source) -> list[Any]:
    """What a report needs to name the images it rests on."""
    return [_named(source.study_uid, source.series_uid, *image) for image in source.images]


def _segmentations(groups: Sequence[Group]) -> list[Any]:
    found = {g.segment[0].sop_uid: g.segment[0] for g in groups if g.segment is not None}
    return [_named(w.study_uid, w.series_uid, w.sop_class, w.sop_uid) for w in found.values()]


def _named(study: str, series: str, sop_class: str, sop_uid: str) -> Any:
    from pydicom.dataset import Dataset

    ds: Any = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, sop_uid
    for keyword in (
        "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
        "StudyTime", "ReferringPhysicianName",
    ):  # fmt: skip
        setattr(ds, keyword, "")
    return ds
