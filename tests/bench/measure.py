"""Run one contestant as a whole process and measure what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one process took; ``work`` is the amount it did in the unit of its group (slices, layers)."""

    group: str
    name: str
    wall_s: float
    cpu_s: float
    peak_mb: float
    work: int
    note: str = ""

    @property
    def cpu_ms_per_unit(self) -> float:
        return 1000.0 * self.cpu_s / self.work


def warm(group: str, name: str, command: list[str], *, work: int) -> Cost:
    """What a process prints of its own best repetition, imports left out; its peak memory as a whole."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{group}/{name} failed")
    found = json.loads(printed)
    return Cost(
        group, name, found["wall_s"], found["cpu_s"], usage.ru_maxrss / 1024.0, work, "warm, in process"
    )


def run(group: str, name: str, command: list[str], *, work: int, repeats: int = 3, note: str = "") -> Cost:
    """Best of ``repeats`` by CPU time, imports included; a failing contestant stops the bench."""
    best: Cost | None = None
    for _ in range(repeats):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{group}/{name} failed:\n{errors.decode(errors='replace')[-2000:]}")
        cost = Cost(
            group=group,
            name=name,
            wall_s=time.perf_counter() - started,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss / 1024.0,
            work=work,
            note=note,
        )
        if best is None or cost.cpu_s < best.cpu_s:
            best = cost
    assert best is not None
    return best


def installed(program: str) -> str:
    """A program of a Python package, beside the interpreter that runs the bench."""
    return str(Path(sys.executable).parent / program)


def ours(*arguments: str) -> list[str]:
    """A command of this project."""
    return [sys.executable, "-m", "implantflow", *arguments]


def peer(script: str, *arguments: str) -> list[str]:
    """A peer library driven by one of the scripts in ``peers/``."""
    return [sys.executable, str(Path(__file__).parent / "peers" / script), *arguments]
