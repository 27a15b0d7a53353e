"""The list of a package: every file with its digest and size, so that a copy can be checked anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from implantflow.artifacts import sha256_file


def list_files(files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """One entry per file, sorted by name.

    Parameters
    ----------
    files : name within the package -> where it lies now; a folder stands for all files in it.
    """
    found = []
    for name, path in files.items():
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for member in members:
            inside = name if member == path else f"{name}/{member.relative_to(path).as_posix()}"
            found.append({"path": inside, "sha256": sha256_file(member), "size_bytes": member.stat().st_size})
    return sorted(found, key=lambda entry: str(entry["path"]))


def checksum_lines(entries: list[dict[str, Any]]) -> str:
    """The same list as ``sha256sum --check`` reads it."""
    return "".join(f"{entry['sha256']}  {entry['path']}\n" for entry in entries)
