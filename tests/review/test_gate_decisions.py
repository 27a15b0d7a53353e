"""A gate opens for the right signatures on the right bytes, and says what it rests on."""

from __future__ import annotations

from pathlib import Path

import pytest
from review_room import Room

from implantflow import artifacts
from implantflow.errors import AwaitingReview, ReviewError
from implantflow.review.statement import open_envelope


def test_two_signatures_open_the_gate(room: Room) -> None:
    room.sign("anna")
    room.sign("emil", reason="walls are thick enough")
    record = room.gate()
    assert record["decision"] == "approved" and record["unsigned"] is False
    assert [(r["name"], r["role"]) for r in record["reviewers"]] == [
        ("Anna Weber", "surgeon"),
        ("Emil Weber", "engineer"),
    ]
    assert record["reviewers"][1]["reason"] == "walls are thick enough"
    assert record["reviewers"][0]["meaning"].startswith("I have examined the files")
    implant = Path("results/demo/prototype/rp2/implant.stl")
    assert record["subject_sha256"] == artifacts.sha256_file(implant)
    assert record["subjects"]["prototype/rp2/bone.stl"] == artifacts.sha256_file(
        implant.with_name("bone.stl")
    )


def test_record_can_be_checked_again_from_the_gate_alone(room: Room) -> None:
    room.sign("anna")
    room.sign("emil")
    record = room.gate()
    for envelope in record["envelopes"]:
        key = record["public_keys"][envelope["signatures"][0]["keyid"]]
        statement = open_envelope(envelope, key)
        assert statement.subjects == record["subjects"]
        assert statement.predicate.item == "rp2"


def test_same_records_give_the_same_bytes(room: Room) -> None:
    room.sign("anna")
    room.sign("emil")
    room.gate()
    first = Path("results/demo/gate-rp2.json").read_bytes()
    room.gate()
    assert Path("results/demo/gate-rp2.json").read_bytes() == first


def test_nobody_decided_yet(room: Room) -> None:
    with pytest.raises(AwaitingReview) as waits:
        room.gate()
    assert waits.value.status == "awaiting_review"
    assert waits.value.fix.startswith(
        'python -m implantflow review demo rp2 --decision approve --reason "..." --key KEYFILE'
    )
    assert "surgeon, engineer" in waits.value.what


def test_one_signature_short(room: Room) -> None:
    room.sign("anna")
    with pytest.raises(ReviewError) as short:
        room.gate()
    assert short.value.what == "1 of 2 signatures; missing: engineer"


def test_two_of_the_same_role_do_not_replace_the_other(room: Room) -> None:
    room.sign("anna")
    room.sign("sven")
    with pytest.raises(ReviewError, match="missing: engineer"):
        room.gate()


def test_revise_then_new_files_then_approve(room: Room) -> None:
    """A correction makes new bytes; the old refusal stays on record and no longer bars the way."""
    room.sign("anna", "revise", reason="2 mm more clearance at the facet")
    with pytest.raises(ReviewError, match=r"sent back for correction by Anna Weber.*2 mm more clearance"):
        room.gate()
    room.write_iteration("demo", "rp2", "corrected")
    room.sign("anna")
    room.sign("emil")
    record = room.gate()
    assert [r["counted"] for r in record["records"]] == [False, True, True]
    assert record["records"][0]["note"].startswith("stale")
    assert len(room.records()) == 3, "old records stay"


def test_a_person_may_change_their_mind(room: Room) -> None:
    room.sign("anna", "reject", reason="wrong print")
    room.sign("emil")
    room.sign("anna", reason="looked at the right print now")
    record = room.gate()
    assert record["records"][0]["note"] == "superseded by a later decision of the same person"


def test_ten_records_keep_their_order(room: Room) -> None:
    for _ in range(10):
        room.sign("anna")
    room.sign("emil")
    assert [r["record"] for r in room.gate()["records"]][-2:] == ["rp2.10.dsse.json", "rp2.11.dsse.json"]


@pytest.mark.parametrize("purpose", ["demo", "research"])
def test_auto_passes_and_is_marked_unsigned(room: Room, purpose: str) -> None:
    record = room.gate(policy="auto", purpose=purpose)
    assert record["decision"] == f"auto-approved ({purpose}, unsigned)"
    assert record["unsigned"] is True
    assert record["reviewers"] == [] and record["envelopes"] == []
    assert set(record["subjects"]) == {
        f"prototype/rp2/{name}"
        for name in ("implant.stl", "bone.stl", "model.3mf", "prototype.json", "sheet.html")
    }


def test_policy_of_a_single_gate(room: Room) -> None:
    assert room.gate(policy="signed", gates={"review": "auto"})["unsigned"] is True
    with pytest.raises(AwaitingReview):
        room.gate(policy="auto", gates={"review": "signed"})


def test_a_refusal_bars_an_automatic_gate_too(room: Room) -> None:
    room.sign("anna", "reject", reason="cuts the S1 root")
    with pytest.raises(ReviewError, match="cuts the S1 root"):
        room.gate(policy="auto")


def test_design_gate_binds_everything_that_is_built(room: Room) -> None:
    names = [
        "implant/implant.stl", "implant/regions.json", "implant/implant.json", "lattice/field.json",
        "lattice/field.npz", "lattice/lattice.json", "strength/final/strength.json",
    ]  # fmt: skip
    room.write_files("demo", names, "design", "design_implant")
    room.sign("anna", item="design", approved="rp2")
    room.sign("emil", item="design", approved="rp2")
    assert list(room.gate(item="design")["subjects"]) == [*names, "prototype/rp2/implant.stl"]
    room.write_files("demo", ["lattice/field.npz"], "thinner struts", "make_lattice")
    with pytest.raises(ReviewError, match=r"changed after signing: lattice/field\.npz"):
        room.gate(item="design")
