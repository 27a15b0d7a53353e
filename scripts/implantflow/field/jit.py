"""How kernels are compiled: one place for the options, typed so that strict checking sees through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile ``function`` with numba: cached on disk, releasing the GIL, IEEE arithmetic.

    ``fastmath`` stays off: it would let the compiler reorder sums and so change bytes between machines.
    """
    return cast(F, numba.njit(cache=True, nogil=True)(function))
