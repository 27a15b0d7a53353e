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
    "agree_followup": Need(59, 1.2, 0.01, 0.0001, 109),
    "agree_series": Need(196, 0.0, 0.02, 0.0000, 89),
    "audit_case": Need(196, 0.0, 0.05, 0.0000, 1),
    "build_part": Need(669, 0.0, 1.33, 0.0000, 5),
    "check_strength": Need(215, 6.0, 0.00, 0.0213, 29),
    "compare_truth": Need(328, 0.0, 0.28, 0.0000, 1),
    "design_implant": Need(200, 24.0, 0.27, 0.0000, 22),
    "homogenise_cell": Need(537, 0.0, 0.40, 0.0000, 0),
    "inspect_machined": Need(847, 0.0, 0.29, 0.0000, 40),
    "ingest_series": Need(174, 1.8, 0.02, 0.0008, 79),
    "inspect_print": Need(129, 15.6, 0.05, 0.0056, 52),
    "make_lattice": Need(483, 44.6, 0.00, 0.1414, 8),
    "make_prototype": Need(314, 21.1, 0.00, 0.0247, 26),
    "measure_tumour": Need(167, 13.2, 0.00, 0.0169, 50),
    "plan_construct": Need(682, 0.0, 1.47, 0.0000, 21),
    "plan_outer_shape": Need(657, 0.0, 0.40, 0.0000, 4),
    "plan_resection": Need(939, 0.0, 0.11, 0.0167, 52),
    "print_prototype": Need(462, 0.0, 0.39, 0.0000, 2),
    "read_followup": Need(280, 15.2, 0.10, 0.0073, 80),
    "release_case": Need(266, 0.8, 0.06, 0.0001, 182),
    "report_case": Need(695, 0.0, 0.75, 0.0000, 0),
    "segment_bones": Need(387, 42.2, 0.02, 0.0286, 55),
    "simulate_followup": Need(913, 0.2, 0.88, 0.0002, 126),
    "simulate_machining": Need(664, 0.0, 0.15, 0.0000, 130),
    "simulate_patient": Need(1361, 0.0, 0.90, 0.0000, 0),
    "simulate_print": Need(359, 3.3, 0.14, 0.0005, 148),
    "size_strut": Need(270, 5.5, 0.00, 0.0306, 25),
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
