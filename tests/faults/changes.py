"""Which jobs one changed config key, or one edited function, causes: dry runs over a finished tiny case.

    python -m tests.faults.run --kills 0 --state STATE
    python -m tests.faults.changes --case STATE/tiny_report/undisturbed --folder COPY --table docs/validation/changes.md

The first command finishes the case with this very code. What Snakemake would run depends on what it recorded then
(params, code digests, inputs), so stand-ins for the files do not do.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from implantflow.jobrecord import base_rule

ROOT = Path(__file__).parents[2]

#: What follows whatever changed: each of them shows the whole case.
ALWAYS = {"resolve_config", "audit_case", "report_case"}

HEAD = """# One change, and the jobs it causes

Made by `python -m tests.faults.changes --case FINISHED --folder COPY --table docs/validation/changes.md`: dry runs
over the finished tiny case (simulated). Targets are left out, and so are the jobs that any change causes where they
show the whole case: the resolved config, audit, comparison with the truth and report. A job depends on the settings it
is given and on the modules that its stage imports, directly or not: an edited function re-runs what imports its
module, which is the grain, not the single function. What an upstream job makes anew re-runs what reads it, so a change
early in the case re-runs what follows. The script fails when a change does not re-run the rule it concerns.

"""


@dataclass(frozen=True)
class Change:
    """One edit of the project; ``first`` names the rules that it concerns itself, ``never`` those it must not run."""

    what: str
    path: str
    before: str
    after: str
    first: frozenset[str]
    never: frozenset[str] = frozenset()


def key(what: str, before: str, after: str, *first: str) -> Change:
    return Change(what, "config/cases/tiny.yaml", before, after, frozenset(first))


def code(module: str, *first: str) -> Change:
    """A comment added to a module: any byte counts, as a function's body would."""
    path = f"scripts/implantflow/{module}"
    return Change(f"a function in `{module}`", path, "", "\n# edited\n", frozenset(first))


_CAUDAL = "      caudal_level: S4 # the published case took the roots S1-S4\n"
_ROD = "[{name: left, screws: [s1_implant, iliac_left]}]"
_SAID = "source: a test of changes, verified: false"
#: Rods for the tiny case, and an outer shape: both leave the resection as it is.
_FIXATION = (
    "      fixation: {levels: [], missing_levels: refuse, head: {diameter_mm: 12, height_mm: 16, saddle_mm: 9, "
    f"tilt_max_deg: 30, slot_tilt_max_deg: 6, proud_max_mm: 12, recess_max_mm: 2, {_SAID}}}, rod: {{diameter_mm: 5.5, "
    f"bend_radius_min_mm: 20, overhang_mm: 6, bone_clearance_mm: 0.5, {_SAID}, rods: {_ROD}}}, "
    f"roots: {{clearance_mm: 3, {_SAID}}}}}\n"
)
_MIRROR = "      mirror: {changed_within_mm: 2.0, blend_mm: 10.0, step_max_mm: 1.0, residual_max_mm: 1.5}\n"


def beside(what: str, added: str, rule: str, never: frozenset[str]) -> Change:
    """A part added to the plan that only ``rule`` of the plan's rules reads; ``never`` are not to run again."""
    path = "config/cases/tiny.yaml"
    return Change(what, path, _CAUDAL, _CAUDAL + added, frozenset({rule}), never)


CHANGES: tuple[Change, ...] = (
    key("simulated.seed", "  seed: 7\n  ct_spacing", "  seed: 8\n  ct_spacing", "simulate_patient"),
    key("simulated_print.seed", "  seed: 11", "  seed: 12", "simulate_print"),
    key("simulated_followup.photons", "photons: 4.0e+6", "photons: 5.0e+6", "simulate_followup"),
    key("segment.threshold_hu", "threshold_hu: 226", "threshold_hu: 230", "segment_bones"),
    key("tumour.timepoints[0].neck_mm", "neck_mm: 4.0", "neck_mm: 4.5", "measure_tumour"),
    key("plan.revisions[p1].margin_mm", "margin_mm: 10.0", "margin_mm: 11.0", "plan_resection"),
    beside(
        "plan.revisions[p1].fixation",
        _FIXATION,
        "plan_construct",
        frozenset({"plan_resection", "make_prototype"}),
    ),
    # The prototypes take the outer shape.
    beside("plan.revisions[p1].mirror", _MIRROR, "plan_outer_shape", frozenset({"plan_resection"})),
    key("prototype.iterations[rp2].clearance_mm", "clearance_mm: 0.7", "clearance_mm: 0.8", "make_prototype"),
    key("implant.limits.gap_p95_mm", "gap_p95_mm: 2.5", "gap_p95_mm: 2.6", "design_implant"),
    key("strength.voxel_mm", "  voxel_mm: 3.0\n  check", "  voxel_mm: 3.2\n  check", "check_strength"),
    key("strength.safety_factor_min", "safety_factor_min: 1.5", "safety_factor_min: 1.6", "check_strength"),
    key("lattice.cell_mm", "  cell_mm: 4.0", "  cell_mm: 4.5", "make_lattice"),
    key("build.limits.volume_error_pct", "volume_error_pct: 1.0", "volume_error_pct: 0.9", "build_part"),
    key("inspect.tolerance_mm", "  tolerance_mm: 0.25", "  tolerance_mm: 0.26", "inspect_print"),
    key("release.device.lot", "lot: TINY-0001", "lot: TINY-0002", "release_case"),
    key("followup.grade.lucency_min_mm", "lucency_min_mm: 1", "lucency_min_mm: 1.2", "read_followup"),
    code("tumour/measure.py", "measure_tumour"),
    code("plan/midplane.py", "plan_resection"),
    code("lattice/part_measures.py", "make_lattice"),
    code("build/themes.py", "build_part"),
    code("followup/grade.py", "read_followup"),
    code("release/objects.py", "release_case"),
    code("report/page.py"),
    code("review/keys.py"),
)


def workspace(folder: Path, finished: Path) -> Path:
    """A copy of the project that can be edited, with the results of a finished tiny case (linked, never written to).

    Raises
    ------
    AssertionError
        Something would run although nothing was changed: the case was finished by another state of the code.
    """
    for name in ("scripts", "rules", "profiles", "config", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("results", "data"):
        shutil.copytree(finished / name, folder / name, copy_function=os.link, symlinks=True)
    shutil.copytree(finished / ".snakemake/metadata", folder / ".snakemake/metadata")
    left = planned(folder)
    if left:
        raise AssertionError(f"the case does not count as finished: {sorted(left)} would run")
    return folder


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake on the copy with the copy's own code; what it printed."""
    command = [sys.executable, "-m", "snakemake", "report", *arguments, "--workflow-profile", "none"]
    command += ["--config", "cases=tiny"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "scripts")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError((done.stdout + done.stderr)[-3000:])
    return done.stdout + done.stderr


def planned(folder: Path) -> dict[str, int]:
    """Rule -> number of jobs that would run now."""
    said = snakemake(folder, "-n", "--cores", "1")
    found = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+) *$", said, flags=re.M)}
    return {base_rule(name): count for name, count in found.items() if name not in {"total", "report"}}


def jobs_of(folder: Path, change: Change) -> dict[str, int]:
    """The jobs that ``change`` causes; the copy is as it was afterwards."""
    path = folder / change.path
    before = path.read_text(encoding="utf-8")
    if change.before not in before:
        raise AssertionError(f"{change.what}: {change.path} does not hold {change.before!r}")
    edited = before.replace(change.before, change.after, 1) if change.before else before + change.after
    times = path.stat()
    path.write_text(edited, encoding="utf-8")
    try:
        return planned(folder)
    finally:
        path.write_text(before, encoding="utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def table(results: list[tuple[Change, dict[str, int]]]) -> str:
    lines = ["| changed | jobs | which |", "|---|---|---|"]
    for change, jobs in results:
        shown = {n: c for n, c in jobs.items() if n not in HIDDEN}
        which = ", ".join(f"{n}{f' x{c}' if c > 1 else ''}" for n, c in shown.items()) or "none"
        lines.append(f"| {change.what} | {sum(shown.values())} | {which} |")
    return HEAD + "\n".join(lines) + "\n"


HIDDEN = {*ALWAYS, "compare_truth"}


def main(tell: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="an empty folder for the copy")
    parser.add_argument("--case", type=Path, required=True, help="folder in which the tiny case was finished")
    options = parser.parse_args()
    folder = workspace(options.folder.resolve(), options.case.resolve())
    results = []
    for change in CHANGES:
        results.append((change, jobs_of(folder, change)))
        tell(f"{change.what}: {results[-1][1]}")
        missing = change.first - set(results[-1][1])
        if missing:
            raise AssertionError(f"{change.what} did not re-run {sorted(missing)}")
        needless = change.never & {name.removesuffix("_tiny") for name in results[-1][1]}
        if needless:
            raise AssertionError(f"{change.what} re-ran {sorted(needless)}")
    options.table.write_text(table(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
