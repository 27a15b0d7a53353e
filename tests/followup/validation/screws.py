"""Screws that moved, broke or lost their bone, simulated and read; writes the table of docs/validation/screws.md.

    python -m tests.followup.validation.screws --root . --state FOLDER [--table docs/validation/screws.md]

needs the finished cases demo and vhf below ``--root``; goes on where it stopped. SIMULATED throughout.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from tests.followup.validation.plan import CASES, PROTOCOLS, State, states
from tests.followup.validation.read import Bench
from tests.followup.validation.world import Case, make, read_scan

from implantflow.artifacts import plain
from implantflow.config.followup import ScrewRules
from implantflow.followup import screws as analysis
from implantflow.followup import shank

RULES = ScrewRules(
    gap_min_mm=1.0,
    step_min_mm=1.0,
    moved_min_mm=1.0,
    rim_drop_hu=150.0,
    rim_min_pct=30.0,
    source="tried here",
)
#: What has become of the two screws that stand free, scan by scan: the one through the joint, the one in the ilium.
STATES: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "k01": ({"across_mm": 0.5}, {"advance_mm": -0.5}),
    "k02": ({"advance_mm": -1.5}, {"across_mm": 1.5}),
    "k03": ({"across_mm": 3.0}, {"advance_mm": -4.0}),
    "k04": ({"broken_at": 0.5, "gap_mm": 1.0}, {"broken_at": 0.4, "gap_mm": 2.0}),
    "k05": ({"broken_at": 0.6, "gap_mm": 3.0}, {"broken_at": 0.5, "step_mm": 0.6}),
    "k06": ({"broken_at": 0.5, "step_mm": 1.5}, {"broken_at": 0.6, "step_mm": 2.5, "gap_mm": 0.5}),
    "k07": ({"rim_mm": 1.0}, {"rim_mm": 2.0}),
    "k08": ({"rim_mm": 2.0}, {"rim_mm": 1.0, "across_mm": 1.5}),
    "k09": ({}, {}),
    "k10": ({}, {}),
}


def baseline(case: str) -> State:
    """How the patient was scanned after the operation."""
    return next(s for s in states() if s.case == case and s.half == "baseline")


def changed(bench: Bench) -> list[State]:
    """A state of each kind in one anatomy; lying and pores as in its states of the validation set."""
    free = [s.name for s in shank.planned_screws(bench.inputs.plan) if s.held_by == "pelvis"]
    others = [s for s in states() if s.case == bench.case.name and s.half != "baseline"]
    found = []
    for n, (name, truths) in enumerate(STATES.items()):
        pose = others[n % len(others)].scan["pose"]
        like = {
            **others[n % len(others)].scan,
            "pose": pose,
            "migration": {"turns_deg": [0, 0, 0], "shift_mm": [0, 0, 0]},
        }
        like |= {"screws": dict(zip(free, truths, strict=True))}
        found.append(State(bench.case.name, name, "development", like, 0.1))
    return found


def read(bench: Bench, state: State, protocol: str) -> list[dict[str, Any]]:
    """What is said of the screws of one scan; kept by the digest of the analysis."""
    text = b"".join(Path(module.__file__).read_bytes() for module in (analysis, shank))
    code = hashlib.sha256(text + RULES.model_dump_json().encode()).hexdigest()
    kept = bench.state / state.key / f"{protocol}_screws_{code[:10]}.json"
    if not kept.exists():
        base = baseline(bench.case.name)
        volume, _ = read_scan(bench.state / state.key, protocol)
        before, _ = read_scan(bench.state / base.key, protocol)
        located, earlier = (bench.located(s, protocol)[0] for s in (state, base))
        said = analysis.read_screws(
            bench.inputs.plan,
            volume,
            located.found,
            analysis.Earlier(before, earlier.found, True),
            float(bench.case.config["followup"]["metal"]["threshold_hu"]),
            RULES,
        )
        kept.write_text(json.dumps(plain([s for s in said if s["held_by"] == "pelvis"])))
    found: list[dict[str, Any]] = json.loads(kept.read_text())
    return found


def row(state: State, protocol: str, said: dict[str, Any]) -> list[str]:
    """A line of the table."""
    truth = state.scan.get("screws", {}).get(said["name"], {})
    told = (
        ", ".join(f"{k.removesuffix('_mm').replace('_', ' ')} {v:g}" for k, v in truth.items())
        or "as planned"
    )
    since = said.get("since_baseline") or {}
    figures = [
        since.get("across_mm"), since.get("tip_advance_mm"), said.get("break_gap_mm"), said.get("break_step_mm"),
        since.get("darker_rim_pct"),
    ]  # fmt: skip
    shown = ["-" if x is None else f"{x:.2f}" if n < 4 else f"{x:.0f}" for n, x in enumerate(figures)]
    signs = [f for f in ("break", "loosening") if said.get(f) == "signs"]
    verdict = " and ".join(signs) or (said["reason"] if said["status"] != "seen" else said["loosening"])
    return [state.case, protocol, said["name"], told, *shown, verdict]


def right(state: State, said: dict[str, Any]) -> tuple[bool, bool] | None:
    """Whether there is something to be found, and whether it was; None where it is said that it cannot be told."""
    truth = state.scan.get("screws", {}).get(said["name"], {})
    signs = [said.get(figure) for figure in ("break", "loosening")]
    if said["status"] != "seen" or ("signs" not in signs and "not determinable" in signs):
        return None
    return bool(truth), "signs" in signs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--protocols", default=",".join(p.name for p in PROTOCOLS))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    rows, calls = [], []
    for name in options.cases.split(","):
        bench = Bench(Case.of(name, options.root), options.state)
        wanted = changed(bench)
        for state in (baseline(name), *wanted):
            make(bench.case, state, options.state / state.key, 2)
            print(f"{state.key}: made", flush=True)
        for state in wanted:
            for protocol in options.protocols.split(","):
                for said in read(bench, state, protocol):
                    calls.append(right(state, said))
                    rows.append(row(state, protocol, said))
                    print(" | ".join(rows[-1]), flush=True)
    seen = [c for c in calls if c is not None]
    there = [found for truth, found in seen if truth]
    quiet = [found for truth, found in seen if not truth]
    total = (
        f"{len(calls)} screws looked at, {len(seen)} read; of {len(there)} that changed {sum(there)} show signs, of "
        f"{len(quiet)} that did not {sum(quiet)} do."
    )
    print(total)
    if options.table is not None:
        write(options.table, rows, total)
    return 0


def write(path: Path, rows: list[list[str]], total: str) -> None:
    """Put the lines between the markers of the page."""
    head = [
        "case",
        "protocol",
        "screw",
        "SIMULATED truth, mm",
        "across, mm",
        "tip forward, mm",
        "gap, mm",
        "step, mm",
    ]
    head += ["darker rim, %", "said"]
    lines = [f"| {' | '.join(r)} |" for r in [head, ["---"] * len(head), *rows]]
    text = path.read_text(encoding="utf-8")
    before, after = text.split("<!-- screws -->")[0], text.split("<!-- end -->")[1]
    path.write_text(
        f"{before}<!-- screws -->\n{total}\n\n" + "\n".join(lines) + f"\n<!-- end -->{after}", "utf-8"
    )


if __name__ == "__main__":
    raise SystemExit(main())
