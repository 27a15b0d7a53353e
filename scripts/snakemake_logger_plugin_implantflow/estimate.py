"""How much of a run is done, and how long the rest takes: from the times that the same rules took before."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from implantflow.jobrecord import base_rule


def past_seconds(results: Path) -> dict[str, float]:
    """Median seconds of each rule over all cases below ``results``, from Snakemake's benchmark files."""
    found: dict[str, list[float]] = {}
    for path in sorted(results.glob("*/benchmarks/*.tsv")):
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                row = next(csv.DictReader(lines, delimiter="\t"))
                found.setdefault(path.name.split(".")[0], []).append(float(row["s"]))
        except (OSError, StopIteration, KeyError, ValueError):
            continue  # being written, or of another version
    return {rule: statistics.median(values) for rule, values in found.items()}


class Estimate:
    """Share done and time left of one run.

    A rule never run before counts as much as the median of the others; when none was, no time is given.
    """

    def __init__(self, results: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.known = past_seconds(results)
        self.clock = clock
        self.total = self.done = 0
        self.total_s = self.done_s = 0.0
        self.begun = clock()

    def seconds(self, rule: str) -> float:
        """Expected seconds of one job of ``rule``."""
        name = base_rule(rule)
        if name in self.known:
            return self.known[name]
        return statistics.median(self.known.values()) if self.known else 1.0

    def plan(self, counts: dict[str, int]) -> None:
        """Jobs of the run, by rule."""
        self.total = sum(counts.values())
        self.total_s = sum(n * self.seconds(rule) for rule, n in counts.items())
        self.begun = self.clock()

    def finish(self, rule: str) -> None:
        """One job of ``rule`` has finished."""
        self.done += 1
        self.done_s += self.seconds(rule)

    def told(self) -> str:
        """Words for the line of a finished job."""
        words = f"{self.done} of {self.total} jobs"
        if not self.known or self.total_s <= 0:
            return words
        share = min(self.done_s / self.total_s, 1.0)
        words += f", {100 * share:.0f} %"
        elapsed = self.clock() - self.begun
        if share > 0.02 and self.done < self.total:
            left = elapsed * (1.0 - share) / share
            words += f", about {left / 60:.0f} min left" if left > 90 else f", about {left:.0f} s left"
        return words
