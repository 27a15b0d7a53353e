"""Work in forked children: results in order, the first error, and nobody left behind by a killed job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from implantflow.parallel import side_by_side

WORK = """
import os, sys, time
from pathlib import Path
from implantflow.parallel import side_by_side

def task(name):
    Path(name).write_text(str(os.getpid()))
    time.sleep(60)

side_by_side([lambda: task(sys.argv[1]), lambda: task(sys.argv[2])], 2)
"""


def test_results_keep_their_order_and_errors_come_out() -> None:
    assert side_by_side([lambda n=n: n * n for n in range(5)], 2) == [0, 1, 4, 9, 16]  # type: ignore[misc]
    with pytest.raises(ZeroDivisionError):
        side_by_side([lambda: 1, lambda: 1 // 0], 2)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="needs Linux: children end with their parent"
)
def test_children_of_a_killed_job_end_with_it(tmp_path: Path) -> None:
    names = [tmp_path / "a", tmp_path / "b"]
    job = subprocess.Popen([sys.executable, "-c", WORK, *map(str, names)])
    children: list[int] = []
    for _ in range(300):
        children = [int(n.read_text()) for n in names if n.exists() and n.read_text()]
        if len(children) == 2:
            break
        time.sleep(0.1)
    assert len(children) == 2 and all(map(alive, children))
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    for _ in range(100):
        if not any(map(alive, children)):
            return
        time.sleep(0.1)
    raise AssertionError(f"left behind: {[pid for pid in children if alive(pid)]}")
