"""What each rule asks of a cluster: memory and CPU time, from the size of what it reads.

The lines were fitted to finished cases by ``python -m tests.scale.needs``, which also says when a case goes past one.
A job that ran out of memory is given more on its next attempt (``retries`` of the profile).
"""

from __future__ import annotations

import stat
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
    "agree_followup": Need(70, 0.0, 0.01, 0.0001, 107),
    "agree_series": Need(70, 0.0, 0.02, 0.0000, 89),
    "audit_case": Need(58, 0.0, 0.06, 0.0000, 1),
    "build_part": Need(457, 0.0, 1.16, 0.0000, 3),
    "check_strength": Need(216, 5.9, 0.00, 0.0173, 26),
    "compare_truth": Need(282, 0.0, 0.48, 0.0000, 1),
    "design_implant": Need(250, 10.1, 0.05, 0.0051, 31),
    "homogenise_cell": Need(470, 0.0, 0.22, 0.0000, 0),
    "inspect_machined": Need(152, 14.2, 0.06, 0.0052, 50),
    "ingest_series": Need(174, 1.8, 0.02, 0.0008, 78),
    "inspect_print": Need(152, 14.2, 0.06, 0.0052, 50),
    "make_lattice": Need(631, 0.0, 0.66, 0.0000, 6),
    "make_prototype": Need(356, 16.0, 0.00, 0.0163, 40),
    "measure_tumour": Need(471, 21.5, 0.12, 0.0098, 50),
    "plan_construct": Need(1500, 0.0, 1.00, 0.0000, 30),
    "plan_outer_shape": Need(1500, 0.0, 0.60, 0.0000, 30),
    "plan_resection": Need(741, 15.3, 0.18, 0.0012, 77),
    "print_prototype": Need(389, 0.0, 0.45, 0.0000, 4),
    "read_followup": Need(409, 8.7, 0.10, 0.0073, 89),
    "release_case": Need(277, 0.3, 0.06, 0.0002, 167),
    "report_case": Need(1265, 0.0, 0.44, 0.0000, 0),
    "segment_bones": Need(437, 29.9, 0.07, 0.0181, 40),
    "simulate_followup": Need(232, 23.1, 0.00, 0.0309, 27),
    "simulate_machining": Need(359, 1.9, 0.20, 0.0000, 114),
    "simulate_patient": Need(1115, 0.0, 0.54, 0.0000, 0),
    "simulate_print": Need(359, 1.9, 0.14, 0.0000, 114),
    "size_strut": Need(276, 4.2, 0.00, 0.0229, 23),
    "fetch_study": Need(200, 0.0, 1.00, 0.0000, 0),
    "make_template": Need(800, 0.0, 1.00, 0.0000, 0),
    "make_cohort": Need(300, 0.0, 1.00, 0.0000, 0),
    "slice_prototype": Need(900, 0.0, 1.00, 0.0000, 0),
    "check_calculix": Need(1500, 0.0, 1.00, 0.0000, 0),
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
    try:
        found = path.stat()
    except OSError:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    return sum(member.stat().st_size for member in path.rglob("*") if member.is_file())
