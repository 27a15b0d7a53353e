"""Runs a pipeline, kills it at a random moment, runs the same command again; compares with an undisturbed run."""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implantflow.artifacts import SNAKEMAKE_STAMP, sha256_file
from implantflow.audit.verify import verify_case

ROOT = Path(__file__).parents[2]

#: May differ between runs (design: decision 7), and what tells of them.
FREE = ("audit/", "logs/", "benchmarks/", "report/")

#: What is killed: everything at once, Snakemake alone (its jobs live on), or one job.
KINDS = ("everything", "Snakemake alone", "one job")


#: Three of four kills come while jobs run, counted from the first job that is seen.
IN_JOBS = 3 / 4

#: One run, from start to kill, is never shorter than this, s, so that a killed case gets anywhere at all.
_SHORTEST_S = 0.1


@dataclass(frozen=True)
class Pipeline:
    """One case of one Snakefile in a folder of its own."""

    folder: Path
    case: str
    snakefile: Path
    arguments: tuple[str, ...] = ()
    cores: int = 2
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def case_dir(self) -> Path:
        return self.folder / "results" / self.case

    def start(self, **options: Any) -> subprocess.Popen[str]:
        """Start the command that is always the same, in a process group of its own."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.snakefile)]
        command += [
            "--workflow-profile",
            str(ROOT / "profiles/default"),
            "--cores",
            str(self.cores),
            *self.arguments,
        ]
        paths = f"{ROOT / 'scripts'}:{ROOT}"
        environment = {**os.environ, "PYTHONPATH": paths, **self.environment}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip

    def run(self, **options: Any) -> tuple[int, str]:
        """Run to the end; exit code and all that was printed."""
        process = self.start(**options)
        said, _ = process.communicate()
        return process.returncode, said

    def digests(self) -> dict[str, str]:
        """Digest of every file under its final name, but for what tells of the run."""
        found = {}
        for path in sorted(self.case_dir.rglob("*")):
            name = path.relative_to(self.case_dir).as_posix()
            draft = any(part.startswith(".tmp-") for part in Path(name).parts)
            if path.is_file() and not draft and not name.startswith(FREE) and path.name != SNAKEMAKE_STAMP:
                found[name] = sha256_file(path)
        return found

    def reset(self) -> None:
        """Back to before the first run."""
        for name in ("results", "data", ".snakemake"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def made_pipeline(folder: Path, **environment: str) -> Pipeline:
    folder.mkdir(parents=True, exist_ok=True)
    return Pipeline(folder, "made", ROOT / "tests/faults/made/Snakefile", environment=environment)


def tiny_pipeline(folder: Path, target: str, cores: int = 2) -> Pipeline:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "config").exists():
        shutil.copytree(ROOT / "config", folder / "config")
    return Pipeline(folder, "tiny", ROOT / "Snakefile", (target, "--config", "cases=tiny"), cores)


def kill_once(
    pipeline: Pipeline, kind: str, after_s: float | None, *, in_a_job: bool = False
) -> tuple[str, str] | None:
    """Start the command and kill after ``after_s``; what was killed and what ran then, None if it ended before.

    Parameters
    ----------
    after_s : float or None
        s from the start; with ``in_a_job`` from the moment the first job is seen. None: never.

    Raises
    ------
    AssertionError
        It ended by itself with an error.
    """
    process = pipeline.start()
    try:
        while in_a_job and process.poll() is None and not any(_is_job(pid) for pid in _below(process.pid)):
            time.sleep(0.1)
        said, _ = process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        return _kill(process, kind)
    except BaseException:  # this script itself is ended: leave nothing running
        _kill(process, "everything")
        raise
    assert process.returncode == 0, said[-3000:]
    return None


def _kill(process: subprocess.Popen[str], kind: str) -> tuple[str, str]:
    """Kill what ``kind`` says (everything where no job runs that could be killed); what was killed, what ran."""
    jobs = [pid for pid in _below(process.pid) if _is_job(pid)]
    running = ", ".join(sorted(_job_name(pid) for pid in jobs)) or "no job"
    if kind == "one job" and jobs:
        with contextlib.suppress(ProcessLookupError):
            os.kill(jobs[0], signal.SIGKILL)
        process.communicate()
    elif kind == "Snakemake alone":
        process.kill()
        # Its jobs hold the pipe open: reading to the end would wait for them.
        process.stdout.close()  # type: ignore[union-attr]
        process.wait()
    else:
        kind = "everything"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return kind, running


def lap(
    pipeline: Pipeline,
    truth: dict[str, str],
    count: int,
    gap_s: float,
    rng: random.Random,
    found: list[dict[str, Any]] | None = None,
    until: float = math.inf,
) -> list[dict[str, Any]]:
    """Kill up to ``count`` times, each followed by the same command, until the case is complete.

    After every kill nothing that stands under its final name may differ from the undisturbed run; when the case is
    complete all digests must be equal and ``verify`` must hold, else none of its kills survived.

    Parameters
    ----------
    gap_s : float
        Mean time from a start to its kill.
    until : float
        No kills after this moment (``time.monotonic``); the case is then completed.
    found : list of dict
        Kills of a case that is not complete yet; each further one is appended as it comes.
    """
    found = [] if found is None else found
    while True:
        begun = time.perf_counter()
        kind = KINDS[rng.randrange(len(KINDS))]
        in_a_job, last = rng.random() < IN_JOBS, len(found) >= count or time.monotonic() > until
        # Exponential: long jobs get through now and then, short ones are hit too.
        after_s = _SHORTEST_S + rng.expovariate(1.0 / gap_s)
        try:
            struck = kill_once(pipeline, kind, None if last else after_s, in_a_job=in_a_job and not last)
        except AssertionError as error:
            return [r | {"differs": [str(error)], "survived": False} for r in found]
        if struck is None:
            break
        halves = [n for n, d in pipeline.digests().items() if truth.get(n, d) != d]
        record = {"killed": struck[0], "after_s": round(time.perf_counter() - begun, 1), "running": struck[1]}
        found.append(record | {"half_written": halves})
    made = pipeline.digests()
    wrong = sorted(n for n in {*truth, *made} if made.get(n) != truth.get(n))
    differs = wrong + [p["where"] for p in verify_case(pipeline.case_dir)["problems"]]
    return [r | {"differs": differs, "survived": not differs and not r["half_written"]} for r in found]


def _below(pid: int) -> list[int]:
    """All processes below ``pid``, from /proc."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = path.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def _is_job(pid: int) -> bool:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"python" in words[0] and any(b"/scripts/tmp" in w or b".snakemake" in w for w in words[1:])
    return False


def _job_name(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        script = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1].decode()
        return Path(script).name.split(".")[-2] if "." in script else script
    return "?"
