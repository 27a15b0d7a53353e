"""Runs a pipeline, kills it at a random moment, runs the same command again; compares with an undisturbed run."""

from __future__ import annotations

import contextlib
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


#: Three of four kills come while jobs run: this share of the undisturbed time, counted from the first job.
_JOBS_SHARE = 0.6


@dataclass(frozen=True)
class Pipeline:
    """One case of one Snakefile in a folder of its own."""

    folder: Path
    case: str
    snakefile: Path
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def case_dir(self) -> Path:
        return self.folder / "results" / self.case

    def start(self, **options: Any) -> subprocess.Popen[str]:
        """Start the command that is always the same, in a process group of its own."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.snakefile)]
        command += ["--workflow-profile", str(ROOT / "profiles/default"), "--cores", "2", *self.arguments]
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
    return Pipeline(folder, "made", ROOT / "tests/faults/made/Snakefile", (), environment)


def tiny_pipeline(folder: Path, target: str) -> Pipeline:
    if not (folder / "config").exists():
        shutil.copytree(ROOT / "config", folder / "config")
    return Pipeline(folder, "tiny", ROOT / "Snakefile", (target, "--config", "cases=tiny"))


def kill_once(pipeline: Pipeline, kind: str, after_s: float | None, *, in_a_job: bool = False) -> str | None:
    """Start the command and kill after ``after_s``; what was running then, or None when it had ended before.

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
        jobs = [pid for pid in _below(process.pid) if _is_job(pid)]
        running = ", ".join(sorted(_job_name(pid) for pid in jobs)) or "no job"
        if kind == "one job" and jobs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(jobs[0], signal.SIGKILL)
        elif kind == "Snakemake alone":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        if kind == "Snakemake alone":
            # Its jobs hold the pipe open: reading to the end would wait for them.
            process.stdout.close()  # type: ignore[union-attr]
            process.wait()
        else:
            process.communicate()
        return running
    assert process.returncode == 0, said[-3000:]
    return None


def kills(
    pipeline: Pipeline,
    truth: dict[str, str],
    count: int,
    longest_s: float,
    rng: random.Random,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Kill ``count`` times, each followed by the same command, over as many cases as that takes.

    After every kill nothing that stands under its final name may differ from the undisturbed run; at the end of
    every case all digests must be equal and ``verify`` must hold.
    """
    found: list[dict[str, Any]] = []
    open_tries: list[dict[str, Any]] = []
    while True:
        done = len(found) >= count
        begun = time.perf_counter()
        kind = KINDS[(first + len(found)) % len(KINDS)]
        in_a_job = not done and (first + len(found)) % 4 != 0
        after_s = None if done else rng.uniform(0.1, longest_s) * (_JOBS_SHARE if in_a_job else 1.0)
        running = kill_once(pipeline, kind, after_s, in_a_job=in_a_job)
        if running is not None:
            halves = [n for n, d in pipeline.digests().items() if truth.get(n, d) != d]
            record = {"killed": kind, "after_s": round(time.perf_counter() - begun, 1), "running": running}
            record |= {"half_written": halves, "survived": False}
            found.append(record)
            open_tries.append(record)
            continue
        wrong = [n for n in {*truth, *pipeline.digests()} if pipeline.digests().get(n) != truth.get(n)]
        problems = verify_case(pipeline.case_dir)["problems"]
        for record in open_tries:
            record["survived"] = not wrong and not problems and not record["half_written"]
            record["differs"] = sorted(wrong) + [p["where"] for p in problems]
        open_tries = []
        if done:
            return found
        pipeline.reset()


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
