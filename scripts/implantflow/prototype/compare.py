"""Difference between an iteration and its parent."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.geometry import FloatArray
from implantflow.solids.booleans import refined
from implantflow.solids.contact import weighted_percentile
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid

_SAMPLE_MM = 1.5
_UNCHANGED_MM = 0.01


def signed_change_mm(child: Solid, parent: Solid) -> FloatArray:
    """Distance (M,) in mm of each triangle centre of ``child`` to ``parent``, positive where it grew."""
    return Surface(parent).signed_distance_mm(child.centres_mm)


def difference_figures(child: Solid, parent: Solid) -> dict[str, Any]:
    """Hausdorff distance and the signed map in figures.

    Both surfaces are split to 1.5 mm edges; each sample's distance to the other surface is exact.
    """
    fine_child, fine_parent = refined(child, _SAMPLE_MM), refined(parent, _SAMPLE_MM)
    to_parent = Surface(parent).signed_distance_mm(fine_child.vertices)
    to_child = Surface(child).signed_distance_mm(fine_parent.vertices)
    change, area = signed_change_mm(fine_child, parent), fine_child.areas_mm2
    return {
        "hausdorff_to_parent_mm": float(max(np.abs(to_parent).max(), np.abs(to_child).max())),
        "volume_change_mm3": child.volume_mm3 - parent.volume_mm3,
        "signed_change_p5_mm": weighted_percentile(change, area, 5),
        "signed_change_p50_mm": weighted_percentile(change, area, 50),
        "signed_change_p95_mm": weighted_percentile(change, area, 95),
        "signed_change_min_mm": float(min(change.min(), -to_child.max())),
        "signed_change_max_mm": float(change.max()),
        "unchanged_area_pct": 100.0 * float(area[np.abs(change) <= _UNCHANGED_MM].sum() / area.sum()),
    }
