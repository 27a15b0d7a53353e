"""Studies from an image archive, whole or not at all, and objects back into it.

What an archive says about a patient is shown to the person at the terminal or kept in the sealed folder; errors
carry counts and DICOM status codes only.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from implantflow.artifacts import temporary
from implantflow.config.pacs import DimseNode, WebNode
from implantflow.config.site import SiteConfig
from implantflow.dicom.quiet import quietly
from implantflow.dicom.sealed import read_sealed, sealed_folder, write_sealed
from implantflow.dicom.uids import remap_uid
from implantflow.errors import ConfigError, InputError

#: Only series of these modalities are fetched: nothing else becomes a volume.
MODALITIES = ("CT", "MR")
#: Storage classes of images among them (CT, MR, enhanced and converted, secondary capture); what else stands in such
#: a series (raw data, presentation states) is left where it is.
IMAGE_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.4.4",
    "1.2.840.10008.5.1.4.1.1.7",
)
#: How often the images that are still missing are asked for again.
ATTEMPTS = 3

#: What a study may be looked for by; at least one of the first ones, which few studies share.
TELLING = ("PatientID", "AccessionNumber", "StudyInstanceUID", "PatientName", "PatientBirthDate")
QUERY = (*TELLING, "StudyDate", "ModalitiesInStudy")


class ArchiveError(InputError):
    """The archive did not answer, or not as it should; trying again may help."""


@dataclass(frozen=True)
class Study:
    """One answer of an archive. The UID does not show when it is printed; description and date do, to choose by."""

    uid: str = field(repr=False)
    date: str
    modalities: str
    description: str
    images: str


@dataclass(frozen=True)
class Image:
    """One image that the archive says it has."""

    series_uid: str = field(repr=False)
    sop_uid: str = field(repr=False)


#: Called with every image that arrives: the SOP instance UID that was asked for ("" when the archive chose), the file.
Keep = Callable[[str, bytes], None]


class Archive(Protocol):
    """What DIMSE and DICOMweb both can do."""

    def find_studies(self, query: Mapping[str, str]) -> list[Study]:
        """Studies that match ``query`` (DICOM keyword -> value)."""

    def images(self, study_uid: str) -> list[Image]:
        """Every image of the study's series of :data:`MODALITIES`."""

    def fetch(self, study_uid: str, wanted: Sequence[Image], keep: Keep) -> None:
        """Hand the wanted images to ``keep``, in any order."""

    def send(self, datasets: Sequence[Any]) -> None:
        """Store objects (pydicom datasets with file meta information)."""

    def holds(self, study_uid: str, series_uid: str, sop_uid: str) -> bool:
        """Whether the archive lists this object in this study."""


def open_archive(name: str, site: SiteConfig) -> Archive:
    """The archive that the site config calls ``name``; nothing is sent yet.

    Raises
    ------
    ConfigError
        There is no such node, or the environment lacks or forbids something.
    """
    node = site.pacs.get(name)
    if node is None:
        raise ConfigError(
            f"'{name}' is no archive of this site; there are: {', '.join(site.pacs) or 'none'}",
            where="config/site.yaml, pacs",
            fix="name one of them, or add it",
        )
    if isinstance(node, DimseNode):
        from implantflow.dicom.pacs_dimse import DimseArchive

        return DimseArchive(node, credentials(name, ("CA", "CERT", "KEY")))
    assert isinstance(node, WebNode)
    from implantflow.dicom.pacs_web import WebArchive

    return WebArchive(node, credentials(name, ("CA", "CERT", "KEY", "USER", "PASSWORD", "TOKEN")))


def credentials(node: str, kinds: Sequence[str]) -> dict[str, str]:
    """What the environment says for a node: IMPLANTFLOW_PACS_{NODE}_{KIND}; files must exist.

    Raises
    ------
    ConfigError
        A file of the environment does not exist, or a pair is incomplete. Values are not shown.
    """
    prefix = f"IMPLANTFLOW_PACS_{node.upper()}_"
    found = {kind: os.environ[prefix + kind] for kind in kinds if os.environ.get(prefix + kind)}
    for kind in ("CA", "CERT", "KEY"):
        if kind in found and not Path(found[kind]).is_file():
            raise ConfigError("the environment names a file that does not exist", where=prefix + kind)
    for first, second in (("CERT", "KEY"), ("USER", "PASSWORD")):
        if (first in found) != (second in found):
            raise ConfigError(
                f"{prefix}{first} and {prefix}{second} belong together, one is not set", where="environment"
            )
    return found


def check_query(query: Mapping[str, str]) -> None:
    """Refuse a search that would list other people's studies.

    Raises
    ------
    InputError
        An unknown keyword, or nothing that tells one patient from another.
    """
    unknown = sorted(set(query) - set(QUERY))
    if unknown:
        raise InputError(f"cannot search by {', '.join(unknown)}", fix=f"use {', '.join(QUERY)}")
    if not any(query.get(keyword, "").strip("*? ") for keyword in TELLING):
        raise InputError("the search would list everybody's studies", fix=f"give one of {', '.join(TELLING)}")


def images_of(series_uid: str, counted: str, listed: Sequence[tuple[str, str]]) -> list[Image]:
    """The images of a series that are read, from (SOP instance, SOP class) as the archive lists them.

    Raises
    ------
    ArchiveError
        The list is not as long as the archive itself ``counted``: servers cut long answers silently.
    """
    if counted.isdigit() and int(counted) != len(listed):
        raise ArchiveError(
            f"the archive counts {counted} images in a series and lists {len(listed)}",
            fix="try again; if it stays so, raise the archive's limit on answers",
        )
    return [Image(series_uid, uid) for uid, sop_class in listed if sop_class in ("", *IMAGE_CLASSES)]


def fetch_study(
    archive: Archive, study_uid: str, folder: Path, told: Callable[[str], None] = lambda text: None
) -> int:
    """Fetch every CT and MR image of a study into ``folder``, under neutral names.

    Images that are there already are not asked for again, so that a second call finishes what a first one began.

    Returns
    -------
    count : number of images, all there

    Raises
    ------
    ArchiveError
        Some did not come in :data:`ATTEMPTS` rounds, or the study changed meanwhile.
    InputError
        The archive has no CT or MR image of the study, or sent something else than was asked for.
    """
    wanted = archive.images(study_uid)
    if not wanted:
        raise InputError(
            "the archive has no CT or MR image of this study", fix="look for it again: pacs find"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    asked = {image.sop_uid for image in wanted}
    keep = _keeper(folder, study_uid, asked)
    reason: ArchiveError | None = None
    for number in range(ATTEMPTS):
        missing = [image for image in wanted if not _file(folder, image.sop_uid).is_file()]
        if not missing:
            break
        told(f"round {number + 1}: {len(missing)} of {len(wanted)} images to fetch")
        try:
            archive.fetch(study_uid, missing, keep)
        except ArchiveError as error:
            reason = error
    missing = [image for image in wanted if not _file(folder, image.sop_uid).is_file()]
    if missing:
        why = f": {reason.what}" if reason else ""
        raise ArchiveError(
            f"{len(missing)} of {len(wanted)} images of the study did not come{why}",
            fix="try again; what has come is not used before all is there",
        )
    if {image.sop_uid for image in archive.images(study_uid)} != asked:
        raise ArchiveError(
            "the study changed while it was fetched",
            fix="wait until it is complete in the archive, then try again",
        )
    return len(wanted)


def _file(folder: Path, sop_uid: str) -> Path:
    return folder / f"{remap_uid(sop_uid)}.dcm"


def _keeper(folder: Path, study_uid: str, asked: set[str]) -> Keep:
    import pydicom

    def keep(sop_uid: str, data: bytes) -> None:
        with quietly():
            try:
                dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
                told = str(dataset.SOPInstanceUID), str(dataset.StudyInstanceUID)
            except Exception:
                raise ArchiveError("the archive sent something that is no DICOM object") from None
        if told[0] not in asked or told[1] != study_uid or sop_uid not in ("", told[0]):
            raise InputError(
                "the archive sent an image that was not asked for",
                fix="have the archive checked: it may mix up patients",
            )
        with temporary(_file(folder, told[0])) as tmp:
            tmp.write_bytes(data)

    return keep


# --- studies by neutral names ---------------------------------------------------------------------------------


def remember(site: SiteConfig, name: str, node: str, study_uid: str) -> Path:
    """Seal which study of which archive is meant by ``name``; a name that is taken is not given again.

    Raises
    ------
    ConfigError
        The name stands for another study.
    """
    path = sealed_folder(Path(site.sealed_root), "studies") / f"{name}.json"
    if path.exists():
        if recall(path) == (node, study_uid):
            return path
        raise ConfigError(f"'{name}' stands for another study already", where=str(path), fix="choose another")
    write_sealed(path, {"salt": secrets.token_hex(16), "node": node, "study_uid": study_uid})
    return path


def recall(path: Path) -> tuple[str, str]:
    """(node, study UID) of a sealed study.

    Raises
    ------
    InputError
        Nobody has sealed it, or the file is damaged.
    """
    if not path.exists():
        raise InputError(
            "no study has been given this name",
            where=str(path),
            fix=f"python -m implantflow pacs find NODE --as {path.stem}",
        )
    data = read_sealed(path)
    try:
        return str(data["node"]), str(data["study_uid"])
    except (KeyError, TypeError):
        raise InputError("not a sealed study", where=str(path)) from None
