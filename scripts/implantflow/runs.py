"""One run at a time works on a case; a run that was killed blocks nobody, and what it left is told.

Snakemake's own lock is off (profiles): it outlives a killed run, and the first of two runs to end removes the
other's.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from implantflow import jobrecord, locks
from implantflow.errors import MachineError

LOCKS = Path(".snakemake/implantflow")

#: Made once for all cases: who has it may share it, who must make it needs it alone.
SHARED = Path("data/template/template.npz")


def begin(cases: Iterable[str]) -> list[IO[str]]:
    """Lock ``cases`` until this process ends and enter in their ledgers what was killed before.

    Returns
    -------
    The open lock files: they must be kept.

    Raises
    ------
    MachineError
        Another run is at work on one of the cases, or makes what all cases share.
    """
    names = sorted(cases)
    kept = [_take(case, f"is at work on case {case}") for case in names]
    kept.append(_take("template", f"is using or making {SHARED}", shared=SHARED.exists()))
    enter_killed(names)
    for case in names:
        bring_back_from_the_future(Path("results") / case)
    return kept


def bring_back_from_the_future(folder: Path) -> int:
    """Give files that are newer than now the time of now, as after a clock that was set back; how many.

    Snakemake refuses an output that is older than its input. What depends on them may be made again, with the
    same bytes.
    """
    now = time.time()
    late = [path for path in sorted(folder.rglob("*")) if path.lstat().st_mtime > now + 1]
    for path in late:
        os.utime(path, (now, now), follow_symlinks=False)
    if late:
        print(f"implantflow: {len(late)} files were newer than now: the clock was set back", file=sys.stderr)
    return len(late)


def enter_killed(cases: Iterable[str]) -> None:
    """Enter jobs that ended without a word in the ledgers, and say so; jobs still at work are left alone."""
    for folder in (*(Path("results") / case for case in sorted(cases)), SHARED.parent):
        for key in jobrecord.sweep(folder):
            print(f"implantflow: {key} ended without a record; entered in the ledger", file=sys.stderr)


def _take(name: str, doing: str, *, shared: bool = False) -> IO[str]:
    path = LOCKS / f"{name}.lock"
    try:
        handle = locks.take(path, shared=shared, wait=False)
    except locks.Busy as busy:
        raise MachineError(
            f"another run {doing}{f' ({busy.note})' if busy.note else ''}",
            where=str(path),
            fix="let it end, or end it, then start again; nothing was changed",
        ) from None
    if not shared:
        about = {"pid": os.getpid(), "host": socket.gethostname()}
        since = datetime.now(UTC).isoformat(timespec="seconds")
        locks.write_note(handle, json.dumps({**about, "since": since}))
    return handle
