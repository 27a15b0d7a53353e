"""The house keeps its shape: arrows run down only, stages meet in files, none knows the truth."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from implantflow import codedigest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "scripts" / "implantflow"

STAGES = {
    "ingest",
    "segment",
    "tumour",
    "plan",
    "prototype",
    "implant",
    "strength",
    "lattice",
    "build",
    "inspect",
    "release",
    "followup",
}
#: Height of each room; a module may import rooms that are lower, or its own.
HEIGHT = {
    "errors": 0,
    "codedigest": 1,
    "compiled": 2,
    "geometry": 1,
    "artifacts": 1,
    "config": 2,
    "volumes": 2,
    "ledger": 2,
    "review": 3,
    "audit": 4,
    "dicom": 3,
    "foreign": 4,
    "solids": 3,
    "registration": 3,
    "field": 3,
    "benchmarks": 3,
    "parallel": 1,
    "fonts": 0,
    "locks": 1,
    "failures": 1,
    "jobrecord": 3,
    "needs": 0,
    "progress": 0,
    "slurm": 1,
    "runs": 4,
    "jobs": 4,
    **dict.fromkeys(STAGES, 5),
    "phantom": 5,
    "report": 5,
    "newcase": 6,
    "cli": 7,
    "commands": 6,
    "__main__": 8,
}
#: What rests on jobs for its job type, though it lies lower: the ledger and the gates run as jobs too.
JOB_TYPE_USERS = {"audit", "review", "config"}


def modules() -> list[str]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


#: The ledger lies below the gates, its verification above them.
LEDGER = {"implantflow.audit", "implantflow.audit.ledger", "implantflow.audit.history"}


def room(module: str) -> str:
    if module in LEDGER:
        return "ledger"
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("module", [m for m in modules() if m != "implantflow"])
def test_arrows_run_down(module: str) -> None:
    here = room(module)
    assert here in HEIGHT, f"{module}: give its room a height in this test"
    for target in codedigest.direct_imports(module):
        there = room(target)
        if there in {here, "__init__"}:
            continue
        if (
            there == "jobs"
            and here in JOB_TYPE_USERS
            and module.rsplit(".", 1)[-1]
            in {
                "stage",
                "gate",
                "resolve",
            }
        ):
            continue
        assert HEIGHT[there] < HEIGHT[here], f"{module} imports {target}: against the arrows"


def test_no_stage_reads_the_truth() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in STAGES:
            assert "truth.json" not in path.read_text(), f"{path} names the phantom's truth"


def test_library_does_not_import_snakemake() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not any(name.split(".")[0] == "snakemake" for name in names), path


def test_entries_are_short_and_know_one_function() -> None:
    for path in (ROOT / "scripts").glob("*.py"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 30, path
        imported = re.findall(r"^from implantflow\.(\S+) import (\S+)$", path.read_text(), re.M)
        assert len(imported) == 1, path


def test_every_rule_carries_code_digest_log_and_case_dir() -> None:
    for path in (ROOT / "rules").glob("*.smk"):
        rules = re.split(r"^\s*rule .*?:\n", path.read_text(), flags=re.M)[1:]
        for body in rules:
            if "script:" not in body:
                continue
            for directive in ("log:", "params:", "case_dir=", "settings=", "code=code("):
                assert directive in body, f"{path}: a rule without {directive}"


def test_nothing_of_the_closed_world_in_the_tree() -> None:
    """No path of a machine, no package index, in any text file that would be committed."""
    forbidden = re.compile(r"(^|[\s\"'(=])/(work|opt/pypi|opt/wheels|farm)/|https?://[^\s\"']*/simple\b")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.name == "test_structure.py" or not path.is_file():
            continue
        match = forbidden.search(path.read_text(errors="ignore"))
        assert match is None, f"{name}: {match.group(0) if match else ''}"
