"""A closed gate: everything independent finishes, the reason and the command are shown, review opens it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from tests.e2e.conftest import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.long_e2e
def test_waits_for_review_then_goes_on(tiny_run: Workspace, tmp_path: Path) -> None:
    work = tiny_run.copy(tmp_path / "w")
    key = tmp_path / "surgeon.key"
    made = work.implantflow(
        "review",
        "keygen",
        str(key),
        "--id",
        "surgeon1",
        "--name",
        "S. Example",
        "--role",
        "surgeon",
        "--no-passphrase",
    )
    assert made.returncode == 0, made.stderr
    site_path = work.path / "config/site.yaml"
    site = yaml.safe_load(site_path.read_text())
    site["reviewers"] = [*site.get("reviewers", []), *yaml.safe_load(made.stdout)["reviewers"]]
    site_path.write_text(yaml.safe_dump(site))
    config = work.read_case("tiny")
    config["review"] = {"policy": "auto", "gates": {"review": "signed"}}
    config["prototype"]["approved"] = "rp2"
    work.write_case("tiny", config)

    # As if the case had never come past this gate: nothing deletes what a finished case made after it.
    for folder in (
        "implant",
        "strength",
        "lattice",
        "design",
        "build",
        "inspect",
        "release",
        "followup",
        "report",
    ):
        shutil.rmtree(work.path / "results/tiny" / folder)

    waiting = work.snakemake("report")
    assert waiting.returncode != 0
    assert "AWAITING REVIEW" in waiting.stderr
    assert "review tiny rp2 --decision approve" in waiting.stderr
    results = work.path / "results/tiny"
    assert (results / "segment/gate.json").exists(), "the labels gate does not depend on the review"
    assert (results / "prototype/rp2/prototype.json").exists()
    assert not (results / "implant/implant.stl").exists(), "nothing downstream of a closed gate"
    case = json.loads((results / "report/case.json").read_text())
    assert case["prototype"]["status"] == "awaiting_review"
    assert "review tiny rp2" in json.dumps(case["prototype"])

    for item in ("rp1", "rp2"):
        signed = work.implantflow(
            "review", "tiny", item, "--decision", "approve", "--reason", "fits", "--key", str(key)
        )
        assert signed.returncode == 0, signed.stderr
    done = work.snakemake("report")
    assert done.returncode == 0, done.stderr[-4000:]
    case = json.loads((results / "report/case.json").read_text())
    decided = {i["id"]: i for i in case["prototype"]["iterations"]}
    assert decided["rp2"]["decision"] == "approved"
    assert case["build"]["status"] == "done"


def test_print_outside_its_limits_is_never_released(tiny_run: Workspace, tmp_path: Path) -> None:
    work = tiny_run.copy(tmp_path / "w")
    config = work.read_case("tiny")
    # Drawn at nominal size along x, the simulated machine's shrinkage of 0.9 % stays in the part.
    config["build"]["revisions"] = [{"id": "r1", "scale_xyz": [1.0, 1.0088, 1.0090]}]
    work.write_case("tiny", config)
    done = work.snakemake("release")
    assert done.returncode != 0
    assert "rejected" in done.stderr
    results = work.path / "results/tiny"
    deviation = json.loads((results / "inspect/r1/deviation.json").read_text())
    assert deviation["decision"] == "rejected"
    assert any("size along build x" in reason for reason in deviation["reasons"])
    assert all(abs(s - 1.009) < 0.002 for s in deviation["compensation"]["scale_xyz"])
    gate = json.loads((results / "inspect/r1/gate.json").read_text())
    assert gate["decision"] == "rejected"
    assert not (results / "release/manifest.json").exists()
