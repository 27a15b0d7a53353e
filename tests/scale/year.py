"""What a year of a large centre takes of a cluster, from finished cases; prints the table of docs/scale.md.

    python -m tests.scale.year results/demo results/vhf --cases 200 --runs 3 --cores 64 --memory-gb 256

Every figure is measured but for the three that are asked for: cases a year, how often each is run to its end (every
change of a plan, a print or a scan runs a part of it again; whole runs are the upper bound) and the cluster. Jobs that
simulate (scans, prints) are left out: a real patient has none.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from implantflow import benchmarks

GIB = 1024.0**3
#: Share of a year in which a node computes, at best: nights and weekends count, maintenance does not.
UP = 0.95
YEAR_S = 365 * 24 * 3600.0


@dataclass(frozen=True)
class Case:
    """What one finished case took: CPU-h of all jobs, largest memory of one (GB), results on disk (GB), jobs."""

    name: str
    cpu_h: float
    peak_gb: float
    disk_gb: float
    jobs: int


def taken(case_dir: Path) -> Case:
    """Sum over the jobs of a finished case, simulation left out."""
    jobs = [job for job in benchmarks.read(case_dir) if not job["job"].startswith("simulate_")]
    return Case(
        case_dir.name,
        sum(job["cpu_s"] or 0.0 for job in jobs) / 3600.0,
        max(job["peak_rss_mb"] or 0.0 for job in jobs) / 1024.0,
        sum(f.stat().st_size for f in case_dir.rglob("*") if f.is_file()) / GIB,
        len(jobs),
    )


def table(cases: list[Case], count: int, runs: float, cores: int, memory_gb: float) -> list[str]:
    """A row a case: itself, and a year of cases like it."""
    lines = [
        f"| a case like | jobs | CPU-h | largest job, GB | results, GB | {count} cases, {runs:g} runs each: CPU-h | "
        f"share of {cores} cores' year, % | results a year, GB | jobs at once by memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        year_h = case.cpu_h * count * runs
        share = 100.0 * year_h * 3600.0 / (cores * UP * YEAR_S)
        at_once = min(cores, int(memory_gb // case.peak_gb)) if case.peak_gb else cores
        lines.append(
            f"| {case.name} | {case.jobs} | {case.cpu_h:.2f} | {case.peak_gb:.1f} | {case.disk_gb:.2f} | "
            f"{year_h:.0f} | {share:.2f} | {case.disk_gb * count:.0f} | {at_once} |"
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case_dirs", nargs="+", type=Path)
    parser.add_argument("--cases", type=int, required=True, help="cases a year")
    parser.add_argument("--runs", type=float, required=True, help="whole runs of each")
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--memory-gb", type=float, required=True)
    options = parser.parse_args()
    cases = [taken(path) for path in options.case_dirs]
    print("\n".join(table(cases, options.cases, options.runs, options.cores, options.memory_gb)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
