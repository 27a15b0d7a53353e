"""Memory and time of finished cases against what ``implantflow.needs`` would ask for them.

python -m tests.scale.needs results/demo results/vhf           # the table, and what goes past its request
python -m tests.scale.needs --fit results/demo results/vhf     # the lines, to put into needs.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linprog

from implantflow import benchmarks
from implantflow.needs import NEEDS, memory_mb, minutes, size_mb

#: Inputs that differ by less than this between cases cannot carry a line.
LEAST_SPAN_MB = 5.0


@dataclass(frozen=True)
class Measured:
    """One job of a finished case: input and peak memory in MB, CPU time in min (wall time is the load's)."""

    rule: str
    key: str
    case: str
    inputs: list[str]
    input_mb: float
    peak_mb: float
    minutes: float


def measured(case_dir: Path) -> Iterator[Measured]:
    """Every job of a case that has a benchmark file; ``case_dir`` is ``.../results/{case}``."""
    top = case_dir.parent.parent
    for row in benchmarks.read(case_dir):
        key = row["job"]
        path = case_dir / "logs" / f"{key}.job.json"
        if not path.exists():
            continue
        job = json.loads(path.read_text())
        inputs = [str(top / p) for v in job["inputs"].values() for p in ([v] if isinstance(v, str) else v)]
        yield Measured(
            job["rule"], key, case_dir.name, inputs, size_mb(inputs), row["peak_rss_mb"] or 0.0,
            (row["cpu_s"] or 0.0) / 60.0,
        )  # fmt: skip


def upper_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The lowest line ``a + b x`` with a, b >= 0 above all points (least sum of what lies between)."""
    if float(np.ptp(x)) < LEAST_SPAN_MB:  # such an input says nothing of the work
        return float(y.max()), 0.0
    found = linprog(
        [len(x), float(x.sum())],
        A_ub=np.column_stack([-np.ones(len(x)), -x]),
        b_ub=-y,
        bounds=[(0, None)] * 2,
    )
    return float(found.x[0]), float(found.x[1])


def fit(jobs: list[Measured]) -> str:
    """The lines of ``NEEDS``."""
    lines = []
    for rule in sorted({job.rule for job in jobs}):
        own = [job for job in jobs if job.rule == rule]
        x = np.array([job.input_mb for job in own])
        memory = upper_line(x, np.array([job.peak_mb for job in own]))
        time = upper_line(x, np.array([job.minutes for job in own]))
        lines.append(
            f'    "{rule}": Need({memory[0]:.0f}, {memory[1]:.1f}, {time[0]:.2f}, {time[1]:.4f}, {x.max():.0f}),'
        )
    return "\n".join(lines)


def table(jobs: list[Measured]) -> list[str]:
    """One line a job: what it took and what would be asked; a mark where it took more."""
    lines = [
        "| job | case | input MB | peak MB | asked MB | CPU min | asked min |",
        "|---|---|---|---|---|---|---|",
    ]
    for job in jobs:
        asked, limit = memory_mb(job.rule, job.inputs, 1), minutes(job.rule, job.inputs, 1)
        over = " **over**" if job.peak_mb > asked or job.minutes > limit else ""
        lines.append(
            f"| {job.key} | {job.case} | {job.input_mb:.1f} | {job.peak_mb:.0f} | {asked} | {job.minutes:.2f} "
            f"| {limit}{over} |"
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", type=Path, help="results/CASE of finished cases")
    parser.add_argument("--fit", action="store_true", help="print the lines for needs.py")
    options = parser.parse_args()
    jobs = [job for case in options.cases for job in measured(case)]
    if options.fit:
        print(fit(jobs))
        return 0
    lines = table([job for job in jobs if job.rule in NEEDS])
    print("\n".join(lines))
    return int(any("**over**" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
