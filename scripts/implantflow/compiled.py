"""How kernels are compiled, and where numba keeps them: a folder for each state of a module and of what it imports.

Numba looks at the file of a cached function only. When a kernel that it calls, or a table that it reads, changes in
another file, the old machine code would be used on, silently, and the results would not be those of the code that the
ledger names. The folder's name therefore carries the module's code digest: a change compiles anew what depends on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from implantflow.codedigest import code_digest

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
