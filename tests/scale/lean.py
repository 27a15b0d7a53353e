"""How much of a run is not the stages' own work: Snakemake, starting Python, imports.

    python -m tests.scale.lean results/CASE --run-wall-s W --run-cpu-s C --cores 2

W and C are those of the whole command that ran the case from nothing, as ``/usr/bin/time -f '%e %U %S'`` says them
(C = user + system). A job's start is what Snakemake's benchmark file counts beyond the stage's own time in the job's
log; it is taken as busy throughout. What is left of C after all jobs is Snakemake itself.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from implantflow import benchmarks


@dataclass(frozen=True)
class Shares:
    """Seconds of a run: of all jobs (CPU), of their starts with imports (wall), and how many jobs there were."""

    jobs_cpu_s: float
    starts_s: float
    jobs: int


def of_jobs(case_dir: Path) -> Shares:
    """Sums over the jobs of a finished case."""
    rows = benchmarks.read(case_dir)
    starts = sum(max(0.0, row["wall_s"] - _worked(case_dir / "logs" / f"{row['job']}.log")) for row in rows)
    return Shares(sum(row["cpu_s"] or 0.0 for row in rows), starts, len(rows))


def _worked(log: Path) -> float:
    """Seconds that the stage itself took, by the last run in the job's log."""
    return float(re.findall(r" done in ([\d.]+) s$", log.read_text(encoding="utf-8"), flags=re.M)[-1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", type=Path)
    parser.add_argument("--run-wall-s", type=float, required=True)
    parser.add_argument("--run-cpu-s", type=float, required=True)
    parser.add_argument("--cores", type=int, required=True)
    options = parser.parse_args()
    found = of_jobs(options.case)
    snakemake_s = options.run_cpu_s - found.jobs_cpu_s
    share = 100.0 * (snakemake_s + found.starts_s) / options.run_cpu_s
    idle = 100.0 * (1.0 - options.run_cpu_s / (options.run_wall_s * options.cores))
    print(f"{found.jobs} jobs, {options.run_cpu_s:.0f} CPU-s in {options.run_wall_s:.0f} s")
    print(f"Snakemake {snakemake_s:.1f} CPU-s; starts of jobs, imports included, {found.starts_s:.1f} s")
    print(f"{share:.1f} % of the run's CPU is not the stages' own work; cores idle {idle:.1f} % of the time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
