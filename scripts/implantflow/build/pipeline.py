"""Work on layers in several threads, results in order, few of them in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Layers that one thread works on before it hands them over.
BLOCK = 24


def ordered(
    items: Iterable[Item], work: Callable[[Item], Result], threads: int, block: int = BLOCK
) -> Iterator[Result]:
    """Yield ``work(item)`` for every item, in the items' order, computed in blocks on ``threads`` threads.

    At most ``threads + 1`` blocks are under way, so memory does not grow with the number of items. The
    items themselves are drawn by the caller's thread. The error of the first item that failed is raised.
    """
    source = iter(items)
    waiting: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(max(threads, 1))
    try:
        while True:
            chunk = list(islice(source, block))
            if chunk:
                waiting.append(pool.submit(lambda part: [work(item) for item in part], chunk))
            while waiting and (len(waiting) > threads or not chunk):
                yield from waiting.popleft().result()
            if not chunk:
                return
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
