"""faces.csv: one row a face and band, outward into the bone and inward into the lattice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from implantflow.artifacts import temporary
from implantflow.followup.faces import Face
from implantflow.followup.profile import STEPS_MM, Profiles

OUTWARD_MM = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 6.0))
COLUMNS = (
    "face",
    "direction",
    "from_mm",
    "to_mm",
    "area_mm2",
    "hu",
    "baseline_hu",
    "delta_hu",
    "planning_hu",
    "metal_share",
    "delta_bone_fraction",
    "interval_low",
    "interval_high",
    "status",
)


def outward_rows(face: Face, now: Profiles, base: Profiles | None) -> list[dict[str, Any]]:
    """Area-weighted mean HU of a face's surroundings per band of distance."""
    weight = face.lines.patch_areas
    rows = []
    for low, high in OUTWARD_MM:
        steps = (low <= STEPS_MM) & (high >= STEPS_MM)

        def mean(values: Any, steps: Any = steps) -> float:
            inner = values[:, steps].mean(axis=1)
            good = np.isfinite(inner)
            return (
                float((inner[good] * weight[good]).sum() / weight[good].sum()) if good.any() else float("nan")
            )

        hu = mean(now.hu)
        before = float("nan") if base is None else mean(base.hu)
        rows.append(
            {
                "face": face.name,
                "direction": "outward",
                "from_mm": low,
                "to_mm": high,
                "area_mm2": face.area_mm2,
                "hu": hu,
                "baseline_hu": before,
                "delta_hu": hu - before,
                "planning_hu": mean(now.before),
                "metal_share": mean(now.metal),
                "status": "read",
            }
        )
    return rows


def inward_rows(face: Face, bands: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Change in the lattice below a face per band of depth."""
    rows = []
    for band in bands:
        low, high = band["interval"] or (None, None)
        rows.append(
            {
                "face": face.name,
                "direction": "inward",
                "from_mm": band["from_mm"],
                "to_mm": band["to_mm"],
                "area_mm2": face.area_mm2,
                "hu": band.get("mean_hu"),
                "baseline_hu": band.get("baseline_mean_hu"),
                "delta_hu": band["delta_hu"],
                "delta_bone_fraction": band["delta_bone_fraction"],
                "interval_low": low,
                "interval_high": high,
                "status": band["status"],
            }
        )
    return rows


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows with fixed columns and figures rounded to 1e-4."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [c for c in COLUMNS if c not in ("face", "direction", "status")]
    frame[numbers] = frame[numbers].astype(float).round(4) + 0.0
    with temporary(path) as tmp:
        frame.to_csv(tmp, index=False, lineterminator="\n")
