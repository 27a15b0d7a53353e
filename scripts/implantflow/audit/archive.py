"""A case in one file to keep: packed only when it verifies, and verified again where it is unpacked."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Any

from implantflow import artifacts
from implantflow.audit.verify import verify_case
from implantflow.errors import InputError, ProvenanceError

#: Names that no finished job leaves: drafts of a killed job, and Snakemake's own marks.
_LEFT_OUT = (".tmp-", ".snakemake")
#: Nine tenths of what the highest level saves, in a third of its time (build files, measured on the demo).
_GZIP_LEVEL = 5


def pack(case_dir: Path, target: Path) -> dict[str, Any]:
    """Write ``case_dir`` to ``target`` (.tar.gz); the same case gives the same bytes.

    Times of the files are kept: Snakemake would make everything again in an unpacked case without them.

    Returns
    -------
    ``files`` and ``bytes`` packed, ``sha256`` of the archive, and what ``verify`` had said.

    Raises
    ------
    ProvenanceError
        The case does not verify: what is kept for years must be right on the day it is packed.
    InputError
        ``target`` exists, or has another suffix.
    """
    if target.suffixes[-2:] != [".tar", ".gz"]:
        raise InputError("an archive of a case is a .tar.gz", where=str(target), fix="name it CASE.tar.gz")
    if target.exists():
        raise InputError("is there already", where=str(target), fix="give another name; nothing was changed")
    result = _verified(case_dir, "it is packed only when it verifies")
    name = case_dir.resolve().name
    members = [p for p in sorted(case_dir.rglob("*")) if not _left_out(p.relative_to(case_dir))]
    with artifacts.temporary(target) as tmp:
        with (
            tmp.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for member in members:
                archive.add(
                    member,
                    f"{name}/{member.relative_to(case_dir).as_posix()}",
                    recursive=False,
                    filter=_nobody,
                )
        sha256 = artifacts.sha256_file(tmp)
    files = [member for member in members if member.is_file()]
    return {
        "files": len(files),
        "bytes": sum(f.stat().st_size for f in files),
        "sha256": sha256,
        "verify": result,
    }


def unpack(archive: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Unpack an archive below ``folder`` and verify the case; returns its folder and what ``verify`` says.

    Raises
    ------
    InputError
        No archive of a case, one whose files lead elsewhere, or the case is there already.
    ProvenanceError
        What was unpacked does not verify; nothing of it is left.
    """
    draft = artifacts.temporary_name(folder / archive.name)
    try:
        with _opened(archive) as packed:
            folder.mkdir(parents=True, exist_ok=True)
            artifacts.remove(draft)
            packed.extractall(draft, filter="data")
        tops = sorted(draft.iterdir())
        if len(tops) != 1 or not tops[0].is_dir():
            raise InputError("is no archive of one case", where=str(archive))
        target = folder / tops[0].name
        if target.exists():
            raise InputError(
                "the case is there already", where=str(target), fix="unpack elsewhere; nothing was changed"
            )
        result = _verified(tops[0], "nothing of it was kept")
        artifacts.replace(tops[0], target)
        return target, result
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InputError(
            f"cannot be unpacked: {error}",
            where=str(archive),
            fix="if the file is damaged, take another copy of it; nothing of it was kept",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _opened(archive: Path) -> tarfile.TarFile:
    if not archive.is_file():
        raise InputError("there is no such archive", where=str(archive), fix="give the CASE.tar.gz to unpack")
    try:
        return tarfile.open(archive)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        # tarfile's own text is a line for each compression it tried.
        raise InputError(
            "is no archive of a case, or a damaged one",
            where=str(archive),
            fix="give a file that `python -m implantflow archive` wrote, or another copy of it",
        ) from error


def _verified(case_dir: Path, so: str) -> dict[str, Any]:
    result = verify_case(case_dir)
    if not result["verified"]:
        first = result["problems"][0]
        raise ProvenanceError(
            f"{len(result['problems'])} problem(s), the first: {first['where']}: {first['what']}; {so}",
            where=str(case_dir),
            fix=f"python -m implantflow verify {case_dir} lists them all",
        )
    return result


def _left_out(path: Path) -> bool:
    return any(part.startswith(_LEFT_OUT) for part in path.parts)


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose account packed the case is of no interest to who unpacks it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
