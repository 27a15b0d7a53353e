"""`review ... --decision revise --corrections FILE`: the next iteration, written into the case config."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from implantflow.artifacts import temporary
from implantflow.config.base import Name, Section
from implantflow.config.corrections import Correction
from implantflow.config.load import parse, read_yaml
from implantflow.config.models import CaseConfig
from implantflow.errors import ConfigError, ReviewError

_WIDTH = 10_000


class CorrectionsFile(Section):
    """What a reviewer asks for: the YAML file given with ``--corrections``."""

    corrections: list[Correction] = Field(min_length=1, description="Corrections in their order.")
    questions: list[str] = Field(min_length=1, description="What the next review is asked to answer.")
    plan: Name | None = Field(
        default=None, description="Plan revision of the next iteration; left out: that of the reviewed one."
    )


@dataclass(frozen=True)
class NextIteration:
    """The iteration that the corrections make, and the case config with it, checked and not written yet."""

    id: str
    path: Path
    text: str

    def write(self) -> None:
        """Replace the case config."""
        with temporary(self.path) as tmp:
            tmp.write_text(self.text, encoding="utf-8")


def next_iteration(case_file: Path, item: str, corrections_file: Path) -> NextIteration:
    """The case config with one iteration more, whose parent is ``item``.

    The text is added to: comments and everything else stay as they are. Where ``prototype.approved`` named the
    reviewed iteration it names the new one, so the old one goes no further.

    Raises
    ------
    ConfigError
        The corrections, or the config with them, are not valid; nothing is written.
    ReviewError
        The config has no such iteration, or its list is not written as a block.
    """
    asked = parse(CorrectionsFile, read_yaml(corrections_file), str(corrections_file))
    text = case_file.read_text(encoding="utf-8")
    case = parse(CaseConfig, read_yaml(case_file), str(case_file))
    iterations = [] if case.prototype is None else case.prototype.iterations
    reviewed = next((i for i in iterations if i.id == item), None)
    if reviewed is None:
        raise ReviewError(f"the case config has no iteration '{item}'", where=str(case_file))
    new_id = _free_id(item, {i.id for i in iterations})
    given = read_yaml(corrections_file)
    entry = {
        "id": new_id,
        "parent": item,
        "plan": asked.plan or reviewed.plan,
        "corrections": given["corrections"],
        "questions": given["questions"],
    }
    changed = _inserted(text, entry, item, case_file)
    try:
        CaseConfig.model_validate(yaml.safe_load(changed))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ConfigError(
            "with these corrections the case config would not be valid: "
            + str(problem["msg"]).removeprefix("Value error, "),
            where=str(corrections_file),
            fix="correct the file; nothing was signed or written",
        ) from error
    return NextIteration(new_id, case_file, changed)


def _free_id(item: str, known: set[str]) -> str:
    match = re.fullmatch(r"(.*?)(\d+)", item)
    stem, number = (match[1], int(match[2])) if match else (f"{item}_", 1)
    while f"{stem}{number}" in known:
        number += 1
    return f"{stem}{number}"


def _inserted(text: str, entry: dict[str, Any], item: str, case_file: Path) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    prototype = _value(root, "prototype")
    iterations, approved = _value(prototype, "iterations"), _value(prototype, "approved")
    if not isinstance(iterations, yaml.SequenceNode) or iterations.flow_style or prototype.flow_style:
        raise ReviewError(
            "prototype.iterations is not written as a block list, one '- id:' below the other",
            where=str(case_file),
            fix="rewrite it so, or add the iteration by hand",
        )
    lines = text.split("\n")
    last = iterations.value[-1]
    end = _last_line(last)
    indent = " " * (last.start_mark.column - 2)
    lines[end + 1 : end + 1] = [indent + line for line in _block(entry)]
    if approved.value == item:
        row = approved.start_mark.line + (len(_block(entry)) if approved.start_mark.line > end else 0)
        before, after = lines[row][: approved.start_mark.column], lines[row][approved.end_mark.column :]
        lines[row] = f"{before}{entry['id']}{after}"
    return "\n".join(lines)


def _block(entry: dict[str, Any]) -> list[str]:
    """The iteration as a block list item; each correction and question on one line."""
    out = [f"- id: {entry['id']}", f"  parent: {entry['parent']}", f"  plan: {entry['plan']}"]
    for key in ("corrections", "questions"):
        out.append(f"  {key}:")
        out += [f"    - {_one_line(value)}" for value in entry[key]]
    return out


def _one_line(value: Any) -> str:
    dumped = yaml.safe_dump(value, default_flow_style=True, width=_WIDTH, sort_keys=False, allow_unicode=True)
    return str(dumped).removesuffix("\n").removesuffix("\n...").rstrip("\n")


def _value(node: Any, key: str) -> Any:
    return next(value for name, value in node.value if name.value == key)


def _last_line(node: Any) -> int:
    """Line of the last scalar below ``node``: a block's own end mark lies behind comments that follow it."""
    if isinstance(node, yaml.ScalarNode):
        end = node.end_mark
        # A block scalar ends at the start of the next line.
        return int(end.line) - (1 if end.column == 0 and end.line > node.start_mark.line else 0)
    if node.flow_style or not node.value:
        return int(node.end_mark.line)
    last = node.value[-1]
    return _last_line(last[1] if isinstance(last, tuple) else last)
