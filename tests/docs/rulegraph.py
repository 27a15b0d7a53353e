"""Draw the pipeline from its own rules into docs/architecture.md: ``python -m tests.docs.rulegraph``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from implantflow.jobrecord import base_rule

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/architecture.md"
#: What makes patients, prints and scans that nobody has; a real case has none of it.
MADE_UP = re.compile(r"^(simulate_|make_template|compare_truth)")
BEGIN, END = "<!-- rulegraph: made from the code -->\n", "<!-- end of rulegraph -->\n"


def rules(case: str = "demo") -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Names of the rules of one case by node, and the arrows between them (from, to), as Snakemake sees them."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "report",
        "--rulegraph",
        "mermaid-js",
        "--config",
        f"cases={case}",
    ]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {node: base_rule(name) for node, name in re.findall(r"^\s*(id\d+)\[(\w+)\]", text, re.M)}
    return names, set(re.findall(r"^\s*(id\d+)\s*-+>\s*(id\d+)", text, re.M))


def reduced(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Arrows without those that a longer way says already; an arrow from a rule to itself stays."""
    onward = {(a, b) for a, b in arrows if a != b}

    def reaches(start: str, goal: str) -> bool:
        todo = [b for a, b in onward if a == start and b != goal]
        seen: set[str] = set()
        while todo:
            node = todo.pop()
            if node == goal:
                return True
            if node not in seen:
                seen.add(node)
                todo += [b for a, b in onward if a == node]
        return False

    return {(a, b) for a, b in arrows if a == b or not reaches(a, b)}


def drawing() -> str:
    """Mermaid text: jobs as boxes, gates as hexagons, what is simulated left out."""
    names, arrows = rules()
    kept = {node: name for node, name in names.items() if not MADE_UP.match(name)}
    inner = reduced({(a, b) for a, b in arrows if a in kept and b in kept})
    lines = ["```mermaid", "flowchart TD"]
    for name in sorted(kept.values()):
        lines.append(f"    {name}{{{{{name}}}}}" if name.startswith("gate_") else f"    {name}[{name}]")
    lines += sorted(f"    {kept[a]} --> {kept[b]}" for a, b in inner)
    return "\n".join([*lines, "```"]) + "\n"


def page_with_drawing(text: str) -> str:
    """``text`` of the page with the drawing between its two marks."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + drawing() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page_with_drawing(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
