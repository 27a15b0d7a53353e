"""Compiled kernels: from the cache they run without the compiler, and an edit compiles them anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
import sys
import numpy as np
from implantflow.compiled import kernel

@kernel
def doubled(values):
    out = np.empty_like(values)
    for n in range(values.shape[0]):
        out[n] = {factor} * values[n]
    return out

assert doubled(np.arange(3.0)).tolist() == [0.0, {factor}, 2.0 * {factor}]
hits = sum(doubled.stats.cache_hits.values())
print(hits, "numba.np.random.generator_methods" in sys.modules, "scipy" in sys.modules)
"""


@pytest.fixture
def run(tmp_path: Path):  # type: ignore[no-untyped-def]
    def call(factor: float) -> list[str]:
        script = tmp_path / "with_kernel.py"
        script.write_text(KERNEL.format(factor=factor))
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    return call


def test_cached_kernels_do_not_wake_the_compiler(run) -> None:  # type: ignore[no-untyped-def]
    assert run(2.0) == ["0", "True", "False"], "compiled, without scipy"
    assert run(2.0) == ["1", "False", "False"], "loaded from the cache"
    assert run(3.0)[:2] == ["0", "True"], "edited: compiled anew, with another result"
