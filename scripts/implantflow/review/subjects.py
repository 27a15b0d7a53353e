"""Which files a person looks at, and signs for, at each gate: paths relative to ``results/{case}``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from implantflow.config.base import NAME_PATTERN
from implantflow.config.review import GateName
from implantflow.errors import ReviewError

#: Items that name a gate; any other item is the id of a prototype iteration.
WHOLE_CASE_ITEMS: tuple[GateName, ...] = ("labels", "design", "release")


def check_name(value: str, what: str) -> str:
    """Return ``value`` if it may be part of a path; ReviewError otherwise (``../`` must never pass)."""
    if re.fullmatch(NAME_PATTERN, value) is None or value.endswith("\n"):
        raise ReviewError(
            f"{value!r} is no name of a {what}",
            fix="names are lower-case letters, digits and underscores, beginning with a letter",
        )
    return value


def gate_of(item: str) -> GateName:
    """The gate at which ``item`` (``labels``, ``design``, ``release`` or an iteration id) is decided."""
    for gate in WHOLE_CASE_ITEMS:
        if item == gate:
            return gate
    check_name(item, "gate or iteration")
    return "review"


def labels_subjects() -> list[str]:
    """Bone labels and the surfaces made from them."""
    return [
        "segment/labels.nii.gz",
        "segment/segment.json",
        "segment/sacrum.stl",
        "segment/hip_left.stl",
        "segment/hip_right.stl",
        "segment/l5.stl",
    ]


def prototype_subjects(iteration: str) -> list[str]:
    """What was printed of one iteration, its figures, and the sheet they were read from."""
    folder = f"prototype/{check_name(iteration, 'prototype iteration')}"
    return [
        f"{folder}/{name}"
        for name in ("implant.stl", "bone.stl", "model.3mf", "prototype.json", "sheet.html")
    ]


def design_subjects(approved: str) -> list[str]:
    """Everything that decides what will be built, and the iteration it was made from.

    Parameters
    ----------
    approved : str
        Id of the approved prototype iteration.
    """
    return [
        "implant/implant.stl",
        "implant/regions.json",
        "implant/implant.json",
        "lattice/field.json",
        "lattice/field.npz",
        "lattice/lattice.json",
        "strength/final/strength.json",
        f"prototype/{check_name(approved, 'prototype iteration')}/implant.stl",
    ]


def release_subjects(revision: str, *, machined: bool = False) -> list[str]:
    """The inspection of one print, and the build file it was printed from.

    Parameters
    ----------
    revision : str
        Id of the build revision that was printed and inspected.
    machined : bool
        The part was inspected a second time, after machining: that record belongs to what is signed.
    """
    check_name(revision, "build revision")
    return [
        f"inspect/{revision}/deviation.json",
        f"build/{revision}/build.json",
        f"build/{revision}/checks.json",
        f"build/{revision}/build.cli",
        *([f"inspect/{revision}/machined.json"] if machined else []),
    ]


def inspections(subjects: Iterable[str]) -> list[str]:
    """Those of a release gate's subjects that are records of an inspection: of the print, of the machined part."""
    return [name for name in subjects if name.startswith("inspect/")]


def subjects_of(
    item: str, approved: str | None = None, revision: str | None = None, *, machined: bool = False
) -> list[str]:
    """Files to sign for ``item``; the first one is the main thing reviewed.

    Parameters
    ----------
    approved : str, optional
        The approved prototype iteration, needed for ``design``.
    revision : str, optional
        The build revision put forward, needed for ``release``.
    machined : bool
        Whether the machined part of that revision was inspected too.

    Raises
    ------
    ReviewError
        ``approved`` or ``revision`` is needed and unknown.
    """
    gate = gate_of(item)
    if gate == "labels":
        return labels_subjects()
    if gate == "review":
        return prototype_subjects(item)
    if gate == "design":
        if approved is None:
            raise ReviewError(
                "it is not known which iteration the implant was made from",
                fix="run the pipeline up to the implant first, or state the approved iteration",
            )
        return design_subjects(approved)
    if revision is None:
        raise ReviewError(
            "it is not known which build revision is put forward for release",
            fix="name it in the case config (release.revision) and run the pipeline up to the release gate",
        )
    return release_subjects(revision, machined=machined)
