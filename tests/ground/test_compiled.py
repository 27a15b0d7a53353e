"""Compiled kernels: from the cache they run without the compiler, and an edit compiles them anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from implantflow import compiled

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


CALL = """
import sys
import numpy as np
from implantflow.build.cli_reader_kernels import _int32

value = _int32(np.array([7, 0, 0, 0], np.uint8), 0)
assert value == 7, value
print(sum(_int32.stats.cache_hits.values()), _int32.stats.cache_path)
"""


def start(package: Path, cache: Path) -> subprocess.Popen[str]:
    environment = {
        k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "PYTHONDONTWRITEBYTECODE")
    }
    environment |= {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(package.parent)}
    return subprocess.Popen([sys.executable, "-c", CALL], env=environment, stdout=subprocess.PIPE, text=True)


def test_one_compiles_for_all_checkouts_of_one_state(tmp_path: Path) -> None:
    here = Path(compiled.__file__).parent
    other = tmp_path / "elsewhere" / "implantflow"
    shutil.copytree(here, other, ignore=shutil.ignore_patterns("__pycache__"))
    first = [start(package, tmp_path / "cache") for package in (here, here, other)]
    answers = [process.communicate(timeout=300)[0].split() for process in first]
    assert [process.returncode for process in first] == [0, 0, 0]
    assert sorted(hits for hits, _ in answers) == ["0", "1", "1"], "one compiled, two waited for it"
    assert len({folder for _, folder in answers}) == 1
    assert (tmp_path / "cache" / "implantflow" / "kernels") in Path(answers[0][1]).parents
    source = other / "build" / "cli_reader_kernels.py"
    source.write_text(source.read_text() + "\n# edited\n")
    hits, folder = start(other, tmp_path / "cache").communicate(timeout=300)[0].split()
    assert hits == "0" and folder != answers[0][1]


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled.kernel_folder() == tmp_path / "implantflow" / "kernels"
    monkeypatch.setattr(compiled.os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert compiled.kernel_folder() is None


LINKED = """
import sys
import numpy as np
from implantflow.compiled import kernel

@kernel
def root(value):
    if value < 0.0:
        raise ValueError("no root")
    return np.sqrt(np.full(3, value)).sum()

@kernel
def roots(value, times):
    return times * root(value)

number = float if sys.argv[1] == "float" else int
first, second = root(4.0), roots(4.0, number(2))
print(sum(root.stats.cache_hits.values()), first, second, sum(roots.stats.cache_hits.values()))
try:
    root(-1.0)
except ValueError as error:
    print(error)
"""


def test_a_cached_kernel_raises_and_is_compiled_into_others(tmp_path: Path) -> None:
    script = tmp_path / "linked.py"
    script.write_text(LINKED)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for number, hits in (("float", 0), ("int", 1)):
        done = subprocess.run(
            [sys.executable, str(script), number],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{hits} 6.0 12.0 0\nno root\n", number
