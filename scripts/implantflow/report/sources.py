"""The files of one case, read with care: any of them may be missing, and the report is made all the same."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from implantflow import artifacts
from implantflow.errors import ImplantflowError
from implantflow.report.meshes import Mesh, load_mesh
from implantflow.volumes import Volume, read_volume


class CaseFiles:
    """Read-only view of ``results/{case}``.

    Parameters
    ----------
    case_dir : Path
        Folder of the case.
    config : mapping or None
        The resolved case config; None when not even that is known.

    Attributes
    ----------
    problems : list of str
        Files that exist but cannot be read; the report shows them.
    """

    def __init__(self, case_dir: Path, config: Mapping[str, Any] | None) -> None:
        self.case_dir = case_dir
        self.config: Mapping[str, Any] = config or {}
        self.problems: list[str] = []
        self._meshes: dict[str, Mesh | None] = {}

    @property
    def case(self) -> str:
        """Name of the case."""
        return str(self.config.get("case") or self.case_dir.name)

    @property
    def purpose(self) -> str:
        """demo, research, clinical, or unknown."""
        return str(self.config.get("purpose") or "unknown")

    @property
    def side(self) -> str:
        """Operated side, left or right, or unknown."""
        return str(self.config.get("side") or "unknown")

    @property
    def simulated(self) -> bool:
        """True when the patient is none: the project's own phantom, or images that somebody made."""
        return bool(self.config.get("simulated")) or self.made_images is not None

    @property
    def made_images(self) -> str | None:
        """What the images are where they are no person's but came as files (``ingest.made_images``)."""
        return (self.config.get("ingest") or {}).get("made_images")

    def is_simulated(self, stage: str) -> bool:
        """True when the images that ``stage`` reads are simulated, be it for a real person's case."""
        return self.simulated or self.has_truth_of(stage)

    def has_truth_of(self, stage: str) -> bool:
        """True when the pipeline itself made what ``stage`` reads, so that a truth is known for it."""
        section = {"inspect": "simulated_print", "followup": "simulated_followup"}.get(stage, "simulated")
        return bool(self.config.get("simulated") or self.config.get(section))

    @property
    def has_truth(self) -> bool:
        """True when anything in the case is simulated, so that a truth is known for it."""
        return any(self.has_truth_of(stage) for stage in ("ingest", "inspect", "followup"))

    def path(self, relative: str) -> Path:
        """Path of a file of the case."""
        return self.case_dir / relative

    def exists(self, relative: str) -> bool:
        """True when the file is there."""
        return self.path(relative).is_file()

    def json(self, relative: str) -> dict[str, Any] | None:
        """A JSON object of the case; None when absent, or damaged (then noted in ``problems``)."""
        if not self.exists(relative):
            return None
        try:
            value = artifacts.read_json(self.path(relative))
        except ImplantflowError as error:
            self.note(f"{relative}: {error.what}")
            return None
        if not isinstance(value, dict):
            self.note(f"{relative}: holds no JSON object")
            return None
        return value

    def mesh(self, relative: str) -> Mesh | None:
        """A surface of the case (read once), or None."""
        if relative not in self._meshes:
            self._meshes[relative] = self._read_mesh(relative)
        return self._meshes[relative]

    def _read_mesh(self, relative: str) -> Mesh | None:
        if not self.exists(relative):
            return None
        try:
            mesh = load_mesh(self.path(relative))
        except (ImplantflowError, ValueError) as error:
            self.note(f"{relative}: {error.what if isinstance(error, ImplantflowError) else error}")
            return None
        return mesh if len(mesh.faces) else None

    @functools.lru_cache(maxsize=3)  # noqa: B019 - one instance per process, a CT is 70 MB
    def volume(self, relative: str) -> Volume | None:
        """An image of the case, or None."""
        if not self.exists(relative):
            return None
        try:
            return read_volume(self.path(relative))
        except ImplantflowError as error:
            self.note(f"{relative}: {error.what}")
            return None

    def folders(self, parent: str) -> list[str]:
        """Names of the sub-folders of ``parent``, numbers in them sorted as numbers."""
        root = self.path(parent)
        if not root.is_dir():
            return []
        return sorted((p.name for p in root.iterdir() if p.is_dir()), key=natural)

    def failures(self) -> list[dict[str, Any]]:
        """What jobs that did not finish left in ``logs/*.status.json``, by name."""
        found = []
        for path in sorted(self.path("logs").glob("*.status.json")):
            data = self.json(f"logs/{path.name}")
            if data is not None:
                found.append({"job": path.name.removesuffix(".status.json"), **data})
        return found

    def without_machine_paths(self, text: str) -> str:
        """``text`` with the folder of this case cut off paths, so that reports do not differ between machines."""
        for base in (self.case_dir.resolve(), self.case_dir.resolve().parent.parent):
            text = text.replace(base.as_posix() + "/", "")
        return text

    def note(self, *messages: str) -> None:
        """Add to ``problems`` what is not in it yet."""
        self.problems += [message for message in messages if message not in self.problems]


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key that puts r2 before r10."""
    return [(0, int(p)) if p.isdigit() else (1, p) for p in re.split(r"(\d+)", name) if p]


def dig(data: Any, dotted: str, default: Any = None) -> Any:
    """Value at ``a.b.0.c`` (-1 is the last) in nested mappings and lists; ``default`` where the way ends."""
    for part in dotted.split("."):
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, list) and re.fullmatch(r"-?\d+", part) and -len(data) <= int(part) < len(data):
            data = data[int(part)]
        else:
            return default
    return data


def ids(config: Mapping[str, Any], section: str, items: str) -> list[str]:
    """Ids of a list in the config, e.g. plan.revisions or prototype.iterations, in the order given there."""
    entries = dig(config, f"{section}.{items}", [])
    if not isinstance(entries, list):
        return []
    return [str(e["id"]) for e in entries if isinstance(e, Mapping) and "id" in e]
