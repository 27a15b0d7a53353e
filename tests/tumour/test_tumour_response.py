"""RECIST 1.1, WHO, and the checker of reported figures; both errors of the published case are flagged."""

from __future__ import annotations

import numpy as np
import pytest

from implantflow.config.tumour import ReportedFigures
from implantflow.tumour.reported_figures import check_reported, reproducing_formulas
from implantflow.tumour.response import recist, response, who


@pytest.mark.parametrize(
    ("diameters", "change", "category"),
    [
        ([50, 44], -12, "SD"),
        ([50, 35], -30, "PR"),
        ([50, 35.1], -29.8, "SD"),
        ([50, 0], -100, "CR"),
        ([50, 60], 20, "PD"),
        ([20, 24.5], 22.5, "SD"),
        ([50, 30, 37], -26, "PD"),
    ],
)
def test_recist(diameters: list[float], change: float, category: str) -> None:
    """The 20 % count from the nadir and need 5 mm; 20 -> 24.5 mm is no progression yet."""
    found, name = recist(diameters)
    assert found == pytest.approx(change) and name == category


@pytest.mark.parametrize(
    ("products", "category"),
    [
        ([2350, 1848], "SD"),
        ([2000, 1000], "PR"),
        ([2000, 2500], "PD"),
        ([2000, 0], "CR"),
        ([2000, 1001], "SD"),
    ],
)
def test_who(products: list[float], category: str) -> None:
    assert who(products)[1] == category


def test_response_of_measured_time_points() -> None:
    found = response(
        [
            {"name": "diagnosis", "volume_mm3": 40000.0, "axes_mm": [47.0, 34.0, 50.0]},
            {"name": "preoperative", "volume_mm3": 30000.0, "axes_mm": [42.0, 32.0, 44.0]},
        ]
    )
    assert found["volume_change_pct"] == pytest.approx(-25)
    assert found["recist_change_pct"] == pytest.approx(100 * (42 / 47 - 1)) and found["recist"] == "SD"
    assert found["who_change_pct"] == pytest.approx(100 * (42 * 32 / (47 * 34) - 1)) and found["who"] == "SD"
    assert "osteosarcoma" in found["note"]


def test_one_time_point_gives_no_response() -> None:
    found = response([{"name": "virtual", "volume_mm3": 1.0, "axes_mm": [1, 1, 1]}])
    assert found["recist"] is None and found["volume_change_pct"] is None and found["reason"]


PUBLISHED = [
    ReportedFigures(name="diagnosis", axes_cm=(3.4, 4.7, 5.0), volume_cm3=362),
    ReportedFigures(name="preoperative", axes_cm=(4.4, 3.2, 4.2), volume_cm3=248, change_pct=-32),
]


def test_errors_of_the_published_case_are_flagged() -> None:
    entries, flags = check_reported(PUBLISHED, 0.05, 0.5)
    assert entries[0]["reproduced_by"] is None
    assert entries[1]["reproduced_by"] == "diameters_as_semi_axes"
    assert entries[0]["formulas_cm3"]["diameters_as_semi_axes"] == pytest.approx(334.7, abs=0.05)
    assert entries[0]["formulas_cm3"]["ellipsoid"] == pytest.approx(41.8, abs=0.05)
    assert entries[1]["formulas_cm3"]["ellipsoid"] == pytest.approx(31.0, abs=0.05)
    assert entries[1]["change_from_axes_pct"] == pytest.approx(-26.0, abs=0.05)
    assert entries[1]["change_from_volumes_pct"] == pytest.approx(-31.5, abs=0.05)
    assert entries[1]["recist_change_pct"] == pytest.approx(-12) and entries[1]["recist"] == "SD"
    assert entries[1]["who_change_pct"] == pytest.approx(-21.4, abs=0.05) and entries[1]["who"] == "SD"
    assert len(flags) == 3
    assert "362 cm3" in flags[0] and "no formula" in flags[0] and "334.7" in flags[0]
    assert "248 cm3" in flags[1] and "semi-axes" in flags[1] and "31.0 cm3" in flags[1]
    assert "-32 %" in flags[2] and "-26.0 %" in flags[2] and "-31.5 %" in flags[2]


def test_figures_that_hold_are_not_flagged() -> None:
    good = [
        ReportedFigures(name="a", axes_cm=(3.4, 4.7, 5.0), volume_cm3=42),
        ReportedFigures(name="b", axes_cm=(4.4, 3.2, 4.2), volume_cm3=31, change_pct=-26),
    ]
    entries, flags = check_reported(good, 0.05, 0.5)
    assert flags == [] and [e["reproduced_by"] for e in entries] == ["ellipsoid", "ellipsoid"]


def test_rounding_decides_what_fits() -> None:
    volume = np.pi / 6 * 3.4 * 4.7 * 5.0
    assert reproducing_formulas((3.4, 4.7, 5.0), volume + 0.6, 0.0, 0.5) == []
    assert reproducing_formulas((3.4, 4.7, 5.0), volume + 0.6, 0.05, 0.5)[0].code == "ellipsoid"


def test_no_reported_figures_no_flags() -> None:
    assert check_reported([], 0.05, 0.5) == ([], [])
