"""How kernels are compiled, and where numba keeps them: a folder for each state of a module and of what it imports.

Numba looks at the file of a cached function only. When a kernel that it calls, or a table that it reads, changes in
another file, the old machine code would be used on, silently, and the results would not be those of the code that the
ledger names. The folder's name therefore carries the module's code digest: a change compiles anew what depends on it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from implantflow.codedigest import code_digest


class _NotNeeded:
    """Import hook: for the thread that installs it, packages that numba would only look for are not there."""

    packages = ("scipy", "cffi", "coverage")

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if threading.get_ident() == self._thread and name.partition(".")[0] in self.packages:
            raise ImportError(f"{name} is not needed by numba here", name=name)


# Numba imports scipy.linalg and others when the first function is called, 0.3 s for linear algebra in kernels, of which
# there is none. Its registries are therefore filled here, while those packages cannot be found.
_hook = _NotNeeded()
sys.meta_path.insert(0, _hook)
try:
    import numba
    from numba.core.registry import cpu_target

    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
finally:
    sys.meta_path.remove(_hook)

Function = TypeVar("Function", bound=Callable[..., Any])

_ROOT = Path(__file__).parent / "__pycache__" / "kernels"
#: Somebody else's choice of folder is kept, and a package that cannot be written to leaves numba its own default.
_OWN_FOLDER = "NUMBA_CACHE_DIR" not in os.environ and os.access(Path(__file__).parent, os.W_OK)


def _compile(function: Function, **options: Any) -> Function:
    if _OWN_FOLDER:
        # Numba reads the folder when a function is decorated.
        numba.config.CACHE_DIR = str(  # type: ignore[attr-defined]
            _ROOT / f"{function.__module__}-{code_digest(function.__module__)[:16]}"
        )
    # IEEE arithmetic: fastmath would let the compiler reorder sums and so change bytes between machines.
    return cast(Function, numba.njit(cache=True, nogil=True, **options)(function))


def kernel(function: Function) -> Function:
    """Compile ``function`` for one thread, without the interpreter lock."""
    return _compile(function)


def inner(function: Function) -> Function:
    """Compile a function that kernels call for every point, as a function of its own."""
    return _compile(function, inline="never")


def parallel(function: Function) -> Function:
    """Compile ``function`` for all threads of the job; its parallel loops must write disjoint results."""
    return _compile(function, parallel=True)
