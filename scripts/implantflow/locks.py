"""Locks that end with their holder: the kernel drops them, so a killed process can block nobody.

``flock`` reaches over the nodes that share a file system: Linux turns it into a byte-range lock on NFS (4, or 3
with lockd; not mounts with ``local_lock``). A file system that cannot lock at all is refused, never ignored.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from implantflow.errors import MachineError


class Busy(Exception):
    """Somebody else holds the lock; ``note`` is what the holder wrote into the file."""

    def __init__(self, note: str) -> None:
        super().__init__(note)
        self.note = note


def take(path: Path, *, shared: bool = False, wait: bool = True) -> IO[str]:
    """Open ``path``, lock it and return the open file; closing it (or the end of the process) lets go.

    Raises
    ------
    Busy
        Somebody else holds it and ``wait`` is False.
    MachineError
        The file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a+", encoding="utf-8")
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(handle, kind)
    except BlockingIOError:
        handle.seek(0)
        note = handle.read()
        handle.close()
        raise Busy(note) from None
    except OSError as error:
        handle.close()
        if error.errno in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}:
            raise MachineError(
                f"the file system has no locks ({os.strerror(error.errno or 0)})",
                where=str(path),
                fix="put the project on a file system that has them (NFS 4, or Lustre mounted with -o flock)",
            ) from error
        raise
    return handle


@contextlib.contextmanager
def held(path: Path) -> Iterator[IO[str]]:
    """The lock, waited for, for as long as the block runs."""
    with take(path) as handle:
        yield handle


def write_note(handle: IO[str], note: str) -> None:
    """Say in a lock held exclusively who holds it and why; an empty note says that all is over."""
    handle.seek(0)
    handle.truncate()
    handle.write(note)
    handle.flush()
