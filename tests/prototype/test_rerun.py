"""A changed correction re-runs its iteration and what follows, nothing before it: dry runs of the project's rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.e2e.conftest import Workspace, new_workspace

pytestmark = pytest.mark.slow
CHAIN = ("rp1", "rp2", "rp3")
TARGETS = ["results/demo/prototype/rp3/prototype.json"]


def made(folder: Path) -> Workspace:
    """The demo's bones, plans and three iterations as stand-in files that Snakemake holds for finished."""
    work = new_workspace(folder / "w")
    config = work.read_case("demo")
    names = [f"segment/{n}.stl" for n in ("hip_left", "hip_right", "l5", "sacrum")]
    files = ("plan.json", "specimen.stl", "remaining_bone.stl")
    revisions = config["plan"]["revisions"]
    names += [f"plan/{r['id']}/{n}" for r in revisions for n in files]
    names += [f"plan/{r['id']}/{n}" for r in revisions if "mirror" in r for n in ("outer.stl", "outer.json")]
    outputs = ("implant.stl", "bone.stl", "model.3mf", "sheet.html", "shape.npz", "prototype.json")
    names += [f"prototype/{i}/{n}" for i in CHAIN for n in outputs]
    for name in names:
        path = work.path / "results/demo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    touched = work.snakemake(*TARGETS, "--touch", "--forcerun", "make_prototype", cases="demo")
    assert touched.returncode == 0, touched.stderr[-3000:]
    return work


def planned(work: Workspace) -> set[str]:
    """Jobs of a dry run, as rule and iteration or revision."""
    done = work.snakemake(*TARGETS, "--dry-run", cases="demo")
    assert done.returncode == 0, done.stderr[-3000:]
    text = done.stdout + done.stderr
    found = re.findall(r"rule (\w+):.*?wildcards: case=demo(?:, \w+=(\w+))?", text, re.DOTALL)
    return {f"{rule} {which}".strip() for rule, which in found}


def test_only_that_iteration_and_what_follows(tmp_path: Path) -> None:
    work = made(tmp_path)
    assert planned(work) == set()
    config = work.read_case("demo")
    config["prototype"]["iterations"][1]["corrections"][1]["distance_mm"] = 1.0
    work.write_case("demo", config)
    assert planned(work) == {"make_prototype rp2", "make_prototype rp3"}
    config = work.read_case("demo")
    config["prototype"]["iterations"][1]["corrections"][1]["distance_mm"] = 1.2
    config["prototype"]["iterations"][2]["corrections"][2]["shift_lps_mm"] = [1.5, 0.0, 0.0]
    work.write_case("demo", config)
    assert planned(work) == {"make_prototype rp3"}
