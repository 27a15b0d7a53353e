"""Read a YAML config: every error of a file at once, each with key, value, why, and what to write."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from implantflow.config.base import Problems
from implantflow.config.screen import screen
from implantflow.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

#: A case config is some hundred lines; more is a mistake or an attack (entity expansion).
MAX_BYTES = 1_000_000


#: A case config nests six deep.
MAX_DEPTH = 40

#: libyaml where PyYAML has it: a cohort of a hundred cases is read in a second or two instead of ten.
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(FAST_LOADER):  # type: ignore[misc]
    """Safe YAML that refuses duplicate keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' appears twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _screen(text: str) -> None:
    """Refuse what nobody needs here and bombs are made of: aliases and deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=FAST_LOADER):
        mark: Any = event.start_mark
        if isinstance(event, yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed", mark)
        depth += isinstance(event, yaml.events.CollectionStartEvent)
        depth -= isinstance(event, yaml.events.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {MAX_DEPTH} deep", mark)


def read_yaml(path: Path, missing: str = "check the path") -> Any:
    """Parse a YAML file; ConfigError with file and line when it is missing (``missing`` says what then to do), too
    large or malformed."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"config file is larger than {MAX_BYTES} bytes", where=str(path))
        text = path.read_text(encoding="utf-8")
        _screen(text)
        return yaml.load(text, Loader=_StrictLoader)
    except FileNotFoundError as error:
        raise ConfigError("config file not found", where=str(path), fix=missing) from error
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path), fix=missing) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error, path) from error


def unreadable(error: Exception, path: Path, before: int = 0) -> ConfigError:
    """What is wrong with a YAML file and in which line; ``before`` lines were not given to the parser."""
    mark: Any = getattr(error, "problem_mark", None)
    place = "" if mark is None else f", line {before + mark.line + 1}, column {mark.column + 1}"
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    return ConfigError(
        f"not readable as YAML: {said}",
        where=f"{path}{place}",
        fix="correct it there or in the line before: a colon and a space after each key, the same number of spaces "
        "before keys of one section, brackets and quotes closed",
    )


#: More errors than this are first counted by section.
_LONG = 12


def parse(model: type[Model], data: Any, where: str) -> Model:
    """Validate ``data`` as ``model``; one ConfigError lists all that is wrong in ``where``.

    Texts are screened first: what is wrong with a value is told with the value.
    """
    screen(data, where)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [
            text for problem in error.errors(include_url=False) for text in _advice(model, dict(problem))
        ]
        lines = [f"{len(problems)} error(s) in the configuration{_by_section(problems)}"]
        lines += [f"  {number}. {text}" for number, text in enumerate(problems, 1)]
        raise ConfigError("\n".join(lines), where=where, fix="correct the keys named above") from error


def load(model: type[Model], path: Path) -> Model:
    """Read and validate one config file."""
    data = read_yaml(path, getattr(model, "when_missing", "check the path"))
    if not isinstance(data, dict):
        raise ConfigError("the file holds no keys", where=str(path))
    return parse(model, data, str(path))


def _by_section(problems: list[str]) -> str:
    """How many in which section, where the list is too long to see it at once; each text begins with its key."""
    found = Counter(re.split(r"[^A-Za-z0-9_]", text, maxsplit=1)[0] for text in problems)
    told = ", ".join(f"{section} {count}" for section, count in found.items())
    return f": {told}" if found.total() > _LONG else ""


def _advice(model: type[BaseModel], problem: dict[str, Any]) -> list[str]:
    """What to tell of one problem: a line, for a :class:`Problems` a line each."""
    location = [part for part in problem["loc"] if not str(part).startswith(("function-", "tagged-"))]
    key = ".".join(str(part) for part in location) or "(whole file)"
    raised = problem.get("ctx", {}).get("error")
    if isinstance(raised, Problems):
        # A key that checks itself stands in its own text.
        own = bool(location) and raised.problems[0].startswith(f"{location[-1]}:")
        section = "".join(f"{part}." for part in (location[:-1] if own else location))
        return [section + text for text in raised.problems]
    return [_line(model, location, key, problem)]


def _line(model: type[BaseModel], location: list[Any], key: str, problem: dict[str, Any]) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        known = _keys_beside(model, location)
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    description = _description(model, location)
    meaning = f"\n     meaning: {description}" if description else ""
    if kind == "missing":
        return f"{key}: missing, and it has no default{meaning}"
    value, message = problem.get("input"), str(problem["msg"]).removeprefix("Value error, ")
    if value is None:
        wanted = message.removeprefix("Input should be ")
        return f"{key}: not filled in; wanted: {wanted}{meaning}"
    shown = "" if isinstance(value, dict | list) else f" = {value!r}"
    return f"{key}{shown}: {message}{meaning}"


def _walk(model: type[BaseModel], location: list[Any]) -> tuple[type[BaseModel] | None, Any]:
    """The model that holds the last key of ``location`` and that key's field, as far as they can be told."""
    current: type[BaseModel] | None = model
    field = None
    for part in location:
        if current is None:
            return None, None
        if part in current.model_fields:
            field = current.model_fields[part]
            current_next = _models_in(field.annotation)
            if part is location[-1]:
                return current, field
            current = current_next[0] if len(current_next) >= 1 else None
            candidates = current_next
        else:
            # A list index, a dict key or the tag of a union: stay, or step into the tagged member.
            tagged = [m for m in (candidates if field else []) if _tag(m) == part]
            current = tagged[0] if tagged else current
    return current, None


def _tag(model: type[BaseModel]) -> Any:
    kind = model.model_fields.get("kind") or model.model_fields.get("method")
    return getattr(kind, "default", None)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found = []
    for argument in getattr(annotation, "__args__", ()):
        found += _models_in(argument)
    return found


def _keys_beside(model: type[BaseModel], location: list[Any]) -> list[str]:
    holder, _ = _walk(model, location)
    return sorted(holder.model_fields) if holder else []


def _description(model: type[BaseModel], location: list[Any]) -> str:
    _, field = _walk(model, location)
    return (field.description or "") if field is not None else ""
