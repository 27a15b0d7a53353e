"""One job of the pipeline: typed inputs, outputs under temporary names, a log, a ledger entry.

A rule's entry script calls :func:`run_rule` with one stage function. A stage function takes a :class:`Job`,
reads ``job.inputs`` and writes ``job.outputs``; it never sees Snakemake. Outputs get their final names only
when the function has returned, so a job that failed leaves nothing that looks done.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from implantflow import artifacts, failures, jobrecord
from implantflow.errors import ImplantflowError, InputError
from implantflow.progress import progress as progress

logger = logging.getLogger("implantflow")

PathOrPaths = Path | list[Path]

#: Where the phantom's jobs write, beside the case.
_SIMULATED = Path("data")


@dataclass(frozen=True)
class Job:
    """What one job gets and gives.

    Attributes
    ----------
    rule : str
        Name of the rule, e.g. ``segment_bones``.
    case_dir : Path
        ``results/{case}``; the ledger and the logs of the case live below it.
    wildcards : mapping
        ``case`` and, where the rule has them, ``series``, ``iteration``, ``revision``, ``timepoint``.
    inputs, outputs : mapping
        Named paths; an input may be a list. Inside a stage function the outputs are temporary names.
    side_outputs : mapping
        Folders written beside the outputs that Snakemake does not track (the phantom's truth).
    settings : mapping
        The resolved config sections that this job depends on, as plain JSON values.
    threads : int
        Threads the job may use.
    function : str
        ``package.module:function`` of the stage function.
    code_digest : str
        Digest of that function's module closure.
    attempt : int
        More than 1 when Snakemake tries again by itself, on a cluster: a refusal of the attempt before stands.
    """

    rule: str
    case_dir: Path
    wildcards: Mapping[str, str]
    inputs: Mapping[str, PathOrPaths]
    outputs: Mapping[str, Path]
    settings: Mapping[str, Any]
    function: str
    code_digest: str
    threads: int = 1
    side_outputs: Mapping[str, Path] = field(default_factory=dict)
    attempt: int = 1

    def input(self, name: str) -> Path:
        """The one path of input ``name``."""
        value = self.inputs[name]
        if isinstance(value, list):
            raise TypeError(f"input {name} of {self.rule} is a list")
        return value

    def optional_input(self, name: str) -> Path | None:
        """The path of input ``name``, or None when the rule was given none."""
        value = self.inputs.get(name)
        if isinstance(value, list):
            return value[0] if value else None
        return value

    def input_list(self, name: str) -> list[Path]:
        """All paths of input ``name`` (empty when absent)."""
        value = self.inputs.get(name, [])
        return value if isinstance(value, list) else [value]

    @property
    def key(self) -> str:
        """Short name of this job within its case: rule and wildcards."""
        parts = [v for k, v in sorted(self.wildcards.items()) if k != "case"]
        return ".".join([self.rule, *parts])

    def as_json(self) -> dict[str, Any]:
        """What ``python -m implantflow run JOB.json`` needs to repeat the job."""
        return {
            "rule": self.rule,
            "case_dir": self.case_dir.as_posix(),
            "wildcards": dict(self.wildcards),
            "inputs": artifacts.plain(dict(self.inputs)),
            "outputs": artifacts.plain(dict(self.outputs)),
            "side_outputs": artifacts.plain(dict(self.side_outputs)),
            "settings": dict(self.settings),
            "function": self.function,
            "code_digest": self.code_digest,
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """Read what :meth:`as_json` wrote."""
        return cls(
            rule=data["rule"],
            case_dir=Path(data["case_dir"]),
            wildcards=dict(data["wildcards"]),
            inputs={
                k: [Path(p) for p in v] if isinstance(v, list) else Path(v) for k, v in data["inputs"].items()
            },
            outputs={k: Path(v) for k, v in data["outputs"].items()},
            side_outputs={k: Path(v) for k, v in data.get("side_outputs", {}).items()},
            settings=dict(data["settings"]),
            function=data["function"],
            code_digest=data["code_digest"],
            threads=int(data["threads"]),
        )


StageFunction = Callable[[Job], None]


def _start_logging(log: Path | None) -> None:
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        to_file = logging.FileHandler(log, mode="w", encoding="utf-8")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(to_file)
    to_terminal = logging.StreamHandler(sys.stderr)
    to_terminal.setLevel(logging.WARNING)
    to_terminal.setFormatter(logging.Formatter("implantflow: %(levelname)s %(message)s"))
    logger.addHandler(to_terminal)


def _missing_inputs(job: Job) -> None:
    for name, value in job.inputs.items():
        for path in value if isinstance(value, list) else [value]:
            if not path.exists():
                raise InputError(f"input '{name}' of {job.rule} is missing", where=str(path))


def execute(job: Job, function: StageFunction, log: Path | None = None) -> None:
    """Run one job: temporary outputs, rename on success, ledger entry in any case.

    Raises
    ------
    ImplantflowError
        Whatever the stage refused; also recorded in the job's status file and in the ledger. Or an input is not
        as the ledger says it was made.
    """
    _start_logging(log)
    about = {
        "rule": job.rule,
        "wildcards": dict(job.wildcards),
        "settings": dict(job.settings),
        "function": job.function,
        "code_digest": job.code_digest,
        "threads": job.threads,
    }
    record = jobrecord.JobRecord(job.case_dir, job.key, about)
    with record.held():
        try:
            _run(job, function, record)
        except BaseException as error:
            told = failures.known(error)
            outcome = failures.outcome(told)
            logger.info("traceback:\n%s", traceback.format_exc())
            _take_back(job)
            try:
                jobrecord.write_status(job.case_dir, job.key, about, outcome)
                record.append(outcome, {})
            except (OSError, ImplantflowError) as second:
                logger.error("the failure of %s could not be recorded: %s", job.key, second)
            if told is error:
                raise
            raise told from error
        logger.info("recorded in %.3f s", record.recording_s)


def _run(job: Job, function: StageFunction, record: jobrecord.JobRecord) -> None:
    begun = time.perf_counter()
    jobrecord.status_file(job.case_dir, job.key).unlink(missing_ok=True)  # of an earlier run
    record.take_inputs(job.inputs)
    _missing_inputs(job)
    finals, drafts = _outputs(job)
    if job.attempt > 1:
        record.refuse_again()
    for name, path in drafts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        artifacts.remove(path)
        # A gate or a stage may look for the old file under its final name: it must not find a stale one.
        artifacts.remove(finals[name])
    _write_job_file(job.case_dir / "logs" / f"{job.key}.job.json", job)
    logger.info("start %s (%s)", job.key, job.function)
    inner = replace(
        job,
        outputs={name: drafts[name] for name in job.outputs},
        side_outputs={name: drafts[name] for name in job.side_outputs},
    )
    function(inner)
    for name, path in drafts.items():
        if not path.exists():
            raise AssertionError(f"{job.rule} did not write its output '{name}'")
    record.check_inputs_unchanged(job.inputs)
    wrote = record.done({finals[name]: path for name, path in drafts.items()})
    for name, path in drafts.items():
        artifacts.replace(path, finals[name])
    # What stands under its final name and is in no ledger was never done: an error here takes it back.
    record.append({"status": "done", "exit": 0}, wrote)
    own, forked = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu_s = own.ru_utime + own.ru_stime + forked.ru_utime + forked.ru_stime
    logger.info("done in %.1f s", time.perf_counter() - begun)
    # The kernel's own count: Snakemake's benchmark looks now and then, and misses what lies between.
    logger.info("used %.2f CPU-s, %.0f MB at most", cpu_s, max(own.ru_maxrss, forked.ru_maxrss) / 1024.0)


def _outputs(job: Job) -> tuple[dict[str, Path], dict[str, Path]]:
    """Final and temporary name of every output, side outputs included."""
    finals = {**job.outputs, **job.side_outputs}
    return finals, {name: artifacts.temporary_name(path) for name, path in finals.items()}


def _take_back(job: Job) -> None:
    """Leave nothing that looks done."""
    for paths in _outputs(job):
        for path in paths.values():
            try:
                artifacts.remove(path)
            except OSError as error:
                logger.error("%s could not be removed: %s", path, error)


def _write_job_file(path: Path, job: Job) -> None:
    """Keep the job's settings to the last digit (``write_json`` would round them): it can be run again."""
    with artifacts.temporary(path) as tmp:
        tmp.write_text(json.dumps(job.as_json(), indent=2) + "\n", encoding="utf-8")


def _limit_threads(threads: int) -> None:
    """Keep numba and ITK to the job's share of the machine (numba may have been imported by the stage)."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    if "numba" in sys.modules:
        numba = sys.modules["numba"]
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)


def _paths(items: Any) -> dict[str, PathOrPaths]:
    found: dict[str, PathOrPaths] = {}
    for name, value in items:
        found[name] = Path(value) if isinstance(value, str) else [Path(v) for v in value]
    return found


def run_rule(snakemake: Any, function: StageFunction) -> None:
    """Entry of every script: turn the ``snakemake`` object into a :class:`Job` and execute it.

    The rule's params must hold ``case_dir``, ``settings`` and ``code``; ``side`` (name -> path) is optional.
    """
    params = snakemake.params
    threads = int(snakemake.threads)
    _limit_threads(threads)
    log = Path(snakemake.log[0]) if snakemake.log else None
    job = Job(
        rule=jobrecord.base_rule(str(snakemake.rule)),
        case_dir=Path(params.case_dir),
        wildcards={k: str(v) for k, v in snakemake.wildcards.items()},
        inputs=_paths(snakemake.input.items()),
        outputs={k: Path(v) for k, v in snakemake.output.items()},
        settings=dict(params.settings),
        function=f"{function.__module__}:{function.__qualname__}",
        code_digest=str(params.code),
        threads=threads,
        side_outputs={k: Path(v) for k, v in dict(params.get("side") or {}).items()},
        attempt=int(snakemake.resources.get("attempt", 1)),
    )
    try:
        execute(job, function, log)
    except KeyboardInterrupt:
        raise
    except Exception as error:
        sys.exit(failures.fail_readably(failures.known(error), job.key, log))


def run_json(path: Path) -> None:
    """Repeat the job that ``path`` (a ``*.job.json`` written by :func:`execute`) describes."""
    data = artifacts.read_json(path)
    try:
        job = Job.from_json(data)
        module, name = job.function.split(":")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"not a job file: {error!r}", where=str(path)) from error
    if not module.startswith("implantflow."):
        raise InputError(f"a job file names a function outside implantflow: {job.function}", where=str(path))
    # A job file names what it overwrites: it must be the one that lies with its case, and stay with it.
    home = job.case_dir.resolve()
    if path.resolve().parent.parent != home:
        raise InputError(
            f"a job file of another folder than {job.case_dir.as_posix()}",
            where=str(path),
            fix="give it as it lies in results/CASE/logs, from the folder the pipeline ran in",
        )
    for output in _outputs(job)[0].values():
        if not output.resolve().is_relative_to(home) and not output.resolve().is_relative_to(
            _SIMULATED.resolve()
        ):
            raise InputError(f"a job file writes outside its case: {output}", where=str(path))
    _limit_threads(job.threads)
    function: StageFunction = getattr(importlib.import_module(module), name)
    execute(job, function, path.with_name(f"{job.key}.rerun.log"))
