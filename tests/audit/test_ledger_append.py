"""The ledger under load, under a killed writer, on a full disk: the chain holds or nothing is appended."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from implantflow.audit import ledger
from implantflow.audit.chain import check_chain
from implantflow.audit.findings import Findings
from implantflow.errors import ProvenanceError


def problems(case: Path) -> list[str]:
    findings = Findings()
    check_chain(case, findings)
    return [str(problem) for problem in findings.problems]


def _append_many(case: Path, writer: int, count: int) -> None:
    for number in range(count):
        ledger.append(case, {"event": "test", "writer": writer, "number": number, "padding": "x" * 3000})


def test_processes_append_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    case = tmp_path / "results" / "demo"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(case, w, 15)) for w in range(6)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
        assert process.exitcode == 0
    records = ledger.read(case)
    assert problems(case) == []
    assert [r["sequence"] for r in records] == list(range(90))
    for writer in range(6):
        order = [r["entry"]["number"] for r in records if r["entry"]["writer"] == writer]
        assert order == list(range(15)), "entries of one process keep their order"


def test_record_says_who_where_and_with_what(tmp_path: Path) -> None:
    ledger.append(tmp_path / "demo", {"event": "test"})
    record = ledger.read(tmp_path / "demo")[0]
    assert record["previous"] == ledger.GENESIS
    assert record["case"] == "demo"
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["versions"]["numpy"] and record["user"] and record["host"]
    assert set(record["code"]) == {"commit", "dirty"}
    assert len(record["lock_sha256"]) == 64
    assert record["sha256"] == ledger.digest(record)


def test_paths_inside_the_case_are_named_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {
        "results/demo/a/b.stl": "1",
        str(tmp_path / "results/demo/c.json"): "2",
        "results/demo2/x": "3",
        "data/ct": "4",
    }
    ledger.append(Path("results/demo"), {"event": "job", "inputs": paths, "outputs": {}})
    inputs = ledger.read(Path("results/demo"))[0]["entry"]["inputs"]
    assert inputs == {
        "case": {"a/b.stl": "1", "c.json": "2"},
        "outside": {"results/demo2/x": "3", "data/ct": "4"},
    }


def test_line_without_its_end_is_set_aside_and_recorded(tmp_path: Path) -> None:
    ledger.append(tmp_path, {"event": "one"})
    path = tmp_path / "audit" / "ledger.jsonl"
    whole = path.read_bytes()
    torn = whole[: len(whole) // 2]
    path.write_bytes(whole + torn)
    assert any("has no end" in problem for problem in problems(tmp_path))
    assert len(ledger.read(tmp_path)) == 1
    ledger.append(tmp_path, {"event": "two"})
    events = [r["entry"]["event"] for r in ledger.read(tmp_path)]
    assert events == ["one", "repair", "two"]
    repair = ledger.read(tmp_path)[1]["entry"]
    assert (tmp_path / "audit" / repair["moved_to"]).read_bytes() == torn
    assert problems(tmp_path) == []


def test_first_line_torn(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "ledger.jsonl").write_bytes(b'{"sequence":0,')
    ledger.append(tmp_path, {"event": "one"})
    assert [r["entry"]["event"] for r in ledger.read(tmp_path)] == ["repair", "one"]
    assert problems(tmp_path) == []


def test_writer_killed_between_line_and_head(tmp_path: Path) -> None:
    head = tmp_path / "audit" / "head.json"
    ledger.append(tmp_path, {"event": "one"})
    first = head.read_bytes()
    ledger.append(tmp_path, {"event": "two"})
    head.write_bytes(first)
    ledger.append(tmp_path, {"event": "three"})
    assert problems(tmp_path) == []
    assert len(ledger.read(tmp_path)) == 3


def test_writer_killed_before_the_first_head(tmp_path: Path) -> None:
    ledger.append(tmp_path, {"event": "one"})
    (tmp_path / "audit" / "head.json").unlink()
    ledger.append(tmp_path, {"event": "two"})
    assert problems(tmp_path) == []


@pytest.mark.attack("ledger in use")
@pytest.mark.parametrize("attack", ["truncated", "removed", "edited", "headless", "broken head"])
def test_append_refuses_a_ledger_that_was_touched(tmp_path: Path, attack: str) -> None:
    """Going on would write a new head and cover the traces."""
    for number in range(4):
        ledger.append(tmp_path, {"event": "test", "number": number})
    path, head = tmp_path / "audit" / "ledger.jsonl", tmp_path / "audit" / "head.json"
    lines = path.read_bytes().splitlines(keepends=True)
    if attack == "truncated":
        path.write_bytes(b"".join(lines[:2]))
    elif attack == "removed":
        path.unlink()
    elif attack == "edited":
        path.write_bytes(b"".join(lines).replace(b'"number":3', b'"number":7'))
    elif attack == "headless":
        head.unlink()
    else:
        head.write_text('{"sequence": "x"}')
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(ProvenanceError):
        ledger.append(tmp_path, {"event": "after"})
    assert (path.read_bytes() if path.exists() else None) == before


def test_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.append(tmp_path, {"event": "one"})
    path = tmp_path / "audit" / "ledger.jsonl"
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        ledger.append(tmp_path, {"event": "two"})
    monkeypatch.undo()
    assert path.read_bytes() == before
    ledger.append(tmp_path, {"event": "three"})
    assert problems(tmp_path) == []


def test_ledger_works_outside_a_git_work_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PROJECT_DIR", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    ledger._surroundings.cache_clear()
    try:
        ledger.append(tmp_path / "demo", {"event": "one"})
    finally:
        ledger._surroundings.cache_clear()
    record = ledger.read(tmp_path / "demo")[0]
    assert record["code"] == {"commit": None, "dirty": None}
    assert record["lock_sha256"] is None


def test_killed_processes_never_break_the_chain(tmp_path: Path) -> None:
    """kill -9 at any moment: what is left is a whole chain, after the next append at the latest."""
    script = (
        "import sys; from pathlib import Path; from implantflow.audit import ledger\n"
        "while True: ledger.append(Path(sys.argv[1]), {'event': 'test', 'padding': 'x' * 200000})"
    )
    for delay in (0.02, 0.05, 0.09):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
        path = tmp_path / "audit" / "ledger.jsonl"
        size = path.stat().st_size if path.exists() else 0
        while not path.exists() or path.stat().st_size == size:
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        process.wait()
        ledger.append(tmp_path, {"event": "after"})
        assert problems(tmp_path) == []


def test_one_job_costs_less_than_a_tenth_of_a_second(tmp_path: Path) -> None:
    """In a new process: what a job pays is the git call, the versions, the lock's digest and two writes."""
    script = (
        "import sys, time; from pathlib import Path; from implantflow.audit import ledger\n"
        "begin = time.process_time(); ledger.append(Path(sys.argv[1]), {'event': 'test'})\n"
        "print(time.process_time() - begin)"
    )
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", script, str(tmp_path)], capture_output=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(times) < 0.1


def test_ledger_imports_nothing_heavy() -> None:
    script = (
        "import sys; import implantflow.audit.ledger; "
        "print(*{'pydantic', 'scipy', 'pandas', 'trimesh', 'vtk', 'SimpleITK', 'jinja2', 'securesystemslib'} "
        "& set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_read_refuses_what_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    for hostile in (b"not json\n", b"[1]\n", b"[" * 100000 + b"\n"):
        (tmp_path / "audit" / "ledger.jsonl").write_bytes(hostile)
        with pytest.raises(ProvenanceError):
            ledger.read(tmp_path)


def test_odd_values_survive_the_round(tmp_path: Path) -> None:
    odd: dict[str, Any] = {
        "event": "test",
        "nan": float("nan"),
        "tiny": 1e-9,
        "text": 'ümlaut \u2028 "\n',
        "n": -0.0,
    }
    ledger.append(tmp_path, odd)
    assert problems(tmp_path) == []
    assert json.loads((tmp_path / "audit" / "ledger.jsonl").read_text())["entry"]["nan"] is None
