"""JSON schema and the page of every config key, made from the models so that they cannot drift apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from implantflow.artifacts import temporary
from implantflow.config.models import CaseConfig
from implantflow.config.site import SiteConfig

HEAD = """# Every key of the configuration

Made by `python -m implantflow config-docs` from the models in `scripts/implantflow/config/`; do not edit.
A key without a default must be given: where a default could hurt a patient there is none.
"""


def write_docs(root: Path) -> list[Path]:
    """Write ``config/schema/*.json`` and ``config/README.md`` below ``root``; returns the paths."""
    written = []
    pages = [HEAD]
    for title, model, name in (
        ("Case: `config/cases/CASE.yaml`", CaseConfig, "case"),
        ("Site: `config/site.yaml`", SiteConfig, "site"),
    ):
        schema = model.model_json_schema()
        path = root / "config" / "schema" / f"{name}.schema.json"
        with temporary(path) as tmp:
            tmp.write_text(json.dumps(schema, indent=2, sort_keys=True) + "\n")
        written.append(path)
        pages.append(f"\n## {title}\n\n" + _object(schema, schema, ""))
    path = root / "config" / "README.md"
    with temporary(path) as tmp:
        tmp.write_text("\n".join(pages))
    return [*written, path]


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _object(schema: dict[str, Any], node: dict[str, Any], prefix: str) -> str:
    """Table rows for the keys of ``node``, then the same for every object below it."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    below: list[str] = []
    required = set(node.get("required", []))
    for key, value in node.get("properties", {}).items():
        name = f"{prefix}{key}"
        default = "**required**" if key in required else f"`{json.dumps(value.get('default'))}`"
        description = value.get("description", "").replace("|", "\\|").replace("\n", " ")
        rows.append(f"| `{name}` | {_type(schema, value)} | {default} | {description} |")
        for suffix, child in _children(schema, value):
            table = _object(schema, child, f"{name}{suffix}.")
            if table not in below:
                below.append(table)
    return "\n\n".join(["\n".join(rows), *below])


def _children(schema: dict[str, Any], value: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Objects that a key can hold, with the suffix that shows how (``[]`` for lists, ``.*`` for maps)."""
    node = _resolve(schema, value)
    if "properties" in node:
        kind = node["properties"].get("kind", node["properties"].get("method", {})).get("const")
        return [(f"({kind})" if kind else "", node)]
    found = []
    for option in node.get("anyOf", node.get("oneOf", [])):
        found += _children(schema, option)
    if isinstance(node.get("items"), dict):
        found += [(f"[]{s}", n) for s, n in _children(schema, node["items"])]
    if isinstance(node.get("additionalProperties"), dict):
        found += [(f".NAME{s}", n) for s, n in _children(schema, node["additionalProperties"])]
    return found


def _type(schema: dict[str, Any], value: dict[str, Any]) -> str:
    """Short human type with limits."""
    if "$ref" in value and "properties" in _resolve(schema, value):
        return "section"
    node = _resolve(schema, value)
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return " / ".join(f"`{v}`" for v in node["enum"])
    options = node.get("anyOf", node.get("oneOf"))
    if options:
        return " or ".join(dict.fromkeys(_type(schema, option) for option in options))
    kind = str(node.get("type", "any"))
    if kind == "array":
        items = node.get("items") or {}
        if "prefixItems" in node:
            return f"list of {len(node['prefixItems'])} numbers"
        return f"list of {_type(schema, items)}"
    if kind == "object" and "additionalProperties" in node:
        return "map"
    limits = [
        f"{sign} {node[name]}"
        for name, sign in (
            ("minimum", ">="),
            ("exclusiveMinimum", ">"),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if name in node
    ]
    return " ".join([kind, *limits])
