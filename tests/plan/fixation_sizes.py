"""Sizes of an invented set for tests of the construct."""

from __future__ import annotations

from typing import Any

SOURCE = {"source": "invented for a test", "verified": False}
FIXATION: dict[str, Any] = {
    "levels": [],
    "missing_levels": "refuse",
    "head": {
        "diameter_mm": 10.0,
        "height_mm": 14.0,
        "saddle_mm": 8.0,
        "tilt_max_deg": 30.0,
        "slot_tilt_max_deg": 6.0,
        "proud_max_mm": 12.0,
        "recess_max_mm": 0.0,
        **SOURCE,
    },
    "rod": {
        "diameter_mm": 5.0,
        "bend_radius_min_mm": 20.0,
        "overhang_mm": 5.0,
        "bone_clearance_mm": 1.0,
        **SOURCE,
        "rods": [{"name": "one", "screws": ["a", "b"]}],
    },
    "connector": {"spacing_mm": 11.0, "length_mm": 10.0, "wall_mm": 1.5, **SOURCE},
    "roots": {"clearance_mm": 3.0, **SOURCE},
    "cables": [],
}
CABLE: dict[str, Any] = {
    "name": "c",
    "foramen": "S2",
    "lateral_mm": 20.0,
    "diameter_mm": 2.0,
    "bend_radius_min_mm": 6.0,
    "hole_diameter_mm": 3.0,
    "hole_wall_mm": 2.0,
    **SOURCE,
}
