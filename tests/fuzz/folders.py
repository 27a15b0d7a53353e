"""Damage to the folder rather than to a file: names, links, copies, things that are no files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.mutate import Rng

FolderDamage = Callable[[Path, Path, Rng], str]

_NAMES = (
    "a\nb.dcm", "..x..dcm", "a..b", "...", "..\\..\\x.dcm", "-rf", "x\r\nfix: none", "\x1b[31mred.dcm", "%s%n.dcm",
    "$(id).dcm", "sp ace .dcm", "\u202egnp.dcm", "n" * 250, "image.TXT", ".hidden.dcm", "image.zip", "DICOMDIR",
)  # fmt: skip
_LOST_SUFFIX = (b"caf\xe9.dcm", b"\xff\xfe.dcm")


def _fresh(folder: Path, name: str) -> Path:
    """A name that is not taken: damages may meet."""
    path = folder / name
    while os.path.lexists(path):
        path = path.with_name(f"x{path.name}")
    return path


def odd_name(folder: Path, victim: Path, rng: Rng) -> str:
    """The file under a name that shells, logs or terminals trip over."""
    choice = int(rng.integers(len(_NAMES) + len(_LOST_SUFFIX)))
    if choice < len(_NAMES):
        target = folder / _NAMES[choice]
    else:
        target = folder / os.fsdecode(_LOST_SUFFIX[choice - len(_NAMES)])
    victim.rename(target)
    return repr(target.name)[:40]


def loop(folder: Path, victim: Path, rng: Rng) -> str:
    """Links that lead back to the folder, to themselves, or nowhere."""
    kind = ("folder", "parent", "self", "dangling", "chain")[int(rng.integers(5))]
    target = {"folder": folder, "parent": folder.parent, "dangling": folder / "absent"}.get(kind)
    if target is not None:
        _fresh(folder, "link").symlink_to(target)
    elif kind == "self":
        own = _fresh(folder, "self.dcm")
        own.symlink_to(own.name)
    else:
        one, two = _fresh(folder, "one"), _fresh(folder, "two")
        one.symlink_to(two.name)
        two.symlink_to(one.name)
    return kind


def linked_copy(folder: Path, victim: Path, rng: Rng) -> str:
    """The same file twice: by link, by hard link, or copied into a folder below."""
    kind = ("symlink", "hard link", "copy")[int(rng.integers(3))]
    below = folder / "below"
    below.mkdir(exist_ok=True)
    again = _fresh(below, "again.dcm")
    if kind == "symlink":
        again.symlink_to(victim)
    elif kind == "hard link":
        again.hardlink_to(victim)
    else:
        shutil.copyfile(victim, again)
    return kind


def no_file(folder: Path, victim: Path, rng: Rng) -> str:
    """A pipe that never answers, a folder called like an image, a deep tree."""
    kind = ("pipe", "folder", "deep")[int(rng.integers(3))]
    if kind == "pipe":
        os.mkfifo(_fresh(folder, "pipe.dcm"))
    elif kind == "folder":
        _fresh(folder, "image99.dcm").mkdir()
    else:
        deep = folder.joinpath(*["d"] * 150)
        deep.mkdir(parents=True, exist_ok=True)
        victim.rename(deep / victim.name)
    return kind


def lost_file(folder: Path, victim: Path, rng: Rng) -> str:
    """A file between the first and the last is gone. (That the first or last is gone nobody can see.)"""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.is_symlink())
    if len(files) > 2:
        files[int(rng.integers(1, len(files) - 1))].unlink()
    return ""


FOLDER_DAMAGES: dict[str, tuple[float, FolderDamage]] = {
    "odd_name": (0.8, odd_name),
    "loop": (0.5, loop),
    "linked_copy": (0.5, linked_copy),
    "no_file": (0.3, no_file),
    "lost_file": (0.3, lost_file),
}
