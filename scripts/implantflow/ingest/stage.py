"""Stage functions of ingest: read each series right or refuse it, then see that all are one patient's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Any

from implantflow.artifacts import read_json, write_json
from implantflow.config.ingest import SERIES_KEYS, IngestConfig, SeriesConfig
from implantflow.config.load import load
from implantflow.config.site import SiteConfig
from implantflow.dicom import pacs
from implantflow.dicom.headers import Identity
from implantflow.dicom.identity import SeriesLink, read_series, study_uid, write_link
from implantflow.dicom.owner import owner_of, refuse_stranger
from implantflow.dicom.withheld import withheld
from implantflow.errors import GeometryError, InputError
from implantflow.ingest.read import take_series
from implantflow.jobs import Job, progress
from implantflow.volumes import write_volume


def fetch_study(job: Job) -> None:
    """Fetch the sealed ``study`` into the folder ``dicom``: every CT and MR image the archive lists, or nothing.

    Raises
    ------
    InputError
        The archive cannot be reached, has not the study, or not all of it came.
    """
    site = load(SiteConfig, job.input("site"))
    node, uid = pacs.recall(job.input("study"))
    with withheld(f"study {job.wildcards.get('study', '')}", job.input("study").parent):
        count = pacs.fetch_study(pacs.open_archive(node, site), uid, job.outputs["dicom"], told=progress)
    progress(f"{count} images, as many as the archive has")


def ingest_series(job: Job) -> None:
    """Read one DICOM series into ``volume`` (int16, patient LPS) and say in ``manifest`` what was checked.

    ``invented`` marks on the same grid what was not measured; all zero unless the series was resampled.

    Raises
    ------
    InputError, GeometryError
        The series cannot be read without guessing; names the file and, where there is one, the way out.
    """
    settings = SeriesConfig.model_validate(job.settings["series"])
    name = job.wildcards.get("series", "")
    folder = job.input("dicom")
    progress(f"reading series {name} ({settings.modality})")
    with withheld(f"series {name}", folder):
        found = take_series(folder, settings.series_uid, settings.modality, resample=settings.resample)
        study = study_uid(folder, found.manifest["series_uid"])
    manifest = {"name": name, **found.manifest, "study_uid": study}
    if settings.acquired is not None:
        manifest["acquired"] = settings.acquired.isoformat()
    write_volume(job.outputs["volume"], found.volume)
    write_volume(job.outputs["invented"], found.mask())
    write_json(job.outputs["manifest"], manifest)
    for note in manifest["notes"]:
        if note.startswith("DOUBT"):
            progress(note)
    progress(f"{manifest['n_slices']} slices accepted, within {manifest['max_residual_mm']:.4f} mm")


def agree_series(job: Job) -> None:
    """Compare the patient over all series and write ``ingest`` with the contract's keys per series.

    Label objects of other programs (``outlines``, with the series each was drawn on in the settings) are compared
    too, as far as they are DICOM; other formats name nobody. Identities are written nowhere but into the sealed
    ``link`` outside ``results/``.

    Raises
    ------
    InputError
        Two series are not the same patient's, or one and the same; their stated dates are in another order than their
        headers'; an outline is another's; or a folder no longer holds the series.
    GeometryError
        An outline is in another frame of reference than its series.
    """
    settings = IngestConfig.model_validate(job.settings["ingest"])
    folders, manifests = job.input_list("dicom"), [read_json(path) for path in job.input_list("manifests")]
    if len(folders) != len(manifests):
        raise GeometryError(f"{len(folders)} DICOM folders for {len(manifests)} manifests")
    links = {m["name"]: _link(folder, m) for folder, m in zip(folders, manifests, strict=True)}
    identities = [link.identity for link in links.values()]
    _same_patient(identities, list(links))
    _refuse_twice(manifests)
    _refuse_other_order(manifests, links)
    drawn_on: list[str] = job.settings.get("drawn_on", [])
    compared = _same_owner(job.input_list("outlines"), drawn_on, links, manifests)
    summary = {**_summary(manifests, identities), "outlines": compared}
    write_json(job.outputs["ingest"], {"planning_ct": settings.planning_ct, **summary})
    write_link(job.side_outputs["link"], links)


def _link(folder: Path, manifest: dict[str, Any]) -> SeriesLink:
    with withheld(f"series {manifest['name']}", folder):
        link = read_series(folder, manifest["series_uid"])
    if link is not None:
        return link
    raise InputError(
        f"the DICOM folder of series {manifest['name']} no longer holds the series that was read",
        fix="run the ingest of this series again",
    )


def _same_patient(identities: list[Identity], names: list[str]) -> None:
    # Every pair: two that differ may each agree with a third that names nobody.
    for (first, one), (second, other) in combinations(zip(names, identities, strict=True), 2):
        differing = one.differences(other)
        if differing:
            raise InputError(
                f"series {first} and {second} are not the same patient's: {', '.join(differing)} differ",
                where=f"ingest.series.{first}, ingest.series.{second}",
                fix="name the right folders, or correct the DICOM headers at their source",
            )


def _refuse_twice(manifests: list[dict[str, Any]]) -> None:
    """One scan under two names would be compared with itself: no response, no migration, no healing."""
    for first, second in combinations(manifests, 2):
        if all(first.get(key) == second.get(key) for key in ("series_uid", "part_uid")):
            raise InputError(
                f"series {first['name']} and {second['name']} are one and the same scan",
                where=f"ingest.series.{first['name']}, ingest.series.{second['name']}",
                fix="name each scan's own folder or series_uid",
            )


def _refuse_other_order(manifests: list[dict[str, Any]], links: Mapping[str, SeriesLink]) -> None:
    """Stated dates may be shifted, but not swapped: what the header calls earlier must not be stated as later."""
    for first, second in combinations(manifests, 2):
        stated = [entry.get("acquired", "") for entry in (first, second)]
        there = [links[entry["name"]].study["StudyDate"] for entry in (first, second)]
        if not all(stated) or not all(len(day) == 8 and day.isdigit() for day in there):
            continue
        if (
            stated[0] != stated[1]
            and there[0] != there[1]
            and (stated[0] < stated[1]) != (there[0] < there[1])
        ):
            raise InputError(
                f"series {first['name']} and {second['name']} are stated in another order of time than their headers "
                "have: they may have been swapped",
                where=f"ingest.series.{first['name']}, ingest.series.{second['name']}",
                fix="exchange their folders or series_uid, or correct `acquired`",
            )


def _same_owner(
    outlines: list[Path], drawn_on: list[str], links: dict[str, SeriesLink], manifests: list[dict[str, Any]]
) -> list[dict[str, str]]:
    """Compare patient and frame of every outline with its series; what was compared, in the order of the config."""
    frames = {manifest["name"]: manifest["frame_of_reference_uid"] for manifest in manifests}
    # One patient by now: what the outline's own series leaves empty another may state.
    patient = reduce(Identity.filled_by, (link.identity for link in links.values()))
    found = []
    for path, series in zip(outlines, drawn_on, strict=True):
        verdict = "not DICOM: it names no patient and no frame of reference"
        with withheld(f"the outline on series {series}", path.parent):
            owner = owner_of(path)
            if owner is not None:
                refuse_stranger(owner, patient, links[series].uids.get(frames[series], ""), series)
                verdict = _owner_verdict(
                    bool(patient.in_common(owner.identity)), bool(owner.frame_of_reference)
                )
        found.append({"series": series, "verdict": verdict})
    return found


def _owner_verdict(patient: bool, frame: bool) -> str:
    """What an outline that was not refused agrees in; each False where it or the series states nothing."""
    if patient and frame:
        return "patient and frame of reference agree"
    if patient:
        return "patient agrees; neither it nor the series states a frame of reference"
    return "no patient to compare" + (
        "; frame of reference agrees" if frame else ", nor a frame of reference"
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
        entry = {"name": manifest["name"], **{key: manifest[key] for key in SERIES_KEYS}}
        for key in ("size_ijk", "acquired", "header", "missing_tags", "notes"):
            if key in manifest:
                entry[key] = manifest[key]
        series.append(entry)
    return {
        "series": series,
        "same_patient": {
            "series_compared": len(identities),
            "compared": compared,
            "verdict": _compared_word(compared),
        },
        "frames": _frames(manifests),
    }


def _compared_word(compared: list[str]) -> str:
    """What the keywords that all series state are worth: half of all people have the same sex."""
    if compared == ["PatientSex"]:
        return "only the sex could be compared, it agrees"
    return "agree" if compared else "nothing to compare"


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
