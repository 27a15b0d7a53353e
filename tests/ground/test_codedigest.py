"""The code digest follows imports, also inside functions, and changes with any of them."""

from __future__ import annotations

from implantflow.codedigest import closure, code_digest, direct_imports


def test_closure_holds_lazy_imports_and_packages() -> None:
    names = closure("implantflow.volumes")
    assert {"implantflow.volumes", "implantflow.artifacts", "implantflow.errors", "implantflow"} <= set(names)
    assert "implantflow.segment" not in names
    assert "implantflow.jobs" in direct_imports("implantflow.cli")


def test_digest_changes_with_a_helper_module(monkeypatch, tmp_path) -> None:
    from implantflow import codedigest

    package = tmp_path / "implantflow"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("def f():\n    from implantflow import b\n")
    (package / "b.py").write_text("X = 1\n")
    (package / "c.py").write_text("X = 1\n")
    monkeypatch.setattr(codedigest, "PACKAGE_DIR", package)

    def fresh(module: str) -> str:
        for function in (direct_imports, closure, code_digest):
            function.cache_clear()
        return code_digest(module)

    before = fresh("implantflow.a")
    (package / "c.py").write_text("X = 2\n")
    assert fresh("implantflow.a") == before
    (package / "b.py").write_text("X = 2\n")
    assert fresh("implantflow.a") != before
    for function in (direct_imports, closure, code_digest):
        function.cache_clear()
