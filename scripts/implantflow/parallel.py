"""Independent pieces of one job in processes of their own: for work that holds the interpreter's lock."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

#: What the children of a fork are to do; closures cannot be sent to them, but they inherit this.
_tasks: list[Callable[[], Any]] = []


def side_by_side(tasks: Sequence[Callable[[], T]], processes: int) -> list[T]:
    """Results of ``tasks``, in their order, from at most ``processes`` forked children.

    Fork before the work starts: a library's own threads do not live on in a child.

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
        with ProcessPoolExecutor(min(processes, len(tasks)), mp_context=context) as pool:
            return list(pool.map(_run, range(len(tasks))))
    finally:
        _tasks.clear()


def _run(index: int) -> Any:
    return _tasks[index]()
