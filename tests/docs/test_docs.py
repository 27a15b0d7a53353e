"""The documents say what is so: links, commands, outputs, and the drawing of the pipeline."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.docs import rulegraph

from implantflow import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "config").rglob("*.md")])
TARGETS = set(re.findall(r"^rule (\w+):", (ROOT / "Snakefile").read_text(), re.M))


def names(pages: list[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page.name} links to {target}"


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if re.search(r"-m implantflow |snakemake |^make ", line)]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_exist(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(line, comments=True)
        if "implantflow" in words:
            given = [re.sub(r"[\[\]]", "", w) for w in words[words.index("implantflow") + 1 :] if w != "|"]
            cli._parse(given)
        elif words[0] == "make":
            goals = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
            assert set(words[1:]) <= goals, line
        else:
            after = words[next(i for i, w in enumerate(words) if w.endswith("snakemake")) + 1 :]
            options = next((i for i, w in enumerate(after) if w.startswith("-")), len(after))
            assert set(after[:options]) <= TARGETS, f"{page.name}: {line}"


def outputs() -> list[str]:
    """Every file below results/{case}/ that a rule makes, as the rules write it."""
    found: set[str] = set()
    for path in (ROOT / "rules").glob("*.smk"):
        for block in re.findall(r"^    (?:    )?output:\n((?:(?:        )+.*\n)+)", path.read_text(), re.M):
            found.update(re.findall(r'"results/\{+case\}+/([^"]+)"', block))
    kept = {name for name in found if not name.startswith(("logs/", "benchmarks/"))}
    return sorted(name.replace("{t.name}", "{name}").replace("{{", "{").replace("}}", "}") for name in kept)


def test_every_output_is_explained() -> None:
    text = (ROOT / "docs/outputs.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([^`]+)`", text))
    assert len(outputs()) > 70
    assert [name for name in outputs() if name not in explained] == []


def test_no_output_is_explained_that_no_rule_makes() -> None:
    text = (ROOT / "docs/outputs.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    others = {"audit/ledger.jsonl", "report/run.json", "report/provisional.txt", "logs/", "benchmarks/"}
    assert named - set(outputs()) - others == set()


def test_drawing_is_made_from_the_rules() -> None:
    text = rulegraph.PAGE.read_text(encoding="utf-8")
    assert rulegraph.page_with_drawing(text) == text, "python -m tests.docs.rulegraph"
