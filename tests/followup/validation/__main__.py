"""Make, read and score the validation set of the follow-up; goes on where it stopped.

    python -m tests.followup.validation --state results/validation/followup

needs the finished cases demo, vhf and tiny (``snakemake lattice --config cases=demo,vhf,tiny``) below ``--root``.
``--only make`` or ``--only read`` do a part of it. ``--held-out`` also reads and scores the half that development must
not see; ``--table`` writes the page docs/validation/followup.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from tests.followup.validation.page import page
from tests.followup.validation.perturb import held, perturbed
from tests.followup.validation.plan import CASES, EXTRA_CASE, PROTOCOLS, State, states
from tests.followup.validation.read import Bench, read
from tests.followup.validation.score import score
from tests.followup.validation.world import Case, make

from implantflow import followup
from implantflow.artifacts import plain
from implantflow.errors import ImplantflowError


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, default=Path("results/validation/followup"))
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds results/ and data/")
    parser.add_argument("--cases", default=",".join((*CASES, EXTRA_CASE)))
    parser.add_argument("--only", choices=("make", "read", "score"), default=None)
    parser.add_argument("--states", default=None, help="only these, e.g. demo_s01,vhf_s02")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--again", action="store_true", help="read again what an older analysis has read")
    parser.add_argument(
        "--perturb", default="", help="states whose lattice is also read with something wrong"
    )
    parser.add_argument("--table", type=Path, default=None, help="page to write")
    options = parser.parse_args()
    wanted = [s for s in states() if s.case in options.cases.split(",")]
    if options.states is not None:
        wanted = [s for s in wanted if s.key in options.states.split(",") or s.half == "baseline"]
    if options.only in (None, "make"):
        make_all(wanted, options.root, options.state)
    if not options.held_out:
        wanted = [s for s in wanted if s.half != "held_out"]
    if options.only in (None, "read"):
        read_all(wanted, options.root, options.state, options.again)
    wrong = perturb_all(
        [s for s in wanted if s.key in options.perturb.split(",")], options.root, options.state
    )
    return report(wanted, options.state, wrong, options.table)


def perturb_all(wanted: list[State], root: Path, state: Path) -> dict[str, tuple[int, int]]:
    """Read the lattice of ``wanted`` with something wrong on purpose."""
    benches: dict[str, Bench] = {}
    found = []
    for one in wanted:
        bench = benches.setdefault(one.case, Bench(Case.of(one.case, root), state))
        found += [perturbed(bench, one, protocol.name) for protocol in PROTOCOLS]
    return held(found)


def make_all(wanted: list[State], root: Path, state: Path) -> None:
    """Simulate what is not there yet."""
    for one in wanted:
        if not (root / "results" / one.case / "lattice/field.json").exists():
            print(f"{one.key}: the case has no lattice yet, left out", flush=True)
            continue
        print(f"{one.key}: simulate", flush=True)
        make(Case.of(one.case, root), one, state / one.key, 1)


def read_all(wanted: list[State], root: Path, state: Path, again: bool) -> None:
    """Read every scan that is there; a refusal is a result."""
    benches: dict[str, Bench] = {}
    for one in wanted:
        if one.half == "baseline" or not (state / one.key / "made.json").exists():
            continue
        bench = benches.setdefault(one.case, Bench(Case.of(one.case, root), state))
        for protocol in PROTOCOLS:
            kept = state / one.key / f"reading_{protocol.name}.json"
            if kept.exists() and not (again and json.loads(kept.read_text())["code"] != code()):
                continue
            _refuse_other_lattice(bench.case, one, state)
            print(f"{one.key} {protocol.name}: read", flush=True)
            try:
                found = read(bench, one, protocol.name)
            except ImplantflowError as error:
                found = {"case": one.case, "state": one.name, "half": one.half, "refused": str(error)}
                found["protocol"] = protocol.name
            kept.write_text(json.dumps(plain({**found, "code": code()})))


def _refuse_other_lattice(case: Case, one: State, state: Path) -> None:
    """A scan of one implant read with the design of another would be no validation: the case was made again since."""
    for key in (f"{one.case}_m0", one.key):
        made = json.loads((state / key / "made.json").read_text())
        if made.get("field") != case.field_digest:
            raise SystemExit(
                f"{state / key} was simulated of another lattice than {case.results} holds now; "
                "simulate it again in an empty folder"
            )


#: The second reading, which has its own file and digest.
_SECOND = ("nmar.py", "nmar_kernels.py", "second_reading.py")


def code() -> str:
    """Digest of the analysis, without what the main readings do not use."""
    folder = Path(str(followup.__file__)).parent
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")) if path.name not in _SECOND)
    return hashlib.sha256(text).hexdigest()[:12]


def report(wanted: list[State], state: Path, wrong: dict[str, tuple[int, int]], table: Path | None) -> int:
    """Print and, where asked, write the page."""
    readings: list[dict[str, Any]] = []
    for one in wanted:
        for protocol in PROTOCOLS:
            kept = state / one.key / f"reading_{protocol.name}.json"
            if kept.exists():
                readings.append(json.loads(kept.read_text()))
    halves = {
        half: score([r for r in readings if r["half"] == half])
        for half in ("development", "held_out")
        if any(r["half"] == half for r in readings)
    }
    print(json.dumps(halves, indent=1))
    if table is not None:
        older = sum(r["code"] != code() for r in readings)
        table.write_text(page(readings, halves, wanted, state, wrong, older), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
