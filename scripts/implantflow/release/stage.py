"""The release stage: everything compared once more, then one package for the theatre, with its documents."""

from __future__ import annotations

from typing import Any

from implantflow.artifacts import read_json, write_json
from implantflow.config.site import NOT_CLINICAL
from implantflow.errors import AwaitingInput
from implantflow.jobs import Job, progress
from implantflow.release.agree import check_agreement
from implantflow.release.history import make_history
from implantflow.release.label import write_label
from implantflow.release.manifest import checksum_lines, list_files
from implantflow.release.objects import write_implant, write_objects
from implantflow.release.package import (
    FORM_NAME,
    NAMES,
    copy_files,
    lattice_summary,
    of_revision,
    strength_summary,
)
from implantflow.release.pages import embedded_png, render, source
from implantflow.release.signatures import write_signatures
from implantflow.release.sources import DATE_SOURCE, ReleaseSettings, Sources, read_sources
from implantflow.release.traveller import Expected, check_filled, open_record, write_form
from implantflow.review.imaging import ImagingRule, check_age, deciding_images


def release_case(job: Job) -> None:
    """Make the release package of one build revision (job of the rule ``release_case``).

    Inputs: ``implant``, ``implant_json``, ``regions``, ``field``, ``field_data``, ``lattice``, ``strength``,
    ``plan``, ``prototype``, ``approved`` (its STL), ``tumour``, ``ingest``, ``manifest`` (planning CT),
    ``segment``, ``labels``, ``tumour_stl``, ``resolved``, ``form`` (the empty traveller); ``cli``, ``themes``,
    ``checks`` of the released revision; lists ``builds``, ``deviations``, ``pictures``, ``gates``, ``bones`` (STL),
    ``masks`` (tumour, in the order of its time points), ``image_manifests`` (of the series it was seen in); where the
    released part was machined, ``machined`` and ``machined_pictures`` of it; optional ``traveller`` (the filled one).
    Outputs: :data:`implantflow.release.package.NAMES`. Settings:
    :class:`implantflow.release.sources.ReleaseSettings`.

    Raises
    ------
    ReviewError, GeometryError, ProvenanceError, QualityGateError
        See :func:`implantflow.release.agree.check_agreement`; also images that are too old, a step of the
        manufacture that was not accepted.
    InputError
        A traveller that is incomplete or of another part; dates that contradict each other.
    AwaitingInput
        A clinical case without a filled traveller.
    """
    s = read_sources(job)
    checks = check_agreement(s)
    progress(f"{len(checks)} comparisons agree", done=0.3)
    clinical = s.settings.purpose == "clinical"
    images = deciding_images(s.records["manifest"], s.records["tumour"], s.records["ingest"])
    rule = ImagingRule(
        surgery_date=s.settings.release.surgery_date,
        limits=s.settings.release.imaging_max_age_days,
        site=s.settings.imaging_max_age,
    )
    imaging = check_age(images, rule, clinical=clinical)
    traveller = _traveller(s)
    copy_files(job, s.revision)
    write_json(job.outputs["strength"], strength_summary(s))
    write_json(job.outputs["lattice"], lattice_summary(s))
    write_json(job.outputs["traveller"], traveller)
    banner = page_facts(s.settings)["banner"]
    dicom = {**write_implant(s, banner), "objects": write_objects(s, banner)}
    signed = write_signatures(job.outputs["signatures"], s.gates)
    progress("documents", done=0.6)
    _write_documents(s, make_history(s, checks, imaging, traveller))
    record = _record(s, checks, imaging, traveller, dicom, signed)
    _write_lists(job, record)


def make_traveller(job: Job) -> None:
    """Write the empty manufacturing traveller of the revision to be released (rule ``make_traveller``).

    Input: ``build`` (its ``build.json``). Output: ``form``. Settings as for :func:`release_case`.
    """
    settings = ReleaseSettings.model_validate(dict(job.settings))
    build = read_json(job.input("build"))
    write_form(
        job.outputs["form"], _expected(settings, build), {"facts": page_facts(settings), "build": build}
    )


def page_facts(settings: ReleaseSettings) -> dict[str, Any]:
    """What every page of the package shows."""
    simulated = settings.simulated.text
    marks = [] if settings.purpose == "clinical" else [NOT_CLINICAL]
    return {
        "case": settings.case,
        "side": settings.side,
        "revision": settings.release.revision,
        "date": settings.release.date.isoformat(),
        "date_source": DATE_SOURCE,
        "device": settings.release.device.model_dump(mode="json"),
        "simulated": simulated,
        "banner": " · ".join([*marks, *([simulated] if simulated else [])]),
    }


def _expected(settings: ReleaseSettings, build: dict[str, Any]) -> Expected:
    return Expected(
        case=settings.case,
        side=settings.side,
        revision=settings.release.revision,
        build_cli_sha256=str(build["cli_sha256"]),
        material=settings.release.device.material,
        machine=str(build["machine"]),
    )


def _traveller(s: Sources) -> dict[str, Any]:
    """The checked manufacturing record, or the statement that it is open."""
    path = s.job.optional_input("traveller")
    if path is not None:
        return check_filled(path, _expected(s.settings, s.build), s.settings.release.date)
    if s.settings.purpose == "clinical":
        raise AwaitingInput(
            f"the manufacture of revision {s.revision} is not recorded: no filled traveller",
            where="release.traveller",
            fix=f"fill {s.job.input('form').as_posix()} in a browser, save it, and name the file under "
            "release.traveller",
        )
    return open_record()


def _write_documents(s: Sources, history: dict[str, Any]) -> None:
    outputs, facts = s.job.outputs, page_facts(s.settings)
    complete = history["traveller"]["status"] == "complete"
    digests = {"implant_stl": s.sha256("implant"), "build_cli": s.sha256("cli")}
    write_label(
        outputs["label_svg"], outputs["label"], {"facts": facts, "digests": digests, "complete": complete}
    )
    write_json(outputs["history"], history)
    picture = of_revision(s.job.input_list("pictures"), s.revision)
    page = render(
        "device_history.html.j2",
        {
            "facts": facts,
            "h": history,
            "style": source("pages.css"),
            "picture": embedded_png(picture),
            "machined_pictures": [embedded_png(p) for p in s.job.input_list("machined_pictures")],
        },
    )
    outputs["history_page"].write_text(page, encoding="utf-8")


def _record(
    s: Sources,
    checks: list[dict[str, str]],
    imaging: dict[str, Any],
    traveller: dict[str, Any],
    dicom: dict[str, Any],
    signed: str,
) -> dict[str, Any]:
    return {
        "status": "done",
        "case": s.settings.case,
        "purpose": s.settings.purpose,
        "revision": s.revision,
        "side": s.settings.side,
        "simulated": s.settings.simulated.text or None,
        "date": s.settings.release.date.isoformat(),
        "date_source": DATE_SOURCE,
        "complete": traveller["status"] == "complete",
        "implant_stl_sha256": s.sha256("implant"),
        "build_cli_sha256": s.sha256("cli"),
        "traveller": {key: traveller[key] for key in ("status", "missing")},
        "imaging": imaging,
        "revisions": [
            {"id": key, "decision": d["decision"], "reasons": list(d.get("reasons", []))}
            for key, d in s.deviations.items()
        ],
        "machined": None if s.machined is None else s.machined["decision"],
        "gate": s.gate.decision,
        "signatures": signed,
        "dicom": dicom,
        "checks": checks,
    }


def _write_lists(job: Job, record: dict[str, Any]) -> None:
    """The release record with the files it is about; the manifest then holds that record too."""
    lists = ("release", "manifest", "checksums")
    files = {name: job.outputs[key] for key, name in NAMES.items() if key not in lists}
    entries = list_files({**files, FORM_NAME: job.input("form")})
    write_json(job.outputs["release"], {**record, "files": entries})
    entries += list_files({NAMES["release"]: job.outputs["release"]})
    entries.sort(key=lambda entry: str(entry["path"]))
    write_json(
        job.outputs["manifest"], {"case": record["case"], "revision": record["revision"], "files": entries}
    )
    job.outputs["checksums"].write_text(checksum_lines(entries), encoding="utf-8")
