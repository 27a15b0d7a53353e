"""Figures of the simulated print and of the simulated follow-up scans beside their truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import read_json
from implantflow.report.compare_entry import Entries, entry_of
from implantflow.report.rows import MISSING
from implantflow.report.sources import dig


def prints(summary: Mapping[str, Any], truth_dir: Path) -> Entries:
    """Size of each print against what the simulated machine did."""
    entries: Entries = {}
    for revision in dig(summary, "inspect.revisions") or []:
        path = truth_dir / f"print_{revision['id']}.json"
        measured = revision.get("scale_error_xyz_pct")
        if not path.is_file() or measured is None:
            continue
        true = read_json(path)["scale_error_pct"]
        off = [float(a) - float(b) for a, b in zip(measured, true, strict=True)]
        worst = max(off, key=abs)
        entries[f"inspect.revisions.{revision['id']}.scale_error_xyz_pct"] = entry_of(
            measured,
            true,
            _listed(measured, "%"),
            _listed(true, "%"),
            f"at most {abs(worst):.3f} % of the size along an axis",
            error_abs=worst,
        )
    return entries


#: Measured figure of a milled face or a bore -> what the simulated workshop calls it, unit, digits.
_CUT = {
    "shift_mm": ("left_mm", "mm", 3),
    "tilt_deg": ("tilt_deg", "°", 2),
    "diameter_mm": ("diameter_mm", "mm", 3),
}


def machined(summary: Mapping[str, Any], truth_dir: Path) -> Entries:
    """Milled faces and bores of each machined part against what the simulated workshop cut.

    The workshop sets its zero by the whole part, the inspection lays the part by what is as built: both are in the
    error.
    """
    entries: Entries = {}
    for revision in dig(summary, "inspect.revisions") or []:
        path = truth_dir / f"machined_{revision['id']}.json"
        cut = dig(revision, "machined.cut")
        if not path.is_file() or cut is None:
            continue
        truth = read_json(path)
        known = {**truth["faces"], **truth["bores"]}
        for entry in cut:
            for name, (true_name, unit, digits) in _CUT.items():
                true = known.get(entry["name"], {}).get(true_name)
                if true is not None:
                    key = f"inspect.revisions.{revision['id']}.machined.cut.{entry['name']}.{name}"
                    entries[key] = _length(entry.get(name), float(true), unit, digits)
    return entries


def _length(value: float | None, true: float, unit: str, digits: int) -> dict[str, Any]:
    """A figure that may not have been measured beside its truth."""
    shown_truth = f"{true:.{digits}f} {unit}"
    if value is None:
        return entry_of(None, true, MISSING, shown_truth, "not measured")
    error = f"{value - true:+.{digits}f} {unit}".replace("-", "−")
    return entry_of(value, true, f"{value:.{digits}f} {unit}", shown_truth, error, error_abs=value - true)


def followups(summary: Mapping[str, Any], truth_dir: Path) -> Entries:
    """Migration, faces and ingrowth of each time point against what was put into its scan."""
    entries: Entries = {}
    for timepoint in dig(summary, "followup.timepoints") or []:
        path = truth_dir / f"followup_{timepoint.get('series')}.json"
        if path.is_file():
            truth = read_json(path)
            key = f"followup.timepoints.{timepoint.get('name')}"
            entries |= _motion(key, timepoint, truth)
            entries |= _faces(key, timepoint, truth)
            entries |= _ingrowth(key, timepoint, truth)
    return entries


def _listed(values: Any, unit: str) -> str:
    return "(" + ", ".join(f"{float(v):.2f}" for v in values) + f") {unit}"


def _motion(key: str, timepoint: Mapping[str, Any], truth: Mapping[str, Any]) -> Entries:
    """Shift of the implant's centroid and turn: since the baseline where there is one, else against the plan."""
    found = timepoint.get("migration") or timepoint.get("against_plan")
    true = truth["relative_to_baseline" if timepoint.get("migration") else "relative_to_plan"]
    if not found:
        return {}
    return {
        f"{key}.migration_mm": _vectors(found["shift_lps_mm"], true["migration_mm"], "mm"),
        f"{key}.rotation_deg": _vectors(found["rotation_lps_deg"], true["rotation_deg"], "°"),
    }


def _vectors(value: Any, true: Any, unit: str) -> dict[str, Any]:
    off = float(np.linalg.norm(np.asarray(value, dtype=float) - np.asarray(true, dtype=float)))
    return entry_of(
        value,
        true,
        _listed(value, unit),
        _listed(true, unit),
        f"off by {off:.2f} {unit}",
        error_abs=off,
    )


def _faces(key: str, timepoint: Mapping[str, Any], truth: Mapping[str, Any]) -> Entries:
    entries: Entries = {}
    for name, face in (timepoint.get("faces") or {}).items():
        true = (truth.get("faces") or {}).get(name)
        if true is None or not isinstance(face, Mapping):
            continue
        width = face.get("lucency_mm")
        told = str(face.get("grade")) + ("" if width is None else f", lucency {width:.1f} mm")
        entries[f"{key}.faces.{name}.grade"] = entry_of(
            face.get("grade"),
            true["state"],
            told,
            f"{str(true['state']).replace('_', ' ')}, lucency {true['lucency_mm']:.1f} mm",
            "no number"
            if width is None
            else f"lucency {width - true['lucency_mm']:+.1f} mm".replace("-", "−"),
            error_abs=None if width is None else width - true["lucency_mm"],
        )
    return entries


def _ingrowth(key: str, timepoint: Mapping[str, Any], truth: Mapping[str, Any]) -> Entries:
    lattice = timepoint.get("lattice") or {}
    value, true = lattice.get("delta_bone_fraction"), truth["pores"].get("bone_fraction")
    if value is None or true is None:
        return {}
    low, high = lattice["interval"]
    inside = "inside" if low <= true <= high else "OUTSIDE"
    return {
        f"{key}.lattice.delta_bone_fraction": entry_of(
            value,
            true,
            f"{value:.3f} ({low:.2f} to {high:.2f})",
            f"{true:.3f}",
            f"{value - true:+.3f}, truth {inside} the interval".replace("-", "−"),
            error_abs=value - true,
            inside_interval=inside == "inside",
        )
    }
