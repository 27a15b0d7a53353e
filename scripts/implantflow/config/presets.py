"""Presets: data files of the repository, each with its source and whether it was verified."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def load_preset(folder: Path, name: str) -> dict[str, Any]:
    """Read ``folder/name.yaml``.

    Raises
    ------
    ValueError
        No such preset, or one without ``source`` and ``verified``; pydantic turns it into a config error.
    """
    import yaml

    from implantflow.config.load import FAST_LOADER

    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name) or name not in known:
        raise ValueError(f"no preset called {name!r}; there are: {', '.join(known) or 'none'}")
    text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
    data = yaml.load(text, Loader=FAST_LOADER)
    if not isinstance(data, dict) or "source" not in data or not isinstance(data.get("verified"), bool):
        raise ValueError(f"preset {name!r} lacks its source or its verified flag")
    return data
