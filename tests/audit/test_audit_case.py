"""The audit of a whole case: what it says when nothing is wrong, on the spot and on a copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_case import ROAD, Made

from implantflow.audit import ledger
from implantflow.audit.verify import examine_case, human, verify_case
from implantflow.cli import main


def test_finished_case_is_verified_and_says_its_gates_are_unsigned(finished: Made) -> None:
    result = verify_case(finished.folder)
    assert result["problems"] == []
    assert result["verified"] is True
    assert result["entries"] == 11 == len(ledger.read(finished.folder))
    assert result["unsigned_gates"] == ["labels", "rp1", "design"]
    assert result["files"]["outside_checked"] == ["data/simulated/demo/dicom/ct"]
    written = json.loads((finished.folder / "audit/verify.json").read_text())
    assert (written["entries"], written["verified"]) == (9, True)
    assert "VERIFIED" in human(result) and "nobody" in human(result)


def test_signed_case_names_who_signed(signed: Made) -> None:
    result = verify_case(signed.folder, registry=signed.site.reviewers)
    assert result["problems"] == []
    assert result["unsigned_gates"] == []
    design = next(gate for gate in result["gates"] if gate["item"] == "design")
    assert [r["name"] for r in design["reviewers"]] == ["Anna Weber", "Emil Weber"]
    assert design["valid_signatures"] == 2


def test_copied_folder_verifies_without_the_rest(signed: Made, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "inspected"
    shutil.copytree(signed.folder, copy)
    shutil.rmtree(signed.root)
    result = verify_case(copy)
    assert result["problems"] == []
    assert "config/reviews/demo/rp1.1.dsse.json" in result["files"]["outside_absent"]
    assert any("renamed folder" in note["what"] for note in result["notes"])


def test_verify_never_writes(signed: Made) -> None:
    before = {p: p.stat().st_mtime_ns for p in signed.folder.rglob("*")}
    verify_case(signed.folder)
    assert {p: p.stat().st_mtime_ns for p in signed.folder.rglob("*")} == before


def test_waiting_case_is_verified_and_says_what_waits(made: Made) -> None:
    made.policy = "signed"
    made.run("segment_bones")
    refusal = made.attempt("gate_labels")
    assert refusal.status == "awaiting_review"
    result = verify_case(made.folder)
    assert result["verified"] and result["jobs"]["not_done"] == {"gate_labels": "awaiting_review"}


def test_second_run_over_the_same_case_still_verifies(finished: Made) -> None:
    finished.run()
    assert verify_case(finished.folder)["problems"] == []
    assert verify_case(finished.folder)["entries"] == 22


def test_results_computed_again_keep_their_signatures(signed: Made) -> None:
    """Same bytes, so the records in config/reviews still hold; the anchor is not in the new ledger."""
    shutil.rmtree(signed.folder)
    signed.run()
    result = verify_case(signed.folder, registry=signed.site.reviewers)
    assert result["problems"] == []
    assert any("computed again" in note["what"] for note in result["notes"])


def test_iteration_left_over_from_an_older_config_is_no_problem(finished: Made) -> None:
    """What the case no longer rests on stays for ever and is only noted when its own inputs moved on."""
    finished.job(
        "build_part", {"revision": "r0"}, "build.stage:build_part",
        ["lattice/field.npz", "design/gate.json"], ["build/r0/build.cli"],
    )  # fmt: skip
    finished.version = "2"
    finished.run()
    result = verify_case(finished.folder)
    assert result["problems"] == []
    assert any(note["where"].startswith("build_part.r0") for note in result["notes"])


def test_command_exits_zero_only_when_verified(finished: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(finished.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True
    (finished.folder / "implant/implant.stl").write_text("another")
    assert main(["verify", str(finished.folder)]) == 8
    assert "implant/implant.stl" in capsys.readouterr().out
    assert main(["verify", str(finished.folder / "nothing")]) != 0


def test_audit_refuses_a_trail_that_does_not_hold(finished: Made) -> None:
    (finished.folder / "plan/p1/plan.json").write_text("{}")
    refusal = finished.attempt("audit_case")
    assert type(refusal).__name__ == "ProvenanceError"
    assert "plan/p1/plan.json" in refusal.what
    assert not (finished.folder / "audit/verify.json").exists()


def test_crate_lists_files_actions_and_persons(signed: Made) -> None:
    crate = json.loads((signed.folder / "audit/ro-crate-metadata.json").read_text())
    graph = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(graph) == len(crate["@graph"]), "an @id is used twice"
    assert graph["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    main = graph[graph["./"]["mainEntity"]["@id"]]
    assert "ComputationalWorkflow" in main["@type"] and (signed.folder / "audit" / main["@id"]).is_file()
    assert graph["#workflow-run"]["instrument"]["@id"] == main["@id"]
    in_force = {e["contentUrl"]: e for e in crate["@graph"] if "contentUrl" in e}
    assert all((signed.folder / "audit" / url).is_file() for url in in_force)
    assert graph["#workflow-run"]["result"] == {"@id": in_force["../build/r1/checks.json"]["@id"]}
    implant = in_force["../implant/implant.stl"]
    entry = examine_case(signed.folder).history.writers["implant/implant.stl"]
    assert implant["sha256"] == entry.outputs["implant/implant.stl"]
    assert {"@id": implant["@id"]} in _list(graph[f"#entry-{entry.sequence}"]["result"])
    # A crate holds only what lies below its root.
    assert not [e["@id"] for e in crate["@graph"] if e["@id"].startswith(("..", "/"))]
    assert graph["#person-anna"]["name"] == "Anna Weber"
    assert graph["#gate-design/gate.json-anna"]["@type"] == "AcceptAction"
    for entity in crate["@graph"]:
        for key in ("hasPart", "mentions", "object", "result", "agent", "instrument"):
            for target in _list(entity.get(key, [])):
                assert target["@id"] in graph, f"{entity['@id']}.{key} points nowhere: {target['@id']}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_crate_shows_failed_actions_with_their_reason(made: Made) -> None:
    made.policy = "signed"
    made.run("segment_bones")
    made.attempt("gate_labels")
    made.policy = "auto"
    made.run(*[rule for rule, *_ in ROAD if rule != "segment_bones"])
    crate = json.loads((made.folder / "audit/ro-crate-metadata.json").read_text())
    failed = [e for e in crate["@graph"] if "FailedActionStatus" in str(e.get("actionStatus"))]
    # The gate was passed later, so the run as a whole did not fail.
    assert [action["name"] for action in failed] == ["gate_labels"]
    assert "missing: engineer" in failed[0]["error"]


@pytest.mark.requirement("not-for-clinical-use")
def test_trace_page_is_offline_and_escapes_what_people_write(made: Made) -> None:
    made.policy = "signed"
    made.run("segment_bones")
    made.sign("labels", "emil", reason="<img src=x onerror=alert(1)>")
    made.run("gate_labels")
    made.policy = "auto"
    made.run(
        "plan_resection", "make_prototype", "gate_review", "design_implant", "make_lattice", "gate_design",
        "build_part", "audit_case",
    )  # fmt: skip
    page = (made.folder / "audit/trace.html").read_text()
    assert "NOT FOR CLINICAL USE" in page
    assert "&lt;img src=x" in page and "<img" not in page
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert "unsigned" in page and "Emil Weber" in page


def test_page_rendered_after_a_failure_is_accounted_for(made: Made) -> None:
    from implantflow.report.command import render

    made.policy = "signed"
    made.run("segment_bones")
    made.attempt("gate_labels")
    render("demo")
    assert verify_case(made.folder)["problems"] == []
