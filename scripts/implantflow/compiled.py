"""How kernels are compiled, and where numba keeps them: a folder for each state of a module and of what it imports.

Numba looks at the file of a cached function only. When a kernel that it calls, or a table that it reads, changes in
another file, the old machine code would be used on, silently, and the results would not be those of the code that the
ledger names. The folder's name therefore carries the module's code digest: a change compiles anew what depends on it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def _without_the_unneeded() -> Iterator[None]:
    hook = _NotNeeded()
    sys.meta_path.insert(0, hook)
    try:
        yield
    finally:
        sys.meta_path.remove(hook)


with _without_the_unneeded():
    import numba
    from numba.core import entrypoints
    from numba.core.caching import FunctionCache
    from numba.core.registry import cpu_target
    from numba.core.runtime.nrt import rtsys

# Numba would let any installed package change what it compiles, and reads every package's metadata to find out.
entrypoints._already_initialized = True


class _LeanCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, without making the compiler ready when there is nothing to compile.

    Ready means 0.5 CPU-s: every operation that a kernel might use is imported and registered, scipy.linalg among them,
    for linear algebra in kernels, of which there is none. Machine code from the cache needs the memory manager only.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with _without_the_unneeded():
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            if found is None:
                cpu_target.typing_context.refresh()
                target_context.refresh()
        return found


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
    compiled = numba.njit(nogil=True, **options)(function)
    compiled._cache = _LeanCache(function)  # type: ignore[no-untyped-call]
    return cast(Function, compiled)


def kernel(function: Function) -> Function:
    """Compile ``function`` for one thread, without the interpreter lock."""
    return _compile(function)


def inner(function: Function) -> Function:
    """Compile a function that kernels call for every point, as a function of its own."""
    return _compile(function, inline="never")


def parallel(function: Function) -> Function:
    """Compile ``function`` for all threads of the job; its parallel loops must write disjoint results."""
    return _compile(function, parallel=True)
