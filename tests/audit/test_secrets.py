"""Secrets in the environment of a run reach no file that it writes, also when jobs fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from made_case import ROAD, Made

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary-aws-5f1d",
    "DATABASE_URL": "postgres://u:canary-db-77aa@host/db",
    "SSH_PASSPHRASE": "canary-ssh-90cd",
    "IMPLANTFLOW_PACS_PASSWORD": "canary-pacs-31ef",
    "HTTPS_PROXY": "http://user:canary-proxy-1b2c@127.0.0.1:9",
    "GIT_ASKPASS": "canary-git-44d0",
}

CANARY = b"canary-"


def leaks(root: Path) -> list[str]:
    return [p.name for p in sorted(root.rglob("*")) if p.is_file() and CANARY in p.read_bytes()]


@pytest.mark.attack("secrets")
def test_environment_of_a_whole_case(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that finish, a gate that waits, a job that breaks: ledger, logs, job files, page, crate."""
    from implantflow.audit import ledger

    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    ledger._surroundings.cache_clear()
    made.policy = "signed"
    made.run("segment_bones")
    made.attempt("gate_labels")
    made.policy = "auto"
    made.run(*[rule for rule, *_ in ROAD if rule != "segment_bones"])
    assert (made.folder / "audit/ledger.jsonl").stat().st_size > 5000
    assert leaks(made.root) == []


@pytest.mark.attack("secrets")
def test_environment_of_a_job_that_breaks(tmp_path: Path) -> None:
    """A defect with its traceback, in a process of its own; `verify` and the report after it."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from test_jobs import make_job; from implantflow import jobs\n"
        "def fail(job): raise ZeroDivisionError('oops')\n"
        "try: jobs.execute(make_job(Path('.')), fail, Path('case/logs/x.log'))\n"
        "except ZeroDivisionError: pass\n"
        "from implantflow.cli import main; main(['verify', 'case', '--json'])\n"
    )
    import os

    folder = Path(__file__).parents[1] / "ground"
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=tmp_path, env={**os.environ, **SECRETS}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"try_rule" in (tmp_path / "case/logs/try_rule.r1.status.json").read_bytes()
    assert CANARY not in done.stdout + done.stderr
    assert leaks(tmp_path) == []
