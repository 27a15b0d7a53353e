"""Damaged DICOM folders through the reader: ``python -m tests.fuzz.ingest --count 20000 --out results/fuzz``.

Every seed is one folder (:mod:`tests.fuzz.cases`); the reader runs in a process of its own under limits. A run can be
stopped and goes on where it was; what is on disk is of one state of the reader, or the run begins anew.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.fuzz.bases import KINDS, base
from tests.fuzz.cases import build
from tests.fuzz.pool import LIMIT_MB, Worker
from tests.fuzz.table import write_table
from tests.fuzz.verdict import GOOD, judge

from implantflow.codedigest import code_digest

#: Where memory is not refused but only measured, for the few cases that met the limit (MB).
_WIDE_MB = 6 * LIMIT_MB


def originals(folder: Path) -> Path:
    """The good series, one folder each."""
    for name in KINDS:
        (folder / name).mkdir(parents=True)
        for file, data in base(name).files.items():
            (folder / name / file).write_bytes(data)
    return folder


def run_seed(seed: int, folder: Path, worker: Worker, wide: Worker) -> dict[str, Any]:
    """Damage, read, judge one seed."""
    case = build(seed, folder)
    request = {"folder": str(folder), "base": case.base, "series_uid": case.series_uid}
    answer = worker.ask(request)
    if "MemoryError" in answer.get("text", "") or answer["kind"] == "died":
        # Asking for memory is not using it: without the limit the same folder shows what it really takes.
        answer = wide.ask(request)
    verdict = judge(case, answer)
    record = {"seed": seed, "verdict": verdict, **asdict(case), **answer}
    if verdict in GOOD:
        for key in ("notes", "text"):
            record.pop(key, None)
    return record


def run(seeds: Iterable[int], scratch: Path) -> list[dict[str, Any]]:
    """Records of some seeds, kept in memory."""
    good = originals(scratch / "originals")
    with Worker(good) as worker, Worker(good, _WIDE_MB) as wide:
        return [run_seed(seed, scratch / "case", worker, wide) for seed in seeds]


def _resume(path: Path, digest: str) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return lines[1:] if lines and lines[0].get("reader") == digest else []


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--out", type=Path, default=Path("results/fuzz"))
    parser.add_argument("--table", type=Path, help="Markdown file for the figures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cases.jsonl"
    digest = code_digest("implantflow.ingest.read")
    done = _resume(path, digest)
    head = json.dumps({"reader": digest})
    path.write_text("".join(f"{line}\n" for line in [head, *map(json.dumps, done)]))
    with tempfile.TemporaryDirectory() as scratch, path.open("a") as log:
        good = originals(Path(scratch) / "originals")
        with Worker(good) as worker, Worker(good, _WIDE_MB) as wide:
            for seed in range(len(done), options.count):
                record = run_seed(seed, Path(scratch) / "case", worker, wide)
                done.append(record)
                log.write(json.dumps(record) + "\n")
                log.flush()
                if seed % 500 == 499:
                    print(
                        f"{seed + 1} folders, {sum(r['verdict'] not in GOOD for r in done)} failures",
                        flush=True,
                    )
    write_table(options.table or options.out / "fuzz.md", done, digest)


if __name__ == "__main__":
    main()
