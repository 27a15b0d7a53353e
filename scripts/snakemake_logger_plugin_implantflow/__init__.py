"""What Snakemake shows while cases run: one line when a job starts and ends, the share done, the time left.

Found by Snakemake through the name of this package and chosen in ``profiles/default``. Everything Snakemake would have
said is still in its own log below ``.snakemake/log``; the lines shown here are kept beside it as ``*.progress.log``.
A dry run is shown as Snakemake shows it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from snakemake_interface_logger_plugins.base import LogHandlerBase

from implantflow.jobrecord import base_rule
from snakemake_logger_plugin_implantflow.estimate import Estimate

#: What only repeats that a job has failed: the job has said why, or ``job_error`` says that it could not.
_REPEATS = (
    "CalledProcessError in file",
    "At least one job did not complete successfully",
    "Exiting because a job execution failed",
)
#: A plugin for Slurm that looks for an account although none is needed.
_NOISE = ("No SLURM account given", "No account was given", "Unable to guess SLURM account")
_NOTHING_TO_DO = "Nothing to be done"


class LogHandler(LogHandlerBase):
    """Handler for the terminal."""

    def __post_init__(self) -> None:
        # Jobs have a number, groups of them a name made of letters and digits.
        self.jobs: dict[str, tuple[str, str, str]] = {}
        self.started: dict[str, float] = {}
        self.estimate = Estimate(Path("results"))
        self.file: TextIO | None = None
        #: Jobs handed to a cluster as one; what happens to them is known only when all of them have ended.
        self.grouped: set[str] = set()

    @property
    def writes_to_stream(self) -> bool:
        return True

    @property
    def writes_to_file(self) -> bool:
        return False

    @property
    def has_filter(self) -> bool:
        return False

    @property
    def has_formatter(self) -> bool:
        return False

    @property
    def needs_rulegraph(self) -> bool:
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Show what one record means; a defect in here must not stop a case."""
        try:
            if self.common_settings.dryrun:
                self.show(self.format(record))
            else:
                self.handle_event(record)
        except Exception:
            self.handleError(record)

    def handle_event(self, record: logging.LogRecord) -> None:
        event = str(getattr(record, "event", "") or "")
        known = {
            "run_info": self.run_info,
            "job_info": self.job_info,
            "job_started": self.job_started,
            "job_finished": self.job_finished,
            "job_error": self.job_error,
            "group_info": self.group_info,
            "group_error": self.group_error,
        }
        if event in known:
            known[event](record)
        elif record.levelno >= logging.ERROR:
            self.error(record)
        elif not event:
            self.remark(record)

    def remark(self, record: logging.LogRecord) -> None:
        """Warnings, and that there is nothing to do."""
        text = record.getMessage()
        if text.startswith(_NOISE):
            return
        if record.levelno >= logging.WARNING or _NOTHING_TO_DO in text:
            self.show(text)

    def run_info(self, record: Any) -> None:
        counts = {name: int(n) for name, n in dict(record.stats).items() if name != "total"}
        self.estimate.plan(counts)
        self.show(f"{sum(counts.values())} jobs to do")

    def job_info(self, record: Any) -> None:
        words = {str(k): str(v) for k, v in dict(record.wildcards or {}).items()}
        case = words.pop("case", "")
        name = str(record.rule_name)
        shown = " ".join([base_rule(name), *[words[key] for key in sorted(words)]])
        self.jobs[str(record.jobid)] = (case, name, shown)
        # Snakemake says first that a job starts, then which one it is.
        if str(record.jobid) in self.started:
            self.show(f"{case:10} {shown:34} started")

    def job_started(self, record: Any) -> None:
        for jobid in map(str, record.jobs):
            self.started[jobid] = time.monotonic()
            if jobid in self.jobs:
                case, _, shown = self.jobs[jobid]
                self.show(f"{case:10} {shown:34} started")

    def job_finished(self, record: Any) -> None:
        jobid = str(record.job_id)
        case, rule, shown = self.job(jobid)
        seconds = time.monotonic() - self.started.get(jobid, time.monotonic())
        self.estimate.finish(rule)
        took = "" if jobid in self.grouped else f" in {seconds:.0f} s"
        self.show(f"{case:10} {shown:34} done{took}; {self.estimate.told()}")

    def group_info(self, record: Any) -> None:
        """Jobs that are submitted as one."""
        jobs = list(record.jobs)
        self.grouped |= {str(job.jobid) for job in jobs}
        case = next((str(job.wildcards.case) for job in jobs if hasattr(job.wildcards, "case")), "")
        self.show(f"{case:10} {record.group_id!s:34} submitted, {len(jobs)} jobs in one")

    def group_error(self, record: Any) -> None:
        """Say which job of a group ended badly; Snakemake reports all of them, those that were done included."""
        told = [self.told_by_job(info) for info in record.job_error_info]
        for line in filter(None, told):
            self.show(line)
        if not any(told):
            logs = ", ".join(map(str, record.aux_logs or []))
            self.show(
                f"{record.groupid!s:45} STOPPED without a word: killed, out of memory, over its time, cancelled,"
                f" or its node lost? Its log: {logs or 'none'}"
            )

    def told_by_job(self, info: Any) -> str:
        case, _, shown = self.job(str(info["jobid"]))
        status = self.status(str(info["jobid"]))
        return f"{case:10} {shown:34} {status}" if status else ""

    def job_error(self, record: Any) -> None:
        jobid = str(record.jobid)
        if jobid in self.grouped:
            return  # its group has told
        case, _, shown = self.job(jobid)
        logs = ", ".join(map(str, record.log or []))
        told = self.status(jobid)
        told = told or f"STOPPED without a word: killed, or out of memory? Its log: {logs or 'none'}"
        self.show(f"{case:10} {shown:34} {told}")

    def status(self, jobid: str) -> str:
        """What a job that did not finish left as its status, or nothing."""
        case, _, shown = self.job(jobid)
        key = shown.replace(" ", ".")
        path = Path("results") / case / "logs" / f"{key}.status.json"
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["status"]).replace("_", " ").upper()
        except (OSError, ValueError, KeyError):
            return ""

    def error(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if not any(words in text for words in _REPEATS):
            self.show(text)

    def job(self, jobid: str) -> tuple[str, str, str]:
        """Case, rule and shown name of a job."""
        return self.jobs.get(jobid, ("", "", f"job {jobid}"))

    def show(self, text: str) -> None:
        """One line to the terminal, and to the log once Snakemake has made its folder."""
        line = text if self.common_settings.dryrun else f"{time.strftime('%H:%M:%S')}  {text.rstrip()}"
        print(line, file=sys.stderr, flush=True)
        if self.common_settings.dryrun:
            return
        folder = Path(".snakemake/log")
        if self.file is None and folder.is_dir():
            name = time.strftime("%Y-%m-%dT%H%M%S.progress.log")
            self.file = (folder / name).open("a", encoding="utf-8")
        if self.file is not None:
            print(line, file=self.file, flush=True)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None
        super().close()
