"""The label: side, case and revision large enough to be read across a theatre."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from implantflow.release.pages import render


def write_label(svg: Path, page: Path, content: Mapping[str, Any]) -> None:
    """Write the label as a picture (100 x 70 mm) and as a page that prints it.

    Parameters
    ----------
    content : mapping
        ``facts`` (what every page shows), ``digests`` (``implant_stl``, ``build_cli``) and ``complete``:
        whether the manufacturing record is; a label without it says that the device must not be used.
    """
    picture = render("label.svg.j2", content)
    svg.write_text(picture, encoding="utf-8")
    page.write_text(render("label.html.j2", {**content, "svg": picture}), encoding="utf-8")
