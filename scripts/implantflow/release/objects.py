"""The DICOM objects of a release: labels and tumour as segmentations, models, figures, registrations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import read_json
from implantflow.config.site import NOT_CLINICAL
from implantflow.dicom.export import codes
from implantflow.dicom.export.context import Case, Source
from implantflow.dicom.export.registration import Moved, write_registration
from implantflow.dicom.export.segmentation import (
    AUTOMATIC,
    MANUAL,
    SEMIAUTOMATIC,
    Segment,
    Written,
    write_segmentation,
)
from implantflow.dicom.export.stl import Model, read_stl_object, write_stl_object
from implantflow.errors import ProvenanceError
from implantflow.release.sources import Sources
from implantflow.release.tumour_report import tumour_groups
from implantflow.volumes import read_volume

#: File within ``release/dicom`` -> place of its series among our own; models follow from 10.
LABELS, TUMOUR = "bone_labels.dcm", "tumour_labels.dcm"
REGISTRATION, REPORT = "registration.dcm", "tumour_report.dcm"
_NUMBERS = {LABELS: 1, TUMOUR: 2, REGISTRATION: 3, REPORT: 4}
_FIRST_MODEL = 10
_IMPLANT_NUMBER = 0


def case_of(s: Sources) -> Case:
    """What all objects of the release share."""
    marks = [] if s.settings.purpose == "clinical" else [NOT_CLINICAL]
    marks += ["SIMULATED"] if s.settings.simulated.patient else []
    marks += ["VIRTUAL TUMOUR"] if s.settings.simulated.tumour else []
    return Case(s.settings.case, s.settings.release.date, s.settings.simulated.patient, tuple(marks))


def write_implant(s: Sources, banner: str) -> dict[str, str]:
    """Write ``implant.dcm``, the implant as it was released.

    Parameters
    ----------
    banner : what must not be overlooked, for the document's title

    Raises
    ------
    ProvenanceError
        The object does not give back the STL it was made from.
    """
    settings = s.settings
    said = f"Implant of case {settings.case}, {settings.side} side, build revision {s.revision}"
    model = Model(
        stl=s.job.input("implant").read_bytes(),
        name=f"Implant {settings.side} {s.revision}",
        title=f"{said}. {banner}" if banner else said,
        description="Outer solid, patient LPS mm; the lattice is in the build file",
        side=settings.side,
        # It follows the resected anatomy, but holes, passages and clearances were put in.
        modified=True,
        number=_IMPLANT_NUMBER,
    )
    return _model(s, s.job.outputs["dicom"], model)


def write_objects(s: Sources, banner: str) -> list[dict[str, str]]:
    """Write everything else into the folder of the output ``objects``.

    Returns
    -------
    list
        One entry per file, with its UIDs.
    """
    folder = s.job.outputs["objects"]
    folder.mkdir(parents=True)
    case, ct = case_of(s), Source.of(s.records["manifest"])
    found = {LABELS: _facts(_bone_labels(s, folder / LABELS, case, ct))}
    for number, (name, path) in enumerate(_anatomy(s).items()):
        virtual = name == "tumour" and s.settings.simulated.tumour
        shown = f"virtual {name}" if virtual else name
        taken = "Put in by the case config, in no image" if virtual else "Surface from the planning CT"
        title = f"{shown} of case {case.name}" + (f". {banner}" if banner else "")
        side = name.removeprefix("hip_") if name.startswith("hip_") else None
        model = Model(
            path.read_bytes(), shown, title, f"{taken}, patient LPS mm", side, False, _FIRST_MODEL + number,
        )  # fmt: skip
        found[f"{name}.dcm"] = _model(s, folder / f"{name}.dcm", model)
    found |= _tumour(s, folder, case, ct)
    return [{"file": file, **facts} for file, facts in sorted(found.items())]


def _anatomy(s: Sources) -> dict[str, Path]:
    """Name -> STL of the bones and of the tumour."""
    return {path.stem: path for path in [*s.job.input_list("bones"), s.job.input("tumour_stl")]}


def _model(s: Sources, path: Path, model: Model) -> dict[str, str]:
    uids = write_stl_object(path, case_of(s), Source.of(s.records["manifest"]), model)
    if read_stl_object(path) != model.stl:
        raise ProvenanceError(f"the DICOM object {path.name} does not give back the STL it was made from")
    return uids


def _bone_labels(s: Sources, path: Path, case: Case, ct: Source) -> Written:
    labels = read_json(s.job.input("segment"))["labels"]
    segments = [
        Segment(
            int(entry["code"]), name, codes.ANATOMICAL_STRUCTURE, *codes.BONES[name], AUTOMATIC,
            codes.DEFORMABLE_MODELS,
        )
        for name, entry in sorted(labels.items(), key=lambda item: int(item[1]["code"]))
    ]  # fmt: skip
    # A resampled series has no image for each plane of its volume.
    planes_are_images = not s.records["manifest"]["resampled"]
    return write_segmentation(
        path, case, ct, [read_volume(s.job.input("labels"))], segments, planes_are_images=planes_are_images,
        text="Bone labels", number=_NUMBERS[LABELS],
    )  # fmt: skip


def _tumour(s: Sources, folder: Path, case: Case, ct: Source) -> dict[str, dict[str, str]]:
    """Extent, figures and registrations of the tumour's time points."""
    from implantflow.dicom.export.report import write_report

    record = s.records["tumour"]
    sources = {str(m["name"]): Source.of(m) for m in map(read_json, s.job.input_list("image_manifests"))}
    segments = [_tumour_segment(timepoint) for timepoint in record["timepoints"]]
    masks = [read_volume(path) for path in s.job.input_list("masks")]
    written = write_segmentation(
        folder / TUMOUR, case, ct, masks, segments, planes_are_images=False, text="Tumour extent",
        number=_NUMBERS[TUMOUR],
    )  # fmt: skip
    found = {TUMOUR: _facts(written)}
    found[REPORT] = write_report(
        folder / REPORT, case, [ct, *sources.values()],
        tumour_groups(record, s.settings.side, written, [segment.label for segment in segments]),
        text="Tumour figures", number=_NUMBERS[REPORT],
    )  # fmt: skip
    moved = [
        Moved(sources[str(t["series"])], np.array(t["registration"]["ct_from_series"]))
        for t in record["timepoints"]
        if t["registration"] is not None
    ]
    if moved:
        text = "Tumour images to planning CT"
        found[REGISTRATION] = write_registration(
            folder / REGISTRATION, case, ct, moved, text=text, number=_NUMBERS[REGISTRATION]
        )
    return found


def _tumour_segment(timepoint: Mapping[str, Any]) -> Segment:
    algorithm = SEMIAUTOMATIC if timepoint["method"] == "grow" else MANUAL
    # What the config put in and nobody saw must not be taken for a finding.
    name = f"{'virtual tumour' if timepoint['virtual'] else 'tumour'} {timepoint['name']}"
    family = codes.NEIGHBOURHOOD if algorithm == SEMIAUTOMATIC else None
    return Segment(1, name, codes.ABNORMAL_STRUCTURE, codes.NEOPLASM, None, algorithm, family)


def _facts(written: Written) -> dict[str, str]:
    return {
        "sop_class_uid": written.sop_class,
        "sop_instance_uid": written.sop_uid,
        "series_instance_uid": written.series_uid,
        "study_instance_uid": written.study_uid,
    }
