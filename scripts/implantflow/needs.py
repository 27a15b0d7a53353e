"""What each rule asks of a cluster: memory and time, from the size of what it reads.

The lines were fitted to finished cases by ``python -m tests.scale.needs``, which also says when a case goes past one.
A job that ran out of memory is given more on its next attempt (``retries`` of the profile).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Need:
    """A line over the input in MB, ``base + slope * input``, before the margin.

    ``typical_mb`` stands for the input of a job that is submitted before its inputs exist.
    """

    memory_mb: float
    memory_per_mb: float
    minutes: float
    minutes_per_mb: float
    typical_mb: float


#: What is asked for above the measured line: cases differ, and a killed job costs more than idle memory.
MARGIN = 1.5
#: Cluster nodes share disks and memory bandwidth, and the first job of a new version compiles its kernels.
TIME_MARGIN = 6.0

NEEDS: dict[str, Need] = {
    "agree_followup": Need(70, 0.0, 0.05, 0.0000, 10),
    "agree_series": Need(70, 0.0, 0.03, 0.0000, 11),
    "audit_case": Need(58, 0.0, 0.14, 0.0000, 0),
    "build_part": Need(441, 0.0, 2.79, 0.0000, 3),
    "check_strength": Need(264, 0.0, 0.32, 0.0000, 8),
    "compare_truth": Need(282, 0.0, 0.15, 0.0000, 0),
    "design_implant": Need(374, 0.0, 0.17, 0.0000, 12),
    "homogenise_cell": Need(246, 0.0, 0.33, 0.0000, 0),
    "ingest_series": Need(174, 1.1, 0.07, 0.0043, 7),
    "inspect_print": Need(381, 0.0, 0.32, 0.0000, 16),
    "make_lattice": Need(401, 0.0, 0.58, 0.0000, 4),
    "make_prototype": Need(477, 5.1, 0.00, 0.0276, 15),
    "plan_resection": Need(939, 0.0, 0.26, 0.0000, 13),
    "read_followup": Need(0, 29.6, 0.00, 0.0479, 20),
    "release_case": Need(284, 0.0, 0.17, 0.0000, 20),
    "report_case": Need(695, 0.0, 0.68, 0.0000, 0),
    "segment_bones": Need(559, 0.0, 0.75, 0.0000, 4),
    "simulate_followup": Need(488, 0.0, 0.60, 0.0000, 11),
    "simulate_patient": Need(328, 0.0, 0.97, 0.0000, 0),
    "simulate_print": Need(359, 0.0, 0.36, 0.0000, 0),
    "size_strut": Need(298, 0.0, 0.26, 0.0000, 5),
    "fetch_study": Need(200, 0.0, 0.50, 0.0000, 0),
    "make_template": Need(600, 0.0, 0.50, 0.0000, 0),
    "make_cohort": Need(300, 0.0, 0.50, 0.0000, 0),
    "print_prototype": Need(400, 0.0, 0.50, 0.0000, 0),
    "slice_prototype": Need(900, 0.0, 0.50, 0.0000, 0),
    "check_calculix": Need(1500, 0.0, 0.50, 0.0000, 0),
}


def memory_mb(rule: str, inputs: Iterable[str], attempt: int) -> int:
    """Memory to ask for on this attempt, MB, in steps of 100."""
    need = NEEDS[rule]
    line = need.memory_mb + need.memory_per_mb * _reckoned_mb(need, inputs)
    return 100 * round(0.5 + MARGIN * line * attempt / 100.0)


def minutes(rule: str, inputs: Iterable[str], attempt: int) -> int:
    """Time limit of this attempt, min."""
    need = NEEDS[rule]
    line = need.minutes + need.minutes_per_mb * _reckoned_mb(need, inputs)
    return 2 + round(0.5 + TIME_MARGIN * line * attempt)


def _reckoned_mb(need: Need, inputs: Iterable[str]) -> float:
    paths = [str(path) for path in inputs]
    known = size_mb(paths)
    return known if all(Path(path).exists() for path in paths) else max(known, need.typical_mb)


def size_mb(paths: Iterable[str]) -> float:
    """Size of files, and of folders with all in them, MB."""
    return sum(_size(Path(path)) for path in paths) / 1e6


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(member.stat().st_size for member in path.rglob("*") if member.is_file())
    return path.stat().st_size if path.exists() else 0
