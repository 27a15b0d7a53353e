"""Rendering of the package's pages: each is one file that asks for nothing from outside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def render(template: str, facts: Mapping[str, Any]) -> str:
    """Fill one template of this folder; values are escaped, a missing one is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["short"] = short
    return environment.get_template(template).render(facts)


def short(digest: str) -> str:
    """The first 16 hex digits, in groups of four: enough to compare by eye."""
    return " ".join(digest[i : i + 4] for i in range(0, 16, 4))


def source(name: str) -> str:
    """Text of a style sheet or script that is put into a page."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def embedded_png(path: Path) -> str:
    """A picture as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
