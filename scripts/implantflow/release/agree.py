"""What must agree before anything is released: side, digests, gates, verdicts. One disagreement stops it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from implantflow.errors import AwaitingInput, GeometryError, ProvenanceError, QualityGateError, ReviewError
from implantflow.release.cli_header import read_facts
from implantflow.release.sources import Sources
from implantflow.review.gate import APPROVED, REJECTED, SHUT, GateRecord, auto_decision

Result = dict[str, str]

#: Gates before the release gate; each must stand open.
EARLIER_GATES = ("labels", "review", "design")


def check_agreement(s: Sources) -> list[Result]:
    """Run every comparison, cheapest and most telling first.

    Returns
    -------
    list of {check, result}
        For the device history; a comparison that fails is a refusal instead.

    Raises
    ------
    ReviewError
        The released revision was rejected, or a gate is not open.
    GeometryError
        The side is not the same everywhere.
    ProvenanceError
        A file is not the one that was inspected, decided about, or built from.
    QualityGateError
        Strength or build checks did not pass.
    AwaitingInput
        There is stock to be machined away, and the machined part was not inspected.
    """
    checks: list[tuple[str, Callable[[Sources], str]]] = [
        ("inspection of the released revision", _inspection),
        ("release gate of the released revision", _release_gate),
        ("gates before it", _earlier_gates),
        ("resolved config", _config),
        ("side", _side),
        ("the part in the build file's header", _header),
        ("build file", _build_file),
        ("inspected build", _inspected_build),
        ("machined part", _machined),
        ("chain implant, regions, field, build", _chain),
        ("files of the design gate", _design_subjects),
        ("strength", _strength),
        ("build checks", _build_checks),
    ]
    return [{"check": name, "result": check(s)} for name, check in checks]


def _inspection(s: Sources) -> str:
    decision = s.deviation.get("decision")
    if decision != "accepted":
        reasons = "; ".join(s.deviation.get("reasons") or ["no reason stated"])
        raise ReviewError(
            f"revision {s.revision} was {decision} by its inspection: {reasons}",
            where="release.revision",
            fix="release a revision that was accepted, or build and inspect a new one",
        )
    return "accepted"


def _release_gate(s: Sources) -> str:
    gate = s.gates.get(f"inspect/{s.revision}/gate.json")
    if gate is None:
        raise ReviewError(f"revision {s.revision} has no release gate", where="release.revision")
    if gate.decision in SHUT:
        reasons = f": {'; '.join(gate.reasons)}" if gate.decision == REJECTED else ""
        raise ReviewError(
            f"the release gate of {s.revision} says '{gate.decision}'{reasons}",
            where=f"inspect/{s.revision}/gate.json",
            fix="release a revision whose gate is open",
        )
    _open(s, gate, "release")
    for name, sha256 in gate.subjects.items():
        _same(s, name, sha256, f"the release gate of {s.revision}")
    return gate.decision


def _earlier_gates(s: Sources) -> str:
    told = []
    for wanted in EARLIER_GATES:
        gate = next((g for g in s.gates.values() if g.gate == wanted), None)
        if gate is None:
            raise ReviewError(f"there is no record of the gate {wanted}", where="release")
        _open(s, gate, wanted)
        told.append(f"{wanted}: {gate.decision}")
    approved = s.records["implant_json"]["approved_iteration"]
    items = [g.item for g in s.gates.values() if g.gate == "review"]
    if items != [approved]:
        raise ReviewError(f"the implant was made from {approved}, the gate is of {', '.join(items)}")
    return "; ".join(told)


def _open(s: Sources, gate: GateRecord, name: str) -> None:
    """An open gate of this case and purpose; in a clinical case, a signed one."""
    where = f"gate {name}"
    if (gate.case, gate.purpose) != (s.settings.case, s.settings.purpose):
        raise ReviewError(
            f"the gate was passed for case {gate.case}, purpose {gate.purpose}; this is {s.settings.case}, "
            f"{s.settings.purpose}",
            where=where,
            fix="run the pipeline again for this purpose",
        )
    if gate.decision != (auto_decision(gate.purpose) if gate.unsigned else APPROVED):
        raise ReviewError(f"the gate is not open: '{gate.decision}'", where=where)
    if gate.unsigned and s.settings.purpose == "clinical":
        raise ReviewError("a gate of a clinical case was passed without a signature", where=where)


def _config(s: Sources) -> str:
    told = {key: s.config.get(key) for key in ("case", "purpose", "side")}
    if told != {"case": s.settings.case, "purpose": s.settings.purpose, "side": s.settings.side}:
        raise ProvenanceError(
            f"config.resolved.yaml is of {told}, this release of another",
            where=s.name("resolved"),
            fix="remove it and run the pipeline again",
        )
    return f"sha256 {s.sha256('resolved')[:16]}, same case, purpose and side"


def _side(s: Sources) -> str:
    # "CASE L RP2", or without the case where it found no room.
    words = str((s.records["prototype"].get("embossed") or {}).get("text", "")).split()
    letter = {"L": "left", "R": "right"}.get(words[-2] if len(words) > 1 else "", "none")
    facts, _ = read_facts(s.job.input("cli"))
    said = {
        "config": s.settings.side,
        "plan": s.records["plan"]["side"],
        s.prototype_name: s.records["prototype"]["side"],
        "letter on that prototype": letter,
        "implant": s.records["implant_json"]["side"],
        "build file": facts.get("side", "none"),
    }
    if set(said.values()) != {s.settings.side}:
        listed = ", ".join(f"{where}: {side}" for where, side in said.items())
        raise GeometryError(
            f"the side is not the same everywhere ({listed})",
            where=f"case {s.settings.case}",
            fix="find out which is right and run the case again from there; release nothing",
        )
    return f"{s.settings.side} in {', '.join(said)}"


def _header(s: Sources) -> str:
    facts, marked = read_facts(s.job.input("cli"))
    wanted = {"case": s.settings.case, "revision": s.revision, "purpose": s.settings.purpose}
    for name, value in wanted.items():
        if facts.get(name) != value:
            raise ProvenanceError(
                f"the build file says {name} {facts.get(name)}, this release is of {value}",
                where=s.name("cli"),
                fix="build the revision again",
            )
    if marked == (s.settings.purpose == "clinical"):
        raise ProvenanceError(
            f"the build file is {'' if marked else 'not '}marked NOT FOR CLINICAL USE, purpose is "
            f"{s.settings.purpose}",
            where=s.name("cli"),
        )
    return f"case {s.settings.case}, revision {s.revision}, purpose {s.settings.purpose}"


def _build_file(s: Sources) -> str:
    _equal("build.json and build.cli", s.build["cli_sha256"], s.sha256("cli"))
    return "build.cli is the file that build.json describes"


def _inspected_build(s: Sources) -> str:
    _equal("the inspection and build.cli", s.deviation.get("build_file_sha256"), s.sha256("cli"))
    return f"the inspected print is of build.cli {s.sha256('cli')[:16]}"


def _machined(s: Sources) -> str:
    """Where stock is machined away, the scan of the machined part must have accepted it, and the gate be of it."""
    if not s.records["implant_json"].get("machining_stock"):
        return "nothing is machined"
    found = s.machined
    if found is None:
        raise AwaitingInput(
            f"the design has stock to be machined away, and the machined part of {s.revision} was not inspected",
            where="inspect.revisions[].machined",
            fix=f"scan the part after machining and name the scan under machined of the revision {s.revision}",
        )
    _equal("the inspection of the machined part and build.cli", found["build_file_sha256"], s.sha256("cli"))
    if found["id"] != s.revision or found["decision"] != "accepted":
        reasons = "; ".join(found["reasons"]) or f"it is of revision {found['id']}"
        raise ReviewError(
            f"the machined part of {s.revision} was not accepted: {reasons}",
            where="inspect.revisions[].machined",
            fix="machine it again where there is stock left, or build and machine a new one",
        )
    name = f"inspect/{s.revision}/machined.json"
    if name not in s.gate.subjects:
        raise ReviewError(
            f"the release gate of {s.revision} was not asked about {name}",
            where=name,
            fix="run the pipeline again; the release is then decided with the machined part",
        )
    gauge = f"; to gauge: {', '.join(found['bores_to_gauge'])}" if found["bores_to_gauge"] else ""
    return f"accepted after machining{gauge}"


def _chain(s: Sources) -> str:
    field, regions = s.records["field"], s.records["regions"]
    facts, _ = read_facts(s.job.input("cli"))
    for what, stated, found in (
        ("regions.json and implant.stl", regions["implant_stl_sha256"], s.sha256("implant")),
        ("field.json and implant.stl", field["implant_stl_sha256"], s.sha256("implant")),
        ("field.json and regions.json", field["regions_sha256"], s.sha256("regions")),
        ("field.json and field.npz", field["field_npz_sha256"], s.sha256("field_data")),
        ("build.cli and field.json", facts.get("field sha256"), s.sha256("field")),
        ("strength.json and implant.stl", s.records["strength"]["implant_stl_sha256"], s.sha256("implant")),
    ):
        _equal(what, stated, found)
    return "each names the digest of the one before it"


def _design_subjects(s: Sources) -> str:
    gate = next(g for g in s.gates.values() if g.gate == "design")
    for name, sha256 in gate.subjects.items():
        _same(s, name, sha256, "the design gate")
    return f"{len(gate.subjects)} files are those that were decided about"


def _strength(s: Sources) -> str:
    found = s.records["strength"]
    if found["stage"] != "final" or found["safe"] is not True:
        raise QualityGateError(
            f"the final strength check did not pass: safety factor {found['safety_factor']}, wanted "
            f"{found['safety_factor_min']}",
            where=s.name("strength"),
        )
    return f"safety factor {found['safety_factor']:.2f}, at least {found['safety_factor_min']:.2f} wanted"


def _build_checks(s: Sources) -> str:
    failed = [c["name"] for c in s.checks["checks"] if not c["pass"] and c["severity"] != "warning"]
    if s.checks["passed"] is not True or failed:
        raise QualityGateError(f"the build checks did not pass: {', '.join(failed)}", where=s.name("checks"))
    warnings = s.checks["warnings"]
    passed = sum(c["pass"] is True for c in s.checks["checks"])
    if not warnings:
        return f"{passed} passed"
    kind = "a warning" if len(warnings) == 1 else "warnings"
    return f"{passed} passed, {len(warnings)} outside as {kind}: {', '.join(warnings)}"


def _same(s: Sources, name: str, sha256: str, gate: str) -> None:
    if s.digests.get(name) != sha256:
        raise ProvenanceError(
            f"{name} is not the file that {gate} was about",
            where=name,
            fix="run the pipeline again; the changed file is then reviewed again",
        )


def _equal(what: str, stated: Any, found: str) -> None:
    if stated != found:
        told = f"sha256 {str(stated)[:16]} stated, {found[:16]} found" if stated else "no digest is stated"
        raise ProvenanceError(
            f"{what} do not belong together: {told}",
            where="release",
            fix="run the pipeline again from the older of the two",
        )
