"""Verify a case: nothing but its folder (and, for signing keys, the site's registry) is needed.

Works on a copy, without Snakemake, and never writes. What it cannot show: that the whole folder was not made
up by somebody with the code. Signatures of persons are the part that cannot be made up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from implantflow import codedigest
from implantflow.audit import ledger
from implantflow.audit.chain import check_chain
from implantflow.audit.files import (
    Disk,
    check_accounted,
    check_inputs,
    check_outputs,
    check_outside,
    jobs_in_force,
)
from implantflow.audit.findings import Findings
from implantflow.audit.gates import GateState, check_gates
from implantflow.audit.history import History, Run, mapping, read_history
from implantflow.config.review import GateName
from implantflow.config.site import Reviewer
from implantflow.errors import InputError

Registry = Sequence[Reviewer] | None

AUDIT_FUNCTION = "implantflow.audit.stage:audit_case"

#: Folders made again after the audit that is running; verifying the finished case covers them.
MADE_AFTER_AUDIT = ("audit/", "report/")


@dataclass(frozen=True)
class Verification:
    """Everything one verification found out."""

    case: str
    records: list[dict[str, Any]]
    history: History
    findings: Findings
    gates: list[GateState]
    in_force: dict[str, Run]
    files_hashed: int
    outside_checked: list[str]
    outside_absent: list[str]

    @property
    def verified(self) -> bool:
        return not self.findings.problems

    @property
    def unsigned_gates(self) -> list[str]:
        """What passed a gate unsigned, in the order of the gates."""
        order = {name: place for place, name in enumerate(get_args(GateName))}
        gates = sorted(self.gates, key=lambda s: (order.get(s.record.gate, len(order)), s.path))
        return [state.record.item for state in gates if state.record.unsigned]

    def as_json(self) -> dict[str, Any]:
        """``verify.json``: the contract's keys first."""
        last = self.records[-1] if self.records else {}
        runs = self.history.last.values()
        return {
            "entries": len(self.records),
            "verified": self.verified,
            "unsigned_gates": self.unsigned_gates,
            "case": self.case,
            "head": last.get("sha256"),
            "problems": [f.as_json() for f in self.findings.problems],
            "notes": [f.as_json() for f in self.findings.notes],
            "gates": [state.as_json() for state in self.gates],
            "jobs": {
                "in_force": sorted(self.in_force),
                "not_done": {run.key: run.status for run in runs if not run.done},
            },
            "files": {
                "hashed": self.files_hashed,
                "outside_checked": self.outside_checked,
                "outside_absent": self.outside_absent,
            },
        }


def verify_case(case_dir: Path, *, registry: Registry = None) -> dict[str, Any]:
    """As :func:`examine_case`; returns what ``verify --json`` prints. Exit code 0 only if ``verified``."""
    return examine_case(case_dir, registry=registry).as_json()


def examine_case(case_dir: Path, *, registry: Registry = None) -> Verification:
    """Verify the finished (or waiting) case in ``case_dir``; a copied folder will do.

    Checks the chain of the ledger, the digest of every output of the last successful run of each job, that
    each job read what is in force and stands behind the gates it needs, the signatures, and that no file is
    unaccounted for. That the code has changed since is noted, not held against the case.

    Parameters
    ----------
    registry : sequence of Reviewer, optional
        The site's reviewers. Without it a signature is checked with the key kept in the gate record, which
        proves what was signed but not by whom; a note says so.

    Raises
    ------
    InputError
        ``case_dir`` is no folder of a case.
    """
    return _verify(case_dir, registry, finals=None, skip=())


def examine_running(case_dir: Path, finals: Collection[str], *, registry: Registry = None) -> Verification:
    """As :func:`examine_case`, from within the audit job; the case ends in the files ``finals``."""
    return _verify(case_dir, registry, finals=finals, skip=MADE_AFTER_AUDIT)


def _verify(
    case_dir: Path, registry: Registry, *, finals: Collection[str] | None, skip: tuple[str, ...]
) -> Verification:
    if not case_dir.is_dir():
        raise InputError(
            "not a folder", where=str(case_dir), fix="give the folder results/CASE or a copy of it"
        )
    findings = Findings()
    records = check_chain(case_dir, findings)
    history = read_history(records)
    disk = Disk(case_dir)
    check_outputs(disk, history, skip, findings)
    check_accounted(disk, history, skip, findings)
    in_force = _in_force(history, finals)
    check_inputs(history, in_force, skip, findings)
    checked, absent = check_outside(case_dir, in_force, findings)
    gates = check_gates(disk, history, records, in_force, registry, findings)
    _check_one_purpose(in_force, findings)
    _note_code(in_force, findings)
    _note_clock(records, findings)
    case = str(records[0].get("case")) if records else case_dir.resolve().name
    return Verification(case, records, history, findings, gates, in_force, disk.hashed, checked, absent)


def _in_force(history: History, finals: Collection[str] | None) -> dict[str, Run]:
    if finals is not None:
        return jobs_in_force(history, finals, since=history.runs[-1].sequence if history.runs else 0)
    audits = [run for run in history.runs if run.function == AUDIT_FUNCTION and run.done]
    if not audits:
        return jobs_in_force(history, (), since=-1)
    # The audit's own inputs say in which files the case ended; what ran later has been added since.
    return jobs_in_force(history, [*audits[-1].inputs, *audits[-1].outputs], since=audits[-1].sequence)


def _note_code(in_force: dict[str, Run], findings: Findings) -> None:
    """Say where a result comes from other code than is installed here, or where jobs used different sets."""
    for run in sorted(in_force.values(), key=lambda r: r.sequence):
        module = run.function.partition(":")[0]
        if codedigest.module_file(module) is None:
            findings.note("code", run.key, f"its code ({module}) is not part of the version installed here")
        elif codedigest.code_digest(module) != run.code_digest:
            findings.note("code", run.key, "was made with other code than the version installed here")
    locks = {str(run.record.get("lock_sha256")) for run in in_force.values()}
    if len(locks) > 1:
        shown = ", ".join(sorted(lock[:12] for lock in locks))
        findings.note("code", "jobs", f"used different lock files: {shown}")
    here = ledger.lock_digest()
    if here is not None and locks and here not in locks:
        findings.note("code", "jobs", f"used other lock files than those here (sha256 {here[:12]})")
    dirty = [run.key for run in in_force.values() if mapping(run.record.get("code")).get("dirty")]
    if dirty:
        findings.note("code", "jobs", f"{len(dirty)} ran with code that differed from its commit")


def _note_clock(records: list[dict[str, Any]], findings: Findings) -> None:
    times = [str(record.get("recorded")) for record in records]
    for number, (before, after) in enumerate(pairwise(times), 1):
        if after < before:
            findings.note(
                "ledger", f"entry {number}", f"recorded {after}, before the entry above: clock jump"
            )


def _check_one_purpose(in_force: dict[str, Run], findings: Findings) -> None:
    purposes = {str(run.settings["purpose"]) for run in in_force.values() if "purpose" in run.settings}
    if len(purposes) > 1:
        findings.problem("gate", "purpose", f"jobs ran for different purposes: {', '.join(sorted(purposes))}")


def human(result: Mapping[str, Any]) -> str:
    """What :func:`verify_case` returned, for a person at a terminal."""
    problems, files = result["problems"], result["files"]
    count = len(problems)
    verdict = "VERIFIED" if result["verified"] else f"NOT VERIFIED: {count} problem{'s' * (count != 1)}"
    lines = [
        f"case {result['case']}: {verdict}",
        f"  {result['entries']} ledger entries, {files['hashed']} files hashed, "
        f"{len(files['outside_checked'])} paths outside the case compared, "
        f"{len(files['outside_absent'])} not here",
    ]
    for gate in result["gates"]:
        who = ", ".join(f"{r['name']} ({r['role']})" for r in gate["reviewers"]) or "nobody"
        lines.append(f"  gate {gate['item']}: {gate['decision']}; signed by {who}")
    lines += [f"  {key}: {status}" for key, status in result["jobs"]["not_done"].items()]
    lines += [f"  PROBLEM [{p['kind']}] {p['where']}: {p['what']}" for p in problems]
    lines += [f"  note    [{n['kind']}] {n['where']}: {n['what']}" for n in result["notes"]]
    return "\n".join(lines)
