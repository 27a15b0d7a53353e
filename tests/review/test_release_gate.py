"""The release gate: a print in tolerance waits for signatures, one out of tolerance is refused by none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from review_room import Room

from implantflow import artifacts
from implantflow.audit import ledger
from implantflow.errors import AwaitingReview, ImplantflowError, ReviewError
from implantflow.jobs import Job, execute
from implantflow.review.gate import NOT_PUT_FORWARD, REJECTED, check_gate, read_gate
from implantflow.review.subjects import release_subjects

CASE = Path("results/demo")


def machined(revision: str, decision: str, *reasons: str) -> None:
    """What the inspection of the machined part says, with its ledger entry."""
    path = CASE / f"inspect/{revision}/machined.json"
    artifacts.write_json(path, {"id": revision, "decision": decision, "reasons": list(reasons), "faces": {}})
    ledger.append(CASE, {
        "event": "job", "rule": f"inspect_machined.{revision}", "outcome": {"status": "done"}, "inputs": {},
        "outputs": {path.as_posix(): artifacts.sha256_file(path)},
    })  # fmt: skip


def inspected(room: Room, revision: str, decision: str, *reasons: str, **other: Any) -> None:
    """Build and inspection of one revision on disk, with their ledger entries."""
    names = release_subjects(revision)
    room.write_files("demo", names[1:], revision, f"build_part.{revision}")
    room.write_files("demo", names[:1], revision, f"inspect_print.{revision}")
    record = {"id": revision, "decision": decision, "reasons": list(reasons), "rms_mm": 0.2, **other}
    artifacts.write_json(CASE / names[0], record)
    ledger.append(CASE, {
        "event": "job", "rule": f"inspect_print.{revision}", "outcome": {"status": "done"}, "inputs": {},
        "outputs": {f"{CASE}/{names[0]}": artifacts.sha256_file(CASE / names[0])},
    })  # fmt: skip


def gate(
    room: Room,
    revision: str = "r2",
    *,
    released: str = "r2",
    purpose: str = "demo",
    policy: str = "signed",
    machined: bool = False,
) -> dict[str, Any]:
    """Run the gate's job as its rule does; return the record or let the refusal through."""
    out = CASE / f"inspect/{revision}/gate.json"
    about: dict[str, Any] = {"revision": revision, "put_forward": revision == released, "machined": machined}
    subjects = [CASE / n for n in release_subjects(revision, machined=machined)]
    job = Job(
        rule="gate_release",
        case_dir=CASE,
        wildcards={"case": "demo", "revision": revision},
        inputs={"subjects": subjects, "review": room.records("demo", "release")},
        outputs={"gate": out},
        settings={
            "gate": {"name": "release", "item": "release", **about},
            "case": "demo",
            "purpose": purpose,
            "review": {"policy": policy, "authors": ["emil"]},
            "site": room.site.model_dump(mode="json", exclude={"data_root"}),
        },
        function="implantflow.review.gate:check_gate",
        code_digest="0" * 64,
    )  # fmt: skip
    execute(job, check_gate)
    return json.loads(out.read_text())  # type: ignore[no-any-return]


def test_print_in_tolerance_waits_and_opens_when_both_signed(room: Room) -> None:
    inspected(room, "r2", "accepted")
    with pytest.raises(AwaitingReview, match="missing: surgeon, engineer") as waiting:
        gate(room)
    assert "review demo release --decision approve" in waiting.value.fix
    room.sign("anna", item="release")
    room.sign("emil", item="release")
    record = gate(room)
    assert record["decision"] == "approved" and not record["unsigned"]
    assert next(iter(record["subjects"])) == "inspect/r2/deviation.json"
    assert {r["name"] for r in record["reviewers"]} == {"Anna Weber", "Emil Weber"}
    assert [r["counted"] for r in record["records"]] == [True, True]


def test_rejected_print_is_recorded_and_stays_shut(room: Room) -> None:
    inspected(room, "r1", "rejected", "scale error -0.62 %, limit 0.30 %")
    for policy, purpose in (("auto", "demo"), ("signed", "demo"), ("signed", "clinical")):
        record = gate(room, "r1", policy=policy, purpose=purpose)
        assert record["decision"] == REJECTED
        assert record["reasons"][0] == "scale error -0.62 %, limit 0.30 %"
        assert "new revision" in record["reasons"][1] and "limits" in record["reasons"][1]
        assert not record["unsigned"] and record["reviewers"] == []


def test_no_signature_turns_a_rejected_print_into_an_accepted_one(room: Room) -> None:
    inspected(room, "r2", "accepted")
    with pytest.raises(AwaitingReview):
        gate(room)
    room.sign("anna", item="release")
    room.sign("emil", item="release")
    # The same files, inspected again and now out of tolerance: the approvals there are do not help.
    inspected(room, "r2", "rejected", "bow of 0.9 mm")
    with pytest.raises(ReviewError, match=r"rejected the print r2: bow of 0\.9 mm"):
        room.sign("anna", item="release")
    assert gate(room)["decision"] == REJECTED
    room.sign("anna", "reject", item="release", reason="bent")
    assert gate(room)["decision"] == REJECTED


def test_machined_part_is_signed_for_with_the_print(room: Room) -> None:
    inspected(room, "r2", "accepted")
    with pytest.raises(AwaitingReview):
        gate(room)
    for who in ("anna", "emil"):
        room.sign(who, item="release")
    assert gate(room)["decision"] == "approved"
    # Signatures for the print as built are none for the part that was machined since.
    machined("r2", "accepted")
    with pytest.raises(ReviewError, match="another list of files"):
        gate(room, machined=True)
    for who in ("anna", "emil"):
        room.sign(who, item="release")
    record = gate(room, machined=True)
    assert record["decision"] == "approved" and "inspect/r2/machined.json" in record["subjects"]
    machined("r2", "rejected", "midline: 0.5 mm left")
    with pytest.raises(ReviewError, match=r"rejected the print r2: midline: 0\.5 mm left"):
        room.sign("anna", item="release")
    assert gate(room, machined=True)["reasons"][0] == "midline: 0.5 mm left"
    assert gate(room, machined=True)["decision"] == REJECTED


def test_print_that_is_not_put_forward_asks_nobody(room: Room) -> None:
    inspected(room, "r2", "accepted")
    inspected(room, "r3", "accepted")
    assert gate(room, "r2", released="r3")["decision"] == NOT_PUT_FORWARD
    with pytest.raises(AwaitingReview):
        gate(room, "r3", released="r3")
    path = room.sign("anna", item="release")
    assert path.name == "release.1.dsse.json"
    assert "inspect/r3/deviation.json" in ledger.read(CASE)[-1]["entry"]["subjects"]


def test_signatures_for_another_revision_do_not_count(room: Room) -> None:
    inspected(room, "r2", "accepted")
    inspected(room, "r3", "accepted")
    with pytest.raises(AwaitingReview):
        gate(room, "r2", released="r2")
    room.sign("anna", item="release")
    room.sign("emil", item="release")
    with pytest.raises(ReviewError, match="another list of files"):
        gate(room, "r3", released="r3")


def test_author_alone_and_automatic_clinical(room: Room) -> None:
    inspected(room, "r2", "accepted")
    assert gate(room, policy="auto")["unsigned"]
    with pytest.raises(ReviewError, match="cannot pass a gate automatically"):
        gate(room, policy="auto", purpose="clinical")


@pytest.mark.parametrize(
    "change",
    [
        {"decision": "fine"},
        {"decision": None},
        {"id": "r1"},
        {"decision": "rejected", "reasons": []},
        {"reasons": "none"},
    ],
)
def test_inspection_that_does_not_say_what_it_decided_is_refused(room: Room, change: dict[str, Any]) -> None:
    inspected(room, "r2", "accepted")
    path = CASE / "inspect/r2/deviation.json"
    artifacts.write_json(path, {**artifacts.read_json(path), **change})
    with pytest.raises(ImplantflowError):
        gate(room, policy="auto")
    assert not (CASE / "inspect/r2/gate.json").exists()


def test_gate_records_without_reasons_can_still_be_read(room: Room) -> None:
    inspected(room, "r2", "accepted")
    record = gate(room, policy="auto")
    del record["reasons"]
    path = Path("old.json")
    artifacts.write_json(path, record)
    assert read_gate(path).reasons == []
