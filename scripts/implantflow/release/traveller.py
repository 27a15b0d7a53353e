"""The manufacturing traveller: a form that goes with the part, and the check of the filled one.

What has to be recorded follows the headings of the FDA's 2017 guidance on additively manufactured devices
(material re-use, machine, post-processing, residual powder, cleaning, sterilisation, inspection).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from implantflow.artifacts import read_json, sha256_file
from implantflow.config.base import Section
from implantflow.errors import InputError, QualityGateError
from implantflow.release.pages import render, source

FORM = "implantflow manufacturing traveller"
FORM_VERSION = 1


@dataclass(frozen=True)
class Step:
    """One step of the manufacture: key in the file, name on the form, what its record has to say."""

    key: str
    name: str
    hint: str


STEPS = (
    Step("powder", "Powder charge", "Certificate of the lot, sieving, share of fresh powder"),
    Step("build_job", "Build job", "Job number, start plate, vacuum, interruptions and alarms"),
    Step("powder_removal", "Powder removal", "Method and duration; how residual powder was looked for"),
    Step("heat_treatment", "Heat treatment / HIP", "Furnace, cycle, chart number; or why none is required"),
    Step("machining", "Support removal and machining", "Faces and holes touched; dimensions measured"),
    Step("cleaning", "Cleaning", "Baths, rinses, drying; cleanliness test where there is one"),
    Step("sterilisation", "Sterilisation", "Method, cycle and load number; or where it will be done"),
    Step("final_inspection", "Final inspection", "Identity, side, marking, surface, packaging"),
)

Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]


class FilledStep(Section):
    """Who did a step, when, and whether it was accepted."""

    step: str
    who: Text
    when: date
    accepted: bool
    remarks: str = Field(max_length=2000)


class FilledTraveller(Section):
    """A traveller as its form saves it."""

    form: str
    version: int
    case: str
    side: str
    revision: str
    build_cli_sha256: str
    material: Text
    powder_lot: Text
    powder_reuse_count: int = Field(ge=0, le=1000)
    machine: Text
    machine_serial: Text
    build_job: Text
    steps: list[FilledStep]


@dataclass(frozen=True)
class Expected:
    """What the traveller of this very part must say; also printed on its empty form."""

    case: str
    side: str
    revision: str
    build_cli_sha256: str
    material: str
    machine: str

    def as_json(self) -> dict[str, str]:
        """The keys of the file that are filled in beforehand."""
        return dict(self.__dict__)


def write_form(path: Path, expected: Expected, facts: Mapping[str, Any]) -> None:
    """Write the empty form, filled with what the case knows; it saves a filled one as JSON by itself."""
    known = {"form": FORM, "version": FORM_VERSION, **expected.as_json()}
    # "<" written as an escape: nothing in the data can end the script element.
    text = json.dumps({"known": known, "steps": [s.key for s in STEPS]}, sort_keys=True).replace(
        "<", "\\u003c"
    )
    content = {
        **facts,
        "steps": STEPS,
        "expected": expected,
        "style": source("pages.css"),
        "script": source("traveller.js"),
        "data": text,
    }
    path.write_text(render("traveller.html.j2", content), encoding="utf-8")


def open_record() -> dict[str, Any]:
    """What the package says while nobody has handed in a filled traveller."""
    return {
        "status": "open",
        "missing": ["powder lot", "powder re-use count", "machine serial number", *(s.name for s in STEPS)],
        "form": "traveller.html",
    }


def check_filled(path: Path, expected: Expected, release_date: date) -> dict[str, Any]:
    """Check a filled traveller and return the record of it.

    Raises
    ------
    InputError
        It is not a traveller, not of this part, incomplete, or its dates contradict each other; all problems
        are listed.
    QualityGateError
        A step was not accepted.
    """
    filled = _read(path)
    problems = [
        f"{key}: '{getattr(filled, key)}', this part has '{value}'"
        for key, value in expected.as_json().items()
        if getattr(filled, key) != value
    ]
    if (filled.form, filled.version) != (FORM, FORM_VERSION):
        problems.append(f"form '{filled.form}' version {filled.version}, wanted '{FORM}' {FORM_VERSION}")
    problems += _step_problems(filled) + _date_problems(filled, release_date)
    if problems:
        raise InputError(
            f"the traveller cannot be accepted: {'; '.join(problems)}",
            where=str(path),
            fix="open release/traveller.html of this release, load the file, correct it and save it again",
        )
    refused = [s for s in filled.steps if not s.accepted]
    if refused:
        listed = "; ".join(f"{s.step} by {s.who} on {s.when}: {s.remarks or 'no remarks'}" for s in refused)
        raise QualityGateError(
            f"the manufacture was not accepted: {listed}",
            where=str(path),
            fix="treat the part as non-conforming; a corrected step is recorded anew and accepted",
        )
    record = filled.model_dump(mode="json")
    return {"status": "complete", "missing": [], "source_sha256": sha256_file(path), "traveller": record}


def _read(path: Path) -> FilledTraveller:
    try:
        return FilledTraveller.model_validate(read_json(path))
    except ValidationError as error:
        found = [
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise InputError(
            f"not a filled traveller: {'; '.join(found)}",
            where=str(path),
            fix="fill every field of release/traveller.html and save it again",
        ) from error


def _step_problems(filled: FilledTraveller) -> list[str]:
    names = [s.step for s in filled.steps]
    wanted = [s.key for s in STEPS]
    if names == wanted:
        return []
    missing = [name for name in wanted if name not in names]
    if missing:
        return [f"steps are missing: {', '.join(missing)}"]
    return [f"steps are {', '.join(names)}; wanted, once each and in this order, {', '.join(wanted)}"]


def _date_problems(filled: FilledTraveller, release_date: date) -> list[str]:
    problems = [
        f"{later.step} is dated {later.when}, before {earlier.step} ({earlier.when})"
        for earlier, later in zip(filled.steps, filled.steps[1:], strict=False)
        if later.when < earlier.when
    ]
    late = [s for s in filled.steps if s.when > release_date]
    problems += [f"{s.step} is dated {s.when}, after the release ({release_date})" for s in late]
    return problems
