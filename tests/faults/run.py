"""Kills a case at random moments, runs the same command again, and writes the table; goes on where it stopped.

    python -m tests.faults.run --kills 60 --state FOLDER --table docs/validation/faults.md

``--target plan`` takes the first stages only; ``--pipeline made`` a small pipeline of real jobs in seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.driver import Pipeline, lap, made_pipeline, tiny_pipeline
from tests.faults.single import FAULTS

HEAD = """# Faults

Made by `python -m tests.faults.run --kills N --state FOLDER --table docs/validation/faults.md`, which goes on where it
stopped. Each try kills (SIGKILL) at a random moment and starts the same command again; a case is killed again and again
until it is complete, then the next one begins. Survived: the case completed with the digests of an undisturbed run,
nothing half-written stood under a final name after the kill, and `verify` found no problem; one difference at the end
counts against every kill of that case. Simulated patient; one machine with two cores.

"""


def main() -> int:
    options = _parse()
    name = "made" if options.pipeline == "made" else f"tiny_{options.target}"
    state = (options.state / name).resolve()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _kill_laps(state, options)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here")
    if options.single:
        (options.state / "single.json").write_text(
            json.dumps(single_faults(options.state / "single"), indent=1)
        )
    if options.table is not None:
        options.table.write_text(table(options.state.resolve()), encoding="utf-8")
    tried = _read(state / "kills.jsonl")
    lost = [t for t in tried if not t["survived"]]
    print(f"{name}: {len(tried)} kills, {len(tried) - len(lost)} survived, {len(lost)} lost")
    return 1 if lost else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kills", type=int, required=True, help="how many in all, those of earlier calls included"
    )
    parser.add_argument("--pipeline", choices=("tiny", "made"), default="tiny")
    parser.add_argument("--target", default="report")
    parser.add_argument("--cores", type=int, default=2, help="of the tiny case")
    parser.add_argument(
        "--state", type=Path, required=True, help="folder that keeps the runs and their record"
    )
    parser.add_argument(
        "--gap-s", type=float, help="mean time to a kill; default: a 12th of the undisturbed time"
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="no kills after this; the case is completed"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=Path, default=None)
    parser.add_argument("--single", action="store_true", help="also every other fault, on the made pipeline")
    return parser.parse_args()


def _kill_laps(state: Path, options: argparse.Namespace) -> None:
    """Lap after lap until ``options.kills`` are in ``state/kills.jsonl``; those of an open lap wait beside it."""
    truth, undisturbed_s = _undisturbed(state, options)
    until, gap_s = time.monotonic() + 60 * options.minutes, options.gap_s or undisturbed_s / 12
    record, waiting = state / "kills.jsonl", state / "open.json"
    while (had := len(_read(record))) < options.kills and time.monotonic() < until:
        begun = json.loads(waiting.read_text()) if waiting.exists() else []
        if not begun:
            shutil.rmtree(state / "disturbed", ignore_errors=True)
        rng = random.Random(f"{options.seed} {had} {len(begun)}")
        pipeline = _pipeline(state / "disturbed", options)
        try:
            tried = lap(pipeline, truth, options.kills - had, gap_s, rng, begun, until)
        except KeyboardInterrupt:
            waiting.write_text(json.dumps(begun))
            raise
        with record.open("a") as handle:
            lap_number = 1 + max((t["lap"] for t in _read(record)), default=0)
            handle.writelines(json.dumps({"lap": lap_number} | t) + "\n" for t in tried)
        waiting.unlink(missing_ok=True)


def single_faults(folder: Path) -> list[dict[str, str]]:
    """Every fault of ``single``, and what was seen."""
    shutil.rmtree(folder, ignore_errors=True)
    pipeline = made_pipeline(folder / "undisturbed")
    code, said = pipeline.run()
    assert code == 0, said[-3000:]
    truth, found = pipeline.digests(), []
    for fault in FAULTS:
        try:
            seen, result = fault(folder / fault.__name__, truth), "survived"
        except AssertionError as error:
            seen, result = str(error)[-300:], "**lost**"
        found.append({"fault": fault.__name__, "how": fault.__doc__ or "", "seen": seen, "result": result})
    return found


def table(state: Path) -> str:
    """What the records in ``state`` say."""
    lines = ["| pipeline | what was killed | tries | survived | lost |", "|---|---|---|---|---|"]
    details = []
    for record in sorted(state.glob("*/kills.jsonl")):
        tried = _read(record)
        kinds = [*dict.fromkeys(t["killed"] for t in tried), None]
        for kind in kinds:
            some = [t for t in tried if kind in (None, t["killed"])]
            good = sum(t["survived"] for t in some)
            name = f"**{record.parent.name}**" if kind is None else record.parent.name
            lines.append(f"| {name} | {kind or 'all'} | {len(some)} | {good} | {len(some) - good} |")
        at = sorted({job for t in tried for job in t["running"].split(", ")})
        cases = len({t["lap"] for t in tried})
        details.append(f"{record.parent.name}: {cases} cases; running at the kills were {', '.join(at)}.")
        waiting = record.parent / "open.json"
        if waiting.exists():
            details.append(
                f"{len(json.loads(waiting.read_text()))} kills of a case not complete yet are not counted."
            )
    text = HEAD + "\n".join(lines) + "\n\n" + "\n".join(details) + "\n"
    single = state / "single.json"
    if single.exists():
        rows = json.loads(single.read_text())
        text += (
            "\n## Other faults\n\nOn a small pipeline of real jobs (`tests/faults/made`); tests run each.\n\n"
        )
        text += "| fault | how | seen | result |\n|---|---|---|---|\n"
        text += "".join(
            f"| {r['fault'].replace('_', ' ')} | {r['how']} | {r['seen']} | {r['result']} |\n" for r in rows
        )
    return text


def _pipeline(folder: Path, options: argparse.Namespace) -> Pipeline:
    if options.pipeline == "made":
        return made_pipeline(folder)
    return tiny_pipeline(folder, options.target, options.cores)


def _undisturbed(state: Path, options: argparse.Namespace) -> tuple[dict[str, str], float]:
    """Digests of the undisturbed run and its wall time, s."""
    known = state / "undisturbed.json"
    if not known.exists():
        pipeline = _pipeline(state / "undisturbed", options)
        begun = time.perf_counter()
        code, said = pipeline.run()
        assert code == 0, said[-3000:]
        known.write_text(json.dumps({"wall_s": time.perf_counter() - begun, "digests": pipeline.digests()}))
    data = json.loads(known.read_text())
    return data["digests"], data["wall_s"]


def _read(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


if __name__ == "__main__":
    sys.exit(main())
