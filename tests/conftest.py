"""What all tests share: where the real data is, which worker runs what, settings that keep Hypothesis deterministic."""

from __future__ import annotations

import fcntl
import os
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("implantflow", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("implantflow")

ROOT = Path(__file__).parents[1]

#: Folders in the order in which they are begun; all others follow, those with the most tests first.
LONGEST = (
    "e2e",
    "slurm",
    "ingest",
    "segment",
    "strength",
    "faults",
    "followup",
    "phantom",
    "implant",
    "prototype",
)


class ByFolder(LoadScopeScheduling):
    """Gives every folder of tests to one worker: what its fixtures make is made once, and the order is ours."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0].rpartition("/")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    config.option.loadscopereorder = False
    return ByFolder(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders that take long come first, so that no worker ends on one of them; within each, what needs a cluster last.

    While a whole case computes on one worker, the other has Slurm's faults, which mostly wait, and the cluster.
    """
    folders: dict[Path, list[pytest.Item]] = {}
    for item in items:
        folders.setdefault(item.path.parent, []).append(item)

    def place(folder: Path) -> tuple[int, int]:
        long = LONGEST.index(folder.name) if folder.name in LONGEST else len(LONGEST)
        return long, -len(folders[folder])

    for tests in folders.values():
        tests.sort(key=lambda item: "cluster" in getattr(item, "fixturenames", ()))
    items[:] = chain.from_iterable(folders[folder] for folder in sorted(folders, key=place))


@pytest.fixture(scope="session")
def template_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shape template as its job writes it, made by the worker that asks first; another one waits for it."""
    from implantflow.jobs import Job
    from implantflow.phantom.template import make_template

    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (folder / "template.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "template.npz").exists():
            draft = folder / "template.draft.npz"
            make_template(Job("make_template", Path(), {}, {}, {"template": draft}, {}, "", "", threads=2))
            draft.rename(folder / "template.npz")
    return folder / "template.npz"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; skips on a machine that has none, never in CI."""
    folder = Path(os.environ.get("IMPLANTFLOW_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the shared data at {folder}")
        pytest.skip(f"real data not found at {folder}; set IMPLANTFLOW_SHARED to its folder")
    return folder
