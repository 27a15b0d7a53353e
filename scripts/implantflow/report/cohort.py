"""One table over cases: what each is, how far it came, its key figures, and why some are missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

import implantflow
from implantflow.artifacts import read_json, temporary
from implantflow.config.base import NAME_PATTERN
from implantflow.errors import ImplantflowError, InputError
from implantflow.jobs import Job
from implantflow.report.command import CASES, RESULTS
from implantflow.report.methods import TITLES
from implantflow.report.page import BADGES, banner_of
from implantflow.report.rows import dig_named, shown
from implantflow.report.stages import STAGES
from implantflow.report.strip import strip

_HERE = Path(__file__).parent
#: Folders beside those of the cases.
_NO_CASES = {"cohort", "bench"}

#: Figures of the table: column of the data file, heading with unit, dotted key, digits, factor from stored to shown.
COLUMNS: tuple[tuple[str, str, str, int, float], ...] = (
    ("tumour_volume_change_pct", "Tumour volume change, %", "tumour.response.volume_change_pct", 1, 1.0),
    ("sacrum_volume_mm3", "Sacrum, cm³", "segment.labels.sacrum.volume_mm3", 1, 1e-3),
    ("osteotomy_margin_min_mm", "Margin, mm", "plan.osteotomy_margin_min_mm", 1, 1.0),
    ("specimen_volume_mm3", "Specimen, cm³", "plan.specimen_volume_mm3", 1, 1e-3),
    ("gap_p95_mm", "Gap to bone p95, mm", "implant.gap_p95_mm", 2, 1.0),
    ("contact_area_mm2", "Contact area, cm²", "implant.contact_area_mm2", 1, 1e-2),
    ("porosity", "Porosity", "lattice.porosity", 3, 1.0),
    ("safety_factor", "Safety factor", "strength.safety_factor", 2, 1.0),
    ("build_time_h", "Build, h", "build.revisions.-1.time_h", 1, 1.0),
    ("build_energy_kwh", "Build energy, kWh", "build.revisions.-1.energy_kwh", 1, 1.0),
)
#: How far a case came, most pressing first: word of the data file, words and light of the page.
STATES = {
    "failed": ("failed", "bad"),
    "waiting": ("waiting for a person", "wait"),
    "unfinished": ("not finished", "off"),
    "missing": ("no report", "off"),
    "complete": ("complete", "good"),
}
#: What the status of a stage makes of its case; the first of STATES wins, then the first stage.
_STATE_OF = {"failed": "failed", "awaiting_review": "waiting", "awaiting_input": "unfinished"}


def make_cohort(job: Job) -> None:
    """Write ``index`` and ``table`` over ``settings["cases"]`` (job of the rule ``make_cohort``)."""
    results = job.case_dir.parent
    rows = [case_row(results, str(name)) for name in job.settings["cases"]]
    _write(rows, job.outputs["index"], job.outputs["table"])


def render_cohort(cases: Sequence[str], results: Path = RESULTS) -> Path:
    """Render the table over ``cases`` (all with results when empty); return the page's path.

    Raises
    ------
    InputError
        A name that is no case name, or that has neither results nor a config.
    """
    for name in cases:
        _require_case(name, results)
    names = list(cases) or sorted(p.name for p in results.iterdir() if p.is_dir() and p.name not in _NO_CASES)
    folder = results / "cohort"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [case_row(results, name) for name in names]
    _write(rows, folder / "index.html", folder / "cohort.parquet")
    return folder / "index.html"


def _require_case(name: str, results: Path) -> None:
    if re.fullmatch(NAME_PATTERN, name) is None or name in _NO_CASES:
        raise InputError(
            f"{name!r} is no case name",
            where="command line",
            fix="small letters, digits and _, e.g. case_017",
        )
    config = CASES / f"{name}.yaml"
    if not (results / name).is_dir() and not config.is_file():
        raise InputError(
            f"there is no case '{name}': it has neither results nor a config",
            where=f"{results / name}, {config}",
            fix="check the spelling; without names the table is over every case with results",
        )


def case_row(results: Path, name: str) -> dict[str, Any]:
    """One case from its ``case.json``: purpose, side, status per stage, key figures, or why there are none."""
    row: dict[str, Any] = {"case": name, "purpose": None, "side": None, "simulated": None, "problem": None}
    row |= {"state": "complete", "at": None}
    path = results / name / "report" / "case.json"
    summary: Mapping[str, Any] = {}
    try:
        if not path.is_file():
            raise ImplantflowError("no case.json: the report of this case has not been made")
        loaded = read_json(path)
        summary = loaded if isinstance(loaded, dict) else {}
    except ImplantflowError as error:
        row |= {"problem": error.what, "state": "missing"}
    for key in ("purpose", "side", "simulated"):
        row[key] = summary.get(key)
    row["tags"] = ", ".join(summary.get("tags") or [])
    row["unsigned_gates"] = ", ".join((summary.get("audit") or {}).get("unsigned_gates") or [])
    stopped = []
    for stage in STAGES:
        data = summary.get(stage) or {}
        row[f"status_{stage}"] = data.get("status")
        if data.get("status") in _STATE_OF:
            stopped.append((_STATE_OF[data["status"]], stage, data.get("reason")))
    if stopped:
        state, stage, reason = min(stopped, key=lambda s: list(STATES).index(s[0]))
        row |= {"state": state, "at": stage, "problem": f"{TITLES[stage][0]}: {reason}"}
    for column, _, key, _, _ in COLUMNS:
        value = dig_named(summary, key)
        row[column] = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return row


def _write(rows: list[dict[str, Any]], index: Path, table: Path) -> None:
    _write_table(rows, table)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    purposes = {str(r["purpose"]) for r in rows}
    page = environment.get_template("cohort.html.j2").render(
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "cohort.js").read_text(encoding="utf-8")),
        banner=banner_of("clinical" if purposes == {"clinical"} else "demo", False),
        cases=[_shown(row) for row in rows],
        counts=[
            (words, light, sum(r["state"] == state for r in rows)) for state, (words, light) in STATES.items()
        ],
        heads=[heading for _, heading, _, _, _ in COLUMNS],
        stages=[TITLES[stage][0] for stage in STAGES],
        strips=_strips(rows),
        version=implantflow.__version__,
    )
    with temporary(index) as tmp:
        tmp.write_text(page, encoding="utf-8")


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    words, light = STATES[row["state"]]
    return {
        "name": row["case"],
        "purpose": row["purpose"] or "–",
        "side": row["side"] or "–",
        "tags": row["tags"] or "–",
        "images": {True: "simulated", False: "of a person", None: "–"}[row["simulated"]],
        "state": f"{words}, {TITLES[row['at']][0].lower()}" if row["at"] else words,
        "light": light,
        "unsigned": row["unsigned_gates"] or "–",
        "problem": row["problem"] or "",
        "stages": [BADGES.get(str(row[f"status_{s}"]), ("–", "no result", "off")) for s in STAGES],
        "figures": [
            (row[column], shown(row[column], digits, factor)) for column, _, _, digits, factor in COLUMNS
        ],
    }


def _strips(rows: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """How each figure spreads over the cases that have it; a single case has no spread."""
    found = []
    for column, heading, _, _, factor in COLUMNS:
        have = [(row[column] * factor, row["case"]) for row in rows if row[column] is not None]
        if len(have) > 1:
            found.append(Markup(strip(heading, [v for v, _ in have], [n for _, n in have])))
    return found


def _write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Parquet with a fixed schema, so that a case without figures does not change the types."""
    import pyarrow
    import pyarrow.parquet

    texts = ["case", "purpose", "side", "tags", "state", "at", "problem", "unsigned_gates"]
    texts += [f"status_{s}" for s in STAGES]
    fields = [(name, pyarrow.string()) for name in texts]
    fields.append(("simulated", pyarrow.bool_()))
    fields += [(column, pyarrow.float64()) for column, *_ in COLUMNS]
    schema = pyarrow.schema(fields)
    table = pyarrow.Table.from_pylist([{n: r[n] for n, _ in fields} for r in rows], schema=schema)
    with temporary(path) as tmp:
        pyarrow.parquet.write_table(table, tmp)
