"""Intake: neutral names for a person's folders and files, made before any rule sees them.

Each source of a case becomes ``{sealed_root}/{case}/series/{series}/file_000001`` and so on, links to the real
files. Who may open the sealed folder looks a name up with ``readlink``; nobody else learns one.
"""

from __future__ import annotations

import os
from pathlib import Path

from implantflow.artifacts import remove, replace, temporary_name
from implantflow.config.models import CaseConfig
from implantflow.config.site import SiteConfig
from implantflow.config.sources import Source, sources, with_neutral_paths
from implantflow.dicom.folder import OTHER_SUFFIXES, leads_elsewhere
from implantflow.dicom.pacs import recall
from implantflow.dicom.sealed import read_sealed, sealed_folder, write_sealed
from implantflow.errors import ImplantflowError, InputError

#: What one file is told by: its path, size in bytes and time of change in ns.
Entry = tuple[str, int, int]


def take_in(case: CaseConfig, site: SiteConfig, *, link: bool = True) -> CaseConfig:
    """The case as every rule sees it: neutral paths in place of the person's, which lead there by links.

    Parameters
    ----------
    link : False in the processes that Snakemake starts for its jobs: the links are there already.

    Raises
    ------
    InputError
        A folder or file does not exist, or a link in it leads nowhere; named by its config key only. The atlas is not
        where the case says. Or no study of an archive was given the name that the case says.
    ConfigError
        The sealed folder cannot be used.
    """
    root = Path(site.sealed_root)
    neutral = with_neutral_paths(case, root)
    if link:
        _see_atlas(case, Path(site.data_root))
        sealed_folder(root, case.case, "link")
        for entry in case.ingest.series.values():
            if entry.study is not None:
                recall(root / "studies" / f"{entry.study}.json")  # refuses a name that nobody gave
        for source in sources(case):
            given = Path(site.data_root) / source.path if source.below_data_root else Path(source.path)
            _link(source, Path(os.path.abspath(given)), root, case.case)  # noqa: PTH100 - links stay links
    return neutral


def neutral_name(number: int, path: str) -> str:
    """Name of the ``number``-th file; of its own name it keeps what decides whether it is read at all."""
    suffix = Path(path).suffix.lower()
    hidden = "." if Path(path).name.startswith(".") else ""
    return f"{hidden}file_{number:06d}{suffix if suffix in OTHER_SUFFIXES else ''}"


def _see_atlas(case: CaseConfig, data_root: Path) -> None:
    """Refuse a missing atlas here: Snakemake does not miss an input whose outputs exist."""
    prior = case.segment.prior
    if prior.kind != "atlas" or prior.path is None:
        return
    folder = data_root / prior.path
    if not any(folder.glob("surface/*/*.vtk")):
        raise InputError(
            "the atlas folder " + ("holds no surface/*/*.vtk" if folder.is_dir() else "does not exist"),
            where=f"segment.prior.path: {folder}",
            fix="correct the path in the case config (it starts at data_root of config/site.yaml)",
        )


def _link(source: Source, real: Path, root: Path, case: str) -> None:
    try:
        if real.is_dir() and not source.folder:
            raise IsADirectoryError
        entries = _listing(real) if source.folder else [_entry(real)]
    except InputError as error:
        error.where = source.key
        raise
    except OSError as error:
        kind = "folder" if source.folder else "file"
        raise InputError(
            f"the {kind} cannot be read ({type(error).__name__})",
            where=source.key,
            fix="correct the path in the case config (it starts at "
            + ("data_root of config/site.yaml" if source.below_data_root else "the project's folder")
            + "), or the links in it: one that leads nowhere is a missing image",
        ) from None
    target = sealed_folder(root, case, *Path(source.name).parts[:-1]) / Path(source.name).name
    index = sealed_folder(root, case, "index") / f"{source.name.replace('/', '.')}.json"
    if os.path.lexists(target) and _known(index) == [list(entry) for entry in entries]:
        return
    # Anything that changed gives new links, whose time of change makes the rules run again.
    draft = temporary_name(target)
    remove(draft)
    if source.folder:
        draft.mkdir(mode=0o700)
        for number, (path, _, _) in enumerate(entries, 1):
            (draft / neutral_name(number, path)).symlink_to(path)
    else:
        draft.symlink_to(real)
    remove(target)
    replace(draft, target)
    write_sealed(index, entries)


def _known(index: Path) -> object:
    try:
        return read_sealed(index)
    except ImplantflowError:
        return None


def _listing(folder: Path) -> list[Entry]:
    """Every file below ``folder`` in the order of their paths.

    Links to folders are not followed: one that leads back into ``folder`` shows nothing new, any other is refused.
    """
    found = []

    def refuse(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=refuse):
        linked = [name for name in folders if (Path(root) / name).is_symlink()]
        if any(leads_elsewhere(Path(root) / name, folder) for name in linked):
            raise InputError(
                "in the folder a link leads to a folder elsewhere, which is not followed: images may lie behind it",
                fix="put the files themselves into the folder, or take the link out of it",
            )
        folders[:] = sorted(set(folders) - set(linked))
        found += [_entry(Path(root) / name) for name in sorted(names)]
    return found


def _entry(path: Path) -> Entry:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns
