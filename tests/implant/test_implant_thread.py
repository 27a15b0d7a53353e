"""The thread of the S1 hole: the table, the wall round it, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from synthetic_pelvis import IMPLANT, implant_job

from implantflow.artifacts import read_json
from implantflow.config.implant import HoleThread
from implantflow.config.threads import THREADS
from implantflow.errors import QualityGateError
from implantflow.implant.stage import design_implant
from implantflow.implant.thread import thread_figures
from implantflow.solids.booleans import difference
from implantflow.solids.shapes import box, cylinder


def test_core_diameters_are_those_of_the_standards_formulas() -> None:
    for name, thread in THREADS.items():
        pitch = thread.pitch_mm
        assert name == f"M{thread.diameter_mm:g}"
        assert thread.core_min_mm == pytest.approx(thread.diameter_mm - 1.0825318 * pitch, abs=6e-4)
        # ISO 965-1, grade 6, in micrometres; the tables round it to preferred numbers.
        grade = 433.0 * pitch - 190.0 * pitch**1.22 if pitch <= 0.8 else 230.0 * pitch**0.7
        assert 1000.0 * (thread.core_max_mm - thread.core_min_mm) == pytest.approx(grade, abs=8.0)


HOLE = {"name": "s1", "start_lps_mm": [10, 10, 40], "end_lps_mm": [10, 10, 8], "boss_diameter_mm": 12.0}


def _figures(diameter: float, **asked: Any) -> dict[str, Any]:
    """Figures in a block 20 x 20 x 30 mm with a blind hole 22 mm deep."""
    part = difference(box([0, 0, 0], [20, 20, 30]), cylinder([10, 10, 40], [10, 10, 8], diameter))
    thread = {"size": "M8", "wall_min_mm": 1.5, "engagement_min_mm": 10.0, **asked}
    return thread_figures(part, {**HOLE, "diameter_mm": diameter}, HoleThread.model_validate(thread))


def test_engagement_is_the_length_with_metal_all_round() -> None:
    found = _figures(6.8)
    assert found["engagement_mm"] == pytest.approx(22.0, abs=0.5)
    assert found["boss_wall_mm"] == 2.0
    assert found["core_diameter_mm"] == [6.647, 6.912]


@pytest.mark.parametrize(
    ("diameter", "asked", "message"),
    [
        (6.5, {}, r"6\.5 mm wide, the core of M8 is 6\.647 to 6\.912"),
        (6.8, {"wall_min_mm": 2.5}, "leaves 2 mm of dense metal"),
        (6.8, {"engagement_min_mm": 25.0}, r"over 22\.0 mm of the hole|over 21\.\d+ mm of the hole"),
        (10.2, {"size": "M12"}, "leaves 0 mm of dense metal"),
    ],
)
def test_what_cannot_be_tapped_is_refused(diameter: float, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(QualityGateError, match=message):
        _figures(diameter, **asked)


def test_the_design_says_what_is_tapped(bones: Path, plan: Path, rp2: Path, tmp_path: Path) -> None:
    settings = copy.deepcopy(IMPLANT)
    settings["screw_hole"]["thread"] = {"size": "M7", "wall_min_mm": 1.5, "engagement_min_mm": 8.0}
    design_implant(implant_job(bones, plan, rp2, tmp_path, settings))
    thread = read_json(tmp_path / "implant.json")["thread"]
    assert thread["hole"] == "s1" and thread["size"] == "M7"
    assert thread["engagement_mm"] >= 8.0
    settings["screw_hole"]["thread"]["size"] = "M8"
    (tmp_path / "other").mkdir()
    with pytest.raises(QualityGateError, match="no M8 can be cut into the hole s1"):
        design_implant(implant_job(bones, plan, rp2, tmp_path / "other", settings))
