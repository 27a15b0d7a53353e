"""Twelve attacks on a gate through Snakemake itself: `python -m tests.review.gate_table`.

Each attack gets a workspace with the project's own rules and config, two iterations on disk and a closed review gate.
Asked for are the approved iteration's implant, which lies behind the gate, and two things that do not. Writes
docs/validation/gates.md.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import yaml

sys.path[:0] = [str(Path(__file__).parent)]

import test_gate_attacks as attacks  # noqa: E402
from review_room import Room, make_room  # noqa: E402
from tests.e2e.conftest import ROOT, Workspace, new_workspace  # noqa: E402

#: What lies behind the gate, and what does not.
BEHIND = "results/demo/implant/implant.json"
BESIDE = ("results/other/prototype/rp2/gate.json", "results/demo/config.resolved.yaml")


def nothing(room: Room) -> None:
    """Leave it as it is."""


def one_short(room: Room) -> None:
    """The surgeon signs, the engineer does not."""
    room.sign("anna")


CASES: list[tuple[str, str, Callable[[Room], object]]] = [
    ("missing", "nobody has signed", nothing),
    ("one signature short", "only the surgeon has signed", one_short),
    ("stale", "the model is made anew after both signed", attacks.changed_after_signing),
    ("wrong role", "a radiologist signs in place of the engineer", attacks.wrong_role),
    ("revoked key", "the surgeon's key is revoked after signing", attacks.revoked_key),
    ("expired key", "signed after the key's last day", attacks.left_before_signing),
    ("unknown key", "a stranger's key, signing in the surgeon's name", attacks.unknown_key),
    (
        "forged",
        "another person's signature bytes under the surgeon's statement",
        attacks.signature_of_another,
    ),
    ("tampered payload", "a word of the signed reason is changed", attacks.payload_edited),
    ("copied from another case", "same bytes there, both approvals copied over", attacks.of_another_case),
    ("copied from another iteration", "approvals of rp1 renamed to rp2", attacks.of_another_iteration),
    ("rejected", "the surgeon rejects after both approved", attacks.rejected),
    ("replayed", "an approval taken back is put behind the refusal again", attacks.old_approval_replayed),
]


def prepared(folder: Path) -> tuple[Workspace, Room]:
    """A workspace whose two cases wait at the review gate: everything before it is there."""
    work = new_workspace(folder / "w")
    config = work.read_case("tiny")
    config["review"] = {"policy": "auto", "gates": {"review": "signed"}}
    config["prototype"]["approved"] = "rp2"
    for name in ("demo", "other"):
        work.write_case(name, config)
    os.chdir(work.path)
    for case in ("demo", "other"):
        for name in _before_the_gate(config):
            path = Path("results") / case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    room = make_room(folder / "home")
    for case in ("demo", "other"):  # newer than the parent's files, as after a run
        (Path("results") / case / "prototype/rp2/shape.npz").write_text("rp2")
    for who in ("sven", "emil"):
        room.sign(who, case="other")
    return work, room


def _before_the_gate(config: dict) -> list[str]:
    bones = [f"segment/{n}.stl" for n in ("hip_left", "hip_right", "l5", "sacrum")]
    plan = [
        f"plan/{r['id']}/{n}"
        for r in config["plan"]["revisions"]
        for n in ("plan.json", "specimen.stl", "remaining_bone.stl")
    ]
    return [*bones, *plan, *(f"prototype/{i}/shape.npz" for i in ("rp1", "rp2"))]


def attempt(attack: Callable[[Room], object]) -> dict[str, str | bool]:
    """One attack: what Snakemake said, and what was and was not made."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        try:
            work, room = prepared(Path(folder))
            attack(room)
            site = {**room.site.model_dump(mode="json"), "data_root": "data"}
            (work.path / "config/site.yaml").write_text(yaml.safe_dump(site))
            done = work.snakemake(BEHIND, *BESIDE, "--rerun-triggers", "mtime", cases="demo,other")
            said = re.search(r"^implantflow: (.+?)$", done.stderr, re.MULTILINE)
            return {
                "exit": done.returncode != 0,
                "said": said[1] if said else done.stderr[-1500:],
                "gate": (work.path / "results/demo/prototype/rp2/gate.json").exists(),
                "behind": (work.path / BEHIND).exists(),
                "beside": all((work.path / path).exists() for path in BESIDE),
            }
        finally:
            os.chdir(here)


def main() -> None:
    """Run all and write the table."""
    lines = [
        "# Attacks on the review gate",
        "",
        "Made by `python -m tests.review.gate_table`. Each row is a run of Snakemake with the "
        "project's own rules on a workspace of its own; signatures asked for: one surgeon and one engineer. The model "
        "files are stand-ins (text): the gate judges bytes, not shapes. *Behind*: the implant of the approved "
        "iteration. *Beside*: the gate of another case, properly signed, and the resolved config. "
        "More attacks, without Snakemake: tests/review/test_gate_attacks.py.",
        "",
        "| # | attack | how | exit code | answer | gate.json | behind | beside |",
        "|---|---|---|---|---|---|---|---|",
    ]
    refused = 0
    with ProcessPoolExecutor() as pool:
        outcomes = list(pool.map(attempt, [attack for _, _, attack in CASES]))
    for number, ((name, how, _), found) in enumerate(zip(CASES, outcomes, strict=True), 1):
        good = bool(found["exit"]) and not found["gate"] and not found["behind"] and bool(found["beside"])
        refused += good
        said = str(found["said"]).replace("|", "/").replace(" in gate_review.rp2", "")
        lines.append(
            f"| {number} | {name} | {how} | {'not 0' if found['exit'] else '0'} | {said} | "
            f"{'written' if found['gate'] else 'none'} | {'BUILT' if found['behind'] else 'not built'} | "
            f"{'finished' if found['beside'] else 'NOT FINISHED'} |"
        )
        print(lines[-1], flush=True)
    lines += [
        "",
        f"{refused} of {len(CASES)} refused, with everything beside finished and nothing behind built.",
    ]
    (ROOT / "docs/validation/gates.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
