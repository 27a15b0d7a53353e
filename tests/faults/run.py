"""Kills a case at random moments, runs the same command again, and writes the table; goes on where it stopped.

    python -m tests.faults.run --kills 60 --state FOLDER --table docs/validation/faults.md

``--target plan`` takes the first stages only; ``--pipeline made`` a small pipeline of real jobs in seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.driver import Pipeline, kills, made_pipeline, tiny_pipeline
from tests.faults.single import FAULTS

HEAD = """# Faults

Made by `python -m tests.faults.run --kills N --state FOLDER --table docs/validation/faults.md`, which goes on where it
stopped. Each try kills (SIGKILL) at a random moment and starts the same command again. Survived: the case completed
with the digests of an undisturbed run, nothing half-written stood under a final name after the kill, and `verify` found
no problem. Simulated patient; one machine with two cores.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kills", type=int, required=True, help="how many in all, those of earlier calls included"
    )
    parser.add_argument("--pipeline", choices=("tiny", "made"), default="tiny")
    parser.add_argument("--target", default="report")
    parser.add_argument(
        "--state", type=Path, required=True, help="folder that keeps the runs and their record"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=Path, default=None)
    parser.add_argument("--single", action="store_true", help="also every other fault, on the made pipeline")
    options = parser.parse_args()
    name = "made" if options.pipeline == "made" else f"tiny_{options.target}"
    state = (options.state / name).resolve()
    truth, longest = _undisturbed(state, options)
    record = state / "kills.jsonl"
    while (had := len(_read(record))) < options.kills:
        rng = random.Random(f"{options.seed} {had}")
        # A few at a time, so that little is lost when this script itself is ended.
        for tried in kills(
            _pipeline(state / "disturbed", options), truth, min(4, options.kills - had), longest, rng, had
        ):
            with record.open("a") as handle:
                handle.write(json.dumps(tried) + "\n")
        shutil.rmtree(state / "disturbed")
    if options.single:
        (options.state / "single.json").write_text(
            json.dumps(single_faults(options.state / "single"), indent=1)
        )
    if options.table is not None:
        options.table.write_text(table(options.state.resolve()), encoding="utf-8")
    tried = _read(record)
    lost = [t for t in tried if not t["survived"]]
    print(f"{name}: {len(tried)} kills, {len(tried) - len(lost)} survived, {len(lost)} lost")
    return 1 if lost else 0


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
        details.append(f"{record.parent.name}: running at the kills were {', '.join(at)}.")
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
    folder.mkdir(parents=True, exist_ok=True)
    return tiny_pipeline(folder, options.target)


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
