"""List of third-party software from the lock, with licences as the installed packages state them.

python -m tests.audit.third_party --write docs/third-party.md
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

HEAD = """# Third-party software

Made by `python -m tests.audit.third_party --write docs/third-party.md` from `requirements/run.txt`, the hashed lock
that every installation uses; a test holds names and versions equal to it. "direct" is what `pyproject.toml` asks for,
the rest came with it. The licence is what the package's own metadata states, not a legal opinion; "not installed
here" is a package for another system.

| package | version | asked for | licence as stated |
|---|---|---|---|
"""


def locked() -> dict[str, str]:
    """Package -> version, from the lock."""
    text = (ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, flags=re.M))


def direct() -> set[str]:
    """What the project itself asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}


def page() -> str:
    asked = direct()
    rows = [
        f"| {name} | {version} | {'direct' if canonicalize_name(name) in asked else ''} | {_licence(name)} |\n"
        for name, version in sorted(locked().items())
    ]
    return HEAD + "".join(rows)


def _licence(name: str) -> str:
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "not installed here"
    stated = found.get("License-Expression")
    classified = [
        c.rsplit(" :: ", 1)[-1] for c in found.get_all("Classifier") or [] if c.startswith("License ::")
    ]
    stated = stated or ", ".join(sorted(classified)) or (found.get("License") or "").strip()
    return " ".join(stated.split())[:80].replace("|", "/") or "not stated"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, required=True)
    parser.parse_args().write.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
