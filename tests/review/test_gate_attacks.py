"""Attacks on a gate: each is refused, with its reason, and no gate.json is left."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from review_room import Room

from implantflow.errors import ReviewError
from implantflow.review import keys
from implantflow.review.statement import Review, make_statement, open_envelope, seal

Attack = Callable[[Room], Any]


def both_sign(room: Room, **more: Any) -> None:
    room.sign("anna", **more)
    room.sign("emil", **more)


def first(room: Room) -> tuple[Path, dict[str, Any]]:
    path = room.records()[0]
    return path, json.loads(path.read_text())


def payload_edited(room: Room) -> None:
    both_sign(room)
    path, envelope = first(room)
    payload = base64.b64decode(envelope["payload"]).replace(b'"reason":"fits"', b'"reason":"nice"')
    path.write_text(json.dumps({**envelope, "payload": base64.b64encode(payload).decode()}))


def payload_type_changed(room: Room) -> None:
    both_sign(room)
    path, envelope = first(room)
    path.write_text(json.dumps({**envelope, "payloadType": "text/plain"}))


def signature_of_another(room: Room) -> None:
    """Emil's signature bytes under Anna's statement."""
    both_sign(room)
    path, envelope = first(room)
    other = json.loads(room.records()[1].read_text())
    envelope["signatures"][0]["sig"] = other["signatures"][0]["sig"]
    path.write_text(json.dumps(envelope))


def unknown_key(room: Room) -> None:
    """A stranger registers nowhere and signs in Anna's name."""
    room.sign("emil")
    forge(room, keys_of_stranger(room), who="anna")


def anothers_name(room: Room) -> None:
    """Emil signs with his own key as Anna, surgeon."""
    room.sign("emil")
    forge(room, keys.read_private_key(room.keys["emil"], None), who="anna")


def no_signature(room: Room) -> None:
    both_sign(room)
    path, envelope = first(room)
    path.write_text(json.dumps({**envelope, "signatures": []}))


def of_another_case(room: Room) -> None:
    """Same bytes under review in both cases, approvals copied over."""
    room.write_iteration("other", "rp2", "demo rp2")
    both_sign(room, case="other")
    shutil.copytree("config/reviews/other", "config/reviews/demo")


def of_another_iteration(room: Room) -> None:
    both_sign(room, item="rp1")
    for path in room.records(item="rp1"):
        path.rename(path.with_name(path.name.replace("rp1", "rp2")))


def changed_after_signing(room: Room) -> None:
    both_sign(room)
    room.write_iteration("demo", "rp2", "demo rp2, a little larger")


def one_file_more_than_signed(room: Room) -> None:
    """Signed over the implant alone."""
    room.sign("emil")
    subjects = {"prototype/rp2/implant.stl": "0" * 64}
    forge(room, keys.read_private_key(room.keys["anna"], None), who="anna", subjects=subjects)


def rejected(room: Room) -> None:
    both_sign(room)
    room.sign("anna", "reject", reason="the S1 hole misses the corridor")


def rejected_and_renamed(room: Room) -> None:
    """The later rejection put before the approval by its file name: the signed time decides."""
    rejected(room)
    one, _, three = room.records()
    swap = one.with_name("swap")
    one.rename(swap)
    three.rename(one)
    swap.rename(three)


def rejected_with_a_slow_clock(room: Room) -> None:
    """The rejection claims an earlier time than the approval before it: in doubt it stands."""
    both_sign(room)
    room.sign("anna", "reject", reason="the S1 hole misses the corridor", now=room.now.replace(month=2))


def old_approval_replayed(room: Room) -> None:
    """An approval that was later taken back is put again behind the refusal, under the next free number."""
    both_sign(room)
    room.sign("anna", "revise", reason="the S1 hole misses the corridor")
    one = room.records()[0]
    shutil.copy(one, one.with_name("rp2.4.dsse.json"))


def revoked_key(room: Room) -> None:
    both_sign(room)
    room.change_reviewer("anna", revoked=True)


def left_before_signing(room: Room) -> None:
    both_sign(room)
    room.change_reviewer("anna", valid_until="2026-02-01")


def not_yet_valid(room: Room) -> None:
    both_sign(room)
    room.change_reviewer("emil", valid_from="2026-06-01")


def wrong_role(room: Room) -> None:
    room.sign("anna")
    room.sign("rita")


def one_person_twice(room: Room) -> None:
    room.sign("anna")
    room.sign("anna")


def role_changed_later(room: Room) -> None:
    """The registry makes the radiologist an engineer afterwards; she signed as radiologist."""
    room.sign("anna")
    room.sign("rita")
    room.change_reviewer("rita", role="engineer")


def foreign_file(room: Room) -> None:
    both_sign(room)
    Path("config/reviews/demo/rp2.3.dsse.json").write_text('{"approved": true}')


def oversized(room: Room) -> None:
    both_sign(room)
    Path("config/reviews/demo/rp2.3.dsse.json").write_text("[" * 300_000)


def nested_bomb(room: Room) -> None:
    both_sign(room)
    Path("config/reviews/demo/rp2.3.dsse.json").write_text("[" * 100_000)


def key_twice(room: Room) -> None:
    both_sign(room)
    path, envelope = first(room)
    text = json.dumps(envelope)
    path.write_text(text[:-1] + ', "payload": "e30="}')


def odd_name(room: Room) -> None:
    both_sign(room)
    Path("config/reviews/demo/rp2.last.dsse.json").write_text("{}")


def keys_of_stranger(room: Room) -> Any:
    path = room.keys["anna"].with_name("stranger.pem")
    keys.make_key_pair(path, None)
    return keys.read_private_key(path, None)


def forge(room: Room, private_key: Any, *, who: str, subjects: dict[str, str] | None = None) -> None:
    """Write a record as ``who`` with any key, as somebody with our code can."""
    reviewer = next(r for r in room.site.reviewers if r.id == who)
    emil = json.loads(room.records()[0].read_text())
    engineer = next(r for r in room.site.reviewers if r.id == "emil")
    signed = open_envelope(emil, engineer.public_key)
    review = Review.model_validate(
        {**signed.predicate.model_dump(), "reviewer": who, "name": reviewer.name, "role": reviewer.role}
    )
    envelope = seal(make_statement(subjects or signed.subjects, review), private_key)
    Path("config/reviews/demo/rp2.2.dsse.json").write_text(json.dumps(envelope))


ATTACKS: list[tuple[Attack, str]] = [
    (payload_edited, "forged, or changed after signing"),
    (payload_type_changed, "forged, or changed after signing"),
    (signature_of_another, "forged, or changed after signing"),
    (unknown_key, "not in the registry"),
    (anothers_name, "signed as Anna Weber (surgeon) with the key of Emil Weber (engineer)"),
    (no_signature, "exactly one signature"),
    (of_another_case, "signed for case other"),
    (of_another_iteration, "signed for case demo, gate review, item rp1"),
    (
        changed_after_signing,
        "stale, changed after signing: prototype/rp2/bone.stl, prototype/rp2/implant.stl",
    ),
    (one_file_more_than_signed, "signed over another list of files"),
    (rejected, "rejected by Anna Weber (surgeon)"),
    (rejected_and_renamed, "the S1 hole misses the corridor"),
    (rejected_with_a_slow_clock, "the S1 hole misses the corridor"),
    (old_approval_replayed, "sent back for correction by Anna Weber (surgeon)"),
    (revoked_key, "the key of Anna Weber is revoked"),
    (left_before_signing, "after the key of Anna Weber ended (2026-02-01)"),
    (not_yet_valid, "before the key of Emil Weber became valid (2026-06-01)"),
    (wrong_role, "rp2.2.dsse.json: signed as radiologist, which is not asked for here"),
    (one_person_twice, "1 of 2 signatures; missing: engineer"),
    (role_changed_later, "signed as Rita Weber (radiologist) with the key of Rita Weber (engineer)"),
    (foreign_file, "not a DSSE envelope"),
    (oversized, "more than 200000 is none"),
    (nested_bomb, "not a DSSE envelope"),
    (key_twice, "a key appears twice"),
    (odd_name, "a file among the review records that is none"),
]


@pytest.mark.requirement("approved-by-name")
@pytest.mark.parametrize(("attack", "said"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
@pytest.mark.attack("signatures and approvals")
def test_attack_is_refused(
    room: Room, attack: Attack, said: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("answer", said)
    attack(room)
    with pytest.raises(ReviewError) as refusal:
        room.gate()
    assert said in refusal.value.what
    assert refusal.value.where and refusal.value.fix
    assert not Path("results/demo/gate-rp2.json").exists()


@pytest.mark.attack("signatures and approvals")
def test_author_cannot_approve_alone(room: Room) -> None:
    """Refused: the authors' signatures alone do not open the gate."""
    both_sign(room)
    with pytest.raises(ReviewError, match="an author cannot approve alone"):
        room.gate(authors=["anna", "emil"])
    assert room.gate(authors=["emil"])["decision"] == "approved"


def test_bystanders_signature_does_not_lift_the_authors_own(room: Room) -> None:
    both_sign(room)
    room.sign("rita")
    with pytest.raises(ReviewError, match="an author cannot approve alone"):
        room.gate(authors=["anna", "emil"])


@pytest.mark.attack("signatures and approvals")
def test_clinical_case_refuses_auto(room: Room) -> None:
    """Refused: a clinical gate cannot pass automatically."""
    with pytest.raises(ReviewError, match="cannot pass a gate automatically"):
        room.gate(policy="auto", purpose="clinical")
    with pytest.raises(ReviewError, match="cannot pass a gate automatically"):
        room.gate(policy="signed", gates={"review": "auto"}, purpose="clinical")


@pytest.mark.attack("signatures and approvals")
def test_clinical_gate_lowered_to_one_signature(room: Room) -> None:
    """A site config changed behind the loader's back still meets the limit at the gate."""
    room.sign("anna")
    rules = {**room.site.signatures, "clinical": {**room.site.signatures["clinical"], "review": ["surgeon"]}}
    room.site = room.site.model_copy(update={"signatures": rules})
    with pytest.raises(ReviewError, match="at least 2 signatures"):
        room.gate(purpose="clinical")


@pytest.mark.parametrize("item", ["../rp2", "rp2/../labels", "", "RP2", "rp2\n", "rp 2", "a" * 50])
def test_names_cannot_leave_their_folder(room: Room, item: str) -> None:
    with pytest.raises(ReviewError, match="is no name"):
        room.sign("anna", item=item)
    with pytest.raises(ReviewError, match="is no name"):
        room.sign("anna", case=item)
