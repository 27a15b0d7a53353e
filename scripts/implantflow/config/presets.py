"""Presets: data files of the repository, each with its source and whether it was verified."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from implantflow.config.base import Problems


def load_preset(folder: Path, name: str, key: str) -> dict[str, Any]:
    """Read ``folder/name.yaml``, named by the config's ``key`` (seen from the section that is validated).

    Raises
    ------
    ValueError
        No such preset, or one without ``source`` and ``verified``; pydantic turns it into a config error.
    """
    from implantflow.config.load import read_yaml  # pydantic and YAML only where a preset is read

    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name) or name not in known:
        raise Problems([f"{key}: no preset called {name!r}; there are: {', '.join(known) or 'none'}"])
    data = read_yaml(folder / f"{name}.yaml")
    if not isinstance(data, dict) or "source" not in data or not isinstance(data.get("verified"), bool):
        raise Problems([f"{key}: preset {name!r} lacks its source or its verified flag"])
    return data
