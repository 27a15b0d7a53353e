"""Make, read and score the validation set of the follow-up; goes on where it stopped.

    python -m tests.followup.validation --state results/validation/followup

needs the finished cases demo and vhf (``snakemake lattice --config cases=demo,vhf``) below ``--root``. ``--only make``
or ``--only read`` do a part of it, ``--held-out`` also reads and scores the half that development must not see.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.followup.validation.plan import CASES, EXTRA_CASE, states
from tests.followup.validation.world import Case, make


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=Path("results/validation/followup"))
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds results/ and data/")
    parser.add_argument("--cases", default=",".join((*CASES, EXTRA_CASE)))
    parser.add_argument("--only", choices=("make", "read", "score"), default=None)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--table", type=Path, default=None, help="page to write")
    options = parser.parse_args()
    wanted = [s for s in states() if s.case in options.cases.split(",")]
    if options.only in (None, "make"):
        for state in wanted:
            if not (options.root / "results" / state.case / "lattice/field.json").exists():
                print(f"{state.key}: the case has no lattice yet, left out")
                continue
            print(state.key, flush=True)
            make(Case.of(state.case, options.root), state, options.state / state.key, 1)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
