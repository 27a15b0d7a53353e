"""Independent pieces of one job in processes of their own: for work that holds the interpreter's lock."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

#: What the children of a fork are to do; closures cannot be sent to them, but they inherit this.
_tasks: list[Callable[[], Any]] = []


def side_by_side(tasks: Sequence[Callable[[], T]], processes: int) -> list[T]:
    """Results of ``tasks``, in their order, from at most ``processes`` forked children.

    Fork before the work starts: a library's own threads do not live on in a child. A killed job takes its children
    with it: they would hold its lock for ever, and nobody could run it again.

    Parameters
    ----------
    tasks : functions without arguments that do not depend on each other; their results can be pickled
    processes : 1 runs them one after the other in this process

    Raises
    ------
    Exception
        What the first failing task raised.
    """
    if processes <= 1 or len(tasks) <= 1:
        return [task() for task in tasks]
    _tasks[:] = tasks
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(
            min(processes, len(tasks)), context, initializer=_end_with, initargs=(os.getpid(),)
        ) as pool:
            return list(pool.map(_run, range(len(tasks))))
    finally:
        _tasks.clear()


#: Of Linux' prctl: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1


def _end_with(parent: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # no such call elsewhere
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended before it was asked to tell


def _run(index: int) -> Any:
    return _tasks[index]()
