"""The real pipeline through a one-node Slurm: two cases, the bytes of the local run, few submissions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.e2e.conftest import Workspace, new_workspace
from tests.e2e.test_tiny_case import digests
from tests.ground.test_case_ends_early import SECTIONS, without
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import cluster  # noqa: F401

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Submitted for a whole simulated case, and the phantom's template once for all (docs/cluster.md).
SUBMISSIONS = 6
#: Submitted for a case that ends at its plan: images, planning, report.
SUBMISSIONS_TO_PLAN = 3

#: In place of the tumours grown in MR: another name of a time point, so that the second case has a rule of its own, and
#: no MR to register.
VIRTUAL = {
    "max_bone_gap_mm": 2.0,
    "timepoints": [
        {
            "name": "planned",
            "method": "ellipsoid",
            "centre_lps_mm": [39.0, 10.0, -593.0],
            "axes_mm": [36.0, 28.0, 38.0],
        }
    ],
}


def submit(cluster: Cluster, workspace: Workspace, cases: str) -> int:  # noqa: F811
    """Run the cases to their reports through Slurm; how many jobs were submitted."""
    before = cluster.submitted()
    done = workspace.snakemake("report", "--workflow-profile", str(ROOT / "profiles/slurm"), cases=cases)
    assert done.returncode == 0, done.stderr[-6000:]
    return cluster.submitted() - before


def different(first: Workspace, second: Workspace, case: str, *stages: str) -> list[str]:
    """Files of the second workspace's case, of these stages or of all, with other bytes than tiny's in the first."""
    wanted = digests(first.path / "results/tiny")
    found = digests(second.path / "results" / case)
    if stages:
        found = {name: digest for name, digest in found.items() if name.split("/")[0] in stages}
        assert {name.split("/")[0] for name in found} == set(stages)
    else:
        assert set(found) == set(wanted)
    return [name for name, digest in found.items() if wanted.get(name) != digest]


def test_two_cases_to_their_plans_give_the_bytes_of_the_local_run(
    cluster: Cluster,  # noqa: F811
    tiny_run: Workspace,
    tmp_path: Path,
) -> None:
    workspace = new_workspace(tmp_path / "w")
    early = without(workspace.read_case("tiny"), *SECTIONS[SECTIONS.index("plan") + 1 :])
    workspace.write_case("tiny", early)
    workspace.write_case("other", {**early, "tumour": VIRTUAL})
    assert submit(cluster, workspace, "tiny,other") <= 2 * SUBMISSIONS_TO_PLAN + 1
    assert different(tiny_run, workspace, "tiny", "segment", "tumour", "plan") == []
    other = json.loads((workspace.path / "results/other/report/case.json").read_text())
    assert other["audit"]["verified"] is True


@pytest.mark.long_e2e
def test_two_whole_cases_give_the_bytes_of_the_local_run(
    cluster: Cluster,  # noqa: F811
    tiny_run: Workspace,
    tmp_path: Path,
) -> None:
    workspace = new_workspace(tmp_path / "w")
    workspace.write_case("other", workspace.read_case("tiny"))
    assert submit(cluster, workspace, "tiny,other") <= 2 * SUBMISSIONS + 1
    assert different(tiny_run, workspace, "tiny") == []
    other = json.loads((workspace.path / "results/other/report/case.json").read_text())
    assert other["audit"]["verified"] is True
