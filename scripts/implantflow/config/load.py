"""Read a YAML config: every error of a file at once, each with key, value, why, and what to write."""

from __future__ import annotations

import difflib
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

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


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; ConfigError with file and line when it is missing, too large or malformed."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"config file is larger than {MAX_BYTES} bytes", where=str(path))
        text = path.read_text(encoding="utf-8")
        _screen(text)
        return yaml.load(text, Loader=_StrictLoader)
    except FileNotFoundError as error:
        raise ConfigError(
            "config file not found",
            where=str(path),
            fix="check the name in --config cases=NAME; `python -m implantflow new-case` writes a new one",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"not readable as YAML: {error}", where=str(path)) from error


#: More errors than this are first counted by section.
_LONG = 12


def parse(model: type[Model], data: Any, where: str) -> Model:
    """Validate ``data`` as ``model``; one ConfigError lists all that is wrong in ``where``."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_advice(model, dict(problem)) for problem in error.errors(include_url=False)]
        lines = [f"{len(problems)} error(s) in the configuration{_by_section(error)}"]
        lines += [f"  {number}. {text}" for number, text in enumerate(problems, 1)]
        raise ConfigError("\n".join(lines), where=where, fix="correct the keys named above") from error


def load(model: type[Model], path: Path) -> Model:
    """Read and validate one config file."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError("the file holds no keys", where=str(path))
    return parse(model, data, str(path))


def _by_section(error: ValidationError) -> str:
    """How many in which section, where the list is too long to see it at once."""
    found = Counter(
        str((problem["loc"] or ("whole file",))[0]) for problem in error.errors(include_url=False)
    )
    told = ", ".join(f"{section} {count}" for section, count in found.items())
    return f": {told}" if found.total() > _LONG else ""


def _advice(model: type[BaseModel], problem: dict[str, Any]) -> str:
    location = [part for part in problem["loc"] if not str(part).startswith(("function-", "tagged-"))]
    key = ".".join(str(part) for part in location) or "(whole file)"
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
    value = problem.get("input")
    if value is None:
        wanted = str(problem["msg"]).removeprefix("Input should be ")
        return f"{key}: not filled in; wanted: {wanted}{meaning}"
    shown = "" if isinstance(value, dict | list) else f" = {value!r}"
    return f"{key}{shown}: {problem['msg']}{meaning}"


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
