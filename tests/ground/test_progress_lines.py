"""What the terminal shows of a run: who started, who finished, what is left, and why a job stopped."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snakemake_logger_plugin_implantflow import LogHandler
from snakemake_logger_plugin_implantflow.estimate import Estimate, past_seconds


def benchmark(results: Path, case: str, name: str, seconds: float) -> None:
    path = results / case / "benchmarks" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogHandler:
    monkeypatch.chdir(tmp_path)
    benchmark(tmp_path / "results", "old", "ingest_series.ct", 10.0)
    benchmark(tmp_path / "results", "old", "measure_tumour", 30.0)
    made = LogHandler(SimpleNamespace(dryrun=False), None)
    made.setFormatter(logging.Formatter("%(message)s"))
    return made


def said(handler: LogHandler, event: str, level: int = logging.INFO, text: str = "", **facts: Any) -> None:
    record = logging.LogRecord("snakemake", level, "", 0, text, None, None)
    for key, value in {"event": event, **facts}.items():
        setattr(record, key, value)
    handler.emit(record)


def start(handler: LogHandler, jobid: int, rule: str, **wildcards: str) -> None:
    said(handler, "job_info", jobid=jobid, rule_name=rule, wildcards=wildcards)
    said(handler, "job_started", jobs=[jobid])


def test_lines_of_a_run(handler: LogHandler, capsys: pytest.CaptureFixture[str]) -> None:
    said(handler, "run_info", stats={"ingest_series": 1, "measure_tumour__first_second": 1, "total": 2})
    start(handler, 1, "ingest_series", case="new", series="ct")
    said(handler, "job_finished", job_id=1)
    said(handler, "job_started", jobs=[2])
    said(handler, "job_info", jobid=2, rule_name="measure_tumour__first_second", wildcards={"case": "new"})
    said(handler, "job_finished", job_id=2)
    lines = [line[10:] for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == "2 jobs to do"
    assert lines[1].split() == ["new", "ingest_series", "ct", "started"]
    assert "1 of 2 jobs, 25 %" in lines[2] and "left" in lines[2]
    assert lines[3].split() == ["new", "measure_tumour", "started"]
    assert lines[4].endswith("2 of 2 jobs, 100 %")


def test_a_job_that_stopped_says_why_or_that_it_could_not(
    handler: LogHandler, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = tmp_path / "results/new/logs/gate_review.rp1.status.json"
    status.parent.mkdir(parents=True)
    status.write_text(json.dumps({"status": "awaiting_review"}))
    for jobid, rule, words in (
        (1, "gate_review", {"iteration": "rp1"}),
        (2, "build_part", {"revision": "r1"}),
    ):
        start(handler, jobid, rule, case="new", **words)
        said(handler, "job_error", logging.ERROR, jobid=jobid, log=["results/new/logs/x.log"])
    said(handler, "error", logging.ERROR, "CalledProcessError in file x.smk", exception="RuleException")
    said(handler, "error", logging.ERROR, "WorkflowError:\nAt least one job did not complete successfully.")
    said(
        handler, "error", logging.ERROR, "MissingInputException in rule y", exception="MissingInputException"
    )
    text = capsys.readouterr().err
    assert "AWAITING REVIEW" in text
    assert "killed, or out of memory? Its log: results/new/logs/x.log" in text
    assert "CalledProcessError" not in text and "At least one job" not in text
    assert "MissingInputException in rule y" in text


def test_a_run_without_work_says_so(handler: LogHandler, capsys: pytest.CaptureFixture[str]) -> None:
    said(handler, "", text="Nothing to be done (all requested files are present and up to date).")
    said(handler, "", text="Building DAG of jobs...")
    assert [line[10:] for line in capsys.readouterr().err.splitlines()] == [
        "Nothing to be done (all requested files are present and up to date)."
    ]


def test_lines_are_kept_beside_snakemakes_log(
    handler: LogHandler, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / ".snakemake/log").mkdir(parents=True)
    said(handler, "run_info", stats={"report_case": 1, "total": 1})
    handler.close()
    (kept,) = (tmp_path / ".snakemake/log").glob("*.progress.log")
    assert kept.read_text() == capsys.readouterr().err


def test_time_left_comes_from_what_the_rules_took_before(tmp_path: Path) -> None:
    for case, seconds in (("a", 20.0), ("b", 40.0), ("c", 900.0)):
        benchmark(tmp_path, case, "plan_resection.p1", seconds)
    benchmark(tmp_path, "a", "build_part.r1", 120.0)
    (tmp_path / "a/benchmarks/broken.tsv").write_text("s\n")
    assert past_seconds(tmp_path) == {"plan_resection": 40.0, "build_part": 120.0}
    now = [100.0]
    estimate = Estimate(tmp_path, lambda: now[0])
    estimate.plan({"plan_resection": 1, "build_part": 1})
    now[0] = 160.0
    estimate.finish("plan_resection")
    assert estimate.told() == "1 of 2 jobs, 25 %, about 3 min left"


def test_no_time_is_given_when_nothing_ran_before(tmp_path: Path) -> None:
    estimate = Estimate(tmp_path)
    estimate.plan({"plan_resection": 4})
    estimate.finish("plan_resection")
    assert estimate.told() == "1 of 4 jobs"
