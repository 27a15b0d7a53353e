"""A screen over the texts of a config: what identifies a patient or opens a door has no place in them.

Reasons, notes and sources go into pages, logs and the ledger as they stand. The screen finds what people paste by
mistake, in the forms below; it does not find a name in a sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from implantflow.errors import ConfigError

#: A day in figures or with its month in words, or a year; what makes a birth date of "born".
_DATE = (
    r"(?:\d{4}[-/. ]\d{1,2}[-/. ]\d{1,2}|\d{1,2}[-/. ]{1,2}\d{1,2}[-/. ]{1,2}\d{2,4}|\d{8}"
    r"|\d{1,2}\.? ?[^\W\d_]{3,} \d{4}|[^\W\d_]{3,} \d{1,2},? \d{4}|(?:18|19|20)\d{2})(?!\d)"
)

#: Kind of what is found, and the pattern that finds it. Dates alone, UIDs and digests fit none of them.
KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "a password, token or key",
        re.compile(
            r"(?:pass(?:word|wd|phrase|wort)|\bpwd|token|secret|(?:api|access|private|secret)[ _-]?key)\s*[=:]\s*\S"
            r"|\bpass(?:word|phrase|wort) is \S|\bkey\s*=\s*\S{6}|\bbearer [\w.~+/-]{12}"
            r"|BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s@]+@",
            re.IGNORECASE,
        ),
    ),
    ("a person's name as DICOM writes it (with ^)", re.compile(r"[^\W\d_]\^+[^\W\d_]")),
    (
        "a national identity number",
        re.compile(
            r"(?<![\w.-])(?:\d{3}-\d{2}-\d{4}"  # USA
            r"|\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-[0-9]\d{6})(?![\w-])"  # Korea: birth date, then seven
        ),
    ),
    (
        "a patient's ID or name",
        re.compile(
            r"(?-i:\bPatient(?:ID|Name|BirthDate|Address)\b)\W*\w"
            r"|\bpatient(?:['\u2019]?s)?[\s_-]*(?:id|name|no|number)\b(?:\s*[=:#]\s*\S|[\s.]+(?:is\s+)?[\w-]*\d)"
            r"|\b(?:mrn|medical record (?:no|number))\b[\W_]*(?:is\s+)?[\w-]*\d",
            re.IGNORECASE,
        ),
    ),
    (
        "a date of birth",
        re.compile(
            r"(?:\bborn\b|\bgeboren\b|\bgeb\.|date of birth|birth[ _-]?da(?:te|y)|\bdob\b)\D{0,15}?" + _DATE,
            re.IGNORECASE,
        ),
    ),
)

#: Paths of a person's files get neutral names (decision 6), the site's are its own; a lot may look like any number.
UNSCREENED = {
    "dicom", "file", "path", "landmarks_file", "edited_labels", "outcomes", "traveller", "data_root", "sealed_root",
    "lot", "catalogue_number", "udi",
}  # fmt: skip


def screen(data: Any, where: str) -> None:
    """Look through every text of a config, its free keys too.

    Raises
    ------
    ConfigError
        Something was found; says the key and the kind, never the text.
    """
    found = [f"  {number}. {line}" for number, line in enumerate(_found(data, ""), 1)]
    if found:
        raise ConfigError(
            f"{len(found)} text(s) with what must not stand in a config (not repeated here)\n"
            + "\n".join(found),
            where=where,
            fix="take it out of these keys: a patient's identity stays in the scans, a password in the environment "
            "(docs/privacy-and-pacs.md); renew a password that stood here",
        )


def _found(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, str):
        kinds = kinds_in(value)
        if kinds:
            yield f"{key}: {', '.join(kinds)}"
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            shown, kinds = str(name), kinds_in(str(name))
            if kinds:
                shown = "?"
                yield f"{key or '(whole file)'}, one of its keys: {', '.join(kinds)}"
            if name not in UNSCREENED or not isinstance(entry, str):
                yield from _found(entry, f"{key}.{shown}" if key else shown)
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            yield from _found(entry, f"{key}.{number}")


def kinds_in(text: str) -> list[str]:
    """Kinds of what ``text`` holds, in the order of ``KINDS``; wide and other variants of letters count as letters."""
    plain = unicodedata.normalize("NFKC", text)
    return [kind for kind, pattern in KINDS if pattern.search(plain)]
