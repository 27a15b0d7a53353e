"""Attacks on a finished case: each is found, and the finding names the file or the entry."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_case import ROAD, Made

from implantflow import artifacts
from implantflow.audit import ledger
from implantflow.audit.verify import verify_case

Attack = Callable[[Made], None]


def ledger_path(made: Made) -> Path:
    return made.folder / "audit" / "ledger.jsonl"


def lines(made: Made) -> list[bytes]:
    return ledger_path(made).read_bytes().splitlines(keepends=True)


def put(made: Made, new: list[bytes]) -> None:
    ledger_path(made).write_bytes(b"".join(new))


def rewrite(made: Made, change: Callable[[list[dict[str, Any]]], None], case: str | None = None) -> None:
    """What somebody with our code can do: change the entries and build the whole chain and head anew."""
    records = [json.loads(line) for line in lines(made)]
    change(records)
    previous = ledger.GENESIS
    for number, record in enumerate(records):
        record.update(sequence=number, previous=previous)
        record["sha256"] = previous = ledger.digest(record)
    put(made, [artifacts.canonical_json(r) + b"\n" for r in records])
    head = {"sequence": len(records) - 1, "sha256": previous}
    (made.folder / "audit" / "head.json").write_text(json.dumps(head))


def edit_output_keeping_its_time(made: Made) -> None:
    path = made.folder / "implant/implant.stl"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"rule", b"ruLe"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def delete_output(made: Made) -> None:
    (made.folder / "lattice/field.npz").unlink()


def add_file(made: Made) -> None:
    (made.folder / "build/r1/build2.cli").write_text("another build")


def add_file_beside_the_ledger(made: Made) -> None:
    (made.folder / "audit/approval.pdf").write_text("approved, honestly")


def hidden_file(made: Made) -> None:
    (made.folder / "design/.gate.json").write_text("{}")


def link_instead_of_file(made: Made) -> None:
    path = made.folder / "plan/p1/plan.json"
    away = made.root / "plan.json"
    path.rename(away)
    path.symlink_to(away)


def linked_folder(made: Made) -> None:
    (made.folder / "elsewhere").symlink_to(made.root)


def swap_within_the_case(made: Made) -> None:
    one, two = made.folder / "segment/hip_left.stl", made.folder / "segment/hip_right.stl"
    left, right = one.read_bytes(), two.read_bytes()
    one.write_bytes(right)
    two.write_bytes(left)


def file_of_another_case(made: Made) -> None:
    (made.folder / "prototype/rp1/bone.stl").write_text('{"rule": "make_prototype", "of": "another case"}')


def changed_dicom(made: Made) -> None:
    (made.root / "data/simulated/demo/dicom/ct/a.dcm").write_bytes(b"slice of another patient")


def edited_report(made: Made) -> None:
    path = made.folder / "report/case.json"
    path.write_text(path.read_text().replace("1", "2"))


def edit_entry(made: Made) -> None:
    put(made, [line.replace(b"make_lattice", b"fake_lattice") for line in lines(made)])


def edit_entry_and_its_digest(made: Made) -> None:
    old = lines(made)
    record = json.loads(old[3])
    record["user"] = "nobody"
    record["sha256"] = ledger.digest(record)
    put(made, [*old[:3], artifacts.canonical_json(record) + b"\n", *old[4:]])


def respace_entry(made: Made) -> None:
    old = lines(made)
    put(made, [old[0], json.dumps(json.loads(old[1])).encode() + b"\n", *old[2:]])


def remove_entry(made: Made) -> None:
    old = lines(made)
    put(made, old[:4] + old[5:])


def remove_first_entry(made: Made) -> None:
    put(made, lines(made)[1:])


def reorder_entries(made: Made) -> None:
    old = lines(made)
    old[2], old[3] = old[3], old[2]
    put(made, old)


def repeat_entry(made: Made) -> None:
    old = lines(made)
    put(made, [*old[:5], old[4], *old[5:]])


def truncate(made: Made) -> None:
    put(made, lines(made)[:-2])


def truncate_within_a_line(made: Made) -> None:
    ledger_path(made).write_bytes(ledger_path(made).read_bytes()[:-40])


def truncate_with_head(made: Made) -> None:
    """Ledger and head cut off together: the files of the entries that are gone have no maker any more."""
    old = lines(made)[:-2]
    put(made, old)
    last = json.loads(old[-1])
    head = {"sequence": last["sequence"], "sha256": last["sha256"]}
    (made.folder / "audit/head.json").write_text(json.dumps(head))


def remove_head(made: Made) -> None:
    (made.folder / "audit/head.json").unlink()


def remove_ledger(made: Made) -> None:
    ledger_path(made).unlink()


def damage_line(made: Made) -> None:
    old = lines(made)
    put(made, [old[0], b'{"sequence": 1, \n', *old[2:]])


def hostile_line(made: Made) -> None:
    old = lines(made)
    put(made, [old[0], b"[" * 200_000 + b"\n", *old[2:]])


def new_chain_with_another_digest(made: Made) -> None:
    """A file exchanged and its entry with it, chain built anew: who used the file still names the old one."""
    path = made.folder / "implant/implant.stl"
    path.write_text("exchanged")

    def change(records: list[dict[str, Any]]) -> None:
        entry = next(r["entry"] for r in records if r["entry"]["rule"] == "design_implant")
        entry["outputs"]["case"]["implant/implant.stl"] = artifacts.sha256_file(path)

    rewrite(made, change)


def new_chain_without_the_design_gate(made: Made) -> None:
    def change(records: list[dict[str, Any]]) -> None:
        records[:] = [r for r in records if r["entry"]["rule"] != "gate_design"]
        for record in records:
            record["entry"]["inputs"]["case"].pop("design/gate.json", None)

    rewrite(made, change)
    shutil.rmtree(made.folder / "design")


def new_chain_in_another_order(made: Made) -> None:
    """The build before its gate."""

    def change(records: list[dict[str, Any]]) -> None:
        build = next(r for r in records if r["entry"]["rule"] == "build_part")
        records.remove(build)
        records.insert(2, build)

    rewrite(made, change)


def new_chain_of_two_cases(made: Made) -> None:
    def change(records: list[dict[str, Any]]) -> None:
        records[4]["case"] = "other"

    rewrite(made, change)


def new_chain_of_another_purpose(made: Made) -> None:
    def change(records: list[dict[str, Any]]) -> None:
        records[8]["entry"]["settings"]["purpose"] = "clinical"

    rewrite(made, change)


def new_chain_with_a_hostile_shape(made: Made) -> None:
    def change(records: list[dict[str, Any]]) -> None:
        records[3]["entry"]["outputs"]["case"]["../../../etc/hostname"] = 7
        records[4]["entry"]["outputs"] = ["no", "mapping"]
        records[5]["entry"]["wildcards"] = 3
        records[6]["code"] = "dirty"

    rewrite(made, change)


def open_gate_by_hand(made: Made) -> None:
    path = made.folder / "design/gate.json"
    record = json.loads(path.read_text())
    record.update(decision="approved", unsigned=False)
    path.write_text(json.dumps(record))


ATTACKS: list[tuple[Attack, str]] = [
    (edit_output_keeping_its_time, "implant/implant.stl: is not what design_implant wrote"),
    (delete_output, "lattice/field.npz: missing"),
    (add_file, "build/r1/build2.cli: no recorded job"),
    (add_file_beside_the_ledger, "audit/approval.pdf: no recorded job"),
    (hidden_file, "design/.gate.json: no recorded job"),
    (link_instead_of_file, "plan/p1/plan.json: is a link"),
    (linked_folder, "elsewhere: is a link"),
    (swap_within_the_case, "this is the content of segment/hip_right.stl"),
    (file_of_another_case, "prototype/rp1/bone.stl: is not what make_prototype wrote"),
    (changed_dicom, "data/simulated/demo/dicom/ct: has changed since segment_bones read it"),
    (edited_report, "report/case.json: is not what report_case wrote"),
    (edit_entry, "line 7: entry 6 (fake_lattice done) was edited"),
    (edit_entry_and_its_digest, "line 5: entry 4 does not follow"),
    (respace_entry, "line 2: entry 1 (gate_labels done) was rewritten"),
    (remove_entry, "line 5: entry 5 where entry 4 belongs"),
    (remove_first_entry, "line 1: entry 1 where entry 0 belongs"),
    (reorder_entries, "line 3: entry 3 where entry 2 belongs"),
    (repeat_entry, "line 6: entry 4 where entry 5 belongs"),
    (truncate, "the ledger ends with entry 8, but its last entry should be 10"),
    (truncate_within_a_line, "line 11: the last line has no end"),
    (truncate_with_head, "audit/verify.json: no recorded job"),
    (remove_head, "head.json: the file that names the last entry is missing"),
    (remove_ledger, "there is no ledger"),
    (damage_line, "line 2: a ledger line is damaged"),
    (hostile_line, "line 2: a ledger line is damaged"),
    (new_chain_with_another_digest, "implant/implant.stl: made from another version"),
    (new_chain_without_the_design_gate, "build_part.r1 (entry 7): was not behind the gate 'design'"),
    (new_chain_in_another_order, "lattice/field.npz: read before it was written"),
    (new_chain_of_two_cases, "entries of more than one case: demo, other"),
    (new_chain_of_another_purpose, "different purposes: clinical, demo"),
    (new_chain_with_a_hostile_shape, "hostname: missing"),
    (open_gate_by_hand, "design/gate.json: is not what gate_design wrote"),
]


@pytest.mark.requirement("tamper-evident")
@pytest.mark.parametrize(("attack", "said"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
@pytest.mark.attack("results and ledger")
def test_attack_is_found(
    finished: Made, attack: Attack, said: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("answer", said)
    attack(finished)
    result = verify_case(finished.folder)
    assert result["verified"] is False
    found = [f"{p['where']}: {p['what']}" for p in result["problems"]]
    assert any(said in problem for problem in found), found


@pytest.mark.attack("gate records")
def test_gate_whose_signature_was_exchanged(signed: Made) -> None:
    """Even with a new chain: what a person signed cannot be made to say something else."""
    path = signed.folder / "prototype/rp1/gate.json"
    record = json.loads(path.read_text())
    record["subjects"]["prototype/rp1/bone.stl"] = "0" * 64
    path.write_text(json.dumps(record))

    def change(records: list[dict[str, Any]]) -> None:
        for r in records:
            for side in ("inputs", "outputs"):
                known = r["entry"].get(side, {}).get("case", {})
                if "prototype/rp1/gate.json" in known:
                    known["prototype/rp1/gate.json"] = artifacts.sha256_file(path)

    rewrite(signed, change)
    result = verify_case(signed.folder)
    found = [p["what"] for p in result["problems"]]
    assert "Anna Weber signed for other files than the gate names" in found
    assert "prototype/rp1/bone.stl is not the file that was decided about" in found


@pytest.mark.attack("gate records")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"envelopes": []}, "signatures are missing: surgeon, engineer"),
        ({"reviewers": []}, "the reviewers it names are not those who signed"),
        ({"public_keys": {}}, "signed with a key that the gate record does not hold"),
        ({"unsigned": True}, "the gate stands open with the decision 'approved'"),
        ({"purpose": "clinical", "required_roles": ["surgeon"]}, "a clinical gate asked for 1 signature(s)"),
        ({"item": "rp9"}, "Anna Weber signed for demo/design/design, not this"),
        ({"decision": "rejected"}, "the gate stands open with the decision 'rejected'"),
        ({"envelopes": "x"}, "not a gate record"),
    ],
    ids=["envelopes_removed", "reviewers_removed", "keys_removed", "said_unsigned", "made_clinical_with_one_role",
         "another_item", "said_rejected", "envelopes_no_list"],
)  # fmt: skip
def test_gate_record_that_contradicts_itself(
    signed: Made, change: dict[str, Any], said: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("answer", said)
    path = signed.folder / "design/gate.json"
    record = json.loads(path.read_text())
    record.update(change)
    path.write_text(json.dumps(record))
    found = [p["what"] for p in verify_case(signed.folder)["problems"]]
    assert any(said in problem for problem in found), found


@pytest.mark.attack("gate records")
def test_unsigned_gate_of_a_clinical_case(finished: Made) -> None:
    """A gate of a clinical case, edited to be passed without a signature: named."""
    path = finished.folder / "design/gate.json"
    record = json.loads(path.read_text())
    record.update(purpose="clinical", decision="auto-approved (clinical, unsigned)")
    path.write_text(json.dumps(record))
    found = [p["what"] for p in verify_case(finished.folder)["problems"]]
    assert "a gate of a clinical case was passed without a signature" in found


@pytest.mark.attack("gate records")
def test_build_left_over_after_its_gate_was_taken_back(signed: Made) -> None:
    """The surgeon rejects after the build: the gate falls, and the build file lying there stands no more."""
    signed.sign("design", "anna", "reject", reason="wrong side")
    before = verify_case(signed.folder)
    assert any("stands open, though Anna Weber decided 'reject'" in p["what"] for p in before["problems"])
    refusal = signed.attempt("gate_design")
    assert "wrong side" in refusal.what
    after = verify_case(signed.folder)
    assert after["verified"] is False
    assert any(
        p["where"].startswith("build_part.r1") and "no longer stands: gate_design failed" in p["what"]
        for p in after["problems"]
    )


def test_stage_run_again_makes_what_follows_stale(finished: Made) -> None:
    finished.version = "2"
    finished.run("design_implant")
    found = {
        p["where"].split(" ")[0] for p in verify_case(finished.folder)["problems"] if p["kind"] == "stale"
    }
    assert {"make_lattice"} <= found
    finished.run(*[rule for rule, *_ in ROAD[ROAD.index(next(r for r in ROAD if r[0] == "make_lattice")) :]])
    assert verify_case(finished.folder)["problems"] == []


@pytest.mark.attack("gate records")
def test_revoked_key_shows_when_the_registry_is_given(signed: Made) -> None:
    """A key revoked after signing, and one that no registry knows: both named by `verify --site`."""
    revoked = [r.model_copy(update={"revoked": r.id == "anna"}) for r in signed.site.reviewers]
    found = [p["what"] for p in verify_case(signed.folder, registry=revoked)["problems"]]
    assert "signed with the revoked key of Anna Weber" in found
    unknown = [r for r in signed.site.reviewers if r.id != "anna"]
    found = [p["what"] for p in verify_case(signed.folder, registry=unknown)["problems"]]
    assert any("not in the registry" in what for what in found)


def test_free_folders_and_temporary_files_are_not_held_against_the_case(finished: Made) -> None:
    for name in ("logs/x.log", "benchmarks/x.tsv", "report/run.json", "plan/p1/.tmp-plan.json"):
        path = finished.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    stamp = finished.root / "data/simulated/demo/dicom/ct/.snakemake_timestamp"
    stamp.touch()
    assert verify_case(finished.folder)["problems"] == []
