"""A copied case folder that attacks who verifies it, and a release whose history was rewritten."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_case import CASE, Made
from test_release_audit import Printed
from test_tamper import rewrite

from implantflow import artifacts, jobs
from implantflow.audit.verify import verify_case
from implantflow.errors import AwaitingReview, InputError
from implantflow.review.gate import check_gate
from implantflow.review.subjects import release_subjects

pytestmark = pytest.mark.attack("hostile case folder")


def outside_inputs(made: Made, *names: str) -> None:
    """A new chain in which a job read ``names`` outside the case."""

    def change(records: list[dict[str, Any]]) -> None:
        records[0]["entry"]["inputs"]["outside"] = dict.fromkeys(names, "0" * 64)

    rewrite(made, change)


def problems(made: Made) -> list[str]:
    return [f"{p['where']}: {p['what']}" for p in verify_case(made.folder)["problems"]]


def test_ledger_makes_the_inspector_hash_the_whole_machine(finished: Made) -> None:
    """Harmless: only what lies in the project is read, and no folder around the case."""
    outside_inputs(finished, "/", "/proc", "/dev/zero", "../..", "results", ".", "data/../../../..", "a\0b")
    begun = time.perf_counter()
    result = verify_case(finished.folder)
    assert time.perf_counter() - begun < 10
    assert result["files"]["outside_checked"] == []
    assert "/proc" in result["files"]["outside_absent"]


def test_ledger_asks_for_a_file_of_the_inspector(finished: Made, tmp_path: Path) -> None:
    """Harmless: a path that leads out of the project is told as not compared, its content is not hashed."""
    secret = tmp_path / "id_ed25519"
    secret.write_text("private")
    outside_inputs(finished, str(secret), f"../{secret.name}")
    assert verify_case(finished.folder)["files"]["outside_checked"] == []


def test_output_replaced_by_a_link_to_an_endless_file(finished: Made) -> None:
    """Named as a link; not read."""
    path = finished.folder / "implant/implant.stl"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert any("implant/implant.stl: is a link" in p for p in problems(finished))


def test_output_replaced_by_a_link_to_itself(finished: Made) -> None:
    """Named as a link; not followed."""
    path = finished.folder / "implant/implant.stl"
    path.unlink()
    path.symlink_to(path.name)
    assert any("implant/implant.stl: is a link" in p for p in problems(finished))


def test_output_replaced_by_a_pipe(finished: Made) -> None:
    """Reading it would wait for ever."""
    path = finished.folder / "implant/implant.stl"
    path.unlink()
    os.mkfifo(path)
    assert any("implant/implant.stl: is not what design_implant wrote" in p for p in problems(finished))


def test_file_with_a_name_that_is_markup_and_control_characters(finished: Made) -> None:
    """Named: no recorded job wrote it."""
    (finished.folder / "plan/<img src=x>\x1b[2J\n.json").write_text("x")
    assert any("no recorded job" in p for p in problems(finished))


@pytest.mark.parametrize("case_dir", ["elsewhere", "results/other"])
def test_job_file_that_belongs_to_another_folder(finished: Made, case_dir: str) -> None:
    """`run JOB.json` refuses a job file that does not lie in its case."""
    path = finished.folder / "logs/design_implant.job.json"
    artifacts.write_json(path, {**artifacts.read_json(path), "case_dir": case_dir})
    with pytest.raises(InputError, match="of another folder"):
        jobs.run_json(path)


def test_job_file_that_writes_outside_its_case(finished: Made, tmp_path: Path) -> None:
    """`run JOB.json` refuses to write there; the file is untouched."""
    target = tmp_path / "profile"
    target.write_text("mine")
    path = finished.folder / "logs/design_implant.job.json"
    artifacts.write_json(path, {**artifacts.read_json(path), "outputs": {"out0": str(target)}})
    with pytest.raises(InputError, match="writes outside its case"):
        jobs.run_json(path)
    assert target.read_text() == "mine"


def test_job_file_that_calls_another_program(finished: Made) -> None:
    """`run JOB.json` calls functions of implantflow only."""
    path = finished.folder / "logs/design_implant.job.json"
    artifacts.write_json(path, {**artifacts.read_json(path), "function": "os:system"})
    with pytest.raises(InputError, match="outside implantflow"):
        jobs.run_json(path)


@pytest.fixture
def released(made: Made) -> Made:
    """r1 built, inspected, its release signed by the surgeon on the ledger as it was then, and released."""
    made.run("segment_bones", "gate_labels", "plan_resection", "make_prototype", "gate_review")
    made.run("design_implant", "make_lattice", "gate_design")
    case = Printed(made)
    case.released = "r1"
    case.build("r1")
    case.inspect("r1", "accepted")
    subjects = [made.folder / n for n in release_subjects("r1")]

    def gate() -> None:
        case._job(
            "gate_release", "review.gate:check_gate",
            {"subjects": subjects, "review": sorted(Path(f"config/reviews/{CASE}").glob("release.*.dsse.json"))},
            {"gate": "inspect/r1/gate.json"}, {"revision": "r1"}, check_gate,
            gate={"name": "release", "item": "release", "revision": "r1", "put_forward": True},
            review={"policy": "signed"}, site=made.site.model_dump(mode="json", exclude={"data_root"}),
        )  # fmt: skip

    with pytest.raises(AwaitingReview):
        gate()
    made.sign("release", "anna")
    gate()
    case.release("r1")
    return made


def test_history_rewritten_under_a_signed_release(released: Made) -> None:
    """Chain, head and every digest are consistent; the signed head of the ledger is not in it."""
    assert verify_case(released.folder)["problems"] == []

    def change(records: list[dict[str, Any]]) -> None:
        records[1]["user"] = "somebody else"

    rewrite(released, change)
    found = problems(released)
    assert len(found) == 1 and "a release must be signed on the ledger it is part of" in found[0]


def test_release_signature_taken_out(released: Made) -> None:
    """Named: the surgeon's signature is missing."""
    path = released.folder / "inspect/r1/gate.json"
    artifacts.write_json(path, {**artifacts.read_json(path), "envelopes": [], "reviewers": []})
    assert any("signatures are missing: surgeon" in p for p in problems(released))


def test_gate_record_of_another_case_put_in_its_place(released: Made) -> None:
    """Replay: a genuine, signed gate.json of another case, with the ledger made to agree."""
    path = released.folder / "inspect/r1/gate.json"
    record = artifacts.read_json(path)
    record["case"] = "other"
    artifacts.write_json(path, record)

    def change(records: list[dict[str, Any]]) -> None:
        for r in records:
            for side in ("inputs", "outputs"):
                known = r["entry"].get(side, {}).get("case", {})
                if "inspect/r1/gate.json" in known:
                    known["inspect/r1/gate.json"] = artifacts.sha256_file(path)

    rewrite(released, change)
    assert any("signed for demo/release/release, not this" in p for p in problems(released))


def test_purpose_downgraded_after_signing(released: Made) -> None:
    """`clinical` turned into `demo` in part of the jobs to lift a gate."""

    def change(records: list[dict[str, Any]]) -> None:
        for r in records[:4]:
            r["entry"]["settings"]["purpose"] = "clinical"

    rewrite(released, change)
    assert any("jobs ran for different purposes" in p for p in problems(released))


@pytest.mark.requirement("inputs-held")
def test_intermediate_edited_keeping_its_time_stops_the_next_job(finished: Made) -> None:
    """Snakemake sees nothing; the job that is about to read it does."""
    path = finished.folder / "implant/implant.stl"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"rule", b"ruLe"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    refusal = finished.attempt("make_lattice")
    assert "was changed after design_implant made it" in refusal.what
    assert refusal.where == "results/demo/implant/implant.stl" and "remove it" in refusal.fix
    assert not (finished.folder / "lattice/field.npz").exists()


@pytest.mark.requirement("inputs-held")
def test_input_exchanged_while_the_job_reads_it(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job refuses its own result and says so in the ledger."""
    made.run("segment_bones", "gate_labels")
    write: Callable[[jobs.Job], None] = made._write

    def exchange(job: jobs.Job) -> None:
        write(job)
        path = made.folder / "segment/sacrum.stl"
        text = path.read_text()
        path.unlink()
        path.write_text(text)

    monkeypatch.setattr(made, "_write", exchange)
    refusal = made.attempt("plan_resection")
    assert "changed while plan_resection.p1 read them" in refusal.what
    entry = json.loads((made.folder / "audit/ledger.jsonl").read_text().splitlines()[-1])["entry"]
    assert entry["outcome"]["error"] == "ProvenanceError" and entry["outcome"]["exit"] == 8
