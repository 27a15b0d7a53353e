"""What a reader of the page must not miss, and why a stage is done although figures lie outside their limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implantflow.report.sources import dig
from implantflow.solids.faces import BONE_FACES


def why_done(stage: str, data: Mapping[str, Any]) -> str:
    """Why a stage is done although figures lie outside their limits, where that is all there is to it."""
    if stage == "build":
        failed = [c for c in dig(data, "revisions.-1.checks.checks") or [] if not c.get("pass")]
        return ", as warnings" if failed and all(c.get("severity") == "warning" for c in failed) else ""
    if stage == "inspect" and dig(data, "revisions.-1.decision") == "accepted":
        return ", of prints before" if not dig(data, "revisions.-1.reasons") else ""
    return ""


def flags_of(stage: str, data: Mapping[str, Any]) -> list[str]:
    """What a reader must not miss: unsigned gates, figures that do not reproduce, warnings of the stage."""
    flags = []
    gate = data.get("gate")
    if isinstance(gate, Mapping) and gate.get("unsigned"):
        flags.append(f"Gate passed without a signature: {gate.get('decision')}. Nobody has confirmed this.")
    if stage == "prototype":
        unsigned = [
            str(i["id"]) for i in data.get("iterations") or [] if str(i.get("decision")).startswith("auto")
        ]
        if unsigned:
            flags.append(f"Passed without a signature: {', '.join(unsigned)}. Nobody has confirmed this.")
    if stage == "plan":
        worst, asked = data.get("osteotomy_margin_worst_case_mm"), data.get("margin_mm")
        if worst is not None and asked is not None and worst < asked:
            flags.append(
                f"With the saw at the worst of its tolerances the bone margin is {worst:.1f} mm, below the {asked:g} "
                "mm asked for."
            )
    if stage == "implant":
        flags += _wide_gaps(data)
    if stage == "inspect":
        for print_ in data.get("revisions") or []:
            reasons = print_.get("reasons") or []
            if reasons:
                flags.append(
                    f"{print_.get('id')} was {print_.get('decision')}: {'; '.join(map(str, reasons))}."
                )
    response = data.get("response")
    if stage == "tumour" and isinstance(response, Mapping):
        flags += [str(flag) for flag in response.get("flags") or []]
    return flags + sentences(data, ("warnings",))


def _wide_gaps(data: Mapping[str, Any]) -> list[str]:
    """Faces on bone whose own gap lies above the limit that all of them together keep; a disc space is no gap."""
    most = dig(data, "limits.gap_p95_mm")
    faces = data.get("faces")
    if most is None or not isinstance(faces, Mapping):
        return []
    return [
        f"The gap at the face {name} is {face['gap_p95_mm']:.2f} mm (95th percentile); the limit of {most:g} mm is "
        "kept by all faces on bone together."
        for name, face in faces.items()
        if name in BONE_FACES and (face.get("gap_p95_mm") or 0.0) > most
    ]


def sentences(data: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    """Texts of the lists ``keys`` of a stage's record; entries of other kinds are passed over."""
    return [v for key in keys if isinstance(data.get(key), list) for v in data[key] if isinstance(v, str)]
