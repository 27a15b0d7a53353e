"""A folder of DICOM files: every header below it, in order, whatever else lies there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from implantflow.dicom.directory import listed_images
from implantflow.dicom.headers import Slice, read_slices
from implantflow.dicom.parse import plain_header
from implantflow.dicom.quiet import quietly
from implantflow.dicom.shown import shown_name
from implantflow.errors import InputError
from implantflow.parallel import side_by_side

# fmt: off
#: Suffixes of files that lie beside DICOM exports and are no images; anything else must be readable as DICOM.
OTHER_SUFFIXES = frozenset({
    ".bin", ".bmp", ".cfg", ".css", ".csv", ".db", ".dll", ".doc", ".docx", ".exe", ".gif", ".gz", ".htm",
    ".html", ".inf", ".ini", ".jpeg", ".jpg", ".js", ".json", ".log", ".md", ".nii", ".nrrd", ".pdf", ".png",
    ".py", ".rtf", ".sha256", ".stl", ".tif", ".tiff", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml",
    ".zip",
})
# fmt: on

#: Transfer syntax and number of rows as their bytes: what is left of a DICOM file whose begin is damaged.
_DICOM_MARKS = (b"\x02\x00\x10\x00UI", b"\x28\x00\x10\x00US\x02\x00")
#: Fewer files than this are read sooner than a second process is started.
_WORTH_SHARING = 200
#: So many files of a folder tell whether most need the parser.
_SAMPLED = 8


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds: image planes, damaged files with the reason, the number of other files.

    ``listed`` has what a DICOMDIR among them lists: (SeriesInstanceUID, SOPInstanceUID).
    """

    slices: list[Slice]
    damaged: list[tuple[str, str]]
    other_files: int
    listed: frozenset[tuple[str, str]] = frozenset()


def read_folder(folder: Path) -> FolderContents:
    """Read every header below ``folder``, in sorted order of paths.

    Links to folders are not followed: one that leads back into ``folder`` shows nothing new, any other counts as
    damage, as do a folder that cannot be opened and a link that leads to no file: slices may lie behind them.

    Raises
    ------
    InputError
        The folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(
            "the DICOM folder does not exist", where=folder.name, fix="check ingest.series.*.dicom"
        )
    lost: list[tuple[str, str]] = []
    files = list(_files(folder, lost))
    processes = min(os.cpu_count() or 1, 2) if _keep_the_parser_busy(files) else 1
    share = max(-(-len(files) // processes), 1)
    tasks = [partial(_read_files, files[i : i + share]) for i in range(0, len(files), share)]
    parts = side_by_side(tasks, processes)
    return FolderContents(
        [image for part in parts for image in part.slices],
        [*lost, *(entry for part in parts for entry in part.damaged)],
        sum(part.other_files for part in parts),
        frozenset().union(*(part.listed for part in parts)),
    )


def _keep_the_parser_busy(files: list[Path]) -> bool:
    """Whether a second process is worth its start: the parser holds the interpreter's lock, so threads are not."""
    if len(files) < _WORTH_SHARING:
        return False
    return any(plain_header(path) is None for path in files[:: len(files) // _SAMPLED])


def _read_files(files: list[Path]) -> FolderContents:
    slices: list[Slice] = []
    damaged: list[tuple[str, str]] = []
    other = 0
    listed: set[tuple[str, str]] = set()
    with quietly():
        for path in files:
            try:
                if _passed_over(path):
                    other += 1
                    continue
                found = read_slices(path)
            except InputError as error:
                damaged.append((shown_name(path), error.what))
                continue
            except OSError as error:
                damaged.append((shown_name(path), f"it cannot be opened ({type(error).__name__})"))
                continue
            if not found:
                other += 1
                listed |= {(series, uid) for series, uids in listed_images(path).items() for uid in uids}
            slices.extend(found)
    return FolderContents(slices, damaged, other, frozenset(listed))


def leads_elsewhere(link: Path, folder: Path) -> bool:
    """Whether a link to a folder leads out of ``folder``, to images that a walk through it does not meet."""
    target, root = link.resolve(), folder.resolve()
    return target != root and root not in target.parents and target not in root.parents


def _files(folder: Path, lost: list[tuple[str, str]]) -> Iterator[Path]:
    """Every file below ``folder``; what may hide one goes to ``lost`` with the reason."""

    def unopened(error: OSError) -> None:
        name = shown_name(Path(str(error.filename)))
        lost.append((name, f"the folder cannot be opened ({type(error).__name__})"))

    for root, folders, names in os.walk(folder, onerror=unopened):
        folders.sort()
        for path in (Path(root) / name for name in folders):
            if path.is_symlink() and leads_elsewhere(path, folder):
                lost.append((shown_name(path), "a link to a folder elsewhere, which is not followed"))
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file():
                yield path
            elif path.is_symlink():
                lost.append((shown_name(path), "a link that leads to no file"))


def _passed_over(path: Path) -> bool:
    """Whether a file is no image by its name, and does not begin as a DICOM file, damaged or not, either."""
    if path.suffix.lower() not in OTHER_SUFFIXES and not path.name.startswith("."):
        return False
    with path.open("rb") as handle:
        head = handle.read(1 << 16)
    return head[128:132] != b"DICM" and not any(mark in head for mark in _DICOM_MARKS)
