"""Simulated cases only: every figure that has a truth beside that truth, after the fact.

This is the one place that reads the truth folder. Delete that folder, and nothing but the two files written here
changes: the page shows the comparison by loading ``comparison.js`` from beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from implantflow.artifacts import plain, read_json, temporary, write_json
from implantflow.geometry import Plane
from implantflow.jobs import Job, progress
from implantflow.report import compare_geometry, compare_outcome
from implantflow.report.compare_entry import Entries, entry_of
from implantflow.report.figure_spec import Row
from implantflow.report.figures_shown import ROWS
from implantflow.report.listings_shown import LISTINGS
from implantflow.report.rows import MISSING, dig_named, shown
from implantflow.volumes import read_volume

#: Codes of the bones in both label maps.
_CODES = {"sacrum": 1, "hip_left": 2, "hip_right": 3, "l5": 4}


def compare_truth(job: Job) -> None:
    """Write ``comparison`` (JSON) and ``script`` (the same for the page) for a simulated case.

    Input ``case_json``; setting ``truth`` is the truth folder, which may be absent. Results are read from
    ``job.case_dir``.
    """
    truth = Path(str(job.settings["truth"]))
    comparison = compare(job.case_dir, read_json(job.input("case_json")), truth)
    write_json(job.outputs["comparison"], comparison)
    # "<" cannot end a script element this way, should the file ever be put into one.
    text = json.dumps(plain(comparison), ensure_ascii=False, indent=1).replace("<", "\\u003c")
    with temporary(job.outputs["script"]) as tmp:
        tmp.write_text(f"window.implantflowComparison = {text};\n", encoding="utf-8")


def compare(case_dir: Path, summary: Mapping[str, Any], truth_dir: Path) -> dict[str, Any]:
    """Comparison of a case with its truth.

    Returns
    -------
    dict
        ``available``, ``note``, and ``figures``: dotted key of the result -> value, truth, error_abs, error_pct or
        what fits the figure, and the same as text (``shown_value``, ``shown_truth``, ``shown_error``, ``text``).
    """
    figures: Entries = {}
    if (truth_dir / "patient/truth.json").is_file():
        figures |= _of_patient(case_dir, summary, truth_dir / "patient")
    figures |= compare_outcome.prints(summary, truth_dir)
    figures |= compare_outcome.machined(summary, truth_dir)
    figures |= compare_outcome.followups(summary, truth_dir)
    if not figures:
        return {
            "available": False,
            "note": "truth not available: the truth folder of this simulated case is not there",
            "figures": {},
        }
    return {
        "available": True,
        "note": "computed from the results and the truth of what was simulated",
        "figures": figures,
    }


def _of_patient(case_dir: Path, summary: Mapping[str, Any], truth_dir: Path) -> Entries:
    truth = read_json(truth_dir / "truth.json")
    figures = _figures(summary, truth)
    progress("comparison: registrations")
    figures |= _registrations(summary, truth)
    progress("comparison: label maps and surfaces")
    figures |= _labels(case_dir, truth_dir)
    figures |= _tumour_masks(case_dir, truth_dir, summary)
    figures |= _surfaces(case_dir, truth_dir)
    return figures | _midline(summary, truth, truth_dir)


def _figures(summary: Mapping[str, Any], truth: Mapping[str, Any]) -> Entries:
    found: Entries = {}
    for key, true_value in (truth.get("figures") or {}).items():
        value = dig_named(summary, key)
        if isinstance(true_value, Mapping):
            continue
        row = _row_of(key)
        if value is None:
            found[key] = entry_of(None, true_value, MISSING, shown_in(row, true_value), "no result")
        elif isinstance(true_value, int | float) and not isinstance(true_value, bool):
            found[key] = _number(row, float(value), float(true_value))
        elif isinstance(true_value, Sequence) and not isinstance(true_value, str):
            found[key] = _numbers(row, value, true_value)
        else:
            same = value == true_value
            found[key] = entry_of(
                value, true_value, str(value), str(true_value), "agrees" if same else "differs"
            )
    return found


def _row_of(key: str) -> Row:
    """How the page shows this figure: unit, digits, factor."""
    stage, _, rest = key.partition(".")
    for row in ROWS.get(stage, ()):
        if row.key == rest:
            return row
    for listing in LISTINGS.get(stage, ()):
        if rest.startswith(listing.key + "."):
            for column in listing.columns:
                if rest.endswith("." + column.key):
                    return column
    return Row(key, key, digits=3)


def shown_in(row: Row, value: Any) -> str:
    """``value`` as the page shows it, with its unit."""
    return f"{shown(value, row.digits, row.factor)} {row.unit}".rstrip()


def _number(row: Row, value: float, truth: float) -> dict[str, Any]:
    difference = value - truth
    percent = 100.0 * difference / abs(truth) if truth else None
    told = f"{percent:+.1f} %" if percent is not None else f"{difference:+.3g}"
    told = told.replace("-", "−")
    return entry_of(
        value,
        truth,
        shown_in(row, value),
        shown_in(row, truth),
        told,
        error_abs=difference,
        error_pct=percent,
    )


def _numbers(row: Row, value: Any, truth: Sequence[Any]) -> dict[str, Any]:
    """Lists of sizes, e.g. tumour axes: compared in order of size, since stage and truth name axes differently."""
    mine, true = sorted(map(float, value), reverse=True), sorted(map(float, truth), reverse=True)
    errors = [a - b for a, b in zip(mine, true, strict=False)]
    worst = max(errors, key=abs, default=0.0)
    told = f"largest error {worst:+.1f} {row.unit}".replace("-", "−").rstrip()
    return entry_of(mine, true, shown_in(row, mine), shown_in(row, true), told, error_abs=errors)


def _midline(summary: Mapping[str, Any], truth: Mapping[str, Any], truth_dir: Path) -> Entries:
    from implantflow.report.meshes import load_mesh

    plan, true_plane = summary.get("plan") or {}, truth.get("midline_plane")
    if not true_plane or not plan.get("midline_plane") or not (truth_dir / "sacrum.stl").is_file():
        return {}
    over = load_mesh(truth_dir / "sacrum.stl").vertices[::20]
    error = compare_geometry.plane_error(
        Plane.from_json(plan["midline_plane"]), Plane.from_json(true_plane), over
    )
    told = f"angle {error['angle_deg']:.2f}°, at most {error['max_mm']:.2f} mm over the sacrum"
    return {
        "plan.midline_plane": entry_of(
            plan["midline_plane"],
            true_plane,
            shown(plan["midline_plane"], 2),
            shown(true_plane, 2),
            told,
            **error,
        )
    }


def _registrations(summary: Mapping[str, Any], truth: Mapping[str, Any]) -> Entries:
    found: Entries = {}
    for entry in (summary.get("tumour") or {}).get("timepoints") or []:
        name = str(entry.get("name"))
        true = (truth.get("registrations") or {}).get(str(entry.get("series")))
        place = (truth.get("tumour") or {}).get(name)
        matrix = (entry.get("registration") or {}).get("ct_from_series")
        if true is None or place is None or matrix is None:
            continue
        error = compare_geometry.registration_error(
            matrix, true, place["centre_lps_mm"], max(map(float, place["axes_mm"]))
        )
        found[f"tumour.timepoints.{name}.registration"] = entry_of(
            "rigid transform", "rigid transform", "rigid", "rigid", f"at most {error:.2f} mm over the tumour's box",
            target_error_max_mm=error,
        )  # fmt: skip
    return found


def _labels(case_dir: Path, truth_dir: Path) -> Entries:
    paths = case_dir / "segment/labels.nii.gz", truth_dir / "labels.nii.gz"
    if not all(p.is_file() for p in paths):
        return {}
    truth = read_volume(paths[1])
    found = compare_geometry.on_grid(read_volume(paths[0]), truth)
    entries: Entries = {}
    for name, code in _CODES.items():
        value = compare_geometry.dice(found == code, truth.array == code)
        if value is not None:
            entries[f"segment.labels.{name}.dice"] = _overlap(value)
    return entries


def _overlap(dice: float) -> dict[str, Any]:
    off = f"{100 * (dice - 1):.1f} %".replace("-", "−")
    return entry_of(dice, 1.0, f"Dice {dice:.3f}", "1", off, dice=dice)


def _tumour_masks(case_dir: Path, truth_dir: Path, summary: Mapping[str, Any]) -> Entries:
    entries: Entries = {}
    for entry in (summary.get("tumour") or {}).get("timepoints") or []:
        name = str(entry.get("name"))
        paths = case_dir / f"tumour/{name}_mask.nii.gz", truth_dir / f"tumour_{name}.nii.gz"
        if not all(p.is_file() for p in paths):
            continue
        truth = read_volume(paths[1])
        found = compare_geometry.on_grid(read_volume(paths[0]), truth)
        value = compare_geometry.dice(found > 0, truth.array > 0)
        if value is not None:
            entries[f"tumour.timepoints.{name}.dice"] = _overlap(value)
    return entries


def _surfaces(case_dir: Path, truth_dir: Path) -> Entries:
    entries: Entries = {}
    for name in _CODES:
        paths = case_dir / f"segment/{name}.stl", truth_dir / f"{name}.stl"
        if not all(p.is_file() for p in paths):
            continue
        error = compare_geometry.surface_distances(*paths)
        told = f"mean {error['mean_mm']:.2f} mm, p95 {error['p95_mm']:.2f} mm"
        entries[f"segment.labels.{name}.surface"] = entry_of(
            "surface", "surface", "surface", "surface", told, **error
        )
    return entries
