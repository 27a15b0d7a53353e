"""Where a person's files lie: every config key that names one, and the neutral name it has everywhere else.

Hospitals name folders and files after patients. Rules, params, logs, ledger and resolved config therefore see a
neutral path only (decision 10); the real one stays in the case config and in the sealed folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implantflow.config.corrections import ImportStl
from implantflow.config.models import CaseConfig
from implantflow.config.tumour import MaskTimepoint

#: Suffixes by which readers of volumes, meshes and points tell formats apart; a neutral name keeps these only.
KEPT_SUFFIXES = (
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".mha",
    ".mrk.json",
    ".json",
    ".stl",
    ".ply",
    ".obj",
    ".dcm",
    ".csv",
)


@dataclass(frozen=True)
class Source:
    """One config value that names a file or folder of a person.

    Attributes
    ----------
    key : path of the config key, parts joined by dots; a list's entry by its number.
    name : neutral path below the case's sealed folder.
    path : what the config says.
    folder : a folder of DICOM files, else one file.
    below_data_root : relative to the site's data_root, else to the project.
    """

    key: str
    name: str
    path: str
    folder: bool
    below_data_root: bool


def sources(case: CaseConfig) -> list[Source]:
    """Every such value of a case, in the order of the config."""
    found = [
        Source(f"ingest.series.{name}.dicom", f"series/{name}", entry.dicom, True, True)
        for name, entry in case.ingest.series.items()
        if entry.dicom is not None
    ]
    prior = case.segment.prior
    # The atlas is no person's file: it keeps its name (intake sees that it is there).
    if prior.kind != "atlas" and prior.path is not None:
        found.append(_file("segment.prior.path", "bones", prior.path, below_data_root=True))
    if prior.landmarks_file is not None:
        found.append(_file("segment.prior.landmarks_file", "landmarks", prior.landmarks_file))
    if case.segment.edited_labels is not None:
        found.append(_file("segment.edited_labels", "edited_labels", case.segment.edited_labels))
    for number, timepoint in enumerate(() if case.tumour is None else case.tumour.timepoints):
        if isinstance(timepoint, MaskTimepoint):
            found.append(
                _file(f"tumour.timepoints.{number}.file", f"outline_{timepoint.name}", timepoint.file)
            )
    for number, iteration in enumerate(() if case.prototype is None else case.prototype.iterations):
        for place, correction in enumerate(iteration.corrections):
            if isinstance(correction, ImportStl):
                key = f"prototype.iterations.{number}.corrections.{place}.file"
                found.append(_file(key, f"edited_{iteration.id}_{place + 1}", correction.file))
    for number, revision in enumerate(() if case.inspect is None else case.inspect.revisions):
        for state, scan in revision.scans.items():
            key = f"inspect.revisions.{number}" + ("" if state == "print" else f".{state}")
            if scan.dicom is not None:
                found.append(Source(f"{key}.dicom", f"series/{scan.series}", scan.dicom, True, True))
            if scan.file is not None:
                name = f"{state}_{revision.id}"
                found.append(_file(f"{key}.file", name, scan.file, below_data_root=True))
    if case.release is not None and case.release.traveller is not None:
        found.append(_file("release.traveller", "traveller", case.release.traveller))
    if case.followup is not None and case.followup.outcomes is not None:
        found.append(_file("followup.outcomes", "outcomes", case.followup.outcomes))
    return found


def with_neutral_paths(case: CaseConfig, sealed_root: Path) -> CaseConfig:
    """The same case with the neutral path in place of every source; nothing is looked up on disk."""
    found = sources(case)
    if not found:
        return case
    data = case.model_dump(mode="json")
    for source in found:
        *parents, last = source.key.split(".")
        holder: Any = data
        for part in parents:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        holder[last] = (sealed_root / case.case / source.name).as_posix()
    return CaseConfig.model_validate(data)


def _file(key: str, name: str, path: str, *, below_data_root: bool = False) -> Source:
    suffix = next((s for s in KEPT_SUFFIXES if path.lower().endswith(s)), "")
    return Source(key, f"files/{name}{suffix}", path, False, below_data_root)
