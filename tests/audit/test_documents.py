"""Requirements, hazards and third-party software: the documents say what the tests and the lock say."""

from __future__ import annotations

import ast
from pathlib import Path

import yaml
from tests.audit import third_party

from implantflow.audit.trace import requirements

ROOT = Path(__file__).parents[2]


def marked() -> dict[str, set[str]]:
    """Requirement -> tests that carry its mark, read from the sources."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.requirement" not in text:
            continue
        tree = ast.parse(text)
        of_module = [
            n.value for n in tree.body if isinstance(n, ast.Assign) and "pytestmark" in ast.unparse(n)
        ]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for identity in _ids([*node.decorator_list, *of_module]):
                    name = f"{path.relative_to(ROOT).as_posix()}::{node.name}"
                    found.setdefault(identity, set()).add(name)
    return found


def _ids(nodes: list[ast.expr]) -> list[str]:
    calls = [c for node in nodes for c in ast.walk(node) if isinstance(c, ast.Call)]
    return [
        ast.literal_eval(call.args[0])
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "requirement"
    ]


def test_every_requirement_names_the_tests_that_carry_its_mark() -> None:
    assert {r.id: set(r.tests) for r in requirements()} == marked()


def test_rules_and_code_of_requirements_exist() -> None:
    rules = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    for requirement in requirements():
        for rule in requirement.rules:
            assert f"rule {rule}:" in rules or f'f"{rule}__{{' in rules, requirement.id
        for module in requirement.code.split(", "):
            path = ROOT / "scripts/implantflow" / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), f"{requirement.id}: {module}"


def test_every_control_of_a_hazard_is_tested() -> None:
    hazards = yaml.safe_load((ROOT / "docs/hazards.yaml").read_text(encoding="utf-8"))
    known = {r.id: r.tests for r in requirements()}
    assert len({h["id"] for h in hazards}) == len(hazards)
    for hazard in hazards:
        assert hazard["controls"] and hazard["site"]
        for control in hazard["controls"]:
            assert known.get(control), f"{hazard['id']}: control {control} is tested by nothing"
    assert {c for h in hazards for c in h["controls"]} == set(known), (
        "a requirement that guards against nothing"
    )


def test_third_party_list_is_that_of_the_lock() -> None:
    text = (ROOT / "docs/third-party.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert {row[0]: row[1] for row in rows} == third_party.locked()
    asked = {row[0].lower().replace("_", "-") for row in rows if row[2].strip() == "direct"}
    assert asked == third_party.direct()
