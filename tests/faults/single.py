"""One fault each, done to the made pipeline on purpose; every function returns what was seen, or fails."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.driver import Pipeline, made_pipeline

from implantflow.audit import ledger
from implantflow.audit.verify import verify_case

Fault = Callable[[Path, dict[str, str]], str]


def _goes_on(pipeline: Pipeline, truth: dict[str, str]) -> None:
    """The same command again completes with the digests of the undisturbed run, and the trail holds."""
    code, said = pipeline.run()
    assert code == 0, said[-3000:]
    assert pipeline.digests() == truth
    assert verify_case(pipeline.case_dir)["problems"] == []


def _failures(pipeline: Pipeline) -> list[str]:
    outcomes = [r["entry"].get("outcome", {}) for r in ledger.read(pipeline.case_dir)]
    return [str(o.get("error")) for o in outcomes if o.get("status") == "failed"]


def disk_full(folder: Path, truth: dict[str, str]) -> str:
    """A file system of 2 MB under results (as root; else a limit of 1 MB for a file)."""
    pipeline = made_pipeline(folder)
    with _small_disk(pipeline.folder / "results") as (limit, full):
        code, said = pipeline.run(preexec_fn=limit)
        assert code != 0 and "no room left to write" in said, said[-3000:]
        assert all(truth[name] == sha for name, sha in pipeline.digests().items()), (
            "half a file counts as done"
        )
        assert "Traceback" not in said and "DEFECT" not in said
        kept = {p: p.read_bytes() for p in pipeline.case_dir.rglob("audit/*") if p.is_file()}
    # Room is made: what was on the small disk is moved to a large one.
    for path, data in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _goes_on(pipeline, truth)
    return f"{full}: 'no room left to write', nothing half-written counts; with room, goes on"


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[tuple[Callable[[], None] | None, str]]:
    import resource

    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode == 0:
        try:
            yield None, "disk of 2 MB"
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        yield (
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
            "files limited to 1 MB",
        )


def read_only_results(folder: Path, truth: dict[str, str]) -> str:
    """The results can be read but not written."""
    pipeline = made_pipeline(folder)
    results = pipeline.folder / "results"
    results.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(results)], capture_output=True)
    if mounted.returncode != 0:
        results.chmod(0o555)
        assert os.geteuid() != 0, "neither a mount nor a mode keeps this account from writing"
    try:
        code, said = pipeline.run()
        assert code != 0, "nothing could be written, yet it says that it is done"
        assert "results/made" in said and ("Read-only" in said or "ermission" in said), said[-3000:]
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(results)], check=True)
        else:
            results.chmod(0o755)
    _goes_on(pipeline, truth)
    return "stops and names the folder; writable again, goes on"


def corrupted_keeping_its_time(folder: Path, truth: dict[str, str]) -> str:
    """One byte of an intermediate changed, size and time kept, before the job that reads it."""
    pipeline = made_pipeline(folder)
    _goes_on(pipeline, truth)
    path = pipeline.case_dir / "draw/2.bin"
    status, data = path.stat(), bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (pipeline.case_dir / "add/page.txt").unlink()
    code, said = pipeline.run()
    assert code != 0 and "was changed after draw.2 made it" in said, said[-3000:]
    assert not (pipeline.case_dir / "add/page.txt").exists()
    path.unlink()  # as the message says
    _goes_on(pipeline, truth)
    return "the job that reads it refuses and names it; removed as the message says, made anew"


def two_runs_at_once(folder: Path, truth: dict[str, str]) -> str:
    """A second run of the same case while the first is at work."""
    pipeline = made_pipeline(folder)
    first = pipeline.start()
    lock = pipeline.folder / ".snakemake/implantflow/made.lock"
    while not (lock.exists() and lock.read_text()):
        assert first.poll() is None, first.communicate()[0][-3000:]
        time.sleep(0.05)
    code, said = pipeline.run()
    assert code == 10 and "another run is at work on case made" in said, said[-3000:]
    said, _ = first.communicate()
    assert first.returncode == 0, said[-3000:]
    assert pipeline.digests() == truth
    assert verify_case(pipeline.case_dir)["problems"] == []
    return "the second refuses (exit 10) and changes nothing; the first completes"


def clock_set_back(folder: Path, truth: dict[str, str]) -> str:
    """Half of the results carry times of tomorrow, as after a clock that was a day ahead."""
    pipeline = made_pipeline(folder)
    _goes_on(pipeline, truth)
    tomorrow = time.time() + 86_400
    for path in (pipeline.case_dir / "draw").rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    (pipeline.case_dir / "add/page.txt").unlink()
    _goes_on(pipeline, truth)
    records = ledger.read(pipeline.case_dir)
    assert all(r["entry"]["seconds"] >= 0 for r in records), "durations do not follow the clock"
    return "completes, same digests; durations come from a clock that does not jump"


def out_of_memory(folder: Path, truth: dict[str, str]) -> str:
    """An allocation is refused within a job."""
    pipeline = made_pipeline(folder, MADE_FAULT="memory:add")
    code, said = pipeline.run()
    assert code != 0 and "out of memory" in said and "DEFECT" not in said, said[-3000:]
    assert _failures(pipeline) == ["MachineError"]
    _goes_on(made_pipeline(folder), truth)
    return "the job says 'out of memory' and is in the ledger; goes on"


def killed_for_memory(folder: Path, truth: dict[str, str]) -> str:
    """The kernel's out-of-memory killer takes a job (SIGKILL): it can say nothing itself."""
    pipeline = made_pipeline(folder, MADE_FAULT="killed:add")
    code, said = pipeline.run()
    assert code != 0, said[-3000:]
    _goes_on(made_pipeline(folder), truth)
    assert _failures(pipeline) == ["Killed"]
    return "the next run enters the killed job in the ledger; goes on"


def half_written_file(folder: Path, truth: dict[str, str]) -> str:
    """Everything is killed while a job writes its output."""
    pipeline = made_pipeline(folder)
    process = pipeline.start()
    draft = pipeline.case_dir / "draw/.tmp-1.bin"
    while not (draft.exists() and draft.stat().st_size > 300_000):
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.01)
    os.killpg(process.pid, 9)
    process.communicate()
    assert draft.exists() and not (pipeline.case_dir / "draw/1.bin").exists()
    _goes_on(pipeline, truth)
    assert not draft.exists()
    return "half of it lies under its temporary name only; made anew"


def power_cut_after_the_rename(folder: Path, truth: dict[str, str]) -> str:
    """A file that was not yet on disk is empty after the power came back, though its entry says done."""
    pipeline = made_pipeline(folder)
    _goes_on(pipeline, truth)
    path = pipeline.case_dir / "draw/3.bin"
    status = path.stat()
    path.write_bytes(b"")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert any("draw/3.bin" in p["where"] for p in verify_case(pipeline.case_dir)["problems"])
    (pipeline.case_dir / "add/page.txt").unlink()
    code, said = pipeline.run()
    assert code != 0 and "was changed after draw.3 made it" in said
    path.unlink()
    _goes_on(pipeline, truth)
    return "`verify` and the job that reads it name the file; made anew"


def torn_ledger_line(folder: Path, truth: dict[str, str]) -> str:
    """The last line of the ledger has no end."""
    pipeline = made_pipeline(folder)
    _goes_on(pipeline, truth)
    path = pipeline.case_dir / "audit/ledger.jsonl"
    path.write_bytes(path.read_bytes() + b'{"sequence":99,"prev')
    (pipeline.case_dir / "add/page.txt").unlink()
    _goes_on(pipeline, truth)
    events = [json.loads(line)["entry"]["event"] for line in path.read_bytes().splitlines()]
    assert "repair" in events
    return "set aside and recorded; goes on"


FAULTS: tuple[Fault, ...] = (
    disk_full,
    read_only_results,
    corrupted_keeping_its_time,
    two_runs_at_once,
    clock_set_back,
    out_of_memory,
    killed_for_memory,
    half_written_file,
    power_cut_after_the_rename,
    torn_ledger_line,
)
