"""``new-case``: from DICOM folders to a commented case config with what could be read off them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from implantflow.artifacts import temporary
from implantflow.config.base import NAME_PATTERN
from implantflow.config.load import load
from implantflow.config.models import LATER, CaseConfig
from implantflow.config.site import SiteConfig
from implantflow.config.skeleton import skeleton
from implantflow.errors import ConfigError
from implantflow.ingest.read import scan_folder

HEAD = """# Case config, written by `python -m implantflow new-case`. Fill in every key marked REQUIRED;
# keys in comments show their defaults. A key without a default has none because a wrong guess could
# hurt a patient. Every key is explained in config/README.md. A section whose keys are comments is a
# later stage: the case ends before it. Take one sign off each of its lines when its turn comes.
#
# Found in the folders (choose one line a series; nothing was guessed from names):
"""


def write_case(
    case: str, folders: list[Path], out: Path | None, site_file: Path | None = None, until: str = "build"
) -> Path:
    """Scan ``folders``, list their series, and write the config of ``case``; an existing file is kept.

    Sections after ``until`` (``segment`` or a section of ``LATER``) are written as comments: the case ends before them
    until somebody takes the comment signs away and fills them in.

    Returns
    -------
    path : Path
        The file written, ``config/cases/{case}.yaml`` unless ``out`` says otherwise.

    Raises
    ------
    ConfigError
        The name is not neutral and short, or the file is there already.
    InputError
        A folder holds no image.
    """
    if not re.fullmatch(NAME_PATTERN, case):
        raise ConfigError(f"'{case}' is no case name", fix="small letters, digits and _, e.g. case_017")
    path = out or Path("config/cases") / f"{case}.yaml"
    if path.exists():
        raise ConfigError("the case config exists already", where=str(path), fix="choose another name")
    site = load(SiteConfig, site_file or Path("config/site.yaml"))
    table: list[str] = []
    series: dict[str, dict[str, Any]] = {}
    for folder in folders:
        shown = _below(folder, Path(site.data_root))
        table.append(f"#   {shown}")
        rows = scan_folder(folder)
        table += [f"#     {row}" for row in rows]
        for row in rows:
            if row.kind != "volume":
                continue
            name = _series_name(row.modality, series)
            entry = {"dicom": shown, "modality": row.modality}
            if sum(r.kind == "volume" for r in rows) > 1:
                entry["series_uid"] = row.series_uid
            series[name] = entry
    known: dict[str, Any] = {"case": case, "ingest": {"series": series}}
    if "ct_planning" in series:
        known["ingest"]["planning_ct"] = "ct_planning"
    wanted = next((n + 1 for n, group in enumerate(LATER) if until in group), 0)
    later = [*(name for group in LATER[wanted:] for name in group), "followup"]
    known |= {name: {} for name in [*(name for group in LATER for name in group), "followup"]}
    lines = skeleton(CaseConfig, known, later=later)
    text = HEAD + "\n".join(table) + "\n\n" + "\n".join(lines) + "\n"
    with temporary(path) as tmp:
        tmp.write_text(text, encoding="utf-8")
    return path


def _series_name(modality: str, taken: dict[str, Any]) -> str:
    """The first CT is proposed as the planning CT; the rest are numbered by modality."""
    if modality == "CT" and "ct_planning" not in taken:
        return "ct_planning"
    number = 1 + sum(name.startswith(f"{modality.lower()}_") for name in taken)
    return f"{modality.lower()}_{number}"


def _below(folder: Path, data_root: Path) -> str:
    """``folder`` as the case config names it: relative to the site's data_root when it lies below it."""
    resolved, root = folder.resolve(), data_root.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else resolved.as_posix()
