"""One table over cases: what each is, how far it came, its key figures, and why some are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

import implantflow
from implantflow.artifacts import read_json, temporary
from implantflow.errors import ImplantflowError
from implantflow.jobs import Job
from implantflow.report.command import RESULTS
from implantflow.report.methods import TITLES
from implantflow.report.page import BADGES, banner_of
from implantflow.report.rows import dig_named, shown
from implantflow.report.summary import STAGES

_HERE = Path(__file__).parent

#: Figures of the table: column of the data file, heading, dotted key, digits, factor from stored to shown unit.
COLUMNS: tuple[tuple[str, str, str, int, float], ...] = (
    ("tumour_volume_change_pct", "Tumour volume, %", "tumour.response.volume_change_pct", 1, 1.0),
    ("sacrum_volume_mm3", "Sacrum, cm³", "segment.labels.sacrum.volume_mm3", 1, 1e-3),
    ("osteotomy_margin_min_mm", "Margin, mm", "plan.osteotomy_margin_min_mm", 1, 1.0),
    ("specimen_volume_mm3", "Specimen, cm³", "plan.specimen_volume_mm3", 1, 1e-3),
    ("gap_p95_mm", "Gap p95, mm", "implant.gap_p95_mm", 2, 1.0),
    ("porosity", "Porosity", "lattice.porosity", 3, 1.0),
    ("safety_factor", "Safety factor", "strength.safety_factor", 2, 1.0),
    ("build_time_h", "Build, h", "build.revisions.0.time_h", 1, 1.0),
)


def make_cohort(job: Job) -> None:
    """Write ``index`` and ``table`` over ``settings["cases"]`` (job of the rule ``make_cohort``)."""
    results = job.case_dir.parent
    rows = [case_row(results, str(name)) for name in job.settings["cases"]]
    _write(rows, job.outputs["index"], job.outputs["table"])


def render_cohort(cases: Sequence[str], results: Path = RESULTS) -> Path:
    """Render the table over ``cases`` (all with results when empty); return the page's path."""
    names = list(cases) or sorted(
        p.name for p in results.iterdir() if p.is_dir() and p.name not in {"cohort", "bench"}
    )
    folder = results / "cohort"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [case_row(results, name) for name in names]
    _write(rows, folder / "index.html", folder / "cohort.parquet")
    return folder / "index.html"


def case_row(results: Path, name: str) -> dict[str, Any]:
    """One case from its ``case.json``: purpose, side, status per stage, key figures, or why there are none."""
    row: dict[str, Any] = {"case": name, "purpose": None, "side": None, "simulated": None, "problem": None}
    path = results / name / "report" / "case.json"
    summary: Mapping[str, Any] = {}
    try:
        if not path.is_file():
            raise ImplantflowError("no case.json: the report of this case has not been made")
        loaded = read_json(path)
        summary = loaded if isinstance(loaded, dict) else {}
    except ImplantflowError as error:
        row["problem"] = error.what
    for key in ("purpose", "side", "simulated"):
        row[key] = summary.get(key)
    for stage in STAGES:
        data = summary.get(stage) or {}
        row[f"status_{stage}"] = data.get("status")
        if data.get("status") in {"failed", "awaiting_review"} and row["problem"] is None:
            row["problem"] = f"{TITLES[stage][0]}: {data.get('reason')}"
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
        banner=banner_of("clinical" if purposes == {"clinical"} else "demo", False),
        cases=[_shown(row) for row in rows],
        heads=[heading for _, heading, _, _, _ in COLUMNS],
        stages=[TITLES[stage][0] for stage in STAGES],
        version=implantflow.__version__,
    )
    with temporary(index) as tmp:
        tmp.write_text(page, encoding="utf-8")


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["case"],
        "purpose": row["purpose"] or "–",
        "side": row["side"] or "–",
        "images": {True: "simulated", False: "of a person", None: "–"}[row["simulated"]],
        "problem": row["problem"] or "",
        "stages": [BADGES.get(str(row[f"status_{s}"]), ("–", "no result", "off")) for s in STAGES],
        "figures": [shown(row[column], digits, factor) for column, _, _, digits, factor in COLUMNS],
    }


def _write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Parquet with a fixed schema, so that a case without figures does not change the types."""
    import pyarrow
    import pyarrow.parquet

    texts = ["case", "purpose", "side", "problem", *[f"status_{s}" for s in STAGES]]
    fields = [(name, pyarrow.string()) for name in texts]
    fields.append(("simulated", pyarrow.bool_()))
    fields += [(column, pyarrow.float64()) for column, *_ in COLUMNS]
    schema = pyarrow.schema(fields)
    table = pyarrow.Table.from_pylist([{n: r[n] for n, _ in fields} for r in rows], schema=schema)
    with temporary(path) as tmp:
        pyarrow.parquet.write_table(table, tmp)
