"""The sealed folder: the one place outside ``results/`` where a case and its patient meet.

It relies on file permissions (folders 0700, files 0600) and is refused when others may look into it. Its content is
not encrypted: the scans it leads to lie on the same machine in the clear (docs/decisions/0006).
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from implantflow.artifacts import temporary
from implantflow.errors import ConfigError, InputError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def sealed_folder(root: Path, *parts: str) -> Path:
    """``root/parts``, made with mode 0700 where absent.

    Raises
    ------
    ConfigError
        It lies inside ``results/``, or others than its owner may open it.
    """
    if Path("results").resolve() in [root.resolve(), *root.resolve().parents]:
        raise ConfigError(
            "the sealed folder lies inside results/, which is handed on",
            where="sealed_root",
            fix="name a folder outside results/ in config/site.yaml",
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = root
    folder.mkdir(mode=0o700, exist_ok=True)
    for part in parts:
        folder = folder / part
        folder.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_mode & _OTHERS:
        raise ConfigError(
            f"others may open the sealed folder (mode {stat.S_IMODE(root.stat().st_mode):o})",
            where=f"sealed_root: {root}",
            fix=f"chmod 700 {root}",
        )
    return folder


def write_sealed(path: Path, value: Any) -> None:
    """Write JSON that only its owner may read; the folder must be there."""
    with temporary(path) as tmp:
        handle = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1)


def read_sealed(path: Path) -> Any:
    """Read what :func:`write_sealed` wrote.

    Raises
    ------
    InputError
        It is missing, damaged, or others may read it. The message quotes nothing of it.
    """
    try:
        if path.stat().st_mode & _OTHERS:
            raise InputError(
                "others may read a sealed file",
                where=str(path),
                fix="chmod 600 it; see who could have read it",
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no such sealed file", where=str(path)) from None
    except (ValueError, UnicodeDecodeError):
        raise InputError("a sealed file is damaged", where=str(path)) from None
