"""The facts that a build file states about itself, read from its ASCII header alone."""

from __future__ import annotations

from pathlib import Path

from implantflow.config.site import NOT_CLINICAL
from implantflow.errors import InputError

_END = b"$$HEADEREND"
_MAX_HEADER_BYTES = 65536


def read_facts(path: Path) -> tuple[dict[str, str], bool]:
    """User data of a CLI file (Common Layer Interface 2.0, section 3: ``$$USERDATA/uid,len,text``).

    Returns
    -------
    facts : name -> text
        The notes ``name=text`` that this project writes.
    marked : bool
        True when the header says that the file is not for clinical use.

    Raises
    ------
    InputError
        The file has no header.
    """
    with path.open("rb") as handle:
        start = handle.read(_MAX_HEADER_BYTES)
    end = start.find(_END)
    if not start.startswith(b"$$HEADERSTART") or end < 0:
        raise InputError("not a build file: it has no CLI header", where=str(path))
    notes = [
        line.split(",", 2)[2]
        for line in start[:end].decode("ascii", "replace").splitlines()
        if line.startswith("$$USERDATA/implantflow,") and line.count(",") >= 2
    ]
    facts = dict(note.split("=", 1) for note in notes if "=" in note)
    return facts, NOT_CLINICAL in notes
