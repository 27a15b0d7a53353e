"""Digest of the code a job runs: its module and every implantflow module it imports, read, not imported.

Snakemake does not notice an edited helper module: this digest is a parameter of every rule, so an edit
re-runs exactly the jobs whose code it touched.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = "implantflow"
PACKAGE_DIR = Path(__file__).parent


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


@functools.cache
def direct_imports(module: str) -> frozenset[str]:
    """Dotted names of the implantflow modules that ``module`` imports, also inside functions."""
    path = module_file(module)
    if path is None:
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
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
        digest.update(path.read_bytes())
        folders.add(path.parent)
    for folder in sorted(folders):
        for extra in sorted(p for p in folder.iterdir() if p.suffix in {".j2", ".css", ".js", ".yaml"}):
            digest.update(extra.name.encode())
            digest.update(extra.read_bytes())
    return digest.hexdigest()
