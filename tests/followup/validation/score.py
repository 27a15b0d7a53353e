"""Figures of merit of the follow-up over the readings of the validation set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Readings = Sequence[dict[str, Any]]

#: Grades that say something about fusion, in their order; the rest are "cannot be determined" or a bound.
GRADES = ("I", "II", "not bridged", "III", "IV")
_FUSED, _NOT_FUSED = ("I", "II"), ("III", "IV")
_DRAWS, _SEED = 2000, 7


def p95(values: Sequence[float]) -> float | None:
    """95th percentile; None of nothing."""
    return float(np.quantile(np.array(values), 0.95)) if len(values) else None


def clustered(
    items: Sequence[dict[str, Any]], of: Callable[[Sequence[dict[str, Any]]], float]
) -> tuple[float, float, float] | None:
    """``of(items)`` with its 95 % interval by drawing whole clusters (key ``cluster``) with replacement."""
    if not items:
        return None
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        groups.setdefault(item["cluster"], []).append(item)
    names = sorted(groups)
    rng = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(_DRAWS):
        chosen = [item for i in rng.integers(0, len(names), len(names)) for item in groups[names[i]]]
        drawn.append(of(chosen))
    known = [value for value in drawn if np.isfinite(value)]
    if not known:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return of(items), float(low), float(high)


def share(items: Sequence[dict[str, Any]]) -> float:
    """Share of items whose ``hit`` is true."""
    return float(np.mean([bool(item["hit"]) for item in items])) if items else float("nan")


def score(readings: Readings) -> dict[str, Any]:
    """All figures of merit."""
    done = [r for r in readings if "refused" not in r]
    return {
        "scans": len(readings),
        "refused": [
            f"{r['case']}_{r['state']} {r['protocol']}: {r['refused']}" for r in readings if "refused" in r
        ],
        "motion": motion(done),
        "bone": bone(done),
        "lucency": lucency(done),
        "grades": grades(done),
        "wrong": wrong(done),
        "cpu_s": p95([sum(r["cpu_s"].values()) for r in done]),
    }


def motion(done: Readings) -> dict[str, Any]:
    """Errors of the migration and whether the stated repeatability holds them."""
    held = [
        {
            "cluster": _cluster(r),
            "hit": r["motion"]["error_mm"] <= r["motion"]["repeatability_mm"],
        }
        for r in done
    ]
    return {
        "p95_mm": p95([r["motion"]["error_mm"] for r in done]),
        "max_mm": max((r["motion"]["error_mm"] for r in done), default=None),
        "p95_deg": p95([r["motion"]["error_deg"] for r in done]),
        "max_deg": max((r["motion"]["error_deg"] for r in done), default=None),
        "within_repeatability": clustered(held, share),
        "repeated_max_mm": max((r["motion"]["found_mm"] for r in done if r["months"] < 6), default=None),
    }


def regions(done: Readings) -> list[dict[str, Any]]:
    """One item per region and scan of which a change of bone was determined."""
    return [
        {
            **entry,
            "cluster": _cluster(r),
            "protocol": r["protocol"],
            "fill_changed": r["fill_changed"],
            "error": entry["read"] - entry["true"],
            "hit": _holds(entry["interval"], entry["true"]),
            "hit_same": _holds(entry["interval_same_filler"], entry["true"]),
        }
        for r in done
        for entry in r["lattice"]
        if entry["status"] == "determined" and entry["true"] is not None
    ]


def bone(done: Readings) -> dict[str, Any]:
    """Error of the change of bone where the pores' contents stayed, and coverage of the intervals everywhere."""
    items = regions(done)
    same = [i for i in items if not i["fill_changed"]]
    return {
        "readings": len(items),
        "not_determinable": sum(e["status"] != "determined" for r in done for e in r["lattice"]),
        "p95_error_same_contents": p95([abs(i["error"]) for i in same]),
        "p95_error_even": p95([abs(i["error"]) for i in same if not i["noise_limited"]]),
        "share_even": float(np.mean([not i["noise_limited"] for i in same])) if same else float("nan"),
        "p95_error_whole": p95([abs(i["error"]) for i in same if i["region"] == "whole"]),
        "bias_same_contents": float(np.mean([i["error"] for i in same])) if same else None,
        "p95_error_mixed": p95([abs(i["mixed"] - i["true"]) for i in same if _has(i, "mixed")]),
        "p95_error_difference": p95(
            [abs(i["difference"] - i["true"]) for i in same if _has(i, "difference")]
        ),
        "p95_error_other_contents": p95([abs(i["error"]) for i in items if i["fill_changed"]]),
        "coverage": clustered(items, share),
        "median_width": _median_width(items, "interval"),
        "coverage_same_contents": clustered([{**i, "hit": i["hit_same"]} for i in same], share),
        "median_width_same_contents": _median_width(same, "interval_same_filler"),
    }


def _holds(interval: Sequence[float], true: float) -> bool:
    return interval[0] <= true <= interval[1]


def _median_width(items: Sequence[dict[str, Any]], key: str) -> float | None:
    return float(np.median([i[key][1] - i[key][0] for i in items])) if items else None


def patches(done: Readings) -> list[dict[str, Any]]:
    """One item per patch of a face that the analysis reads and that has bone opposite in truth."""
    out = []
    for r in done:
        if r["months"] < 6:
            continue
        for name, face in r["faces"].items():
            p = face["patches"]
            for n in range(len(p["area"])):
                if not p["readable"][n] or not np.isfinite(_number(p["soft_mm"][n])):
                    continue
                out.append(
                    {
                        "cluster": _cluster(r),
                        "face": name,
                        "protocol": r["protocol"],
                        "soft_mm": p["soft_mm"][n],
                        "limit_mm": _number(p["limit_mm"][n]),
                        "lucent": p["lucent"][n] == 1.0,
                        "bone_seen": p["bone_seen"][n] == 1.0,
                        "width_mm": p["width_mm"][n],
                        "threshold_mm": p.get("threshold_mm", [float("nan")] * len(p["area"]))[n],
                    }
                )
    return out


def lucency(done: Readings) -> dict[str, Any]:
    """Sensitivity for gaps at or above the stated limit, specificity where there is none; by patch and by face."""
    items = patches(done)
    gaps = [
        {**i, "hit": i["lucent"]} for i in items if i["soft_mm"] > 0 and i["soft_mm"] >= i["limit_mm"] - 1e-9
    ]
    none = [{**i, "hit": not i["lucent"]} for i in items if i["soft_mm"] == 0]
    widths = [abs(i["width_mm"] - i["soft_mm"]) for i in gaps if i["lucent"]]
    faces = face_items(done)
    wide = [
        f for f in faces if f["true_mm"] > 0 and f["limit_mm"] is not None and f["true_mm"] >= f["limit_mm"]
    ]
    bridged = [f for f in faces if f["true_mm"] == 0]
    return {
        "threshold_sensitivity": clustered([{**i, "hit": i["threshold_mm"] > 0} for i in gaps], share),
        "threshold_specificity": clustered([{**i, "hit": i["threshold_mm"] == 0} for i in none], share),
        "patches_with_gap": len(gaps),
        "patches_bridged": len(none),
        "sensitivity": clustered(gaps, share),
        "specificity": clustered(none, share),
        "width_error_p95_mm": p95(widths),
        "face_sensitivity": clustered([{**f, "hit": f["lucent"]} for f in wide], share),
        "face_specificity": clustered([{**f, "hit": not f["lucent"]} for f in bridged], share),
        "faces_with_gap": len(wide),
        "faces_bridged": len(bridged),
        "limit_p50_mm": {
            f"{face} {protocol}": _median(
                [i["limit_mm"] for i in items if i["face"] == face and i["protocol"] == protocol]
            )
            for face in sorted({i["face"] for i in items})
            for protocol in sorted({i["protocol"] for i in items})
        },
    }


def face_items(done: Readings) -> list[dict[str, Any]]:
    """One item per face and scan that got figures."""
    out = []
    for r in done:
        for name, face in r["faces"].items():
            figures, true = face["figures"], face["truth"]
            if r["months"] < 6 or true.get("grade") is None:
                continue
            out.append(
                {
                    "cluster": _cluster(r),
                    "scan": f"{r['case']}_{r['state']} {r['protocol']}",
                    "face": name,
                    "grade": figures["grade"],
                    "true_grade": true["grade"],
                    "true_mm": true["lucency_mm"],
                    "true_bridged_pct": true["bridged_pct"],
                    "limit_mm": figures["detection_limit_mm"],
                    "lucent": (figures["lucency_mm"] or 0.0) > 0.0,
                    "read": figures["bridged_pct"] is not None,
                }
            )
    return [i for i in out if i["read"]]


def grades(done: Readings) -> dict[str, Any]:
    """Agreement of the grades that were given with those by the truth; the others are counted."""
    items = face_items(done)
    given = [i for i in items if i["grade"] in GRADES]
    table = {f"{i['true_grade']} -> {i['grade']}": 0 for i in items}
    for i in items:
        table[f"{i['true_grade']} -> {i['grade']}"] += 1
    total = sum(len(r["faces"]) for r in done if r["months"] >= 6)
    return {
        "faces": total,
        "not_readable": total - len(items),
        "only_a_bound": len(items) - len(given),
        "graded": len(given),
        "kappa": clustered(given, kappa),
        "table": table,
    }


def kappa(items: Sequence[dict[str, Any]]) -> float:
    """Cohen's kappa with linear weights over :data:`GRADES` (DOI 10.1037/h0026256)."""
    size = len(GRADES)
    seen = np.zeros((size, size))
    for item in items:
        seen[GRADES.index(item["true_grade"]), GRADES.index(item["grade"])] += 1
    if seen.sum() == 0:
        return float("nan")
    seen /= seen.sum()
    weight = np.abs(np.arange(size)[:, None] - np.arange(size)[None]) / (size - 1)
    chance = seen.sum(1)[:, None] * seen.sum(0)[None]
    expected = float((weight * chance).sum())
    return 1.0 - float((weight * seen).sum()) / expected if expected > 0 else float("nan")


def wrong(done: Readings) -> list[str]:
    """Statements made with confidence that are not true."""
    said = []
    for item in face_items(done):
        where = f"{item['scan']} {item['face']}"
        # The printed limit belongs to the statement: a gap below it was never excluded.
        missed = item["limit_mm"] is None or item["true_mm"] >= item["limit_mm"]
        if item["grade"] in _FUSED and item["true_grade"] not in _FUSED and missed:
            said.append(
                f"{where}: grade {item['grade']}, true {item['true_grade']} ({item['true_mm']:.1f} mm)"
            )
        if item["grade"] == "contact" and missed:
            said.append(
                f"{where}: contact but for {item['limit_mm']:.1f} mm, true gap {item['true_mm']:.1f} mm"
            )
        if item["grade"] in _NOT_FUSED and item["true_grade"] in _FUSED:
            said.append(f"{where}: grade {item['grade']}, true {item['true_grade']}")
    for r in done:
        if r["motion"]["error_mm"] > 0.5 or r["motion"]["error_deg"] > 0.5:
            name = f"{r['case']}_{r['state']} {r['protocol']}"
            said.append(f"{name}: migration off by {r['motion']['error_mm']:.2f} mm, "
                        f"{r['motion']['error_deg']:.2f} deg")  # fmt: skip
    return said


def _cluster(r: dict[str, Any]) -> str:
    return f"{r['case']}_{r['state']}"


def _has(item: dict[str, Any], key: str) -> bool:
    return item.get(key) is not None and bool(np.isfinite(item[key]))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _median(values: list[float]) -> float | None:
    good = [v for v in values if np.isfinite(v)]
    return float(np.median(good)) if good else None
