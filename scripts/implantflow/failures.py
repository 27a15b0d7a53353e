"""How a job ended badly: one record and one message for a person, whatever the exception was."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

from implantflow.errors import ImplantflowError, InputError, MachineError

#: Exit code of a defect (EX_SOFTWARE of sysexits.h).
DEFECT = 70

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHUT = {errno.EROFS, errno.EACCES, errno.EPERM}


def known(error: BaseException) -> BaseException:
    """``error``, or the MachineError it stands for: what the machine lacks is no defect of the project."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return MachineError(
            "out of memory",
            fix="run with fewer --cores, end what else runs, or take a larger machine; then the same command "
            "again goes on from here",
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        return MachineError(
            f"no room left to write ({error.strerror})",
            where=str(error.filename or ""),
            fix="make room, then the same command again goes on from here",
        )
    if isinstance(error, OSError) and error.errno in _SHUT:
        return MachineError(
            f"not allowed to write or read here ({error.strerror})",
            where=str(error.filename or ""),
            fix="give this account the right to the folder, or mount it for writing",
        )
    return error


def of_command(error: OSError | MemoryError) -> ImplantflowError:
    """What a command's user is told: the machine's fault as in a job, else a path given that cannot be used."""
    told = known(error)
    if isinstance(told, ImplantflowError):
        return told
    assert isinstance(error, OSError)
    return InputError(
        f"a file or folder cannot be used ({error.strerror or error})",
        where=str(error.filename or "command line"),
        fix="check the paths given: a file where a folder belongs, a folder where a file does, or no such place",
    )


def outcome(error: BaseException) -> dict[str, Any]:
    """What the ledger and the job's status file say."""
    if isinstance(error, ImplantflowError):
        return {
            "status": error.status,
            "error": type(error).__name__,
            "reason": error.what,
            "where": error.where,
            "next": error.fix,
            "exit": error.exit_code,
        }
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return {
            "status": "failed",
            "error": type(error).__name__,
            "reason": "stopped from outside",
            "where": "",
            "next": "the same command again goes on from here",
            "exit": 130,
        }
    return {
        "status": "failed",
        "error": type(error).__name__,
        "reason": f"unexpected {type(error).__name__}: {error}",
        "where": "",
        "next": "see the log of this job; this is a defect in implantflow, please report it",
        "exit": DEFECT,
    }


def fail_readably(error: BaseException, key: str, log: Path | None) -> int:
    """Print one clear error (no traceback) and return the exit code."""
    if isinstance(error, ImplantflowError):
        head = "ERROR" if error.status == "failed" else error.status.replace("_", " ").upper()
        print(f"\nimplantflow: {head} in {key}: {error}", file=sys.stderr)
        return error.exit_code
    where = f"; traceback in {log}" if log else ""
    print(
        f"\nimplantflow: DEFECT in {key}: unexpected {type(error).__name__}: {error}{where}", file=sys.stderr
    )
    return DEFECT
