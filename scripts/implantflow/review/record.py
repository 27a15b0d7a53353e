"""Review records on disk: ``config/reviews/{case}/{item}.{n}.dsse.json``, added to and never changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implantflow.errors import ReviewError
from implantflow.review.statement import parse_envelope
from implantflow.review.subjects import check_name

#: What a person can do about a record that is not genuine.
REFUSED_FIX = (
    "find out where this file comes from; restore the record from version control, or remove it and let the "
    "person sign again"
)

_NAME = re.compile(r"(?P<item>[a-z][a-z0-9_]*)\.(?P<number>[1-9][0-9]*)\.dsse\.json")


@dataclass(frozen=True)
class RecordFile:
    """One envelope as found on disk: nothing in it is trusted yet."""

    name: str
    number: int
    sha256: str
    envelope: dict[str, Any]


def record_paths(reviews_dir: Path, case: str, item: str) -> list[Path]:
    """All records of one item, in the order they were signed; empty when nobody decided."""
    folder = reviews_dir / check_name(case, "case")
    found = folder.glob(f"{check_name(item, 'gate or iteration')}.*.dsse.json")
    return sorted(found, key=_number)


def read_record(path: Path) -> RecordFile:
    """Read one envelope file; ReviewError names it when it is none."""
    number = _number(path)
    try:
        data = path.read_bytes()
        envelope = parse_envelope(data)
    except OSError as error:
        raise ReviewError(f"the review record cannot be read: {error}", where=str(path)) from error
    except ReviewError as error:
        raise ReviewError(error.what, where=str(path), fix=REFUSED_FIX) from error
    return RecordFile(path.name, number, hashlib.sha256(data).hexdigest(), envelope)


def record_bytes(envelope: dict[str, Any]) -> bytes:
    """What a record's file holds: gates name it by the sha256 of these bytes."""
    return (json.dumps(envelope, indent=2, sort_keys=True) + "\n").encode()


def write_record(reviews_dir: Path, case: str, item: str, envelope: dict[str, Any]) -> Path:
    """Write the next record of an item under the first free number; an existing one is never replaced."""
    data = record_bytes(envelope)
    folder = reviews_dir / check_name(case, "case")
    folder.mkdir(parents=True, exist_ok=True)
    number = max((_number(path) for path in record_paths(reviews_dir, case, item)), default=0) + 1
    while True:
        path = folder / f"{item}.{number}.dsse.json"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            number += 1
            continue
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        return path


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ReviewError(
            "a file among the review records that is none",
            where=str(path),
            fix="records are named ITEM.NUMBER.dsse.json",
        )
    return int(match["number"])
