"""Where numba keeps compiled kernels: a folder of its own for each state of the kernels' source.

Numba looks at the file of a cached function only. When a kernel that it calls, or a table that it reads, changes in
another file, the old machine code would be used on, silently, and the results would not be those of the code that the
ledger names.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_PACKAGE = Path(__file__).parent
_COMPILES = re.compile(rb"\bnjit\b|\bfield\.jit\b")
_IMPORTS = re.compile(
    rb"^\s*from implantflow\.([\w.]+) import|^\s*from implantflow\.?([\w.]*) import (\w+)", re.MULTILINE
)


def kernel_digest() -> str:
    """Digest of every module that compiles kernels and of all project modules that these import, 16 hex digits."""
    sources = {path: path.read_bytes() for path in sorted(_PACKAGE.rglob("*.py"))}
    wanted = [path for path, text in sources.items() if _COMPILES.search(text)]
    found: set[Path] = set()
    while wanted:
        path = wanted.pop()
        if path in found:
            continue
        found.add(path)
        for dotted, parent, name in _IMPORTS.findall(sources[path]):
            for module in (dotted, b".".join(p for p in (parent, name) if p)):
                imported = _PACKAGE / (module.decode().replace(".", "/") + ".py")
                if module and imported in sources:
                    wanted.append(imported)
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(
            path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + hashlib.sha256(sources[path]).digest()
        )
    return digest.hexdigest()[:16]


def use_own_cache() -> None:
    """Point numba to the folder of this state of the source; call before numba is imported."""
    root = _PACKAGE / "__pycache__"
    if "NUMBA_CACHE_DIR" not in os.environ and os.access(_PACKAGE, os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = str(root / f"kernels-{kernel_digest()}")
