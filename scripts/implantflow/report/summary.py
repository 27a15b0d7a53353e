"""``case.json``: one machine-readable summary, a key per stage, made from whatever the stages left on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implantflow.report.readers import READERS, approved_iteration
from implantflow.report.sources import CaseFiles
from implantflow.report.stages import NEEDS, OPTIONAL, STAGE_OF_RULE, STAGES


def build_summary(files: CaseFiles) -> dict[str, Any]:
    """Summary of a case in the form of the contract (docs: `report/case.json`).

    Returns
    -------
    dict
        ``case``, ``purpose``, ``side``, ``simulated``, ``tags`` where it has any, then one key per stage with
        ``status`` (done, awaiting_review, awaiting_input, not_configured or failed) and, where not done, ``reason``
        and ``next``. No times, hosts or absolute paths.
    """
    summary: dict[str, Any] = {
        "case": files.case,
        "purpose": files.purpose,
        "side": files.side,
        "simulated": files.simulated,
    }
    if files.config.get("tags"):
        summary["tags"] = list(files.config["tags"])
    failures = _failures_by_stage(files)
    for stage in STAGES:
        summary[stage] = _stage(files, stage, failures.get(stage, []), summary)
    if files.problems:
        summary["unreadable_files"] = sorted(files.problems)
    return summary


def _failures_by_stage(files: CaseFiles) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for failure in files.failures():
        stage = STAGE_OF_RULE.get(str(failure.get("rule")))
        if stage is not None:
            found.setdefault(stage, []).append(_clean(files, failure))
    return found


def _clean(files: CaseFiles, failure: Mapping[str, Any]) -> dict[str, Any]:
    status = failure.get("status")
    return {
        "job": str(failure.get("job", "")),
        "rule": str(failure.get("rule", "")),
        "status": status if status in {"failed", "awaiting_review", "awaiting_input"} else "failed",
        "error": str(failure.get("error") or ""),
        "reason": files.without_machine_paths(str(failure.get("reason") or "no reason recorded")),
        "where": files.without_machine_paths(str(failure.get("where") or "")),
        "next": files.without_machine_paths(str(failure.get("next") or "see the log of this job")),
    }


def _stage(
    files: CaseFiles, stage: str, failures: list[dict[str, Any]], done: Mapping[str, Any]
) -> dict[str, Any]:
    data, complete = READERS[stage](files)
    own = dict(data or {})
    own.pop("status", None)
    relevant = _relevant(files, stage, failures)
    result: dict[str, Any] = {"status": "done"}
    blocker = next((need for need in NEEDS[stage] if done[need]["status"] != "done"), None)
    if relevant:
        worst = sorted(relevant, key=lambda f: (f["status"] != "failed", f["job"]))[0]
        result = {k: worst[k] for k in ("status", "reason", "next")}
        result["failures"] = relevant
    elif stage in OPTIONAL and files.config.get(stage, "unknown") is None and not complete:
        result = {
            "status": "not_configured",
            "reason": f"the case config has no section `{stage}`",
            "next": f"add {OPTIONAL[stage]}",
        }
    elif blocker is not None:
        # Name the stage at the root, not the chain of those that wait for it.
        root = str(done[blocker].get("waits_for", blocker))
        state = done[root]
        result = {
            "status": "awaiting_input",
            "reason": f"waits for {root} ({state['status'].replace('_', ' ')}): {state['reason']}",
            "next": state["next"],
            "waits_for": root,
        }
        if complete:
            # What is on disk was made from an earlier state of that stage.
            result["stale"] = True
    elif not complete:
        result = {
            "status": "awaiting_input",
            "reason": "has not run to its end yet",
            "next": f"snakemake {stage} --cores 2 --config cases={files.case}",
        }
    return {**result, **own}


def _relevant(files: CaseFiles, stage: str, failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Failures that decide the stage's status: an unsigned iteration nobody builds on does not."""
    if stage != "prototype" or approved_iteration(files) is None:
        return failures
    return [f for f in failures if f["rule"] != "gate_review"]
