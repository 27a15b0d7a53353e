"""Stage functions of ingest: read each series right or refuse it, then see that all are one patient's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from implantflow.artifacts import read_json, write_json
from implantflow.config.ingest import IngestConfig, SeriesConfig
from implantflow.dicom.headers import Identity, first_image
from implantflow.dicom.uids import remap_uid
from implantflow.errors import GeometryError, InputError
from implantflow.ingest.read import ingest_folder
from implantflow.jobs import Job, progress
from implantflow.volumes import write_volume

#: Keys of ``ingest.series[]`` that checks read (design.md), in their order.
CONTRACT_KEYS = (
    "series_uid",
    "modality",
    "n_slices",
    "spacing_mm",
    "tilt_deg",
    "max_residual_mm",
    "resampled",
    "verdict",
)


def ingest_series(job: Job) -> None:
    """Read one DICOM series into ``volume`` (int16, patient LPS) and say in ``manifest`` what was checked.

    Raises
    ------
    InputError, GeometryError
        The series cannot be read without guessing; names the file and, where there is one, the way out.
    """
    settings = SeriesConfig.model_validate(job.settings["series"])
    name = job.wildcards.get("series", "")
    progress(f"reading series {name} ({settings.modality})")
    volume, manifest = ingest_folder(job.input("dicom"), settings.series_uid, settings.modality)
    manifest = {"name": name, **manifest}
    if settings.acquired is not None:
        manifest["acquired"] = settings.acquired.isoformat()
    write_volume(job.outputs["volume"], volume)
    write_json(job.outputs["manifest"], manifest)
    progress(f"{manifest['n_slices']} slices accepted, within {manifest['max_residual_mm']:.4f} mm")


def agree_series(job: Job) -> None:
    """Compare the patient over all series and write ``ingest`` with the contract's keys per series.

    Identities are read from one header per series, compared, and forgotten: no value is written anywhere.

    Raises
    ------
    InputError
        Two series are not the same patient's, or a folder no longer holds the series that was read.
    """
    settings = IngestConfig.model_validate(job.settings["ingest"])
    folders, manifests = job.input_list("dicom"), [read_json(path) for path in job.input_list("manifests")]
    if len(folders) != len(manifests):
        raise GeometryError(f"{len(folders)} DICOM folders for {len(manifests)} manifests")
    identities = [_identity(folder, manifest) for folder, manifest in zip(folders, manifests, strict=True)]
    _same_patient(identities, [manifest["name"] for manifest in manifests])
    write_json(
        job.outputs["ingest"], {"planning_ct": settings.planning_ct, **_summary(manifests, identities)}
    )


def _identity(folder: Path, manifest: dict[str, Any]) -> Identity:
    image = first_image(folder, lambda found: remap_uid(found.series_uid) == manifest["series_uid"])
    if image is not None:
        return image.identity
    raise InputError(
        f"the DICOM folder of series {manifest['name']} no longer holds the series that was read",
        fix="run the ingest of this series again",
    )


def _same_patient(identities: list[Identity], names: list[str]) -> None:
    for identity, name in zip(identities[1:], names[1:], strict=True):
        differing = identities[0].differences(identity)
        if differing:
            raise InputError(
                f"series {names[0]} and {name} are not the same patient's: {', '.join(differing)} differ",
                where=f"ingest.series.{names[0]}, ingest.series.{name}",
                fix="name the right folders, or correct the DICOM headers at their source",
            )


def _summary(manifests: list[dict[str, Any]], identities: list[Identity]) -> dict[str, Any]:
    compared = [
        keyword
        for keyword, values in (
            ("PatientID", [i.patient_id for i in identities]),
            ("PatientBirthDate", [i.birth_date for i in identities]),
            ("PatientSex", [i.sex for i in identities]),
        )
        if len(values) > 1 and all(values)
    ]
    series = []
    for manifest in manifests:
        entry = {"name": manifest["name"], **{key: manifest[key] for key in CONTRACT_KEYS}}
        for key in ("size_ijk", "acquired", "header", "missing_tags", "notes"):
            if key in manifest:
                entry[key] = manifest[key]
        series.append(entry)
    return {
        "series": series,
        "same_patient": {
            "series_compared": len(identities),
            "compared": compared,
            "verdict": "agree" if compared else "nothing to compare",
        },
        "frames": _frames(manifests),
    }


def _frames(manifests: list[dict[str, Any]]) -> list[dict[str, str]]:
    """How each pair of series lies to each other: in one frame of reference, or only after registration."""
    found = []
    for index, first in enumerate(manifests):
        for second in manifests[index + 1 :]:
            same = first["frame_of_reference_uid"] and (
                first["frame_of_reference_uid"] == second["frame_of_reference_uid"]
            )
            relation = "same frame of reference" if same else "needs registration"
            found.append({"from": second["name"], "to": first["name"], "relation": relation})
    return found
