"""Which cases a run is about: named one by one, or by a tag of their configs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from implantflow.config.load import read_yaml
from implantflow.errors import ConfigError


def requested(options: Mapping[str, Any], folder: Path) -> list[str]:
    """Names of the cases that ``cases`` and ``tag`` of ``--config`` ask for, each once, in order; "demo" without both.

    Raises
    ------
    ConfigError
        No case below ``folder`` carries the tag, or a config there cannot be read as YAML.
    """
    value, tag = options.get("cases"), options.get("tag")
    if value is None and tag is None:
        return ["demo"]
    listed = value if isinstance(value, list) else str(value or "").split(",")
    names = [str(name).strip() for name in listed if str(name).strip()]
    if tag is not None:
        names += _tagged(folder, str(tag))
    return list(dict.fromkeys(names))


def _tagged(folder: Path, tag: str) -> list[str]:
    found, known = [], set()
    for path in sorted(folder.glob("*.yaml")):
        data = read_yaml(path)
        tags = data.get("tags") if isinstance(data, dict) else None
        here = {str(t) for t in tags} if isinstance(tags, list) else set()
        known |= here
        if tag in here:
            found.append(path.stem)
    if not found:
        have = f"tags there: {', '.join(sorted(known))}" if known else "no config there has `tags`"
        raise ConfigError(f"no case has the tag '{tag}'", where=str(folder), fix=have)
    return found
