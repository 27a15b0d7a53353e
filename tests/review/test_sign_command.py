"""The commands `review` and `review keygen`: what they write, and when they refuse to."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml
from review_room import Room

from implantflow.audit import ledger
from implantflow.cli import main
from implantflow.config.load import load
from implantflow.config.site import SiteConfig
from implantflow.errors import ProvenanceError, ReviewError
from implantflow.review import command, keys
from implantflow.review.record import read_record
from implantflow.review.statement import PAYLOAD_TYPE, open_envelope

ROOT = Path(__file__).parents[2]


def test_signing_leaves_a_record_and_a_ledger_entry(room: Room) -> None:
    head = ledger.read_head(Path("results/demo"))
    path = room.sign("anna", reason="  fits the bone  ")
    assert path == Path("config/reviews/demo/rp2.1.dsse.json")
    record = read_record(path)
    assert record.envelope["payloadType"] == PAYLOAD_TYPE
    statement = open_envelope(record.envelope, room.site.reviewers[0].public_key)
    review = statement.predicate
    assert (review.reason, review.name, review.role, review.time) == (
        "fits the bone", "Anna Weber", "surgeon", "2026-03-01T12:01:00Z",
    )  # fmt: skip
    assert head is not None and review.ledger is not None
    assert (review.ledger.sequence, review.ledger.sha256) == head
    entry = ledger.read(Path("results/demo"))[-1]["entry"]
    assert (entry["event"], entry["item"], entry["decision"]) == ("review", "rp2", "approve")
    assert entry["record_sha256"] == record.sha256


def test_payload_is_an_in_toto_statement(room: Room) -> None:
    import base64

    envelope = json.loads(room.sign("anna").read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:implantflow:review:v1"
    assert statement["subject"][0]["name"] == "prototype/rp2/implant.stl"
    assert set(statement["subject"][0]["digest"]) == {"sha256"}


def test_signature_verifies_with_nothing_of_ours(room: Room) -> None:
    """DSSE's pre-authentication encoding written out by hand, the bare Ed25519 of cryptography."""
    import base64

    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    envelope = json.loads(room.sign("anna").read_text())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    message = (
        b"DSSEv1 "
        + str(len(kind)).encode()
        + b" "
        + kind
        + b" "
        + str(len(payload)).encode()
        + b" "
        + payload
    )
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(room.site.reviewers[0].public_key))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    key.verify(signature, message)
    with pytest.raises(InvalidSignature):
        key.verify(signature, message + b" ")


def test_file_that_no_job_wrote_is_not_signed(room: Room) -> None:
    Path("results/demo/prototype/rp2/implant.stl").write_text("exchanged")
    with pytest.raises(ProvenanceError, match="not what a recorded job wrote"):
        room.sign("anna")
    assert room.records() == []


def test_nothing_to_review_yet(room: Room) -> None:
    with pytest.raises(ReviewError, match="not there yet"):
        room.sign("anna", item="labels")
    with pytest.raises(ReviewError, match="which build revision is put forward"):
        room.sign("anna", item="release")
    with pytest.raises(ReviewError, match="which iteration"):
        room.sign("anna", item="design")


def test_a_case_or_an_item_that_is_none_is_named(room: Room) -> None:
    with pytest.raises(ReviewError, match="there is no case 'nope'") as told:
        room.sign("anna", case="nope", item="labels")
    assert told.value.fix == "cases with results: demo, other"
    with pytest.raises(ReviewError, match="case 'demo' has no item 'labls'") as told:
        room.sign("anna", item="labls")
    assert told.value.fix == "its items: labels, design, release, rp1, rp2"
    assert not Path("results/nope").exists() and room.records(item="labls") == []
    Path("config/cases").mkdir(parents=True)
    planned = {"prototype": {"iterations": [{"id": "rp1"}, {"id": "rp3"}]}}
    Path("config/cases/planned.yaml").write_text(yaml.safe_dump(planned))
    for item in ("labels", "rp3"):
        with pytest.raises(ReviewError, match="not there yet"):
            room.sign("anna", case="planned", item=item)


def test_approved_iteration_is_read_from_the_ledger(room: Room) -> None:
    folder = Path("results/demo")
    names = [n for n in command.subjects_of("design", "rp2") if not n.startswith("prototype")]
    room.write_files("demo", names, "design", "design_implant")
    outputs = {f"results/demo/{n}": r for n, r in ledger.read(folder)[-1]["entry"]["outputs"]["case"].items()}
    ledger.append(folder, {
        "event": "job", "rule": "design_implant", "outcome": {"status": "done"},
        "inputs": {"results/demo/prototype/rp2/implant.stl": "0"}, "outputs": outputs,
    })  # fmt: skip
    room.sign("anna", item="design")
    assert "prototype/rp2/implant.stl" in ledger.read(folder)[-1]["entry"]["subjects"]


@pytest.mark.parametrize("reason", ["", "   ", "x" * 2001])
def test_reason_is_asked_for(room: Room, reason: str) -> None:
    with pytest.raises(ReviewError, match="not a valid review"):
        room.sign("anna", reason=reason)


def test_unknown_decision(room: Room) -> None:
    with pytest.raises(ReviewError, match="no decision"):
        room.sign("anna", "approved")


def test_registry_is_asked_before_signing(room: Room) -> None:
    key = room.keys["anna"].with_name("new.pem")
    keys.make_key_pair(key, None)
    room.keys["new"] = key
    with pytest.raises(ReviewError, match="not in the registry"):
        room.sign("new")
    room.change_reviewer("anna", revoked=True)
    with pytest.raises(ReviewError, match="is revoked"):
        room.sign("anna")
    room.change_reviewer("emil", valid_until="2026-02-01")
    with pytest.raises(ReviewError, match="is not valid on 2026-03-01"):
        room.sign("emil")


def test_private_key_is_kept_to_its_person(room: Room, tmp_path: Path) -> None:
    key = room.keys["anna"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o640)
    with pytest.raises(ReviewError, match="other users can read"):
        room.sign("anna")
    with pytest.raises(ReviewError, match="never overwritten"):
        keys.make_key_pair(room.keys["emil"], None)
    (tmp_path / "project" / ".git").mkdir()
    with pytest.raises(ReviewError, match="does not belong into a project"):
        keys.make_key_pair(tmp_path / "project" / "results" / "key.pem", None)
    with pytest.raises(ReviewError, match="does not belong into a project"):
        keys.make_key_pair(keys.PROJECT_DIR / "config" / "key.pem", None)
    assert not (keys.PROJECT_DIR / "config" / "key.pem").exists()


def test_passphrase(room: Room, tmp_path: Path) -> None:
    path = tmp_path / "home" / "locked.pem"
    public = keys.make_key_pair(path, b"correct horse")
    assert keys.is_encrypted(path) and not keys.is_encrypted(room.keys["anna"])
    assert keys.public_hex(keys.read_private_key(path, b"correct horse")) == public
    for wrong in (None, b"battery staple"):
        with pytest.raises(ReviewError, match="not a private key that can be read"):
            keys.read_private_key(path, wrong)


def test_not_a_key(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    path = tmp_path / "key.pem"
    with pytest.raises(ReviewError, match="missing"):
        keys.read_private_key(path, None)
    pem = generate_private_key(SECP256R1()).private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()
    )
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(ReviewError, match="not an Ed25519 key"):
        keys.read_private_key(path, None)


def test_the_printed_entry_goes_into_the_site_as_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into the shipped file, which lists nobody, and then below the first reviewer."""
    printed = []
    for who in ("anna", "sven"):
        made = [
            "review",
            "keygen",
            str(tmp_path / who),
            "--id",
            who,
            "--name",
            who.title(),
            "--role",
            "surgeon",
        ]
        assert main([*made, "--no-passphrase"]) == 0
        printed.append(capsys.readouterr().out)
    assert "replace the line `reviewers: []`" in printed[0]
    lines = [line for line in printed[0].splitlines() if not line.startswith("#")]
    shipped = (ROOT / "config/site.yaml").read_text(encoding="utf-8").splitlines()
    place = shipped.index("reviewers: []")
    site = tmp_path / "site.yaml"
    site.write_text("\n".join([*shipped[:place], *lines, *shipped[place + 1 :]]), encoding="utf-8")
    assert [r.id for r in load(SiteConfig, site).reviewers] == ["anna"]
    _, more = printed[1].split("\nreviewers:\n")
    end = place + len(lines)
    text = site.read_text(encoding="utf-8").splitlines()
    site.write_text("\n".join([*text[:end], *more.splitlines(), *text[end:]]), encoding="utf-8")
    assert [r.id for r in load(SiteConfig, site).reviewers] == ["anna", "sven"]


def test_the_whole_way_on_the_command_line(
    room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "home" / "cleo.pem"
    made = ["review", "keygen", str(key), "--id", "cleo", "--name", "Cleo Ruiz", "--role", "surgeon"]
    assert main([*made, "--no-passphrase"]) == 0
    entry = yaml.safe_load(capsys.readouterr().out)["reviewers"]
    site = room.site.model_dump(mode="json")
    site["reviewers"] += entry
    Path("config").mkdir(exist_ok=True)
    Path("config/site.yaml").write_text(yaml.safe_dump(site))
    sign = ["review", "demo", "rp2", "--decision", "approve", "--reason", "fits", "--key", str(key)]
    assert main(sign) == 0
    assert "config/reviews/demo/rp2.1.dsse.json" in capsys.readouterr().out
    assert main([*sign[:-1], str(key) + "x"]) == 6
    assert "key file is missing" in capsys.readouterr().err
    room.site = SiteConfig.model_validate(site)
    room.sign("emil")
    assert {r["name"] for r in room.gate()["reviewers"]} == {"Cleo Ruiz", "Emil Weber"}
