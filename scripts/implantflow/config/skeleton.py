"""A commented case config to fill in, made from the models so that no key is missing and none is invented."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

WIDTH = 100


def skeleton(
    model: type[BaseModel], known: Mapping[str, Any], indent: str = "", later: Collection[str] = ()
) -> list[str]:
    """Lines of YAML for ``model``: ``known`` values written, required keys left empty, defaults as comments.

    Parameters
    ----------
    model : the pydantic model to write out
    known : values that are known already, by key; nested mappings for nested models
    indent : spaces before each line
    later : keys whose whole section is written as comments, to be filled in another day
    """
    lines: list[str] = []
    for name, field in model.model_fields.items():
        lines += _comment(field.description or "", indent)
        when = getattr(model, "required_when", {}).get(name, "")
        entry = _entry(name, field, known.get(name), name in known, indent, when)
        lines += [f"# {line}" for line in entry] if name in later else entry
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in textwrap.wrap(text, WIDTH - len(indent) - 2)]


def _entry(name: str, field: FieldInfo, value: Any, given: bool, indent: str, when: str) -> list[str]:
    below = _models(field.annotation)
    if given and not (isinstance(value, Mapping) and below):
        return [f"{indent}{name}: {json.dumps(value)}"]
    if given and _is_map(field.annotation):
        lines = [f"{indent}{name}:"]
        for key, item in value.items():
            lines += [f"{indent}  {key}:", *skeleton(below[0], item, indent + "    ")]
        return lines
    only = _only_value(field.annotation)
    if only is not None:
        return [f"{indent}{name}: {json.dumps(only)}"]
    if not field.is_required() and not given:
        default = field.get_default(call_default_factory=True)
        shown = "null" if default is PydanticUndefined else json.dumps(to_jsonable_python(default))
        return [f"{indent}# {name}: {shown}" + (f"    # REQUIRED {when}" if when else "")]
    if not below:
        return [f"{indent}{name}:    # REQUIRED"]
    nested = value if isinstance(value, Mapping) else {}
    if _is_list(field.annotation):
        item = skeleton(below[0], nested, indent + "    ")
        first = next(k for k, line in enumerate(item) if not line.lstrip().startswith("#"))
        item[first] = f"{indent}  - {item[first].lstrip()}"
        return [f"{indent}{name}:", *_comment(_other_kinds(below), indent + "  "), *item]
    return [f"{indent}{name}:", *skeleton(below[0], nested, indent + "  ")]


def _other_kinds(models: list[type[BaseModel]]) -> str:
    """Words on the entries that a list may hold beside the one written out; "" when there is one kind only."""
    tags = [
        str(only)
        for model in models
        for field in model.model_fields.values()
        if (only := _only_value(field.annotation)) is not None
    ]
    if len(tags) < 2 or len(tags) != len(models):
        return ""
    return f"Written out: {tags[0]}. Other kinds, each with keys of its own (config/README.md): {', '.join(tags[1:])}."


def _only_value(annotation: Any) -> Any:
    """The value of a literal that has one, such as the tag of a union's member."""
    values: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return values[0] if _origin(annotation) is Literal and len(values) == 1 else None


def _origin(annotation: Any) -> Any:
    return getattr(annotation, "__origin__", None)


def _is_map(annotation: Any) -> bool:
    return _origin(annotation) is dict


def _is_list(annotation: Any) -> bool:
    return _origin(annotation) in (list, tuple)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Models below an annotation, first alternative first."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]
