"""Figures of a stage as rows and cells of the page: value, unit, limit kept or not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from implantflow.report.figure_spec import Limit, Listing, Row
from implantflow.report.figures_shown import ROWS
from implantflow.report.headlines import HEADLINES
from implantflow.report.sources import dig

#: Shown where a figure has no value.
MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """A figure ready to be shown: text, the key of its truth, and whether it keeps its limit (None: no limit)."""

    text: str
    truth_key: str = ""
    within: bool | None = None
    limit: str = ""


def figure_rows(stage: str, data: Mapping[str, Any], config: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Label and cell of each single figure that the stage gives."""
    found = []
    for row in ROWS.get(stage, ()):
        value = dig(data, row.key)
        if value is not None:
            found.append((row.label, _cell(row, value, f"{stage}.{row.key}", data, config)))
    return found


def headline(stage: str, data: Mapping[str, Any]) -> str:
    """The stage's main figures in one line."""
    parts = []
    for row in HEADLINES.get(stage, ()):
        value = dig_named(data, row.key)
        if value is not None:
            parts.append(f"{row.label} {shown(value, row.digits, row.factor, row.join)} {row.unit}".rstrip())
    if stage == "prototype" and parts:
        chosen = [i for i in data.get("iterations") or [] if i.get("id") == data.get("approved")]
        parts += ["unsigned"] * any(str(i.get("decision")).startswith("auto") for i in chosen)
    return " · ".join(parts)


def listing_rows(
    listing: Listing, stage: str, data: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[list[str], list[list[Cell]]]:
    """Heads and cells of a listing; columns that no entry fills are left out."""
    entries = entries_of(dig(data, listing.key))
    used = [c for c in listing.columns if any(dig(e, c.key) is not None for _, e in entries)]
    heads = [f"{c.label}, {c.unit}" if c.unit else c.label for c in used]
    lines, place = [], _named(data, listing.key)
    for name, entry in entries:
        line = []
        for column in used:
            key = f"{stage}.{place}.{name}.{column.key}"
            cell = _cell(column, dig(entry, column.key), key, data, config)
            line.append(Cell(_without_unit(cell.text, column), cell.truth_key, cell.within, cell.limit))
        lines.append(line)
    return heads, lines


def _named(data: Any, dotted: str) -> str:
    """``dotted`` with the names of list entries in place of their numbers: what a truth is known by."""
    parts = []
    for part in dotted.split("."):
        entry = dig(data, part)
        if isinstance(data, list) and isinstance(entry, Mapping):
            part = str(entry.get("id", entry.get("name", part)))
        parts.append(part)
        data = entry
    return ".".join(parts)


def entries_of(value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """A list of objects, or an object of objects, as (name, object)."""
    if isinstance(value, Mapping):
        return [(str(k), {"name": k, **v}) for k, v in value.items() if isinstance(v, Mapping)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        named = [e if isinstance(e, Mapping) else {"name": e} for e in value]
        return [(str(e.get("id", e.get("name", n))), e) for n, e in enumerate(named)]
    return []


def _cell(row: Row, value: Any, key: str, data: Mapping[str, Any], config: Mapping[str, Any]) -> Cell:
    is_place = row.key.endswith(("_lps", "_lps_mm")) and isinstance(value, list)
    text = _place(value, row.digits) if is_place else shown(value, row.digits, row.factor, row.join)
    if row.unit and text != MISSING:
        text = f"{text} {row.unit}"
    if row.limit is None or isinstance(value, bool) or not isinstance(value, int | float):
        return Cell(text, key, bool(value) if row.must and value is not None else None)
    bound = _bound(row.limit, data, config)
    if bound is None:
        return Cell(text, key)
    tolerance = 1e-9 * max(1.0, abs(bound))
    within = value <= bound + tolerance if row.limit.sense == "<=" else value >= bound - tolerance
    sign = "≤" if row.limit.sense == "<=" else "≥"
    told = f"{sign} {shown(bound, row.digits, row.factor)} {row.unit}".rstrip()
    return Cell(text, key, bool(within), told)


def _bound(limit: Limit, data: Mapping[str, Any], config: Mapping[str, Any]) -> float | None:
    if limit.value is not None:
        return limit.value
    names = {"revision": str(data.get("revision", ""))}
    value = dig_named(config, limit.config.format(**names))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def dig_named(data: Any, dotted: str) -> Any:
    """Like :func:`dig`, but a part of a list may also be an entry's ``id`` or ``name``."""
    for part in dotted.split("."):
        if isinstance(data, list) and not re.fullmatch(r"-?\d+", part):
            data = next(
                (
                    e
                    for e in data
                    if isinstance(e, Mapping) and part in (str(e.get("id")), str(e.get("name")))
                ),
                None,
            )
        else:
            data = dig(data, part)
        if data is None:
            return None
    return data


def _without_unit(text: str, column: Row) -> str:
    return text.removesuffix(f" {column.unit}") if column.unit else text


def shown(value: Any, digits: int = 1, factor: float = 1.0, join: str = " × ") -> str:
    """A value as text: numbers rounded, lists joined, yes and no, a dash for nothing, digests shortened."""
    if value is None or value == []:
        return MISSING if value is None else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value * factor, digits)
    if isinstance(value, str):
        is_digest = len(value) == 64 and all(c in "0123456789abcdef" for c in value)
        return value[:12] + "…" if is_digest else value
    if isinstance(value, Mapping):
        # A correction that takes its plane from the plan has both keys, empty.
        if value.get("point_lps_mm") is not None and value.get("normal_lps") is not None:
            return f"through {_place(value['point_lps_mm'], 1)} mm, normal {_place(value['normal_lps'], 3)}"
        best = next((value[k] for k in ("kind", "name", "id", "root", "reviewer") if k in value), None)
        return (
            str(best) if best is not None else ", ".join(f"{k}: {shown(v, digits)}" for k, v in value.items())
        )
    if isinstance(value, Sequence):
        numbers = all(isinstance(v, int | float) for v in value)
        return (join if numbers else ", ").join(shown(v, digits, factor) for v in value)
    return str(value)


def _place(value: Any, digits: int) -> str:
    """Coordinates in brackets; sizes along three axes are joined by a cross instead."""
    return f"({', '.join(shown(v, digits) for v in value)})"


def _number(value: float, digits: int) -> str:
    if value != 0 and abs(value) < 0.5 * 10.0**-digits:
        # More digits than a figure is good for would look like precision.
        least = f"{10.0**-digits:.{digits}f}"
        return f"< {least}" if value > 0 else f"> −{least}"
    text = f"{value:,.{digits}f}".replace(",", " ")  # narrow no-break space between thousands
    return text.replace("-", "−")


def flatten(data: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Every remaining figure as dotted key and text, for the fold-out table; long lists are only counted."""
    if isinstance(data, Mapping):
        return [pair for k, v in data.items() for pair in flatten(v, f"{prefix}.{k}" if prefix else str(k))]
    if isinstance(data, Sequence) and not isinstance(data, str):
        simple = all(not isinstance(v, Mapping | list) for v in data)
        if simple and len(data) <= 12:
            return [(prefix, ", ".join(_plainly(v) for v in data) or "none")]
        if len(data) > 40:
            return [(prefix, f"{len(data)} entries")]
        return [pair for n, v in enumerate(data) for pair in flatten(v, f"{prefix}.{n}")]
    return [(prefix, _plainly(data))]


def _plainly(value: Any) -> str:
    """A figure of the fold-out table: counts whole, the rest with four digits."""
    return shown(value, 0 if isinstance(value, int) else 4)
