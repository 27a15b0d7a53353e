"""Which cases a run is about, named one by one or by a tag of their configs, and which of them end too early for it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from implantflow.config.load import unreadable
from implantflow.config.models import DESIGN, LATER, CaseConfig
from implantflow.errors import ConfigError

#: What ``--config`` takes.
OPTIONS = {
    "cases": "names, with commas",
    "tag": "a word of the cases' `tags`",
    "case_dir": "folder of the case configs",
}


def requested(options: Mapping[str, Any], folder: Path) -> list[str]:
    """Names of the cases that ``cases`` and ``tag`` of ``--config`` ask for, each once, in order; "demo" without both.

    Raises
    ------
    ConfigError
        An option is not known or ``cases`` names none, so that nobody takes the demo's results for a patient's. No
        case below ``folder`` carries the tag, or the tags of a config there cannot be read.
    """
    _known(options)
    if "cases" not in options and "tag" not in options:
        return ["demo"]
    value, tag = options.get("cases"), options.get("tag")
    listed = value if isinstance(value, list) else str("" if value is None else value).split(",")
    names = [str(name).strip() for name in listed if str(name).strip()]
    if "cases" in options and not names:
        raise ConfigError(
            "no case is named", where="--config cases", fix="write --config cases=NAME, or NAME,NAME"
        )
    if "tag" in options:
        names += _tagged(folder, str(tag))
    return list(dict.fromkeys(names))


def ends_before(section: str, cases: Mapping[str, CaseConfig], folder: Path) -> list[str]:
    """A line for each case whose config has no ``section``, when that is asked for by name.

    Raises
    ------
    ConfigError
        No case has it: there is nothing to do, which must not look like work that is done.
    """
    without = [name for name, case in cases.items() if getattr(case, section) is None]
    lines = [f"{section} is not configured in {name}" for name in without]
    if not without or len(without) < len(cases):
        return lines
    ahead = next((n for n, group in enumerate(LATER) if section in group), DESIGN)
    wanted = [name for group in LATER[: ahead + 1] for name in group]
    wanted += [section] if section not in wanted else []
    empty = [name for name in wanted if any(getattr(cases[w], name) is None for w in without)]
    raise ConfigError(
        "; ".join(lines),
        where=", ".join(str(folder / f"{name}.yaml") for name in without),
        fix=f"fill in {', '.join(f'`{name}`' for name in empty)} there, or ask for an earlier stage",
    )


def _known(options: Mapping[str, Any]) -> None:
    unknown = [key for key in options if key not in OPTIONS]
    if not unknown:
        return
    close = difflib.get_close_matches(unknown[0], OPTIONS, n=1)
    hint = f"did you mean {close[0]}=...? " if close else ""
    raise ConfigError(
        f"unknown key for --config: {', '.join(unknown)}",
        where="--config",
        fix=f"{hint}known are {', '.join(f'{key} ({what})' for key, what in OPTIONS.items())}; what concerns one case "
        "stands in its own file below config/cases",
    )


#: The key ``tags`` of a config with what belongs to it: reading whole configs would take a second for a hundred.
_TAGS = re.compile(r"^tags:.*(?:\n(?:[ \t-].*)?)*", re.MULTILINE)


def _tagged(folder: Path, tag: str) -> list[str]:
    found, known = [], set()
    for path in sorted(folder.glob("*.yaml")):
        here = _tags_of(path)
        known |= here
        if tag in here:
            found.append(path.stem)
    if not found:
        have = f"tags there: {', '.join(sorted(known))}" if known else "no config there has `tags`"
        raise ConfigError(f"no case has the tag '{tag}'", where=str(folder), fix=have)
    return found


def _tags_of(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    part = _TAGS.search(text)
    if part is None:
        return set()
    try:
        tags = yaml.safe_load(part[0])["tags"]
    except yaml.YAMLError as error:
        raise unreadable(error, path, before=text.count("\n", 0, part.start())) from error
    return {str(tag) for tag in tags} if isinstance(tags, list) else set()
