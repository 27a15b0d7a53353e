"""Pictures of the construct: which bones are drawn, and that every screw has a name that can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from implantflow.artifacts import write_json
from implantflow.report.figures import construct, screws
from implantflow.report.figures.base import Context
from implantflow.report.sources import CaseFiles
from implantflow.report.views import VIEWS, Camera
from implantflow.solids.mesh import write_solid
from implantflow.solids.shapes import box

PLAN = {
    "revision": "p1",
    "corridors": [
        {"name": "a_screw", "start_lps_mm": [10, 20, 30], "end_lps_mm": [10, -20, 30]},
        {"name": "b_screw", "start_lps_mm": [12, 20, 30], "end_lps_mm": [12, -20, 30]},
        {"name": "far", "start_lps_mm": [900, 20, 30], "end_lps_mm": [900, -20, 30]},
    ],
}


def context(case_dir: Path) -> Context:
    for folder in ("segment", "plan/p1"):
        (case_dir / folder).mkdir(parents=True, exist_ok=True)
    return Context(CaseFiles(case_dir, None), {"side": "left", "plan": PLAN}, "MADE UP")


def test_the_hip_that_stays_is_drawn_where_part_of_the_ilium_leaves(tmp_path: Path) -> None:
    made = context(tmp_path)
    for name, wide in (("hip_left", 40.0), ("hip_right", 30.0)):
        write_solid(tmp_path / f"segment/{name}.stl", box([0, 0, 0], [wide, 10, 10]), name)
    assert sorted(b.vertices[:, 0].max() for b in construct.bones_that_stay(made)) == [30.0, 40.0]
    write_solid(tmp_path / "plan/p1/remaining_hip.stl", box([0, 0, 0], [25, 10, 10]), "rest")
    again = context(tmp_path)
    assert sorted(b.vertices[:, 0].max() for b in construct.bones_that_stay(again)) == [25.0, 30.0]


def test_a_head_counts_where_it_sits_on_its_rod(tmp_path: Path) -> None:
    made = context(tmp_path)
    write_json(
        tmp_path / "plan/p1/construct.json",
        {"screws": [{"name": "a_screw", "saddle_lps_mm": [10, 29, 30]}]},
    )
    assert screws.heads(made)["a_screw"].tolist() == [10, 29, 30]
    assert screws.heads(made)["b_screw"].tolist() == [12, 20, 30]


def test_names_stand_apart_at_the_edge_that_is_nearer(tmp_path: Path) -> None:
    forward, up, markers = VIEWS["anterior"]
    camera = Camera(forward, up, (0.0, 0.0, 30.0), 0.5, 300, 120, markers)
    blank = np.full((120, 300, 3), 255, np.uint8)
    drawn = screws.named(blank, camera, screws.heads(context(tmp_path)), dark=False)
    ink = (drawn < 200).any(axis=2)
    # Both screws lie to the patient's left, so at the right of a picture from the front; `far` is not in it.
    assert ink[:, 170:].any() and not ink[:, :150].any()
    rows = screws._rows([59.0, 59.0, 59.0], 120)
    assert np.diff(rows).min() >= 16.0 and min(rows) >= 0.0 and max(rows) <= 120.0
    assert screws._rows([119.0, 119.0], 120)[1] <= 120 - 2 * 17


def test_crowded_names_stay_in_the_picture() -> None:
    rows = screws._rows([200.0] * 5, 220)
    assert rows == sorted(rows) and rows[-1] <= 220 - 2 * 17 and np.diff(rows).min() >= 16.0
