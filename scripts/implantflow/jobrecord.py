"""What one run of a job tells the ledger: begun, done, refused, or ended from outside without a word.

While a job runs it holds the lock ``logs/{key}.lock``, in which its record lies. A lock that nobody holds and
that still has a record in it tells of a job that was killed; :func:`sweep` enters it in the ledger.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from implantflow import artifacts, errors, locks
from implantflow.audit import ledger
from implantflow.audit.history import Run, mapping, read_history
from implantflow.errors import ProvenanceError

logger = logging.getLogger("implantflow")

Paths = Mapping[str, Path | list[Path]]

#: Path of a file -> what tells that it was touched: device and inode, size, time of change.
Signature = dict[str, tuple[int, ...]]

KILLED = {
    "status": "failed",
    "error": "Killed",
    "reason": "ended without a record: killed from outside, out of memory, power lost, or no room to record it",
    "where": "",
    "next": "the same command again goes on from here; if it ends like this again, the memory is too small",
    "exit": 137,
}


class JobRecord:
    """One run of one job, from its start to its entry in the ledger.

    Attributes
    ----------
    recording_s : float
        Wall time spent on hashing and on the ledger so far, s.
    """

    def __init__(self, case_dir: Path, key: str, about: Mapping[str, Any]) -> None:
        self.case_dir = case_dir
        self.key = key
        self.recording_s = 0.0
        self._begun = time.perf_counter()
        self._about = {"event": "job", **about, "seeds": seeds(about["settings"]), "started": time.time()}
        self._read: dict[str, str] = {}
        self._signature: Signature = {}
        self._entered = False
        self._last: Run | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the job's lock; a run of the same job that outlived its Snakemake is waited for."""
        path = _lock_file(self.case_dir, self.key)
        try:
            handle = locks.take(path, wait=False)
        except locks.Busy:
            logger.warning("%s of an earlier run is still at work: waiting for its end", self.key)
            handle = locks.take(path)
        with handle:
            _enter_killed(self.case_dir, self.key, handle)
            here = {"host": socket.gethostname(), "pid": os.getpid()}
            locks.write_note(handle, json.dumps({"entry": artifacts.plain(self._about), **here}))
            try:
                yield
            finally:
                # What could not be entered now (a full disk) is entered by the next run, as if it had been killed.
                if self._entered:
                    locks.write_note(handle, "")

    def take_inputs(self, inputs: Paths) -> None:
        """Hash what the job is about to read; refuse what is not as the ledger says it was made.

        Raises
        ------
        ProvenanceError
            An input was changed, with or without its time, since a job of this case wrote it.
        """
        with self._timed():
            self._signature = signature(inputs)
            self._read = digests(inputs)
            records = ledger.read(self.case_dir)
            history = read_history(records)
            last = history.last.get(self.key)
            self._about["supersedes"] = last.sequence if last else None
            self._last = last
            made: dict[str, tuple[str, str]] = {}
            for run in history.runs:
                if run.done:
                    made |= {n: (s, run.key) for n, s in run.wrote(self.case_dir).items()}
        for path, sha256 in self._read.items():
            expected, maker = made.get(path, (sha256, ""))
            if sha256 != expected:
                raise ProvenanceError(
                    f"was changed after {maker} made it: expected sha256 {expected[:12]}, found {sha256[:12]}",
                    where=path,
                    fix="remove it and run the same command again: it is made anew, and so is what rests on it",
                )

    def refuse_again(self) -> None:
        """On another attempt of a cluster: say what the one before said, if it read and did the same.

        Jobs that are submitted together fail together, and Snakemake starts all of them again; a refusal lies in
        the case and would only be found once more.

        Raises
        ------
        ImplantflowError
            The attempt before was refused, for a reason that lies in the case.
        """
        last = self._last
        if last is None or last.done:
            return
        now = artifacts.plain(self._about)
        before = (last.read(self.case_dir), last.settings, last.function, last.code_digest)
        if before != (self._read, now["settings"], now["function"], now["code_digest"]):
            return
        outcome = mapping(mapping(last.record["entry"]).get("outcome"))
        kind = getattr(errors, str(outcome.get("error")), None)
        if kind is not None and not issubclass(kind, errors.MachineError):
            raise kind(last.reason, where=str(outcome.get("where")), fix=str(outcome.get("next")))

    def check_inputs_unchanged(self, inputs: Paths) -> None:
        """Refuse a result when an input was touched while the job ran; ProvenanceError names it."""
        now = signature(inputs)
        changed = sorted(p for p in {*now, *self._signature} if now.get(p) != self._signature.get(p))
        if changed:
            raise ProvenanceError(
                f"{len(changed)} input file(s) changed while {self.key} read them",
                where=", ".join(changed[:3]),
                fix="run again when nobody writes there any more",
            )

    def done(self, outputs: Mapping[Path, Path]) -> dict[str, str]:
        """Digests of the outputs (final name -> where the file lies now)."""
        with self._timed():
            return {
                final.as_posix(): artifacts.sha256_path(lies)
                for final, lies in outputs.items()
                if lies.exists()
            }

    def append(self, outcome: Mapping[str, Any], outputs: Mapping[str, str]) -> None:
        """Enter the run in the ledger."""
        with self._timed():
            ended = {"ended": time.time(), "seconds": time.perf_counter() - self._begun}
            entry = {**self._about, "outcome": outcome, "inputs": self._read, "outputs": outputs, **ended}
            ledger.append(self.case_dir, entry)
            self._entered = True

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.recording_s += time.perf_counter() - begun


def base_rule(name: str) -> str:
    """A rule's name without the variant that follows two underscores, where the files of cases have other names."""
    return name.partition("__")[0]


def status_file(case_dir: Path, key: str) -> Path:
    """Where a job that did not finish says why; absent when it finished."""
    return case_dir / "logs" / f"{key}.status.json"


def write_status(case_dir: Path, key: str, about: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Write a job's :func:`status_file`: rule and wildcards from ``about``, then how it ended."""
    head = {"rule": about["rule"], "wildcards": about["wildcards"]}
    artifacts.write_json(status_file(case_dir, key), {**head, **outcome})


def sweep(case_dir: Path) -> list[str]:
    """Enter jobs that were killed in the ledger of their case; returns their keys."""
    found = []
    for path in sorted((case_dir / "logs").glob("*.lock")):
        key = path.name.removesuffix(".lock")
        with contextlib.suppress(locks.Busy), locks.take(path, wait=False) as handle:
            if _enter_killed(case_dir, key, handle):
                found.append(key)
    return found


def digests(paths: Paths) -> dict[str, str]:
    """Digest of every file under its path (folders as a whole), where it exists."""
    return {path.as_posix(): artifacts.sha256_path(path) for path in _each(paths) if path.exists()}


def signature(paths: Paths) -> Signature:
    """What tells that a file was touched, without reading it; folders file by file."""
    found: Signature = {}
    for path in _each(paths):
        members = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for member in members:
            if member.name != artifacts.SNAKEMAKE_STAMP:
                s = member.stat()
                found[member.as_posix()] = (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns)
    return found


def seeds(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every setting that seeds random numbers, by its dotted name."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= seeds(value, f"{prefix}{key}.")
        elif key == "seed":
            found[f"{prefix}{key}"] = value
    return found


def _each(paths: Paths) -> Iterator[Path]:
    for value in paths.values():
        yield from value if isinstance(value, list) else [value]


def _lock_file(case_dir: Path, key: str) -> Path:
    return case_dir / "logs" / f"{key}.lock"


def _enter_killed(case_dir: Path, key: str, handle: Any) -> bool:
    handle.seek(0)
    note = handle.read()
    if not note:
        return False
    try:
        entry = dict(json.loads(note)["entry"])
        about = {name: entry[name] for name in ("rule", "wildcards")}
    except (ValueError, KeyError, TypeError):  # killed while it wrote its note: it had done nothing yet
        locks.write_note(handle, "")
        return False
    ledger.append(case_dir, {**entry, "outcome": KILLED, "inputs": {}, "outputs": {}, "ended": None})
    write_status(case_dir, key, about, KILLED)
    locks.write_note(handle, "")
    return True
