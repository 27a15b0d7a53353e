"""The code digest follows imports, also inside functions, and changes with any of them."""

from __future__ import annotations

import ast

from implantflow import codedigest
from implantflow.codedigest import PACKAGE_DIR, closure, code_digest, direct_imports, module_file


def parsed_imports(module: str) -> set[str]:
    path = module_file(module)
    assert path is not None
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if module_file(name) is not None}


def test_imports_are_those_that_the_parser_finds() -> None:
    files = sorted(PACKAGE_DIR.rglob("*.py"))
    assert len(files) > 200
    for path in files:
        parts = path.relative_to(PACKAGE_DIR.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        assert direct_imports(module) == parsed_imports(module), module


def test_closure_holds_lazy_imports_and_packages() -> None:
    names = closure("implantflow.volumes")
    assert {"implantflow.volumes", "implantflow.artifacts", "implantflow.errors", "implantflow"} <= set(names)
    assert "implantflow.segment" not in names
    assert "implantflow.jobs" in direct_imports("implantflow.cli")


def forget() -> None:
    for function in (codedigest._source, module_file, direct_imports, closure, code_digest):
        function.cache_clear()


def test_digest_changes_with_a_helper_module(monkeypatch, tmp_path) -> None:
    package = tmp_path / "implantflow"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("def f():\n    from implantflow import b\n")
    (package / "b.py").write_text("X = 1\n")
    (package / "c.py").write_text("X = 1\n")
    monkeypatch.setattr(codedigest, "PACKAGE_DIR", package)

    def fresh(module: str) -> str:
        forget()
        return code_digest(module)

    before = fresh("implantflow.a")
    (package / "c.py").write_text("X = 2\n")
    assert fresh("implantflow.a") == before
    (package / "b.py").write_text("X = 2\n")
    assert fresh("implantflow.a") != before
    forget()
