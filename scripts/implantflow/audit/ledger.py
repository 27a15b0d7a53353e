"""Append-only, hash-chained record of every job and review of a case: ``audit/ledger.jsonl``.

One line per event, in canonical JSON. Each carries the digest of the line before it and its own, so that an
edited, removed or reordered line shows. ``audit/head.json`` repeats the last digest, so that a truncation
shows. The chain holds no secret: whoever may write the folder can write a new chain from the start. What such
a person cannot renew are the signatures of the reviews, which name the head of the ledger they were given on.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from implantflow import artifacts, locks
from implantflow.errors import ProvenanceError

LEDGER = "ledger.jsonl"
HEAD = "head.json"
LOCK = "ledger.lock"
TORN_PREFIX = "torn."

#: What the first entry names as its predecessor.
GENESIS = "0" * 64

PROJECT_DIR = Path(__file__).parents[3]

#: Libraries whose version can change a result; the rest is in the lock files, whose digest is recorded.
KEY_LIBRARIES = (
    "numpy",
    "scipy",
    "SimpleITK",
    "vtk",
    "trimesh",
    "manifold3d",
    "pymeshlab",
    "numba",
    "PyMaxflow",
    "pyclipr",
    "lib3mf",
    "pydicom",
    "snakemake",
    "securesystemslib",
)

_BLOCK = 1 << 16
_RESTORE = (
    "run `python -m implantflow verify` on the case; restore its audit folder from your copy, or compute the "
    "case again in an empty results folder"
)


class Head(NamedTuple):
    """The last entry of a ledger: what the next one must follow."""

    sequence: int
    sha256: str


def append(case_dir: Path, entry: Mapping[str, Any]) -> None:
    """Append one entry to the ledger of a case; safe when processes on several nodes append at once.

    Parameters
    ----------
    case_dir : Path
        ``results/{case}``.
    entry : mapping
        What happened. Its ``inputs`` and ``outputs`` (path -> sha256), where present, are split into files
        inside the case (named relative to it, so that a copied folder can be verified) and files outside.

    Raises
    ------
    ProvenanceError
        The ledger on disk is damaged or shorter than its head says. Nothing is appended then: going on would
        cover the traces.
    """
    folder = case_dir / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    body = _case_relative(case_dir, entry)
    with locks.held(folder / LOCK):
        torn = _set_torn_tail_aside(folder)
        head = _checked_head(folder)
        if torn is not None:
            head = _write_entry(folder, head, case_dir.name, torn)
        _write_entry(folder, head, case_dir.name, body)


def read(case_dir: Path) -> list[dict[str, Any]]:
    """All records of the ledger, oldest first; empty when the case has none.

    Only parses; ``audit.verify`` judges the chain. A line without its end (a writer was killed) is left out.

    Raises
    ------
    ProvenanceError
        A line is not a JSON object.
    """
    path = case_dir / "audit" / LEDGER
    if not path.exists():
        return []
    records = []
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):
                break
            records.append(parse_line(line, f"{path}, line {number}"))
    return records


def read_head(case_dir: Path) -> Head | None:
    """What ``audit/head.json`` says, or None when there is none.

    Raises
    ------
    ProvenanceError
        The file is damaged.
    """
    path = case_dir / "audit" / HEAD
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Head(int(data["sequence"]), str(data["sha256"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProvenanceError("the head of the ledger is damaged", where=str(path), fix=_RESTORE) from error


def parse_line(line: bytes, where: str) -> dict[str, Any]:
    """One ledger line as a record; ProvenanceError when it is not a JSON object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProvenanceError("a ledger line is damaged", where=where, fix=_RESTORE) from error
    if not isinstance(record, dict):
        raise ProvenanceError("a ledger line is not a record", where=where, fix=_RESTORE)
    return record


def digest(record: Mapping[str, Any]) -> str:
    """The sha256 a record must carry: of its canonical JSON without the field ``sha256``."""
    rest = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(artifacts.canonical_json(rest)).hexdigest()


def _case_relative(case_dir: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    body = dict(entry)
    root = os.path.abspath(case_dir)  # noqa: PTH100 - must not follow links: the name given is what counts
    for side in ("inputs", "outputs"):
        paths = body.get(side)
        if not isinstance(paths, Mapping):
            continue
        split: dict[str, dict[str, str]] = {"case": {}, "outside": {}}
        for path, sha256 in paths.items():
            absolute = os.path.abspath(path)  # noqa: PTH100
            if absolute.startswith(root + os.sep):
                split["case"][Path(absolute).relative_to(root).as_posix()] = sha256
            else:
                split["outside"][Path(path).as_posix()] = sha256
        body[side] = split
    return body


def _set_torn_tail_aside(folder: Path) -> dict[str, Any] | None:
    """Move a last line without its end to a file of its own; return the entry that records it."""
    path = folder / LEDGER
    if not path.exists() or path.stat().st_size == 0:
        return None
    with path.open("r+b") as handle:
        end = handle.seek(0, os.SEEK_END)
        tail = _last_line(handle, end)
        if tail.endswith(b"\n"):
            return None
        aside = folder / f"{TORN_PREFIX}{hashlib.sha256(tail).hexdigest()[:16]}.txt"
        aside.write_bytes(tail)
        handle.truncate(end - len(tail))
        os.fsync(handle.fileno())
    return {
        "event": "repair",
        "what": "the last line had no end: its writer was killed or the disk was full",
        "moved_to": aside.name,
        "torn_sha256": hashlib.sha256(tail).hexdigest(),
        "torn_bytes": len(tail),
    }


def _last_line(handle: BinaryIO, end: int) -> bytes:
    """The bytes after the last newline but one (the last line, with or without its own newline)."""
    tail = b""
    start = end
    while start > 0:
        start = max(0, start - _BLOCK)
        handle.seek(start)
        tail = handle.read(min(_BLOCK, end - start - len(tail))) + tail
        cut = tail[:-1].rfind(b"\n")
        if cut >= 0:
            return tail[cut + 1 :]
    return tail


def _checked_head(folder: Path) -> Head | None:
    """The last entry of the ledger, once it and ``head.json`` agree."""
    path = folder / LEDGER
    head = read_head(folder.parent)
    if not path.exists() or path.stat().st_size == 0:
        if head is not None:
            raise ProvenanceError(
                f"the ledger is gone, but its head says it had {head.sequence + 1} entries",
                where=str(path),
                fix=_RESTORE,
            )
        return None
    with path.open("rb") as handle:
        record = parse_line(_last_line(handle, handle.seek(0, os.SEEK_END)), f"{path}, last line")
    try:
        last = Head(int(record["sequence"]), str(record["sha256"]))
        previous = str(record["previous"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProvenanceError("the last ledger entry is incomplete", where=str(path), fix=_RESTORE) from error
    if digest(record) != last.sha256:
        raise ProvenanceError("the last ledger entry was edited", where=str(path), fix=_RESTORE)
    # A writer killed between its line and the head leaves the head exactly one entry behind.
    behind = Head(last.sequence - 1, previous) if last.sequence > 0 else None
    if head not in (last, behind):
        said = "is missing" if head is None else f"says entry {head.sequence}"
        raise ProvenanceError(
            f"the ledger ends with entry {last.sequence}, but its head {said}", where=str(path), fix=_RESTORE
        )
    return last


def _write_entry(folder: Path, head: Head | None, case: str, body: Mapping[str, Any]) -> Head:
    record = {
        "sequence": 0 if head is None else head.sequence + 1,
        "previous": GENESIS if head is None else head.sha256,
        "case": case,
        "recorded": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **_surroundings(),
        "entry": artifacts.plain(dict(body)),
    }
    record["sha256"] = digest(record)
    line = artifacts.canonical_json(record) + b"\n"
    _append_whole(folder / LEDGER, line)
    new = Head(int(record["sequence"]), str(record["sha256"]))
    _write_head(folder / HEAD, new)
    return new


def _write_head(path: Path, head: Head) -> None:
    # On disk before the next line is: after a power cut the head may be one entry behind, never more.
    with artifacts.temporary(path) as draft, draft.open("wb") as handle:
        handle.write(artifacts.canonical_json(head._asdict()) + b"\n")
        handle.flush()
        os.fsync(handle.fileno())


def _append_whole(path: Path, line: bytes) -> None:
    """Append ``line`` and flush it to disk; on a full disk leave the file as it was."""
    with path.open("ab", buffering=0) as handle:
        before = handle.seek(0, os.SEEK_END)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[handle.write(rest) :]
            os.fsync(handle.fileno())
        except OSError:
            handle.truncate(before)
            raise


@functools.cache
def _surroundings() -> dict[str, Any]:
    """Who, where and with what; the same for all entries of one process."""
    return {
        "host": socket.gethostname(),
        "user": _user(),
        "versions": _versions(),
        "code": _code_state(),
        "lock_sha256": lock_digest(),
    }


def _user() -> str:
    import pwd

    # The account, not the environment: LOGNAME can say anything.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("implantflow", *KEY_LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _code_state() -> dict[str, Any]:
    """Commit of the project and whether its code differs from it; None where git cannot say."""
    unknown: dict[str, Any] = {"commit": None, "dirty": None}
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--"]
    try:
        result = subprocess.run(
            [*command, "Snakefile", "rules", "scripts", "requirements"],
            cwd=PROJECT_DIR,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return unknown
    lines = result.stdout.splitlines()
    oid = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), None)
    if oid is None or oid == "(initial)":
        return unknown
    return {"commit": oid, "dirty": any(not line.startswith("#") for line in lines)}


def lock_digest() -> str | None:
    """Digest of the folder of hashed requirement files; None for an installation without the project."""
    path = PROJECT_DIR / "requirements"
    return artifacts.sha256_path(path) if path.is_dir() else None
