"""Time and memory per job: wall time from Snakemake's benchmark files, the rest from the job's own log."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from implantflow.errors import InputError


def read(case_dir: Path) -> list[dict[str, Any]]:
    """One row per job of ``case_dir/benchmarks``: name, wall_s, cpu_s, peak_rss_mb; sorted by name.

    CPU time and memory are what the job itself says at its end, forked processes included; Snakemake's figures are
    samples and stand in only for a log that does not say so.
    """
    rows = []
    for path in sorted((case_dir / "benchmarks").glob("*.tsv")):
        with path.open(newline="") as handle:
            for record in csv.DictReader(handle, delimiter="\t"):
                row = {
                    "job": path.stem,
                    "wall_s": float(record["s"]),
                    "cpu_s": _number(record.get("cpu_time")),
                    "peak_rss_mb": _number(record.get("max_rss")),
                }
                rows.append(row | _said(case_dir / "logs" / f"{path.stem}.log"))
    return rows


def _said(log: Path) -> dict[str, float]:
    """CPU time and peak memory in the last line of a job's log that has them."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    used = re.findall(r" used ([\d.]+) CPU-s, (\d+) MB at most$", text, flags=re.M)
    return {"cpu_s": float(used[-1][0]), "peak_rss_mb": float(used[-1][1])} if used else {}


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
