"""Fixed slabs of slices that kernels run on.

Kernels release the interpreter lock and write disjoint slices only, and the slabs do not depend on the number
of threads: the same bytes come out on any machine (decision 7).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

#: Slices per piece of work; fixed, so that no result can depend on the thread count.
SLAB = 8


def over_slabs(work: Callable[[int, int], None], n_slices: int, threads: int) -> None:
    """Call ``work(first, last)`` for every slab of ``n_slices`` slices, on ``threads`` threads.

    The first slab runs alone: it compiles what is not compiled yet.
    """
    slabs = [(k, min(k + SLAB, n_slices)) for k in range(0, n_slices, SLAB)]
    if not slabs:
        return
    work(*slabs[0])
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        for done in [pool.submit(work, *slab) for slab in slabs[1:]]:
            done.result()
