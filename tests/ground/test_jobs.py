"""A job leaves all of its outputs or none, says why it failed, and can be repeated."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from implantflow import artifacts, jobrecord, jobs
from implantflow.errors import AwaitingReview, InputError, MachineError


def make_job(tmp_path: Path, **changes: object) -> jobs.Job:
    source = tmp_path / "in.txt"
    source.write_text("input")
    fields: dict = {
        "rule": "try_rule",
        "case_dir": tmp_path / "case",
        "wildcards": {"case": "case", "revision": "r1"},
        "inputs": {"source": source},
        "outputs": {"a": tmp_path / "case" / "a.json", "d": tmp_path / "case" / "folder"},
        "settings": {"value": 0.1234567890123},
        "function": "tests:none",
        "code_digest": "0" * 64,
    }
    return jobs.Job(**{**fields, **changes})


def write_both(job: jobs.Job) -> None:
    artifacts.write_json(job.outputs["a"], {"ok": True})
    job.outputs["d"].mkdir()
    (job.outputs["d"] / "x").write_text("x")


def test_success_renames_all_outputs(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    jobs.execute(job, write_both, tmp_path / "log")
    assert artifacts.read_json(tmp_path / "case" / "a.json") == {"ok": True}
    assert (tmp_path / "case" / "folder" / "x").read_text() == "x"
    assert not jobrecord.status_file(job.case_dir, job.key).exists()
    assert not list((tmp_path / "case").rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("bad slice", where="f.dcm", fix="export again"), "failed"),
        (AwaitingReview("nobody signed"), "awaiting_review"),
        (ZeroDivisionError("oops"), "failed"),
    ],
)
def test_failure_leaves_nothing_and_says_why(tmp_path: Path, error: Exception, status: str) -> None:
    def fail(job: jobs.Job) -> None:
        artifacts.write_json(job.outputs["a"], {})
        raise error

    job = make_job(tmp_path)
    jobs.execute(job, write_both)
    with pytest.raises(type(error)):
        jobs.execute(job, fail, tmp_path / "log")
    assert not (tmp_path / "case" / "a.json").exists()
    assert not (tmp_path / "case" / "folder").exists()
    record = artifacts.read_json(jobrecord.status_file(job.case_dir, job.key))
    assert record["status"] == status
    assert str(error).split("\n")[0] in record["reason"]


def test_missing_input_is_named(tmp_path: Path) -> None:
    job = make_job(tmp_path, inputs={"source": tmp_path / "gone.txt"})
    with pytest.raises(InputError, match="input 'source' of try_rule is missing"):
        jobs.execute(job, write_both)


def test_forgotten_output_is_a_defect_not_a_success(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    with pytest.raises(AssertionError, match="did not write its output"):
        jobs.execute(job, lambda job: artifacts.write_json(job.outputs["a"], {}))
    assert not (tmp_path / "case" / "a.json").exists()


def test_job_file_repeats_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(
        tmp_path,
        function="implantflow.config.resolve:resolve_config",
        settings={"config": {"x": 0.1234567890123}},
        outputs={"resolved": tmp_path / "case" / "c.yaml"},
    )
    from implantflow.config.resolve import resolve_config

    jobs.execute(job, resolve_config)
    first = (tmp_path / "case" / "c.yaml").read_bytes()
    (tmp_path / "case" / "c.yaml").unlink()
    jobs.run_json(tmp_path / "case" / "logs" / "try_rule.r1.job.json")
    assert (tmp_path / "case" / "c.yaml").read_bytes() == first
    assert b"0.1234567890123" in first


def test_job_file_may_not_name_foreign_code(tmp_path: Path) -> None:
    job = make_job(tmp_path, function="os:system")
    artifacts.write_json(tmp_path / "j.json", job.as_json())
    with pytest.raises(InputError, match="outside implantflow"):
        jobs.run_json(tmp_path / "j.json")


def test_entry_prints_one_error_and_exits_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def refuse(job: jobs.Job) -> None:
        raise InputError("slice 7 is missing", where="ct_planning", fix="export the whole series")

    source = tmp_path / "in.txt"
    source.write_text("x")
    fake = SimpleNamespace(
        rule="ingest_series",
        wildcards={"case": "t"},
        input={"dicom": str(source)},
        output={"volume": str(tmp_path / "t" / "v")},
        threads=1,
        resources={},
        log=[str(tmp_path / "t.log")],
        params=_Params(case_dir=str(tmp_path / "t"), settings={}, code="c"),
    )
    with pytest.raises(SystemExit) as exit_info:
        jobs.run_rule(fake, refuse)
    assert exit_info.value.code == InputError.exit_code
    printed = capsys.readouterr().err
    assert "slice 7 is missing" in printed and "export the whole series" in printed
    assert "Traceback" not in printed
    assert "Traceback" in (tmp_path / "t.log").read_text()


class _Params(SimpleNamespace):
    def get(self, name: str) -> object:
        return getattr(self, name, None)


@pytest.mark.parametrize(
    ("error", "computed"),
    [
        (InputError("bad slice", where="f.dcm", fix="export again"), 1),
        (MachineError("out of memory"), 2),
        (ZeroDivisionError("oops"), 2),
    ],
)
def test_only_a_refusal_is_not_tried_again(tmp_path: Path, error: Exception, computed: int) -> None:
    runs = []

    def fail(job: jobs.Job) -> None:
        runs.append(job.attempt)
        raise error

    for attempt in (1, 2):
        with pytest.raises(type(error), match=str(error).splitlines()[0]):
            jobs.execute(make_job(tmp_path, attempt=attempt), fail)
    assert len(runs) == computed
    # Another setting is another question.
    with pytest.raises(type(error)):
        jobs.execute(make_job(tmp_path, attempt=2, settings={"value": 2}), fail)
    assert len(runs) == computed + 1
