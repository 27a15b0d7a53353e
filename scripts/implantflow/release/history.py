"""The device history: how this one implant came to be, from the scans to the gates it passed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implantflow.release.package import worst_strut
from implantflow.release.sources import DATE_SOURCE, Sources

#: Figures of an inspection that the history shows, where they are: key, words, unit.
_FIGURES = (
    ("rms_mm", "rms", "mm"),
    ("p95_mm", "95th percentile", "mm"),
    ("within_tolerance_pct", "within tolerance", "%"),
    ("scale_error_pct", "scale error", "%"),
)
#: Figures of the strength check that may not be converged, in words.
_STRESSES = {
    "stiffness_n_per_mm": "stiffness",
    "max_von_mises_dense_mpa": "largest stress in dense metal",
    "p99_von_mises_dense_mpa": "99 % quantile of the stress in dense metal",
    "max_strut_stress_mpa": "strut stress",
}
#: Whose paths the history gives: a file of the package may have the same name and be an extract.
PATHS = (
    "Paths and digests are those of files in the case folder; the package's strength.json and lattice.json are "
    "extracts, each with the path and the digest of its source."
)
#: The gates in the order of a case.
_ORDER = {"labels": 0, "review": 1, "design": 2, "release": 3}


def make_history(
    s: Sources, checks: list[dict[str, str]], imaging: dict[str, Any], traveller: dict[str, Any]
) -> dict[str, Any]:
    """The whole history as JSON (``device_history.json``)."""
    return {
        "case": s.settings.case,
        "purpose": s.settings.purpose,
        "side": s.settings.side,
        "revision": s.revision,
        "simulated": s.settings.simulated.text or None,
        "date": s.settings.release.date.isoformat(),
        "date_source": DATE_SOURCE,
        "device": s.settings.release.device.model_dump(mode="json"),
        "paths": PATHS,
        "images": _images(s, imaging),
        "design": _design(s),
        "revisions": [_revision(s, revision) for revision in s.builds],
        "gates": [_gate(path, s) for path in sorted(s.gates, key=lambda p: (_ORDER[s.gates[p].gate], p))],
        "traveller": traveller,
        "machined": _machined(s),
        "checks": checks,
        "notes": _notes(s),
    }


def _images(s: Sources, imaging: dict[str, Any]) -> dict[str, Any]:
    ages = {entry["name"]: entry for entry in imaging["images"]}
    stated = {t.get("series"): t.get("acquired") for t in s.records["tumour"]["timepoints"]}
    series = []
    for entry in s.records["ingest"]["series"]:
        age = ages.get(entry["name"], {})
        series.append(
            {
                "name": entry["name"],
                "modality": entry["modality"],
                "series_uid": entry["series_uid"],
                "n_slices": entry["n_slices"],
                "planning": entry["name"] == s.records["manifest"]["name"],
                "acquired": entry.get("acquired") or age.get("acquired") or stated.get(entry["name"]),
                "decides": bool(age),
                "age_days": age.get("age_days"),
                "max_age_days": age.get("max_age_days"),
                "reason": age.get("reason"),
            }
        )
    return {"surgery_date": imaging["surgery_date"], "verdict": imaging["verdict"], "series": series}


def _design(s: Sources) -> list[dict[str, str]]:
    plan, prototype = s.records["plan"], s.records["prototype"]
    implant, lattice, strength = s.records["implant_json"], s.records["lattice"], s.records["strength"]
    lineage = " from ".join(entry["iteration"] for entry in reversed(prototype["history"]))
    return [
        _row(
            s,
            "plan",
            "plan",
            f"{plan['revision']}; {_margin(plan)}",
        ),
        _row(
            s,
            s.prototype_name,
            "approved",
            f"{lineage}; {len(prototype['corrections'])} correction(s), marked {prototype['embossed']['text']}",
        ),
        _row(
            s,
            "implant",
            "implant",
            f"{implant['volume_mm3'] / 1000:.1f} cm³; {implant['vs_approved_mm']:.4f} mm from the prototype's shape "
            f"outside its listed regions; gap to bone {implant['gap_p50_mm']:.2f} mm (median)",
        ),
        _row(
            s,
            "lattice",
            "lattice",
            f"{lattice['cell']} {lattice['cell_mm']:g} mm, {_struts(lattice)}; porosity "
            f"{100 * lattice['porosity']:.1f} %, closed pores {lattice['closed_pores']}",
        ),
        _row(s, "lattice field", "field", "what the build was sliced from"),
        _row(
            s,
            "strength",
            "strength",
            f"safety factor {strength['safety_factor']:.2f} ({strength['governing_load_case']}), "
            f"{strength['safety_factor_with_error_bar']:.2f} with the error bars of its grid, at least "
            f"{strength['safety_factor_min']:g} asked",
        ),
        _row(s, "build", "cli", f"{s.revision}; {s.build['machine']}, {s.build['layers']} layers"),
    ]


def _struts(lattice: Mapping[str, Any]) -> str:
    """Struts of the lattice with the pore and the throat of the worst: a graded one has more than the nominal."""
    low, high = lattice["strut_range_mm"]
    worst = worst_strut(lattice)
    pores = f"pore {worst['pore_um']:.0f} µm, throat {worst['throat_um']:.0f} µm"
    if low == high:
        return f"struts {lattice['strut_mm']:g} mm, {pores}"
    nominal = f"nominal {lattice['strut_mm']:g}"
    return f"struts {low:g} to {high:g} mm ({nominal}), at worst ({worst['strut_mm']:g} mm) {pores}"


def _margin(plan: Mapping[str, Any]) -> str:
    """The bone margin as planned and with the saw at the worst of its tolerances, beside what was asked."""
    if plan["osteotomy_margin_min_mm"] is None:
        return "nothing is sawn, so no bone margin"
    below = ", below what was asked" if _worst_margin_is_below(plan) else ""
    return (
        f"bone margin {plan['osteotomy_margin_min_mm']:.1f} mm, at least {plan['margin_mm']:g} mm asked; "
        f"{plan['osteotomy_margin_worst_case_mm']:.1f} mm with the saw at the worst of its tolerances{below}"
    )


def _worst_margin_is_below(plan: Mapping[str, Any]) -> bool:
    worst = plan["osteotomy_margin_worst_case_mm"]
    return worst is not None and bool(worst < plan["margin_mm"])


def _row(s: Sources, step: str, key: str, what: str) -> dict[str, str]:
    return {"step": step, "what": what, "path": s.name(key), "sha256": s.sha256(key)}


def _revision(s: Sources, revision: str) -> dict[str, Any]:
    build, deviation = s.builds[revision], s.deviations.get(revision, {})
    notes = {entry["id"]: entry.get("note") for entry in s.config["build"]["revisions"]}
    figures = [
        f"{words} {deviation[key]:.2f} {unit}"
        for key, words, unit in _FIGURES
        if isinstance(deviation.get(key), int | float)
    ]
    return {
        "id": revision,
        "parent": build.get("parent"),
        "note": notes.get(revision) or "",
        "machine": build["machine"],
        "layers": build["layers"],
        "layer_mm": build["layer_mm"],
        "cli_sha256": build["cli_sha256"],
        "decision": deviation.get("decision", "not inspected"),
        "reasons": list(deviation.get("reasons", [])),
        "figures": ", ".join(figures),
    }


def _machined(s: Sources) -> list[dict[str, str]] | None:
    """Milled faces and bores of the released part as they were measured; None where nothing is machined."""
    if s.machined is None:
        return None
    rows = [
        {
            "what": f"face {name.replace('_', ' ')}",
            "found": f"plane {face['shift_mm']:+.3f} mm off, tilt {face['tilt_deg']:.2f}°, "
            f"{face['within_tolerance_pct']:.1f} % within {s.machined['limits']['face_tolerance_mm']:g} mm",
        }
        for name, face in s.machined["faces"].items()
    ]
    for name, bore in s.machined["bores"].items():
        found = f"{bore['seen_pct']:.0f} % of its wall seen: to be gauged"
        if bore["diameter_mm"] is not None:
            found = (
                f"diameter {bore['diameter_mm']:.3f} mm, designed {bore['design_diameter_mm']:g} mm; axis off by "
                f"{bore['axis_error_mm']:.3f} mm, allowed {s.machined['limits']['bore_tolerance_mm']:g} mm"
            )
        rows.append({"what": f"bore {name}", "found": found})
    return rows


def _gate(path: str, s: Sources) -> dict[str, Any]:
    record = s.gates[path].model_dump(mode="json")
    kept = ("gate", "item", "decision", "unsigned", "required_roles", "reasons", "subject_sha256")
    item = path.split("/")[1] if record["gate"] == "release" else record["item"]
    reviewers = [
        {key: r[key] for key in ("name", "role", "time", "reason", "meaning", "record")}
        for r in record["reviewers"]
    ]
    return {"path": path, **{key: record[key] for key in kept}, "item": item, "reviewers": reviewers}


def _notes(s: Sources) -> list[str]:
    """What a reader must not overlook: presets nobody confirmed on the machine, warnings of the build."""
    notes = []
    if _worst_margin_is_below(s.records["plan"]):
        notes.append("With the saw at the worst of its tolerances the bone margin is below what was asked.")
    if not s.build["machine_verified"]:
        notes.append(f"The machine preset {s.build['machine']} was not verified on the machine.")
    if s.machined is not None and s.machined["bores_to_gauge"]:
        bores = ", ".join(s.machined["bores_to_gauge"])
        notes.append(f"Too little was seen of these bores after machining; gauge them: {bores}.")
    if s.checks["warnings"]:
        notes.append(f"Warnings of the build checks: {', '.join(s.checks['warnings']).replace('_', ' ')}.")
    return notes + _strength_notes(s.records["strength"])


def _strength_notes(strength: Mapping[str, Any]) -> list[str]:
    """Assumed figures the strength check rests on, and stresses that still change with its grid."""
    figures = {
        "material figures": [strength[key] for key in ("metal", "fatigue_dense", "fatigue_strut")],
        "load cases": strength["load_cases"],
        "bone supports": strength["supports"],
    }
    unverified = [what for what, found in figures.items() if not all(f["verified"] for f in found)]
    notes = [f"Not verified in the strength check: {', '.join(unverified)}."] if unverified else []
    grid = strength["grid_sensitivity"]
    if grid["not_converged"]:
        bars = [
            f"{_STRESSES.get(key, key)} ± {grid['error_bar_pct'][key]:.0f} %" for key in grid["not_converged"]
        ]
        notes.append(f"Not converged with the grid of the strength check: {', '.join(bars)}.")
    return notes
