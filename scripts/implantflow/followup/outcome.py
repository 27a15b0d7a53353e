"""The patient's own outcome measures, from a table that the clinic fills in."""

from __future__ import annotations

import csv
import math
from datetime import date
from pathlib import Path
from typing import Any

from implantflow.errors import InputError

COLUMNS = ("date", "months", "measure", "value", "unit", "source")


def read_outcomes(path: Path) -> list[dict[str, Any]]:
    """Rows of the table, sorted by measure and time.

    The CSV has the columns date (ISO 8601, may be empty), months after the operation, measure, value, unit, source.

    Raises
    ------
    InputError
        A column is missing or unknown, or a row is not readable; names the line.
    """
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(
                f"the outcome table has the columns {', '.join(reader.fieldnames or ['none'])}",
                where=str(path),
                fix=f"its first line must be: {','.join(COLUMNS)}",
            )
        rows = [_row(path, reader.line_num, row) for row in reader]
    if not rows:
        raise InputError(
            "the outcome table is empty", where=str(path), fix="add rows, or leave followup.outcomes out"
        )
    seen: dict[tuple[str, float], int] = {}
    units: dict[str, str] = {}
    for number, row in enumerate(rows):
        key = (row["measure"], row["months"])
        if key in seen:
            raise InputError(
                f"the outcome table gives {row['measure']} at {row['months']:g} months twice", where=str(path)
            )
        seen[key] = number
        if units.setdefault(row["measure"], row["unit"]) != row["unit"]:
            raise InputError(f"the outcome table gives {row['measure']} in two units", where=str(path))
    return sorted(rows, key=lambda row: (row["measure"], row["months"]))


def _row(path: Path, line: int, row: dict[str, Any]) -> dict[str, Any]:
    where = f"{path}, line {line}"
    if None in row or any(value is None for value in row.values()):
        raise InputError("a row has more or fewer fields than columns", where=where)
    try:
        day = date.fromisoformat(row["date"]).isoformat() if row["date"].strip() else None
        months, value = float(row["months"]), float(row["value"])
    except ValueError as error:
        raise InputError(
            f"a figure or date is not readable: {error}",
            where=where,
            fix="dates as YYYY-MM-DD, figures with a point",
        ) from error
    if not (math.isfinite(months) and math.isfinite(value)):
        raise InputError("a figure is not finite", where=where)
    texts = {key: row[key].strip() for key in ("measure", "unit", "source")}
    missing = [key for key, value_ in texts.items() if not value_]
    if missing:
        raise InputError(f"the row lacks {', '.join(missing)}", where=where)
    return {"date": day, "months": months, "value": value, **texts}


def changes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """First and last value of each measure and what has changed between them."""
    found = []
    for measure in sorted({row["measure"] for row in rows}):
        series = [row for row in rows if row["measure"] == measure]
        first, last = series[0], series[-1]
        found.append(
            {
                "measure": measure,
                "unit": first["unit"],
                "first": first["value"],
                "first_months": first["months"],
                "last": last["value"],
                "last_months": last["months"],
                "change": last["value"] - first["value"] if len(series) > 1 else None,
            }
        )
    return found
