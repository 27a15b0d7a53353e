"""Two whole cases through a real one-node Slurm: the bytes of the local run, six submissions each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.e2e.conftest import Workspace, new_workspace
from tests.e2e.test_tiny_case import digests
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import cluster  # noqa: F401

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.long_e2e, pytest.mark.slow]

#: Submitted for a simulated case, and the phantom's template once for all (docs/cluster.md).
SUBMISSIONS = 6


def test_two_cases_give_the_bytes_of_the_local_run(
    cluster: Cluster,  # noqa: F811
    tiny_run: Workspace,
    tmp_path: Path,
) -> None:
    workspace = new_workspace(tmp_path / "w")
    workspace.write_case("other", workspace.read_case("tiny"))
    before = cluster.submitted()
    done = workspace.snakemake(
        "report", "--workflow-profile", str(ROOT / "profiles/slurm"), cases="tiny,other"
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert cluster.submitted() - before <= 2 * SUBMISSIONS + 1
    first = digests(tiny_run.path / "results/tiny")
    second = digests(workspace.path / "results/tiny")
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []
    other = json.loads((workspace.path / "results/other/report/case.json").read_text())
    assert other["audit"]["verified"] is True
