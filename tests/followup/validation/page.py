"""The page docs/validation/followup.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.followup.validation.nmar import scores
from tests.followup.validation.plan import PROTOCOLS, State, states
from tests.followup.validation.world import VIEWS

_HEAD = """# Follow-up: simulated scans with known truth

Made by `python -m tests.followup.validation --state FOLDER --held-out --table docs/validation/followup.md --perturb
demo_s03`, which goes on where it stopped; it needs the finished cases (`snakemake lattice --config
cases=demo,vhf,tiny`). SIMULATED: no patient was scanned. The plan (`tests/followup/validation/plan.py`) is a seeded
Latin hypercube: migration 0-5 mm and 0-5 degrees, ingrowth 0-0.4, pore contents from fat to blood, each face fused,
as placed or with a gap of 0.5-3 mm, scatter left over by the scanner 8.5-11.5 %. Each state of the patient is scanned
by two protocols, so the two scans of a state count as one cluster in every interval (2,000 draws of whole clusters).
The analysis was tuned on the development half, but the held-out half is no longer fresh: it has been read three times,
and two things came from it, one value of the case configs, `stray_drift`, and the grade "gap"
([limitations](../limitations.md)). Depth bands too uneven to be read alone are read as one,
so there are fewer readings of bone than regions; below the wall at a disc space none is read. A bound
("contact", "partial gap", "gap") is a grade that says what cannot be told apart; it is not in kappa. NMAR: the option
`followup.faces.second_reading`, an image whose metal artefacts are reduced by projections simulated from the slices
(`python -m tests.followup.validation.nmar`); "same patches" are those that the original lets read, with its limits. Not
in the table: broken or loose screws.
"""
_PROTOCOLS = """Protocols: {}.
{} views, photon noise, scatter, the plan's screws; simulator: `implantflow.phantom.followup`."""

_OLDER = """**Out of date: {} of {} readings were made before the analysis was last changed.** What has changed since,
and what it does to these readings, is in [limitations](../limitations.md), "Follow-up".
"""


def page(
    readings: list[dict[str, Any]],
    halves: dict[str, Any],
    wanted: list[State],
    state: Path,
    wrong_on_purpose: dict[str, tuple[int, int]],
    older: int,
) -> str:
    """Markdown; ``older`` readings are not of the analysis as it is now."""
    names = ";\n".join(
        f"{p.name} = {p.kvp:g} kV, {p.kernel} kernel, {p.slice_mm:g} mm slices, {p.pixel_mm:g} mm pixels"
        for p in PROTOCOLS
    )
    parts = [_HEAD, _PROTOCOLS.format(names, VIEWS), _made(readings, wanted, state)]
    if older:
        parts.append(_OLDER.format(older, len(readings)))
    second = scores(wanted, state)
    parts.append(_table({half: {**found, "second": second.get(half)} for half, found in halves.items()}))
    parts += [_grades(halves), _limits(halves), _perturbed(wrong_on_purpose), _wrong(halves)]
    return "\n".join(parts)


def _made(readings: Sequence[dict[str, Any]], wanted: Sequence[State], state: Path) -> str:
    """How much of the plan has been done, and what it cost."""
    costs = [
        json.loads(path.read_text())["cpu_s"]
        for one in wanted
        if (path := state / one.key / "made.json").exists()
    ]
    read = [sum(r["cpu_s"].values()) for r in readings if "cpu_s" in r]
    by_case = {c: sum(r["case"] == c for r in readings) for c in _cases()}
    planned = len(PROTOCOLS) * sum(s.half != "baseline" for s in states())
    lines = [
        f"Planned: {planned} scans after the baselines, of {len(_cases())} implants. Read so far: {len(readings)} "
        f"({', '.join(f'{c} {n}' for c, n in by_case.items())}).",
    ]
    if costs and read:
        lines.append(
            f"Cost: {np.median(costs) / len(PROTOCOLS):.0f} CPU-s to simulate a scan (median; one pass of rays for "
            f"both protocols), {np.median(read):.0f} CPU-s to read one (95 %: {np.quantile(read, 0.95):.0f})."
        )
    return "\n" + "\n".join(lines) + "\n"


def _cases() -> list[str]:
    return sorted({s.case for s in states()})


def _table(halves: dict[str, Any]) -> str:
    rows = [
        ("scans read (refused)", "", lambda h: f"{h['scans']} ({len(h['refused'])})"),
        ("migration, error p95 (largest), mm", "0.2", lambda h: _two(h["motion"], "p95_mm", "max_mm")),
        ("rotation, error p95 (largest), degrees", "0.2", lambda h: _two(h["motion"], "p95_deg", "max_deg")),
        (
            "migration errors within the stated repeatability",
            "",
            lambda h: _share(h["motion"]["within_repeatability"]),
        ),
        (
            "motion found between two scans of the operation's day, largest, mm",
            "",
            lambda h: _n(h["motion"]["repeated_max_mm"], 2),
        ),
        ("readings of bone (not determinable)", "400", lambda h: _counts(h["bone"])),
        (
            "bone share, error p95, contents as before",
            "0.03",
            lambda h: _n(h["bone"]["p95_error_same_contents"]),
        ),
        (
            "the same in regions whose own noise is below 0.03 (their share)",
            "0.03",
            lambda h: f"{_n(h['bone']['p95_error_even'])} ({100 * h['bone']['share_even']:.0f} %)",
        ),
        ("the same over the whole porous part", "", lambda h: _n(h["bone"]["p95_error_whole"])),
        ("bone share, mean error (bias)", "", lambda h: _n(h["bone"]["bias_same_contents"])),
        (
            "error p95 where contents changed unknown to the analysis",
            "",
            lambda h: _n(h["bone"]["p95_error_other_contents"]),
        ),
        ("95 % intervals that hold the truth", "95 %", lambda h: _share(h["bone"]["coverage"])),
        ("median width of these intervals", "", lambda h: _n(h["bone"]["median_width"])),
        (
            "contents as before: intervals that leave contents out hold the truth",
            "95 %",
            lambda h: _share(h["bone"]["coverage_same_contents"]),
        ),
        ("median width of those", "", lambda h: _n(h["bone"]["median_width_same_contents"])),
        (
            "*naive:* difference, linear mixing at 70 keV, p95",
            "",
            lambda h: _n(h["bone"]["p95_error_difference"]),
        ),
        ("*naive:* one scan, linear mixing at 70 keV, p95", "", lambda h: _n(h["bone"]["p95_error_mixed"])),
        (
            "gaps at or above the stated limit found, by patch",
            "95 %",
            lambda h: _of(h["lucency"], "sensitivity", "patches_with_gap"),
        ),
        (
            "bridged patches not called a gap",
            "95 %",
            lambda h: _of(h["lucency"], "specificity", "patches_bridged"),
        ),
        (
            "the same by face: found",
            "95 %",
            lambda h: _of(h["lucency"], "face_sensitivity", "faces_with_gap"),
        ),
        (
            "the same by face: not called",
            "95 %",
            lambda h: _of(h["lucency"], "face_specificity", "faces_bridged"),
        ),
        ("width of found gaps, error p95, mm", "", lambda h: _n(h["lucency"]["width_error_p95_mm"])),
        (
            "*naive:* threshold 226 HU, gaps found",
            "",
            lambda h: _share(h["lucency"]["threshold_sensitivity"]),
        ),
        (
            "*naive:* threshold 226 HU, bridged not called",
            "",
            lambda h: _share(h["lucency"]["threshold_specificity"]),
        ),
        ("second readings (NMAR), scans", "", lambda h: _second(h, lambda s: str(s["scans"]))),
        (
            "*naive:* threshold 226 HU on the NMAR image, same patches: gaps found",
            "",
            lambda h: _second(h, lambda s: _of(s["reduced_threshold"], "sensitivity", "patches_with_gap")),
        ),
        (
            "*naive:* the same, bridged not called",
            "",
            lambda h: _second(h, lambda s: _of(s["reduced_threshold"], "specificity", "patches_bridged")),
        ),
        (
            "our reading of the NMAR image, same patches: gaps found",
            "",
            lambda h: _second(h, lambda s: _of(s["reduced"], "sensitivity", "patches_with_gap")),
        ),
        (
            "the same, bridged not called",
            "",
            lambda h: _second(h, lambda s: _of(s["reduced"], "specificity", "patches_bridged")),
        ),
        (
            "our reading of the NMAR image, patches that it lets read: gaps at or above its limit found",
            "",
            lambda h: _second(h, lambda s: _of(s["own"], "sensitivity", "patches_with_gap")),
        ),
        (
            "the same, bridged not called",
            "",
            lambda h: _second(h, lambda s: _of(s["own"], "specificity", "patches_bridged")),
        ),
        ("NMAR, CPU-s to reduce one scan (median)", "", lambda h: _second(h, lambda s: _n(s["cpu_s"], 1))),
        ("faces: not readable / a bound only / graded", "", lambda h: _faces(h["grades"])),
        ("kappa of the grades given (linear weights)", "0.8", lambda h: _plain(h["grades"]["kappa"])),
        ("statements that are confident and wrong", "0", lambda h: str(len(h["wrong"]))),
    ]
    names = {"development": "development", "held_out": "held out"}
    head = "| figure | aim | " + " | ".join(names[h] for h in halves) + " |"
    lines = [head, "|---|---|" + "---|" * len(halves)]
    for title, aim, shown in rows:
        lines.append(f"| {title} | {aim} | " + " | ".join(shown(half) for half in halves.values()) + " |")
    return "\n".join(lines) + "\n"


def _second(half: dict[str, Any], shown: Callable[[dict[str, Any]], str]) -> str:
    """A figure of the second readings; a dash where none was made."""
    return "-" if half["second"] is None else shown(half["second"])


def _grades(halves: dict[str, Any]) -> str:
    lines = ["## Grades: by the truth -> as read", ""]
    for name, half in halves.items():
        counts = ", ".join(f"{key}: {n}" for key, n in sorted(half["grades"]["table"].items()))
        lines.append(f"- {name.replace('_', ' ')}: {counts or 'none'}")
    return "\n".join(lines) + "\n"


def _limits(halves: dict[str, Any]) -> str:
    lines = ["## Stated detection limits, median over patches, mm", ""]
    for name, half in halves.items():
        limits = ", ".join(f"{key}: {_n(value, 1)}" for key, value in half["lucency"]["limit_p50_mm"].items())
        lines.append(f"- {name.replace('_', ' ')}: {limits or 'none'}")
    return "\n".join(lines) + "\n"


def _perturbed(counts: dict[str, tuple[int, int]]) -> str:
    lines = ["## With something wrong on purpose: intervals of bone that hold the truth", ""]
    lines += [f"- {name}: {inside} of {count}" for name, (inside, count) in counts.items()]
    return "\n".join(lines if counts else [*lines, "Not done."]) + "\n"


def _wrong(halves: dict[str, Any]) -> str:
    lines = ["## Confident and wrong, refused", ""]
    for name, half in halves.items():
        lines += [f"- {name.replace('_', ' ')}: {text}" for text in (*half["wrong"], *half["refused"])]
    return "\n".join(lines if len(lines) > 2 else [*lines, "None."]) + "\n"


def _n(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _two(part: dict[str, Any], first: str, second: str) -> str:
    return f"{_n(part[first], 2)} ({_n(part[second], 2)})"


def _share(value: Sequence[float] | None) -> str:
    if value is None or not np.isfinite(value[0]):
        return "-"
    return f"{100 * value[0]:.1f} % ({100 * value[1]:.0f}-{100 * value[2]:.0f})"


def _plain(value: Sequence[float] | None) -> str:
    return "-" if value is None else f"{_n(value[0], 2)} ({_n(value[1], 2)} to {_n(value[2], 2)})"


def _of(part: dict[str, Any], key: str, count: str) -> str:
    return f"{_share(part[key])}, n = {part[count]}"


def _counts(part: dict[str, Any]) -> str:
    return f"{part['readings']} ({part['not_determinable']})"


def _faces(part: dict[str, Any]) -> str:
    return f"{part['not_readable']} / {part['only_a_bound']} / {part['graded']}"
