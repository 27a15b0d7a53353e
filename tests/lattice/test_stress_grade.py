"""Struts graded by stress: never thinner than asked, smooth over the stated length, in the patient's frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from implantflow.config.lattice import LatticeConfig, StressGradingConfig
from implantflow.errors import GeometryError
from implantflow.field.make import make_field
from implantflow.field.shaping import Filling
from implantflow.geometry import transform_points
from implantflow.lattice.stress_grade import porous_shares, smoothed, stress_grading

CONFIG = StressGradingConfig(strut_min_mm=0.5, strut_max_mm=0.8, low_mpa=20.0, high_mpa=80.0, over_mm=6.0)
VOXEL_MM = 2.5
CORNERS = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float) * [20, 20, 30]
FACES = np.array(
    [
        [0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4],
        [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5],
    ]
)  # fmt: skip


def _view(stress: np.ndarray) -> dict[str, Any]:
    return {
        "strut_all_cases_mpa": stress.astype(np.float32),
        "origin_mm": np.zeros(3),
        "spacing_mm": np.full(3, VOXEL_MM),
        "patient_from_grid": np.eye(4),
    }


def _spot() -> np.ndarray:
    """10 MPa all over a block of 20 x 20 x 30 mm, 100 MPa in one voxel near its top, none in a dense corner."""
    stress = np.full((12, 8, 8), 10.0)
    stress[9, 4, 4] = 100.0
    stress[:3, :3, :3] = 0.0
    return stress


def test_smoothed_is_never_less_and_changes_no_faster_than_stated() -> None:
    asked = np.random.default_rng(5).uniform(0.5, 0.8, (14, 12, 10))
    for width in (1.0, 1.6, 2.4, 5.0):
        out = smoothed(asked, width)
        assert (out >= asked - 1e-12).all()
        steepest = max(np.abs(np.diff(out, axis=axis)).max() for axis in range(3))
        assert steepest <= 0.3 / width + 1e-12


@pytest.mark.parametrize("turned", [False, True])
def test_struts_are_thick_where_the_stress_is_in_any_orientation(turned: bool) -> None:
    matrix = np.eye(4)
    if turned:
        matrix[:3, :3] = np.eye(3)[[2, 0, 1]]
        matrix[:3, 3] = [5.0, 40.0, -3.0]
    filling = Filling("diamond", 2.5, 0.6, grading=stress_grading(CONFIG, _view(_spot()), matrix))
    field = make_field(CORNERS, FACES, {}, matrix, filling, 2.5, 0.6, 0.5)

    def strut(*place_lps: float) -> float:
        return float(field.strut_value(transform_points(matrix, np.array([place_lps])))[0])

    for corner in (10.1, 12.4):
        assert strut(corner, 11.25, 23.75) == pytest.approx(0.8, abs=1e-3)
    assert strut(11.25, 11.25, 3.0) == pytest.approx(0.5, abs=1e-3)
    # The dense corner has no stress of struts; it takes what its neighbours have.
    assert strut(2.0, 2.0, 2.0) == pytest.approx(0.5, abs=1e-3)
    along = [strut(11.25, 11.25, z) for z in np.arange(8.0, 24.0, 0.5)]
    assert along == sorted(along)
    assert max(np.diff(along)) <= 0.3 / 6.0 * 0.5 + 1e-3
    shares = porous_shares(field)
    assert sum(shares["share_of_porous_volume"].values()) == pytest.approx(1.0)
    assert shares["strut_mm"]["p5"] == pytest.approx(0.5, abs=1e-3)
    assert shares["strut_mm"]["p95"] > 0.6


def test_nothing_to_grade_is_refused() -> None:
    with pytest.raises(GeometryError, match="no stressed lattice"):
        stress_grading(CONFIG, _view(np.zeros((4, 4, 4))), np.eye(4))


def test_config_has_no_defaults_and_one_grading() -> None:
    stated = CONFIG.model_dump()
    for key in stated:
        with pytest.raises(ValidationError, match=key):
            StressGradingConfig.model_validate({k: v for k, v in stated.items() if k != key})
    with pytest.raises(ValidationError, match="smaller"):
        StressGradingConfig.model_validate({**stated, "strut_min_mm": 0.9})
    limits = {
        "porosity_min": 0.6,
        "porosity_max": 0.86,
        "pore_min_um": 500,
        "throat_min_um": 500,
        "strut_min_mm": 0.4,
        "closed_pores_max": 0,
        "loose_islands_max": 0,
    }
    both = {"grading": {"near_mm": 0.5, "far_mm": 0.6, "over_mm": 3.0}, "stress_grading": stated}
    with pytest.raises(ValidationError, match="either grading or stress_grading"):
        LatticeConfig.model_validate(
            {"cell": "diamond", "cell_mm": 2.5, "strut_mm": 0.6, "limits": limits, **both}
        )
