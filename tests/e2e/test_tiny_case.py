"""The tiny case end to end: every stage, every contract key, the same bytes on one core and two."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.e2e.conftest import Workspace, new_workspace

from implantflow.artifacts import sha256_file

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: May differ between runs (decision 7): who, when, on which host.
NOT_REPRODUCED = ("audit/", "logs/", "benchmarks/", "report/run.json")

CONTRACT = {
    "ingest.series[]": "series_uid modality n_slices spacing_mm tilt_deg max_residual_mm resampled verdict",
    "segment": "threshold_hu coverage disputed_pct",
    "segment.labels.sacrum": "volume_mm3 watertight shells",
    "segment.labels.hip_left": "volume_mm3 watertight shells",
    "tumour.timepoints[]": "name volume_mm3 axes_mm ellipsoid_mm3",
    "tumour.response": "volume_change_pct recist_change_pct recist who_change_pct who flags",
    "plan": "side midline_plane resection_planes osteotomy_margin_min_mm soft_tissue_margin_min_mm "
    "specimen_volume_mm3 corridors",
    "plan.corridors[]": "name length_mm min_clearance_mm",
    "prototype.iterations[]": "id parent plan decision reviewers subject_sha256 hausdorff_to_parent_mm",
    "implant": "volume_mm3 watertight gap_p50_mm gap_p95_mm contact_area_mm2 interpenetration_mm3 "
    "vs_specimen_dice vs_approved_mm",
    "lattice": "cell cell_mm strut_mm relative_density porosity pore_um throat_um dense_fraction closed_pores "
    "modulus_gpa",
    "strength": "load_cases max_von_mises_mpa safety_factor stiffness_n_per_mm elements solver_agreement_pct",
    "build.revisions[]": "id layers layer_mm open_loops winding_errors unsupported_islands contour_m hatch_m "
    "solid_volume_mm3 time_h energy_kwh within_envelope",
    "inspect.revisions[]": "id rms_mm p95_mm within_tolerance_pct scale_error_pct decision",
    "followup.timepoints[]": "months baseline migration_mm rotation_deg repeatability_mm faces lattice",
    "followup.timepoints[].faces.midline": "bridged_pct lucency_mm detection_limit_mm grade",
    "followup.timepoints[].lattice": "delta_hu delta_bone_fraction interval",
    "audit": "entries verified unsigned_gates",
}


def digests(case_dir: Path) -> dict[str, str]:
    found = {}
    for path in sorted(p for p in case_dir.rglob("*") if p.is_file()):
        name = path.relative_to(case_dir).as_posix()
        if not name.startswith(NOT_REPRODUCED):
            found[name] = sha256_file(path)
    return found


def at(data: dict, path: str) -> list[dict]:
    nodes = [data]
    for part in path.split("."):
        many = part.endswith("[]")
        nodes = [node[part.removesuffix("[]")] for node in nodes]
        if many:
            assert all(nodes), f"{path} is empty"
            nodes = [item for node in nodes for item in node]
    return nodes


def test_case_json_has_every_key_of_the_contract(tiny_run: Workspace) -> None:
    case = json.loads((tiny_run.path / "results/tiny/report/case.json").read_text())
    for path, keys in CONTRACT.items():
        for node in at(case, path):
            missing = [key for key in keys.split() if key not in node]
            assert not missing, f"{path}: {missing}"
    assert case["purpose"] == "demo"
    for stage in (
        "ingest",
        "segment",
        "tumour",
        "plan",
        "prototype",
        "implant",
        "lattice",
        "strength",
        "build",
        "inspect",
        "release",
        "followup",
    ):
        assert case[stage]["status"] == "done", (stage, case[stage])
    assert case["segment"]["labels"]["sacrum"]["watertight"] is True
    assert case["build"]["revisions"][0]["open_loops"] == 0
    assert case["audit"]["verified"] is True
    assert case["inspect"]["revisions"][0]["decision"] == "accepted"
    assert case["release"]["revision"] == "r1"


def test_later_stages_agree_with_the_simulated_truth(tiny_run: Workspace) -> None:
    """At 2 mm slices; the demo's own figures stand in its report."""
    figures = json.loads((tiny_run.path / "results/tiny/report/comparison.json").read_text())["figures"]
    assert abs(figures["inspect.revisions.r1.scale_error_xyz_pct"]["error_abs"]) < 0.1
    assert figures["followup.timepoints.m12.migration_mm"]["error_abs"] < 0.3
    assert figures["followup.timepoints.m12.rotation_deg"]["error_abs"] < 0.3
    bone = figures["followup.timepoints.m12.lattice.delta_bone_fraction"]
    assert bone["inside_interval"] and abs(bone["error_abs"]) < 0.05
    for face in ("midline", "si_joint"):
        grade = figures[f"followup.timepoints.m12.faces.{face}.grade"]
        assert grade["truth"] == "fused" and grade["value"] not in ("III", "IV"), grade


@pytest.mark.long_e2e
def test_same_bytes_on_one_core(tiny_run: Workspace, tmp_path: Path) -> None:
    other = new_workspace(tmp_path / "one")
    done = other.snakemake("report", cores=1)
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = digests(tiny_run.path / "results/tiny"), digests(other.path / "results/tiny")
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.long_e2e
def test_deleting_the_truth_changes_the_comparison_only(tiny_run: Workspace, tmp_path: Path) -> None:
    other = tiny_run.copy(tmp_path / "w")
    before = digests(other.path / "results/tiny")
    shutil.rmtree(other.path / "data/simulated/tiny/truth")
    done = other.snakemake("report", "--forcerun", "segment_bones", "compare_truth")
    assert done.returncode == 0, done.stderr[-4000:]
    after = digests(other.path / "results/tiny")
    changed = {name for name in before if after.get(name) != before[name]}
    # The summary and its page also tell how long the ledger has become.
    assert changed == {
        f"report/{name}" for name in ("comparison.json", "comparison.js", "case.json", "index.html")
    }
    first, second = (
        json.loads((w.path / "results/tiny/report/case.json").read_text()) for w in (tiny_run, other)
    )
    assert first.pop("audit")["entries"] < second.pop("audit")["entries"]
    assert first == second


def test_second_run_has_nothing_to_do(tiny_run: Workspace) -> None:
    done = tiny_run.snakemake("report")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stderr + done.stdout


def test_verify_finds_an_edited_output(tiny_run: Workspace, tmp_path: Path) -> None:
    other = tiny_run.copy(tmp_path / "w")
    case_dir = other.path / "results/tiny"
    assert other.implantflow("verify", "results/tiny").returncode == 0
    path = case_dir / "plan/p1/plan.json"
    path.write_text(path.read_text().replace("left", "Left", 1))
    done = other.implantflow("verify", "results/tiny")
    assert done.returncode != 0
    assert "plan/p1/plan.json" in done.stdout


def test_one_job_runs_without_snakemake(tiny_run: Workspace, tmp_path: Path) -> None:
    other = tiny_run.copy(tmp_path / "w")
    stl = other.path / "results/tiny/implant/implant.stl"
    before = sha256_file(stl)
    stl.unlink()
    done = other.implantflow("run", "results/tiny/logs/design_implant.job.json")
    assert done.returncode == 0, done.stderr
    assert sha256_file(stl) == before
