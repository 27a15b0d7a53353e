"""What each stage left on disk, in the form of ``case.json``, and whether the stage has run to its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from implantflow.audit import ledger
from implantflow.config.ingest import SERIES_KEYS
from implantflow.errors import ImplantflowError
from implantflow.report.sources import CaseFiles, dig, ids
from implantflow.report.stages import STAGE_OF_RULE

Found = dict[str, Any] | None


def approved_iteration(files: CaseFiles) -> str | None:
    """Id of the iteration the implant is made from: named in the config, and its review gate has passed."""
    named = dig(files.config, "prototype.approved")
    passed = [i for i in iteration_ids(files) if _passed(files.json(f"prototype/{i}/gate.json"))]
    if named is not None:
        return str(named) if str(named) in passed else None
    return passed[-1] if passed else None


def iteration_ids(files: CaseFiles) -> list[str]:
    """Prototype iterations in the order of the config, then any others found on disk."""
    return _merged(ids(files.config, "prototype", "iterations"), files.folders("prototype"))


def plan_in_force(files: CaseFiles) -> str | None:
    """Plan revision that the approved iteration names; without one, the last that exists."""
    iteration = approved_iteration(files)
    if iteration is not None:
        named = (files.json(f"prototype/{iteration}/prototype.json") or {}).get("plan")
        if named and files.exists(f"plan/{named}/plan.json"):
            return str(named)
    revisions = _merged(ids(files.config, "plan", "revisions"), files.folders("plan"))
    there = [r for r in revisions if files.exists(f"plan/{r}/plan.json")]
    return there[-1] if there else None


def _merged(first: list[str], then: list[str]) -> list[str]:
    return first + [name for name in then if name not in first]


def _ingest(files: CaseFiles) -> tuple[Found, bool]:
    agreed = files.json("ingest/ingest.json")
    if agreed is None:
        manifests = [files.json(f"ingest/{name}/manifest.json") for name in files.folders("ingest")]
        return {"series": _with_refused(files, [m for m in manifests if m])}, False
    later = files.json("ingest/followup.json") or {}
    known = {entry.get("name") for entry in agreed.get("series") or []}
    series = [*agreed.get("series", []), *(s for s in later.get("series", []) if s["name"] not in known)]
    return {
        **agreed,
        "series": _with_refused(files, series),
        "same_patient_followup": later.get("same_patient"),
    }, True


def _with_refused(files: CaseFiles, series: list[Any]) -> list[Any]:
    """The series that were read, and after them those that were refused, the reason as their verdict."""
    refused = {
        str(dig(failure, "wildcards.series")): str(failure.get("reason"))
        for failure in files.failures()
        if failure.get("rule") == "ingest_series"
    }
    unread = dict.fromkeys(SERIES_KEYS)
    return series + [{"name": name, **unread, "verdict": reason} for name, reason in refused.items()]


def _segment(files: CaseFiles) -> tuple[Found, bool]:
    return _with_gate(files, "segment", files.json("segment/segment.json"))


def _with_gate(files: CaseFiles, folder: str, data: Found) -> tuple[Found, bool]:
    gate = files.json(f"{folder}/gate.json")
    if gate is not None:
        data = {**(data or {}), "gate": _gate(gate)}
    return data, data is not None and _passed(gate)


def _gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    """The decision, without the signed envelopes (the gate's own file keeps them)."""
    return {
        k: gate[k]
        for k in ("gate", "item", "decision", "unsigned", "reviewers", "subject_sha256")
        if k in gate
    }


def _passed(gate: Mapping[str, Any] | None) -> bool:
    """True when a gate is open: signed ("approved") or by policy ("auto-approved (demo, unsigned)")."""
    return gate is not None and str(gate.get("decision")).startswith(("approved", "auto"))


def _record_of(stage: str) -> Callable[[CaseFiles], tuple[Found, bool]]:
    """Reader of a stage that has run to its end once its record is there."""

    def read(files: CaseFiles) -> tuple[Found, bool]:
        data = files.json(f"{stage}/{stage}.json")
        return data, data is not None

    return read


def _plan(files: CaseFiles) -> tuple[Found, bool]:
    revision = plan_in_force(files)
    if revision is None:
        return None, False
    data = files.json(f"plan/{revision}/plan.json")
    wanted = ids(files.config, "plan", "revisions")
    there = [r for r in wanted if files.exists(f"plan/{r}/plan.json")]
    found = {"revision": revision, "revisions": there or [revision], **(data or {})}
    complete = data is not None
    entries = dig(files.config, "plan.revisions", [])
    config = next((e for e in entries if isinstance(e, Mapping) and e.get("id") == revision), {})
    for key, name in (("fixation", "construct"), ("mirror", "outer")):
        if config.get(key) is not None:
            found[name] = files.json(f"plan/{revision}/{name}.json")
            complete &= found[name] is not None
    return found, complete


def _prototype(files: CaseFiles) -> tuple[Found, bool]:
    iterations = []
    approved, names = approved_iteration(files), iteration_ids(files)
    for name in names:
        data = files.json(f"prototype/{name}/prototype.json")
        gate = files.json(f"prototype/{name}/gate.json")
        if data is None and gate is None:
            continue
        entry: dict[str, Any] = {"id": name, "parent": None, "plan": None, "hausdorff_to_parent_mm": None}
        entry.update({k: v for k, v in (data or {}).items() if k != "status"})
        entry |= _iteration_figures(data or {}, files.json(f"prototype/{name}/gcode.json"))
        # An earlier iteration that a later one has replaced is no longer waited for.
        replaced = approved in names and names.index(name) < names.index(approved)
        waits = "superseded" if replaced else "awaiting review"
        entry["decision"] = (gate or {}).get("decision", waits)
        entry["reviewers"] = (gate or {}).get("reviewers", [])
        entry["subject_sha256"] = (gate or entry).get("subject_sha256")
        iterations.append(entry)
    return {"approved": approved, "iterations": iterations}, approved is not None


def _iteration_figures(data: Mapping[str, Any], gcode: Any) -> dict[str, Any]:
    """Figures by which iterations are compared, and time and material of the plastic print."""
    fit, planned, change = (data.get(key) or {} for key in ("fit", "planned", "change"))
    margins = (planned.get("margins_mm") or {}).values()
    return {
        "gap_p95_mm": fit.get("gap_p95_mm"),
        "margin_min_mm": min(margins) if margins else None,
        "imaging": [i.get("name") for i in planned.get("imaging") or []],
        "volume_change_mm3": change.get("volume_change_mm3"),
        "print_time_h": (gcode or {}).get("time_h"),
        "print_filament_g": (gcode or {}).get("filament_g"),
    }


def _strength(files: CaseFiles) -> tuple[Found, bool]:
    solid = files.json("strength/solid/strength.json")
    final = files.json("strength/final/strength.json")
    if solid is None and final is None:
        return None, False
    judged = final or solid or {}
    merged = {"judged": "final" if final else "solid", **judged}
    outside = files.json("strength/final/calculix.json")
    return {**merged, "solid": solid, "final": final, "calculix": outside}, final is not None


def _build(files: CaseFiles) -> tuple[Found, bool]:
    revisions = []
    wanted = ids(files.config, "build", "revisions")
    for name in _merged(wanted, files.folders("build")):
        data = files.json(f"build/{name}/build.json")
        checks = files.json(f"build/{name}/checks.json")
        if data is not None:
            revisions.append(
                {"id": name, **{k: v for k, v in data.items() if k != "status"}, "checks": checks}
            )
    found: dict[str, Any] = {"revisions": revisions}
    gate = files.json("design/gate.json")
    if gate is not None:
        found["gate"] = _gate(gate)
    built = {r["id"] for r in revisions}
    return found, bool(revisions) and all(name in built for name in wanted)


def _inspect(files: CaseFiles) -> tuple[Found, bool]:
    revisions = []
    wanted = ids(files.config, "inspect", "revisions")
    for name in _merged(wanted, files.folders("inspect")):
        data = files.json(f"inspect/{name}/deviation.json")
        if data is None:
            continue
        gate = files.json(f"inspect/{name}/gate.json")
        entry = {"id": name, **{k: v for k, v in data.items() if k != "status"}}
        machined = files.json(f"inspect/{name}/machined.json")
        if machined is not None:
            entry["machined"] = _machined(machined)
        revisions.append({**entry, "gate": None if gate is None else _gate(gate)})
    measured = {r["id"] for r in revisions}
    return {"revisions": revisions}, bool(revisions) and all(name in measured for name in wanted)


def _machined(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the scan of a machined part says, its faces and bores as lists."""
    faces = [{"name": name, **face} for name, face in record["faces"].items()]
    bores = [
        {"name": name, **bore, "told": None if bore["diameter_mm"] else "too little seen: to be gauged"}
        for name, bore in record["bores"].items()
    ]
    gauge = record["bores_to_gauge"]
    said = record["decision"] + (f"; not measured, to be gauged: {', '.join(gauge)}" if gauge else "")
    return {"decision": record["decision"], "said": said, "reasons": record["reasons"], "cut": faces + bores}


def _followup(files: CaseFiles) -> tuple[Found, bool]:
    timepoints = []
    series = {str(t["name"]): t.get("series") for t in dig(files.config, "followup.timepoints") or []}
    wanted = list(series)
    for name in _merged(wanted, files.folders("followup")):
        data = files.json(f"followup/{name}/followup.json")
        if data is not None:
            entry = {"name": name, "series": series.get(name)}
            timepoints.append({**entry, **{k: v for k, v in data.items() if k != "status"}})
    read = {t["name"] for t in timepoints}
    return {"timepoints": timepoints}, bool(timepoints) and all(name in read for name in wanted)


def _audit(files: CaseFiles) -> tuple[Found, bool]:
    data = files.json("audit/verify.json")
    if data is None or _went_on(files):
        return None, False
    # Hashes and times of the ledger differ between runs of the same case: the audit folder shows them.
    kept: dict[str, Any] = {k: data[k] for k in ("entries", "verified", "unsigned_gates") if k in data}
    return kept, True


def _went_on(files: CaseFiles) -> bool:
    """True when a stage has run since the records were last verified: what was found then says nothing of now."""
    try:
        rules = [dig(record, "entry.rule") for record in ledger.read(files.case_dir)]
    except ImplantflowError as error:
        files.note(str(error))
        return True
    later = rules[len(rules) - rules[::-1].index("audit_case") :] if "audit_case" in rules else []
    return any(STAGE_OF_RULE.get(str(rule), "audit") != "audit" for rule in later)


#: What a stage left on disk, and whether it has run to its end.
READERS: dict[str, Callable[[CaseFiles], tuple[Found, bool]]] = {
    "ingest": _ingest,
    "segment": _segment,
    "tumour": _record_of("tumour"),
    "plan": _plan,
    "prototype": _prototype,
    "implant": _record_of("implant"),
    "lattice": _record_of("lattice"),
    "strength": _strength,
    "build": _build,
    "inspect": _inspect,
    "release": _record_of("release"),
    "followup": _followup,
    "audit": _audit,
}
