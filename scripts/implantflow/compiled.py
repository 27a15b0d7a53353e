"""How kernels are compiled, and where they are kept: a folder for each state of a module and of what it imports.

Numba looks at the file of a cached function only. When a kernel that it calls, or a table that it reads, changes in
another file, the old machine code would be used on, silently, and the results would not be those of the code that the
ledger names. The folder's name therefore carries the module's code digest: a change compiles anew what depends on it,
and every checkout of one state of the code shares what one of them compiled (docs/decisions/0005).
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

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
    from llvmlite.binding import parse_bitcode
    from numba.core import entrypoints, environment
    from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
    from numba.core.codegen import JITCodeLibrary
    from numba.core.registry import cpu_target
    from numba.core.runtime.nrt import rtsys
    from numba.core.typing.typeof import typeof_impl
    from numba.np import numpy_support

# Numba would let any installed package change what it compiles, and reads every package's metadata to find out.
entrypoints._already_initialized = True

# What was imported stays until the end: looking through it for garbage, and once more at the exit, takes 0.1 CPU-s.
gc.freeze()


#: Machine code of a state of the code that nobody has compiled for so long is thrown away (s).
_OLD_S = 30 * 24 * 3600.0
#: No kernel takes that long to compile (s): whoever waits longer compiles for itself and keeps nothing.
_WAIT_S = 180.0


def kernel_folder() -> Path | None:
    """Folder of all compiled kernels of this user; None leaves them to numba, as NUMBA_CACHE_DIR asks.

    Machine code that is read is run: a folder that belongs to somebody else is not used.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    for place in (home / "implantflow" / "kernels", Path(__file__).parent / "__pycache__" / "kernels"):
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody's home
            folder = place.expanduser()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
                return folder
    return None


_FOLDER = kernel_folder()


class _ByDigest(_CacheLocator):  # type: ignore[misc]
    """Place of one function's machine code, by the state of its module and not by where its file lies."""

    def __init__(self, function: Any, folder: Path) -> None:
        self._module = function.__module__
        self._folder = folder / f"{self._module}-{code_digest(self._module)[:16]}"
        self._line = str(function.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name

    def get_disambiguator(self) -> str:
        return self._line

    def ensure_cache_path(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for other in self._folder.parent.glob(f"{self._module}-*"):
                with contextlib.suppress(OSError):
                    if time.time() - other.stat().st_mtime > _OLD_S:
                        shutil.rmtree(other)

    @classmethod
    def from_function(cls, function: Any, path: str) -> _ByDigest | None:
        ours = function.__module__.startswith("implantflow.")
        return cls(function, _FOLDER) if ours and _FOLDER is not None else None


class _Results(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [_ByDigest, *CompileResultCacheImpl._locator_classes]  # noqa: RUF012


class _LeanLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Numba's machine code of one function; from the cache, its bitcode is read only when others are compiled with it.

    Reading it, and asking each function in it for its name, takes a third of the time that loading a kernel does.
    """

    _bitcode: bytes | None = None

    @classmethod
    def _unserialize(cls, codegen: Any, state: Any) -> Any:
        name, kind, data = state
        if kind != "object":
            return super()._unserialize(codegen, state)  # type: ignore[no-untyped-call]
        library = codegen.create_library(name)
        library.enable_object_caching()
        object_code, library._bitcode = data
        library._set_compiled_object(object_code)
        library._finalize_final_module()
        return library

    def _get_module_for_linking(self) -> Any:
        if self._bitcode is not None:
            self._shared_module = parse_bitcode(self._bitcode)
            self._codegen._engine._load_defined_symbols(self._shared_module)
            self._bitcode = None
        return super()._get_module_for_linking()  # type: ignore[no-untyped-call]

    def get_pointer_to_function(self, name: str) -> Any:
        if self._bitcode is None:
            return super().get_pointer_to_function(name)  # type: ignore[no-untyped-call]
        return self._codegen._engine.get_function_address(name)


cpu_target.target_context.codegen()._library_class = _LeanLibrary

_rebuild_env: Any = environment._rebuild_env


def _lean_env(module: str, constants: Any, name: str) -> Any:
    """The constants of one of numba's own functions, without importing the module that it was compiled from.

    Machine code without Python objects, which all of ours is, reads the constants and never the module's names.
    """
    if not module.startswith("numba.") or module in sys.modules:
        return _rebuild_env(module, constants, name)
    found = environment.lookup_environment(name)
    if found is None:
        found = environment.Environment({"__name__": module})
        found.consts[:] = constants
        found.env_name = name
        environment.Environment._memo[name] = found
    return found


# Under its old name, so that what is written to the cache is what numba itself would write.
_lean_env.__module__, _lean_env.__qualname__ = _rebuild_env.__module__, _rebuild_env.__qualname__
environment._rebuild_env = _lean_env


_typeof_array: Any = typeof_impl.dispatch(np.ndarray)


@typeof_impl.register(np.ndarray)  # type: ignore[untyped-decorator]
def _lean_typeof(array: Any, context: Any) -> Any:
    """Numba's type of an array, without asking whether it is a masked one: that question imports numpy.ma (0.04 CPU-s).

    Masked arrays are a class of their own and go the old way, to be refused.
    """
    if type(array) is not np.ndarray or array.dtype.kind not in "biuf":
        return _typeof_array(array, context)
    dtype = numpy_support.from_dtype(array.dtype)
    layout = numpy_support.map_layout(array)
    return numba.types.Array(dtype, array.ndim, layout, readonly=not array.flags.writeable)


class _LeanCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, without making the compiler ready when there is nothing to compile.

    Ready means 0.5 CPU-s: every operation that a kernel might use is imported and registered, scipy.linalg among them,
    for linear algebra in kernels, of which there is none. Machine code from the cache needs the memory manager only.

    From the miss to the saved code the function is locked: jobs that start together would all compile it, and numba's
    index, read and written without a lock, could name for one signature the machine code of another.
    """

    _impl_class = _Results
    _lock: Any = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with _without_the_unneeded():
            rtsys.initialize(target_context)
            found = self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            if found is None and self._enabled and self._waited():
                found = self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            if found is None:
                cpu_target.typing_context.refresh()
                target_context.refresh()
            else:
                self._release()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            if self._lock is not None:
                super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        finally:
            self._release()

    def _waited(self) -> bool:
        """Take the lock of this function; whether it was had."""
        self._release()
        with contextlib.suppress(OSError):
            self._impl.locator.ensure_cache_path()
            self._lock = Path(self._cache_path, f"{self._impl.filename_base}.lock").open("a")  # noqa: SIM115
            for _ in range(int(_WAIT_S / 0.05)):
                try:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                except BlockingIOError:
                    time.sleep(0.05)
        self._release()
        return False

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


Function = TypeVar("Function", bound=Callable[..., Any])


def _compile(function: Function, **options: Any) -> Function:
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


def inlined(function: Function) -> Function:
    """Compile a short function into every kernel that calls it.

    A call hands over each array of a tuple with a count of its users, which costs more than a short function does.
    """
    return _compile(function, inline="always")


def parallel(function: Function) -> Function:
    """Compile ``function`` for all threads of the job; its parallel loops must write disjoint results."""
    return _compile(function, parallel=True)
