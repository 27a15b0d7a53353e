"""Files of a case against its ledger: changed, missing, of unknown origin, or made from what fell since."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from implantflow import artifacts
from implantflow.audit import ledger
from implantflow.audit.findings import Findings
from implantflow.audit.history import History, Run

#: What the ledger does not vouch for: itself, and what may differ from run to run (docs/decisions/0001-design.md, 6).
_OWN_FILES = frozenset(f"audit/{name}" for name in (ledger.LEDGER, ledger.HEAD, ledger.LOCK))
_FREE_FOLDERS = ("logs/", "benchmarks/")
_FREE_FILES = frozenset({"report/run.json"})

_SHORT = 12


class Disk:
    """The files of one case, each hashed at most once."""

    def __init__(self, case_dir: Path) -> None:
        self.case_dir = case_dir
        self._root = case_dir.resolve()
        self.hashed = 0
        self._known: dict[str, str | None] = {}

    def sha256(self, name: str) -> str | None:
        """Digest of the file or folder ``name`` (relative to the case), or None when it is not there."""
        if name not in self._known:
            path = self.case_dir / name
            # A ledger or a folder under attack may lead to any place of the machine: only what is in the case
            # is read.
            there = _stays_below(self._root, path) and path.exists()
            self._known[name] = artifacts.sha256_path(path) if there else None
            self.hashed += there
        return self._known[name]

    def files(self) -> Iterator[str]:
        """Every file and link below the case, relative to it, sorted; links are not followed."""
        found = []
        for folder, subfolders, names in os.walk(self.case_dir, followlinks=False):
            links = [name for name in subfolders if (Path(folder) / name).is_symlink()]
            found += [(Path(folder) / n).relative_to(self.case_dir).as_posix() for n in [*names, *links]]
        yield from sorted(found)


def check_outputs(disk: Disk, history: History, skip: tuple[str, ...], findings: Findings) -> None:
    """Hash the last successful output of every job again.

    Parameters
    ----------
    skip : path prefixes
        Folders of the job that is running, and of those that follow it: they are about to be made again.
    """
    for name, writer in sorted(history.writers.items()):
        if name.startswith(skip):
            continue
        found, expected = disk.sha256(name), writer.outputs[name]
        made = f"{writer.rule} wrote (entry {writer.sequence})"
        fallen = history.fallen(name)
        if found is None and fallen is not None:
            findings.note(
                "file", name, f"taken away when {fallen.key} {fallen.status} (entry {fallen.sequence})"
            )
        elif found is None:
            findings.problem("file", name, f"missing, though {made}")
        elif found != expected:
            findings.problem(
                "file",
                name,
                f"is not what {made}: expected sha256 {expected[:_SHORT]}, found {found[:_SHORT]}"
                + _recognised(history, name, found),
            )
        elif fallen is not None:
            findings.problem(
                "stale", name, f"still there, though {fallen.key} {fallen.status} after making it"
            )
        elif name not in history.last[writer.key].outputs:
            later = history.last[writer.key].sequence
            findings.note(
                "file", name, f"left over from entry {writer.sequence}; entry {later} no longer makes it"
            )


def check_accounted(disk: Disk, history: History, skip: tuple[str, ...], findings: Findings) -> None:
    """Every file must come from a recorded job; ``skip`` as in :func:`check_outputs`."""
    folders = tuple(f"{name}/" for name in history.writers if (disk.case_dir / name).is_dir())
    for name in disk.files():
        if (disk.case_dir / name).is_symlink():
            findings.problem("unaccounted", name, "is a link; results must be files of their own")
        elif not (name in history.writers or name.startswith((*folders, *skip)) or _is_free(name)):
            findings.problem("unaccounted", name, "no recorded job wrote this file")


def jobs_in_force(history: History, finals: Collection[str], since: int) -> dict[str, Run]:
    """The jobs whose results the case rests on: key -> last run.

    Parameters
    ----------
    finals : collection of paths
        Files in which the case ends; the jobs behind them, however far, are in force. What only an iteration
        or revision left over from an earlier config needs is not.
    since : int
        Jobs that ran after this ledger entry are in force as well.
    """
    outside = {name: run for run in history.runs if run.done for name in run.outside_outputs}
    todo = [history.writers[name] for name in finals if name in history.writers]
    todo += [run for run in history.last.values() if run.done and run.sequence > since]
    found: dict[str, Run] = {}
    while todo:
        run = todo.pop()
        if run.key in found:
            continue
        found[run.key] = run
        todo += [history.writers[name] for name in run.inputs if name in history.writers]
        todo += [outside[name] for name in run.outside_inputs if name in outside]
    return found


def check_inputs(
    history: History, in_force: Mapping[str, Run], skip: tuple[str, ...], findings: Findings
) -> None:
    """What each job read must be what its maker wrote before, and must still stand.

    ``skip`` as in :func:`check_outputs`.
    """
    for run in sorted(history.last.values(), key=lambda r: r.sequence):
        made_again = bool(run.outputs) and all(name.startswith(skip) for name in run.outputs)
        if not run.done or made_again:
            continue
        report = findings.problem if run.key in in_force else findings.note
        for name, sha256 in sorted(run.inputs.items()):
            reason = _input_problem(history, run, name, sha256)
            if reason:
                report("stale", f"{run.key} (entry {run.sequence})", f"{name}: {reason}")


def check_outside(
    case_dir: Path, in_force: Mapping[str, Run], findings: Findings
) -> tuple[list[str], list[str]]:
    """Compare inputs and outputs that lie outside the case (DICOM, templates, review records), where present.

    Returns
    -------
    checked, absent : lists of paths as recorded
    """
    root = case_dir.resolve().parent.parent
    checked, absent = set(), set()
    for run in sorted(in_force.values(), key=lambda r: r.sequence):
        for role, paths in (("read", run.outside_inputs), ("wrote", run.outside_outputs)):
            for name, sha256 in sorted(paths.items()):
                path = root / name
                if not _is_material(root, case_dir, name) or not path.exists():
                    absent.add(name)
                    continue
                checked.add(name)
                if sha256 != artifacts.sha256_path(path):
                    findings.problem(
                        "input", name, f"has changed since {run.key} {role} it (entry {run.sequence})"
                    )
    return sorted(checked), sorted(absent - checked)


def _stays_below(root: Path, path: Path) -> bool:
    """Whether ``path``, links followed, lies below ``root`` (resolved)."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):  # a link to itself, a NUL in a name
        return False


def _is_material(root: Path, case_dir: Path, name: str) -> bool:
    """Whether a path that a ledger names may be read: one of the project's own, and no folder around the case."""
    # By name, not by where links lead: the links to a patient's files lie in the project and lead out of it.
    path = Path(os.path.normpath(root / name))
    return "\0" not in name and path.is_relative_to(root) and not case_dir.resolve().is_relative_to(path)


def _input_problem(history: History, run: Run, name: str, sha256: str) -> str:
    if name not in history.writers:
        return "read, but no recorded job ever wrote it"
    writer = history.writers[name]
    if writer.outputs[name] != sha256:
        return (
            f"made from another version: {sha256[:_SHORT]} was read, "
            f"{writer.outputs[name][:_SHORT]} is in force since entry {writer.sequence}"
        )
    fallen = history.fallen(name)
    if fallen is not None:
        return f"no longer stands: {fallen.key} {fallen.status} in entry {fallen.sequence} ({fallen.reason})"
    if min(r.sequence for r in history.runs_of_record(name, sha256)) > run.sequence:
        return f"read before it was written (entry {writer.sequence})"
    return ""


def _recognised(history: History, name: str, found: str) -> str:
    older = history.runs_of_record(name, found)
    if older:
        return f"; this is the older version of entry {older[-1].sequence}"
    for run in history.runs:
        for path, sha256 in run.outputs.items():
            if run.done and sha256 == found:
                return f"; this is the content of {path}"
    return ""


def _is_free(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    return (
        name in _OWN_FILES
        or name in _FREE_FILES
        or name.startswith(_FREE_FOLDERS)
        or name.startswith(f"audit/{ledger.TORN_PREFIX}")
        or base.startswith(".tmp-")
        or base == artifacts.SNAKEMAKE_STAMP
    )
