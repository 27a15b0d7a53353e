"""What the ledger costs: the time each job spent on hashing and recording, beside its own time.

python -m tests.audit.overhead results/CASE
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from implantflow.audit import ledger


def overhead(case_dir: Path) -> tuple[float, float, int]:
    """Seconds spent recording, seconds of all jobs (recording included), number of jobs; of the last runs."""
    recorded = 0.0
    seconds = {}
    for record in ledger.read(case_dir):
        entry = record["entry"]
        # A page rendered outside the pipeline says no time.
        if entry.get("event") == "job" and entry["outcome"]["status"] == "done" and "seconds" in entry:
            names = [v for k, v in sorted(entry["wildcards"].items()) if k != "case"]
            seconds[".".join([entry["rule"], *names])] = entry["seconds"]
    for log in sorted((case_dir / "logs").glob("*.log")):
        recorded += sum(float(s) for s in re.findall(r"INFO recorded in ([0-9.]+) s", log.read_text()))
    return recorded, sum(seconds.values()), len(seconds)


if __name__ == "__main__":
    spent, total, count = overhead(Path(sys.argv[1]))
    print(f"{count} jobs, {total:.1f} s; hashing and ledger {spent:.2f} s, {100 * spent / total:.2f} %")
