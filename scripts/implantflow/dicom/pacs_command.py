"""``python -m implantflow pacs find | fetch | send``: the person at the terminal and the image archive.

What identifies a patient is asked for on the terminal (or read from standard input), never taken from the command
line, which other users of the machine and the shell's history can see.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from implantflow.artifacts import read_json, sha256_file
from implantflow.config.base import NAME_PATTERN
from implantflow.config.load import load
from implantflow.config.site import SiteConfig
from implantflow.dicom import pacs
from implantflow.dicom.identity import SeriesLink, read_link, reidentify
from implantflow.dicom.quiet import quietly
from implantflow.errors import ConfigError, InputError, ProvenanceError

SITE_FILE = Path("config/site.yaml")
RESULTS = Path("results")


def main(arguments: Sequence[str]) -> int:
    """Run one of the three commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="implantflow pacs", description=__doc__)
    parser.add_argument("--site", type=Path, default=SITE_FILE, help="site config, default config/site.yaml")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    find = commands.add_parser(
        "find", help="list studies; the search comes from standard input, e.g. PatientID=..."
    )
    find.add_argument("node", help="name of the archive in the site config")
    find.add_argument("--as", dest="name", default=None, help="neutral name to remember the study by")
    find.add_argument("--take", type=int, default=None, help="which line of the list to remember")
    find.set_defaults(run=_find)
    fetch = commands.add_parser("fetch", help="fetch a remembered study into a folder, whole or not at all")
    fetch.add_argument("study", help="neutral name given by find --as")
    fetch.add_argument("out", type=Path, help="new folder, outside results/")
    fetch.set_defaults(run=_fetch)
    send = commands.add_parser(
        "send", help="send DICOM objects of a released case, or of its follow-up, under the patient's name"
    )
    send.add_argument("node", help="name of the archive in the site config")
    send.add_argument("case", help="neutral name of the case")
    send.add_argument(
        "--followup", metavar="TIMEPOINT", help="the objects of this follow-up, not the release's"
    )
    send.add_argument("--not-clinical", action="store_true", help="allow objects of a demo or research case")
    send.set_defaults(run=_send)
    options = parser.parse_args(arguments)
    return int(options.run(options, load(SiteConfig, options.site)))


def _find(options: argparse.Namespace, site: SiteConfig) -> int:
    if options.name is not None and not re.fullmatch(NAME_PATTERN, options.name):
        raise ConfigError(f"'{options.name}' is no neutral name", fix="small letters, digits and _: ct_2")
    archive = pacs.open_archive(options.node, site)
    query = _ask()
    pacs.check_query(query)
    studies = archive.find_studies(query)
    if not studies:
        raise InputError("the archive has no such study", fix="check the search; nothing was remembered")
    for number, study in enumerate(studies, 1):
        line = (
            f"{number:3}  {study.date or '????????'}  {study.modalities:8}  {study.images or '?':>5} images  "
            f"{study.description}"
        )
        # The archive's text must not steer the terminal.
        print("".join(letter if letter.isprintable() else "?" for letter in line))
    if options.name is None:
        return 0
    if options.take is None and len(studies) > 1:
        raise InputError(f"{len(studies)} studies match", fix="name one of the lines: --take NUMBER")
    number = options.take or 1
    if not 1 <= number <= len(studies):
        raise InputError(f"there is no line {number}", fix=f"--take 1 to {len(studies)}")
    pacs.remember(site, options.name, options.node, studies[number - 1].uid)
    print(f"remembered line {number}; in the case config: study: {options.name}")
    return 0


def _ask() -> dict[str, str]:
    """The search, line by line from standard input; prompts where a person sits there."""
    if sys.stdin.isatty():
        print("Search (leave empty what is not known):", file=sys.stderr)
        asked = {keyword: input(f"  {keyword}: ").strip() for keyword in pacs.QUERY}
        return {keyword: value for keyword, value in asked.items() if value}
    found = {}
    for line in sys.stdin.read().splitlines():
        keyword, sign, value = line.partition("=")
        if line.strip() and not sign:
            raise InputError("a line of the search is not KEYWORD=VALUE", fix="e.g. AccessionNumber=...")
        if value.strip():
            found[keyword.strip()] = value.strip()
    return found


def _fetch(options: argparse.Namespace, site: SiteConfig) -> int:
    out: Path = options.out
    if out.exists():
        raise InputError("the folder exists already", where="OUT", fix="name a new one")
    if out.resolve().is_relative_to(RESULTS.resolve()):
        raise InputError("scans with a patient's name do not belong into results/", fix="name another folder")
    node, study_uid = pacs.recall(Path(site.sealed_root) / "studies" / f"{options.study}.json")
    # Kept when the connection breaks, under a name nobody takes for the study: the next call goes on from there.
    draft = out.with_name(f".partial-{out.name}")
    count = pacs.fetch_study(pacs.open_archive(node, site), study_uid, draft, told=print)
    draft.replace(out)
    print(f"{out}: {count} images, as many as the archive has")
    return 0


def _send(options: argparse.Namespace, site: SiteConfig) -> int:
    if not re.fullmatch(NAME_PATTERN, options.case):
        raise ConfigError(f"'{options.case}' is no case name")
    folder = RESULTS / options.case
    _allowed(folder, options.not_clinical)
    objects = _released(folder) if options.followup is None else _followed_up(folder, options.followup)
    links = _links(Path(site.sealed_root) / options.case / "link")
    datasets = [reidentify(dataset, links) for dataset in objects]
    archive = pacs.open_archive(options.node, site)
    archive.send(datasets)
    for dataset in datasets:
        uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
        if not archive.holds(*(str(uid) for uid in uids)):
            raise pacs.ArchiveError(
                "the archive took an object but does not list it", fix="ask its administrator"
            )
    print(f"{len(datasets)} objects stored; the archive lists each in the study of the scan it was made from")
    return 0


def _allowed(folder: Path, not_clinical: bool) -> None:
    path = folder / "release" / "release.json"
    if not path.exists():
        raise InputError(
            "the case is not released", where=str(path), fix="run the pipeline up to the release"
        )
    release = read_json(path)
    if release["purpose"] != "clinical" and not not_clinical:
        raise InputError(
            f"the case is a {release['purpose']} case; its objects are NOT FOR CLINICAL USE",
            where=str(path),
            fix="add --not-clinical to send them to an archive meant for such",
        )
    if release["purpose"] == "clinical" and not release["complete"]:
        raise InputError(
            "the release is not complete", where=str(path), fix="hand in what it says is missing"
        )


def _released(folder: Path) -> list[Any]:
    """The released DICOM objects."""
    root = folder / "release"
    listed = {entry["path"]: entry["sha256"] for entry in read_json(root / "manifest.json")["files"]}
    return _objects(
        root, {name: digest for name, digest in listed.items() if name.endswith(".dcm")}, "release"
    )


def _followed_up(folder: Path, timepoint: str) -> list[Any]:
    """The DICOM objects of one follow-up."""
    if not re.fullmatch(NAME_PATTERN, timepoint):
        raise ConfigError(f"'{timepoint}' is no name of a follow-up")
    root = folder / "followup" / timepoint
    record = root / "followup.json"
    if not record.exists():
        raise InputError("the case has no such follow-up", where=str(record), fix="run the follow-up first")
    made = read_json(record)["dicom"]
    if made["status"] != "written":
        raise InputError(
            f"the follow-up has no DICOM objects: {made['reason']}", where=str(record), fix=made["fix"]
        )
    return _objects(root / "dicom", made["sha256"], "follow-up")


def _objects(root: Path, listed: Mapping[str, str], made_by: str) -> list[Any]:
    """The DICOM files of ``root`` (name -> SHA-256), each exactly as it was listed when it was made."""
    import pydicom

    if not listed:
        raise InputError(f"the {made_by} holds no DICOM object", where=str(root))
    for name, digest in sorted(listed.items()):
        if not (root / name).is_file() or sha256_file(root / name) != digest:
            raise ProvenanceError(
                f"{name} is not the file that the {made_by} made",
                where=str(root),
                fix=f"run the {made_by} again",
            )
    with quietly():
        return [pydicom.dcmread(root / name) for name in sorted(listed)]


def _links(sealed: Path) -> dict[str, SeriesLink]:
    """Links of all series of a case, those of its follow-up too where it has one."""
    later = sealed / "followup.json"
    return {**(read_link(later) if later.exists() else {}), **read_link(sealed / "preoperative.json")}
