"""Stages of the made pipeline: bytes from a seed, written slowly, and the faults that a test asks for."""

from __future__ import annotations

import os
import resource
import signal
import time

import numpy as np

from implantflow.artifacts import sha256_path
from implantflow.errors import QualityGateError
from implantflow.jobs import Job

BLOCKS, BLOCK_BYTES = 30, 60_000


def draw(job: Job) -> None:
    """Write 1.8 MB in pieces over about a second, and a folder of files."""
    rng = np.random.default_rng(int(job.settings["seed"]))
    _fault("draw", job)
    with job.outputs["data"].open("wb") as handle:
        for _ in range(BLOCKS):
            handle.write(rng.bytes(BLOCK_BYTES))
            handle.flush()
            time.sleep(0.02)
    job.outputs["parts"].mkdir()
    for number in range(5):
        (job.outputs["parts"] / f"{number}.bin").write_bytes(rng.bytes(1000))
        time.sleep(0.02)


def add(job: Job) -> None:
    """The sum of the draws, and a page that names what went in."""
    _fault("add", job)
    arrays = [np.frombuffer(p.read_bytes(), np.uint8) for p in job.input_list("draws")]
    total = np.sum(arrays, axis=0, dtype=np.uint16)
    with job.outputs["total"].open("wb") as handle:
        for piece in np.array_split(total, BLOCKS):
            handle.write(piece.tobytes())
            handle.flush()
            time.sleep(0.02)
    names = [f"{p.name} {sha256_path(p)}" for p in [*job.input_list("draws"), *job.input_list("parts")]]
    job.outputs["page"].write_text("\n".join(names) + "\n")


def _fault(rule: str, job: Job) -> None:
    """Do what MADE_FAULT (``kind:rule``) asks for."""
    kind, _, where = os.environ.get("MADE_FAULT", "").partition(":")
    if where != rule:
        return
    if kind == "memory":
        with open("/proc/self/statm") as handle:  # noqa: PTH123
            used = int(handle.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, resource.RLIM_INFINITY))
        np.ones(1_000_000_000)
    elif kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "slow":
        time.sleep(60.0)
    elif kind == "hungry" and job.attempt == 1:
        block = np.ones(90_000_000)  # 720 MB, until the cluster notices
        time.sleep(60.0)
        block.sum()
    elif kind == "refuse":
        with open("computed.txt", "a") as marks:  # noqa: PTH123
            marks.write("x")
        raise QualityGateError("the sum is 3, at most 2 are allowed", where="add", fix="draw less")
