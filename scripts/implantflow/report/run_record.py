"""``report/run.json``: times, memory and hosts, all that may differ between two runs of the same case."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from implantflow import benchmarks
from implantflow.artifacts import read_json, write_json
from implantflow.audit import ledger
from implantflow.errors import ImplantflowError


def write_run_record(case_dir: Path) -> None:
    """Write ``report/run.json`` of a case that has a report; nothing where it has none."""
    if (case_dir / "report").is_dir():
        write_json(case_dir / "report" / "run.json", run_record(case_dir))


def run_record(case_dir: Path) -> dict[str, Any]:
    """Times, memory and hosts of the jobs whose results stand.

    Returns
    -------
    dict
        ``jobs``: job, wall_s, cpu_s, peak_rss_mb; ``wall_sum_s`` and ``peak_rss_mb`` over all; ``hosts``: how many
        entries of the ledger each wrote; ``not_finished``: jobs whose status file says that they did not finish.
    """
    jobs = benchmarks.read(case_dir)
    peaks = [j["peak_rss_mb"] for j in jobs if j["peak_rss_mb"] is not None]
    return {
        "jobs": jobs,
        "wall_sum_s": sum(j["wall_s"] for j in jobs),
        "peak_rss_mb": max(peaks, default=None),
        "hosts": _hosts(case_dir),
        "not_finished": [job_status(path) for path in sorted((case_dir / "logs").glob("*.status.json"))],
    }


def _hosts(case_dir: Path) -> dict[str, int]:
    try:
        records = ledger.read(case_dir)
    except ImplantflowError:
        # A damaged ledger is verify's to report; the times are still worth having.
        return {}
    return dict(sorted(Counter(str(r["host"]) for r in records if r.get("host")).items()))


def job_status(path: Path) -> dict[str, Any]:
    """Job, state, reason and next step of a status file; a damaged one counts as failed, and says why."""
    try:
        data = read_json(path)
    except ImplantflowError as error:
        data = {"status": "failed", "reason": error.what}
    told = {k: data.get(k) for k in ("status", "reason", "next")}
    return {"job": path.name.removesuffix(".status.json"), **told}
