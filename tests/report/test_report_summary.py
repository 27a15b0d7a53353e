"""case.json: contract keys, statuses, and what is said when something is missing, waits or failed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import report_fabricated as made

from implantflow.artifacts import write_json
from implantflow.report.command import render_case
from implantflow.report.sources import CaseFiles, dig
from implantflow.report.stages import STAGES
from implantflow.report.summary import build_summary

CONTRACT = {
    "ingest": "series.0.series_uid series.0.modality series.0.n_slices series.0.spacing_mm series.0.tilt_deg "
    "series.0.max_residual_mm series.0.resampled series.0.verdict",
    "segment": "threshold_hu coverage disputed_pct labels.sacrum.volume_mm3 labels.sacrum.watertight "
    "labels.sacrum.shells",
    "tumour": "timepoints.0.name timepoints.0.volume_mm3 timepoints.0.axes_mm timepoints.0.ellipsoid_mm3 "
    "response.volume_change_pct response.recist_change_pct response.recist response.who_change_pct response.who "
    "response.flags",
    "plan": "side midline_plane resection_planes osteotomy_margin_min_mm soft_tissue_margin_min_mm "
    "specimen_volume_mm3 corridors.0.name corridors.0.length_mm corridors.0.min_clearance_mm",
    "prototype": "iterations.1.id iterations.1.parent iterations.1.plan iterations.1.decision "
    "iterations.1.reviewers iterations.1.subject_sha256 iterations.1.hausdorff_to_parent_mm",
    "implant": "volume_mm3 watertight gap_p50_mm gap_p95_mm contact_area_mm2 interpenetration_mm3 "
    "vs_specimen_dice vs_approved_mm",
    "lattice": "cell cell_mm strut_mm relative_density porosity pore_um throat_um dense_fraction closed_pores "
    "modulus_gpa",
    "strength": "load_cases max_von_mises_mpa safety_factor stiffness_n_per_mm elements solver_agreement_pct",
    "build": "revisions.0.id revisions.0.layers revisions.0.layer_mm revisions.0.open_loops "
    "revisions.0.winding_errors revisions.0.unsupported_islands revisions.0.contour_m revisions.0.hatch_m "
    "revisions.0.solid_volume_mm3 revisions.0.time_h revisions.0.energy_kwh revisions.0.within_envelope",
    "audit": "entries verified unsigned_gates",
}


def summary_of(case_dir: Path, config: dict[str, Any] | None = None) -> dict[str, Any]:
    return build_summary(CaseFiles(case_dir, made.CONFIG if config is None else config))


def test_complete_case_has_every_key_of_the_contract(made_up_case: Path) -> None:
    summary = summary_of(made_up_case)
    for stage, keys in CONTRACT.items():
        assert summary[stage]["status"] == "done", stage
        for key in keys.split():
            assert dig(summary[stage], key, "absent") != "absent", f"{stage}.{key}"
    assert summary["purpose"] == "demo"
    assert summary["side"] == "left"
    for stage in ("inspect", "release", "followup"):
        assert summary[stage]["status"] == "not_configured"
        assert stage in summary[stage]["reason"]


def test_empty_folder_is_summarised(tmp_path: Path) -> None:
    case_dir = tmp_path / "results" / "nothing"
    case_dir.mkdir(parents=True)
    summary = summary_of(case_dir, {})
    assert summary["case"] == "nothing"
    assert summary["ingest"]["status"] == "awaiting_input"
    assert summary["build"]["status"] == "awaiting_input"
    for stage in STAGES:
        assert summary[stage]["status"] == "done" or summary[stage]["reason"]


def test_a_case_that_ends_early_waits_for_nothing(case_copy: Path) -> None:
    for name in ("prototype", "implant", "strength", "lattice", "build", "design"):
        shutil.rmtree(case_copy / name, ignore_errors=True)
    ended = {"prototype", "implant", "strength", "lattice", "build", "inspect", "release", "followup"}
    summary = summary_of(case_copy, {**made.CONFIG, **dict.fromkeys(ended)})
    assert {stage for stage in STAGES if summary[stage]["status"] == "not_configured"} == ended
    assert summary["plan"]["status"] == "done"
    assert "section `prototype`" in summary["prototype"]["next"]


@pytest.mark.parametrize(("later", "holds"), [("report_case", True), ("plan_resection", False)])
def test_records_verified_before_a_stage_ran_are_not_shown_as_verified(
    case_copy: Path, later: str, holds: bool
) -> None:
    rules = ["segment_bones", "audit_case", later]
    lines = [json.dumps({"entry": {"event": "job", "rule": rule}}) + "\n" for rule in rules]
    (case_copy / "audit/ledger.jsonl").write_text("".join(lines))
    audit = summary_of(case_copy)["audit"]
    assert (audit["status"] == "done", audit.get("verified")) == ((True, True) if holds else (False, None))
    (case_copy / "audit/ledger.jsonl").write_text("no JSON\n")
    assert summary_of(case_copy)["audit"]["status"] != "done"


def test_a_bore_that_nobody_measured_stands_beside_the_decision(case_copy: Path) -> None:
    bore = {
        "stock_mm": 0.5,
        "seen_pct": 17.0,
        "diameter_mm": None,
        "design_diameter_mm": 6.5,
        "axis_error_mm": None,
    }
    record = {
        "decision": "accepted",
        "reasons": [],
        "faces": {},
        "bores": {"s1": bore},
        "bores_to_gauge": ["s1"],
    }
    (case_copy / "inspect/r1").mkdir(parents=True, exist_ok=True)
    write_json(case_copy / "inspect/r1/deviation.json", {"decision": "accepted"})
    write_json(case_copy / "inspect/r1/machined.json", record)
    said = summary_of(case_copy)["inspect"]["revisions"][0]["machined"]["said"]
    assert said == "accepted; not measured, to be gauged: s1"


def test_failed_stage_and_those_behind_it(case_copy: Path) -> None:
    shutil.rmtree(case_copy / "plan")
    made.fail(
        case_copy, "plan_resection", "margin of 4.0 mm is below 10.0 mm", fix="extend the plan", revision="p1"
    )
    summary = summary_of(case_copy)
    assert summary["plan"]["status"] == "failed"
    assert summary["plan"]["reason"] == "margin of 4.0 mm is below 10.0 mm"
    assert summary["plan"]["next"] == "extend the plan"
    implant = summary["implant"]
    assert implant["status"] == "awaiting_input"
    assert "plan" in summary["prototype"]["reason"]
    assert implant["stale"] is True, "an implant made for an earlier plan must not look done"
    assert str(case_copy) not in json.dumps(summary)


def test_a_refused_series_is_listed_with_the_reason_as_its_verdict(case_copy: Path) -> None:
    read = summary_of(case_copy)["ingest"]["series"]
    made.fail(case_copy, "ingest_series", "2 slices are missing", series="ct_late")
    series = summary_of(case_copy)["ingest"]["series"]
    assert series[: len(read)] == read and all(entry["verdict"] == "ok" for entry in read)
    assert series[-1]["name"] == "ct_late" and series[-1]["verdict"] == "2 slices are missing"
    assert set(read[0]) - {"name"} >= {key for key in series[-1] if key not in ("name",)}
    assert series[-1]["series_uid"] is None
    render_case(case_copy, case_copy / "report")
    assert "2 slices are missing" in (case_copy / "report/index.html").read_text()


def test_open_gate_waits_for_review(case_copy: Path) -> None:
    (case_copy / "prototype/rp2/gate.json").unlink()
    shutil.rmtree(case_copy / "implant")
    made.fail(
        case_copy,
        "gate_review",
        "iteration rp2 is not approved",
        status="awaiting_review",
        fix="python -m implantflow review made_up rp2",
        iteration="rp2",
    )
    summary = summary_of(case_copy)
    assert summary["prototype"]["status"] == "awaiting_review"
    assert summary["prototype"]["next"].startswith("python -m implantflow review")
    assert summary["prototype"]["iterations"][1]["decision"] == "awaiting review"
    assert summary["implant"]["status"] == "awaiting_input"
    assert summary["tumour"]["status"] == "done"


def test_an_iteration_replaced_before_its_review_is_superseded_and_keeps_its_digest(case_copy: Path) -> None:
    (case_copy / "prototype/rp1/gate.json").unlink()
    first = summary_of(case_copy)["prototype"]["iterations"][0]
    digest = json.loads((case_copy / "prototype/rp1/prototype.json").read_text())["subject_sha256"]
    assert first["decision"] == "superseded" and first["subject_sha256"] == digest


def test_unapproved_early_iteration_does_not_stop_the_case(case_copy: Path) -> None:
    made.fail(case_copy, "gate_review", "rejected", status="awaiting_review", iteration="rp1")
    assert summary_of(case_copy)["prototype"]["status"] == "done"


def test_plan_in_force_is_the_approved_iterations(case_copy: Path) -> None:
    shutil.copytree(case_copy / "plan/p1", case_copy / "plan/p2")
    config = {**made.CONFIG, "plan": {"revisions": [{"id": "p1"}, {"id": "p2"}]}}
    assert summary_of(case_copy, config)["plan"]["revision"] == "p1"
    prototype = json.loads((case_copy / "prototype/rp2/prototype.json").read_text())
    write_json(case_copy / "prototype/rp2/prototype.json", {**prototype, "plan": "p2"})
    assert summary_of(case_copy, config)["plan"]["revision"] == "p2"


def test_unsigned_gate_counts_as_passed_and_says_so(case_copy: Path) -> None:
    gate = {
        "decision": "auto-approved (demo, unsigned)",
        "unsigned": True,
        "reviewers": [],
        "subject_sha256": "0",
    }
    write_json(case_copy / "segment/gate.json", gate)
    segment = summary_of(case_copy)["segment"]
    assert segment["status"] == "done"
    assert segment["gate"]["unsigned"] is True


def test_strength_takes_final_and_nests_both(case_copy: Path) -> None:
    final = json.loads((case_copy / "strength/final/strength.json").read_text())
    write_json(case_copy / "strength/final/strength.json", {**final, "safety_factor": 3.3})
    strength = summary_of(case_copy)["strength"]
    assert strength["safety_factor"] == pytest.approx(3.3)
    assert strength["solid"]["safety_factor"] == pytest.approx(4.8)
    (case_copy / "strength/final/strength.json").unlink()
    strength = summary_of(case_copy)["strength"]
    assert (strength["status"], strength["judged"]) == ("awaiting_input", "solid")
    assert strength["safety_factor"] == pytest.approx(4.8)


def test_damaged_json_is_named(case_copy: Path) -> None:
    (case_copy / "implant/implant.json").write_text("{not json", encoding="utf-8")
    summary = summary_of(case_copy)
    assert summary["implant"]["status"] == "awaiting_input"
    assert any(note.startswith("implant/implant.json") for note in summary["unreadable_files"])


def test_no_hash_or_time_of_the_ledger_in_the_summary(made_up_case: Path) -> None:
    assert set(summary_of(made_up_case)["audit"]) == {"status", "entries", "verified", "unsigned_gates"}
