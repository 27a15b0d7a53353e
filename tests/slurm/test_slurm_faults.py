"""Jobs of a made pipeline on a real one-node Slurm: the same bytes; lost, cancelled, hungry and refused jobs."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from tests.faults.driver import Pipeline, made_pipeline
from tests.slurm.cluster import Cluster

from implantflow.audit.verify import verify_case

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def on_slurm(folder: Path, *arguments: str, **environment: str) -> Pipeline:
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--workflow-profile", str(ROOT / "profiles/slurm"), *arguments)
    return Pipeline(folder, "made", ROOT / "tests/slurm/made/Snakefile", options, environment=environment)


def outcomes(pipeline: Pipeline, rule: str) -> list[str]:
    """How every run of ``rule`` ended, from the ledger."""
    lines = (pipeline.case_dir / "audit/ledger.jsonl").read_text().splitlines()
    entries = [json.loads(line)["entry"] for line in lines]
    return [
        e["outcome"].get("error", "done") for e in entries if e.get("event") == "job" and e["rule"] == rule
    ]


def wait_until_it_runs(cluster: Cluster, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if "RUNNING" in cluster.squeue("-o", "%T"):
            return
        time.sleep(0.5)
    raise AssertionError(f"no job runs: {process.poll()}, {cluster.squeue()}")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the same pipeline without a cluster."""
    pipeline = made_pipeline(tmp_path_factory.mktemp("local"))
    code, said = pipeline.run()
    assert code == 0, said
    return pipeline.digests()


def test_same_bytes_in_one_submission(cluster: Cluster, truth: dict[str, str], tmp_path: Path) -> None:
    before = cluster.submitted()
    pipeline = on_slurm(tmp_path)
    code, said = pipeline.run()
    assert code == 0, said
    assert pipeline.digests() == truth
    assert verify_case(pipeline.case_dir)["problems"] == []
    assert cluster.submitted() == before + 1
    assert "submitted, 4 jobs in one" in said


def test_more_memory_after_running_out_of_it(cluster: Cluster, truth: dict[str, str], tmp_path: Path) -> None:
    pipeline = on_slurm(tmp_path, MADE_FAULT="hungry:add")
    code, said = pipeline.run()
    assert code == 0, said
    assert pipeline.digests() == truth
    assert outcomes(pipeline, "add") == ["Killed", "done"]
    assert verify_case(pipeline.case_dir)["problems"] == []


def test_a_refusal_is_told_once_and_takes_nothing_with_it(cluster: Cluster, tmp_path: Path) -> None:
    pipeline = on_slurm(tmp_path, MADE_FAULT="refuse:add")
    code, said = pipeline.run()
    assert code != 0
    assert "FAILED" in said and "STOPPED without a word" not in said, said
    assert (tmp_path / "computed.txt").read_text() == "x"
    assert set(outcomes(pipeline, "add")) == {"QualityGateError"}
    assert len(list((pipeline.case_dir / "draw").glob("*.bin"))) == 3


def test_a_cancelled_job_says_so_and_the_same_command_goes_on(
    cluster: Cluster, truth: dict[str, str], tmp_path: Path
) -> None:
    process = on_slurm(tmp_path, "--retries", "0", MADE_FAULT="slow:add").start()
    wait_until_it_runs(cluster, process)
    while not list(tmp_path.glob("results/made/logs/add.job.json")):
        time.sleep(0.5)
    subprocess.run(["scancel", "--user", "root"], check=True)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "cancelled" in said, said
    pipeline = on_slurm(tmp_path)
    code, said = pipeline.run()
    assert code == 0, said
    assert pipeline.digests() == truth
    assert verify_case(pipeline.case_dir)["problems"] == []


@pytest.mark.long_e2e
def test_a_lost_node_is_tried_again(cluster: Cluster, truth: dict[str, str], tmp_path: Path) -> None:
    process = on_slurm(tmp_path).start()
    wait_until_it_runs(cluster, process)
    cluster.kill_node()
    time.sleep(2.0)
    cluster.start_node()
    said, _ = process.communicate(timeout=300)
    pipeline = on_slurm(tmp_path)
    if process.returncode != 0:  # lost too often for one run: the same command again
        code, said = pipeline.run()
        assert code == 0, said
    assert pipeline.digests() == truth
    assert verify_case(pipeline.case_dir)["problems"] == []


def test_what_no_node_can_run_is_refused_before_submitting(cluster: Cluster, tmp_path: Path) -> None:
    before = cluster.submitted()
    (tmp_path / "config").symlink_to(ROOT / "config")
    pipeline = Pipeline(
        tmp_path,
        "tiny",
        ROOT / "Snakefile",
        ("segment", "--workflow-profile", str(ROOT / "profiles/slurm"), "--set-resources",
         "segment_bones:mem_mb=999999", "--config", "cases=tiny"),
    )  # fmt: skip
    code, said = pipeline.run()
    assert code == 10, said
    assert "could never start" in said and "999999 MB" in said and "nothing was submitted" in said
    assert cluster.submitted() == before
