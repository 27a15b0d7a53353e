"""What a clinical case needs beside signatures: figures that somebody has checked, and the software it is pinned to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from implantflow import __version__
from implantflow.config.lattice import PRESET_FOLDER, LatticeConfig
from implantflow.config.presets import load_preset
from implantflow.config.prototype import PRINTERS, PrototypeConfig

ADVICE = "a clinical case takes checked figures only: check them, then set verified: true"


def unverified_figures(value: Any, key: str = "") -> Iterator[str]:
    """A line for each block or preset below ``value`` (a section, list or map) that says ``verified: false``.

    The machine stands written out in the config by the time it is looked at; of presets that only fill in a section,
    or are read later, the file is asked.
    """
    if isinstance(value, LatticeConfig | PrototypeConfig):
        yield from _unverified_preset(value, key)
    if isinstance(value, BaseModel):
        if getattr(value, "verified", True) is False:
            yield f"{key}.verified is false; {ADVICE}"
        below = [(name, getattr(value, name)) for name in type(value).model_fields]
    elif isinstance(value, Mapping):
        below = [(str(name), entry) for name, entry in value.items()]
    elif isinstance(value, list | tuple):
        below = [(str(number), entry) for number, entry in enumerate(value)]
    else:
        return
    for name, entry in below:
        yield from unverified_figures(entry, f"{key}.{name}" if key else name)


def _unverified_preset(section: LatticeConfig | PrototypeConfig, key: str) -> Iterator[str]:
    if isinstance(section, LatticeConfig):
        name, last, folder = section.preset, "preset", PRESET_FOLDER
    else:
        name, last, folder = section.printer, "printer", PRINTERS
    if name is not None and not load_preset(folder, name, last)["verified"]:
        yield f"{key}.{last}: config/{folder.name}/{name}.yaml says verified: false; {ADVICE}"


def version_problems(pinned: str | None) -> list[str]:
    """What is wrong with the version that a clinical case is pinned to; empty when this is that version."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", __version__):
        return [
            f"software_version: this is implantflow {__version__}, which is no release; install a released version"
        ]
    if pinned is None:
        return [
            "software_version: a clinical case is pinned to the version that was validated for it; write "
            f"software_version: {__version__} if that is this one"
        ]
    if pinned != __version__:
        return [
            f"software_version: the case is pinned to {pinned}, this is implantflow {__version__}; install {pinned}, "
            f"or validate {__version__} for this case and write that"
        ]
    return []
