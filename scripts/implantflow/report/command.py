"""``python -m implantflow report CASE``: render what exists, without Snakemake, also after a failure."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from implantflow.artifacts import sha256_file
from implantflow.audit import ledger
from implantflow.codedigest import code_digest
from implantflow.config.load import load, read_yaml
from implantflow.config.models import CaseConfig
from implantflow.config.sources import with_neutral_paths
from implantflow.errors import ConfigError, InputError
from implantflow.report.run_record import job_status, write_run_record
from implantflow.report.stage import write_report

#: Folder of all cases, below the project.
RESULTS = Path("results")
#: Folder of the case configs.
CASES = Path("config/cases")
#: Beside a page made outside the pipeline. An input of the rule ``report_case``, newer than the page: without it a page
#: made after a failure would stand as the finished report, and the next run would find nothing left to do.
PROVISIONAL = "provisional.txt"
#: What this command writes and the pipeline's own report too; the run's times are nobody's result.
_RENDERED = {"index.html", "case.json", PROVISIONAL}


def render(case: str, results: Path = RESULTS) -> Path:
    """Render ``results/{case}`` and return the page's path.

    Raises
    ------
    InputError
        There is no such folder, or the name is no case name.
    """
    case_dir = results / case
    if not case or Path(case).name != case or not case_dir.is_dir():
        raise InputError(
            f"no results of case '{case}'",
            where=str(case_dir),
            fix=f"run it first: snakemake report --cores 2 --config cases={case}",
        )
    page = render_case(case_dir, case_dir / "report")
    marker = page.with_name(PROVISIONAL)
    marker.write_text(
        "index.html was made outside the pipeline; the next run makes it anew.\n", encoding="utf-8"
    )
    # Clocks of file systems are coarse; a second is enough for all of them.
    later = page.with_name("case.json").stat().st_mtime + 1.0
    os.utime(marker, (later, later))
    if ledger.read_head(case_dir) is not None:
        # Rendered outside the pipeline, e.g. after a failure: without its entry nobody could account for the page.
        made = sorted(p for p in page.parent.iterdir() if p.is_file() and p.name in _RENDERED)
        now = time.time()
        entry = {
            "event": "job",
            "rule": "render_report",
            "wildcards": {"case": case},
            "outcome": {"status": "done", "exit": 0},
            "inputs": {},
            "outputs": {p.as_posix(): sha256_file(p) for p in made},
            "settings": {},
            "function": f"{__name__}:render",
            "code_digest": code_digest(__name__),
            "started": now,
            "ended": now,
        }
        ledger.append(case_dir, entry)
    return page


def render_case(case_dir: Path, out: Path) -> Path:
    """Write ``index.html``, ``case.json`` and ``run.json`` into ``out``; return the page's path."""
    index = out / "index.html"
    out.mkdir(parents=True, exist_ok=True)
    write_report(case_dir, resolved_config(case_dir), index, out / "case.json", os.cpu_count() or 1)
    write_run_record(case_dir)
    return index


def resolved_config(case_dir: Path) -> dict[str, Any]:
    """The config of a case: resolved, beside the results; before that exists, from config/cases; else its name only.

    A case that failed early has no resolved config yet, and its report must still say whose images it shows.
    """
    with contextlib.suppress(ConfigError):
        config = read_yaml(case_dir / "config.resolved.yaml")
        if isinstance(config, dict):
            return config
    with contextlib.suppress(ConfigError):
        case = load(CaseConfig, CASES / f"{case_dir.name}.yaml")
        return with_neutral_paths(case, Path("sealed")).model_dump(mode="json")
    return {"case": case_dir.name}


def open_points(case: str, results: Path = RESULTS) -> list[str]:
    """What keeps a case from being finished, a job each: its state, the reason, and the next step."""
    points = []
    for path in sorted((results / case / "logs").glob("*.status.json")):
        told = job_status(path)
        state = str(told["status"]).replace("_", " ").upper()
        points.append(f"{state}: {case}, {told['job']}: {told['reason']}")
        if told["next"]:
            points.append(f"  next: {told['next']}")
    return points
