"""Time and memory per job, from the benchmark files that Snakemake writes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from implantflow.errors import InputError


def read(case_dir: Path) -> list[dict[str, Any]]:
    """One row per job of ``case_dir/benchmarks``: name, wall_s, cpu_s, peak_rss_mb; sorted by name."""
    rows = []
    for path in sorted((case_dir / "benchmarks").glob("*.tsv")):
        with path.open(newline="") as handle:
            for record in csv.DictReader(handle, delimiter="\t"):
                rows.append(
                    {
                        "job": path.stem,
                        "wall_s": float(record["s"]),
                        "cpu_s": _number(record.get("cpu_time")),
                        "peak_rss_mb": _number(record.get("max_rss")),
                    }
                )
    return rows


def _number(text: str | None) -> float | None:
    """Snakemake writes NA or - for jobs too short to be sampled."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def table(case_dir: Path) -> str:
    """The rows of :func:`read` as text, with the sum of wall times and the largest memory."""
    rows = read(case_dir)
    if not rows:
        raise InputError("no benchmark files", where=str(case_dir / "benchmarks"), fix="run the case first")
    lines = [f"{'job':<32} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}"]
    for row in rows:
        lines.append(
            f"{row['job']:<32} {row['wall_s']:>8.1f} {_cell(row['cpu_s'], '.1f'):>8} "
            f"{_cell(row['peak_rss_mb'], '.0f'):>8}"
        )
    peak = max((row["peak_rss_mb"] or 0.0) for row in rows)
    lines.append(
        f"{'sum of jobs / largest peak':<32} {sum(r['wall_s'] for r in rows):>8.1f} {'':>8} {peak:>8.0f}"
    )
    return "\n".join(lines)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
