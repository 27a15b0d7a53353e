"""Digest of the code a job runs: its module and every implantflow module it imports, read, not imported.

Snakemake does not notice an edited helper module: this digest is a parameter of every rule, so an edit
re-runs exactly the jobs whose code it touched.
"""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

PACKAGE = "implantflow"
PACKAGE_DIR = Path(__file__).parent


@functools.cache
def module_file(module: str) -> Path | None:
    """Source file of a dotted implantflow module, or None when it is not one."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    base = PACKAGE_DIR.joinpath(*parts[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file() and candidate.parent.joinpath(candidate.name).exists():
            return candidate
    return None


#: One import statement as the formatter writes it: on a line of its own, names in brackets where it is longer.
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(?P<module>[\w.]+)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n(]+)"
    rb"|import[ \t]+(?P<modules>[^\n]+))",
    re.MULTILINE,
)
_COMMENT = re.compile(rb"#[^\n]*")


@functools.cache
def _source(path: Path) -> bytes:
    return path.read_bytes()


@functools.cache
def direct_imports(module: str) -> frozenset[str]:
    """Dotted names of the implantflow modules that ``module`` imports, also inside functions.

    Read by pattern, since every start of Snakemake asks for all of them and parsing takes ten times as long; a test
    holds the answer against the parser's.
    """
    path = module_file(module)
    if path is None:
        return frozenset()
    found: set[str] = set()
    for match in _IMPORT.finditer(_source(path)):
        listed = _COMMENT.sub(b"", match["modules"] or match["names"]).strip(b"() \t\n").decode()
        names = [words.split()[0] for words in listed.split(",") if words.strip()]
        if match["module"] is None:
            found.update(names)
        else:
            package = match["module"].decode()
            found.update([package, *(f"{package}.{name}" for name in names)])
    return frozenset(name for name in found if module_file(name) is not None)


@functools.cache
def closure(module: str) -> tuple[str, ...]:
    """``module`` and everything of implantflow it imports, directly or not, with packages; sorted."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or module_file(name) is None:
            continue
        seen.add(name)
        todo.extend(direct_imports(name))
        if "." in name:
            todo.append(name.rsplit(".", 1)[0])
    return tuple(sorted(seen))


@functools.cache
def code_digest(module: str) -> str:
    """Hex SHA-256 over the names and sources (templates included) of ``closure(module)``."""
    digest = hashlib.sha256()
    folders: set[Path] = set()
    for name in closure(module):
        path = module_file(name)
        assert path is not None
        digest.update(name.encode())
        digest.update(_source(path))
        folders.add(path.parent)
    for folder in sorted(folders):
        for extra in sorted(p for p in folder.iterdir() if p.suffix in {".j2", ".css", ".js", ".yaml"}):
            digest.update(extra.name.encode())
            digest.update(_source(extra))
    return digest.hexdigest()
