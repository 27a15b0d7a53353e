"""Comparison with the truth: known errors are found, and without a truth nothing but this file changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_fabricated as made

from implantflow.artifacts import write_json, write_stl
from implantflow.geometry import Plane
from implantflow.jobs import Job
from implantflow.report import compare_geometry, compare_outcome
from implantflow.report.compare import compare, compare_truth
from implantflow.report.listings_shown import LISTINGS
from implantflow.report.rows import listing_rows
from implantflow.volumes import Volume, read_volume, write_volume


def write_truth(case_dir: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    figures: dict[str, Any] = {
        "segment.labels.sacrum.volume_mm3": 2.0e5,
        "tumour.timepoints.diagnosis.axes_mm": [34.0, 50.0, 46.0],
        "tumour.timepoints.later.volume_mm3": 1000.0,
        "plan.side": "left",
    }
    plane = Plane.of((1.0, 30.0, -40.0), (1.0, 0.0, 0.0)).as_json()
    folder = folder / "patient"
    folder.mkdir(exist_ok=True)
    write_json(folder / "truth.json", {"figures": figures, "midline_plane": plane})
    labels = read_volume(case_dir / "segment/labels.nii.gz")
    write_volume(folder / "labels.nii.gz", labels)
    mask = read_volume(case_dir / "tumour/diagnosis_mask.nii.gz")
    shifted = np.roll(mask.array, 1, axis=2)
    write_volume(folder / "tumour_diagnosis.nii.gz", Volume(shifted, mask.affine_lps))
    centre, radii = made.BONES["sacrum"]
    write_stl(folder / "sacrum.stl", *made.ellipsoid(centre, np.array(radii) + 1.0), "truth, patient LPS mm")


def job_of(case_dir: Path, truth: Path) -> Job:
    return Job(
        rule="compare_truth",
        case_dir=case_dir,
        wildcards={"case": "made_up"},
        inputs={"case_json": case_dir / "report/case.json"},
        outputs={"comparison": case_dir / "c.json", "script": case_dir / "c.js"},
        settings={"truth": str(truth), "simulated": True},
        function="implantflow.report.compare:compare_truth",
        code_digest="",
    )


def test_known_errors_are_found(rendered_case: Path, tmp_path: Path) -> None:
    write_truth(rendered_case, tmp_path / "truth")
    found = compare(rendered_case, made.case_json(rendered_case), tmp_path / "truth")["figures"]
    sacrum = found["segment.labels.sacrum.volume_mm3"]
    assert sacrum["error_pct"] == pytest.approx(5.0)
    assert sacrum["text"] == "200.0 cm³ (+5.0 %)"
    assert found["tumour.timepoints.diagnosis.axes_mm"]["error_abs"] == pytest.approx([0.0, 1.0, 0.0])
    assert found["tumour.timepoints.later.volume_mm3"]["value"] is None
    assert found["plan.side"]["shown_error"] == "agrees"
    plane = found["plan.midline_plane"]
    assert plane["angle_deg"] == pytest.approx(0.0, abs=1e-6)
    assert plane["offset_mm"] == pytest.approx(1.0)
    assert plane["max_mm"] == pytest.approx(1.0)
    assert found["segment.labels.sacrum.dice"]["dice"] == pytest.approx(1.0)
    assert 0.5 < found["tumour.timepoints.diagnosis.dice"]["dice"] < 0.95
    # 1 mm at the corners of these coarse ellipsoids, less between their faces.
    assert 0.85 < found["segment.labels.sacrum.surface"]["mean_mm"] < 1.0


def test_machined_part_stands_beside_what_the_workshop_cut(tmp_path: Path) -> None:
    truth = {
        "faces": {"midline": {"left_mm": 0.03, "tilt_deg": 0.03}},
        "bores": {"s1": {"diameter_mm": 6.52}, "s2": {"diameter_mm": 6.52}},
    }
    write_json(tmp_path / "machined_r2.json", truth)
    cut = [
        {"name": "midline", "shift_mm": -0.02, "tilt_deg": 0.04},
        {"name": "s1", "diameter_mm": 6.55},
        {"name": "s2", "diameter_mm": None},
    ]
    revisions = [{"id": "r1"}, {"id": "r2", "machined": {"cut": cut}}]
    inspected = {"inspect": {"revisions": revisions}}
    found = compare_outcome.machined(inspected, tmp_path)
    key = "inspect.revisions.r2.machined.cut."
    assert found[key + "midline.shift_mm"]["text"] == "0.030 mm (−0.050 mm)"
    assert found[key + "midline.tilt_deg"]["error_abs"] == pytest.approx(0.01)
    assert found[key + "s1.diameter_mm"]["error_abs"] == pytest.approx(0.03)
    assert found[key + "s2.diameter_mm"]["text"] == "6.520 mm (not measured)"
    assert len(found) == 4
    # The page looks a truth up by the same name, though its list shows the last print, whichever that is.
    listing = next(entry for entry in LISTINGS["inspect"] if "machined" in entry.key)
    lines = listing_rows(listing, "inspect", inspected["inspect"], {})[1]
    assert {cell.truth_key for line in lines for cell in line} >= set(found)


def test_without_truth_it_says_so(rendered_case: Path, tmp_path: Path) -> None:
    before = (rendered_case / "report/index.html").read_bytes()
    job = job_of(rendered_case, tmp_path / "gone")
    compare_truth(job)
    written = json.loads(job.outputs["comparison"].read_text(encoding="utf-8"))
    assert written["available"] is False
    assert "truth not available" in written["note"]
    assert job.outputs["script"].read_text(encoding="utf-8").startswith("window.implantflowComparison = {")
    assert (rendered_case / "report/index.html").read_bytes() == before


def test_plane_error_counts_neither_side_nor_place_within_the_plane() -> None:
    truth = Plane.of((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    found = Plane.of((0.0, 50.0, -30.0), (-np.cos(np.radians(2.0)), 0.0, np.sin(np.radians(2.0))))
    error = compare_geometry.plane_error(found, truth, [(0.0, 0.0, -30.0), (0.0, 0.0, 70.0)])
    assert error["angle_deg"] == pytest.approx(2.0)
    assert error["offset_mm"] == pytest.approx(0.0, abs=1e-9)
    assert error["max_mm"] == pytest.approx(100.0 * np.sin(np.radians(2.0)))


def test_registration_error_of_a_shift_is_the_shift() -> None:
    truth, found = np.eye(4), np.eye(4)
    found[:3, 3] = (0.0, 3.0, 4.0)
    assert compare_geometry.registration_error(found, truth, (10.0, 0.0, 0.0), 50.0) == pytest.approx(5.0)


def test_labels_of_another_grid_are_looked_up() -> None:
    fine = np.zeros((20, 20, 20), np.uint8)
    fine[4:16, 4:16, 4:16] = 1
    volume = Volume(fine, np.diag([1.0, 1.0, 1.0, 1.0]))
    coarse = np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] = 0.4
    on_grid = compare_geometry.on_grid(volume, Volume(np.zeros((10, 10, 10), np.uint8), coarse))
    assert on_grid.sum() == 6**3
    assert on_grid[2, 2, 2] == 1
    assert on_grid[1, 2, 2] == 0


def test_second_reading_stands_beside_the_first_in_the_listing() -> None:
    """Both readings of a face in one line, under a title that says what the second was made of."""
    listing = next(entry for entry in LISTINGS["followup"] if "second_reading" in entry.key)
    assert "not the scanner's data" in listing.title
    reading = {"lucency": "gap", "lucency_mm": 1.2, "detection_limit_mm": 1.5}
    face = {
        "original": reading,
        "reduced": reading | {"lucency": "not readable"},
        "agree": None,
        "said": "not comparable",
    }
    asked = {"timepoints": [{"name": "m12", "second_reading": {"faces": {"midline": face}}}]}
    heads, lines = listing_rows(listing, "followup", asked, {})
    shown = dict(zip(heads, (cell.text for cell in lines[0]), strict=True))
    assert shown["Face"] == "midline" and shown["Original"] == "gap"
    assert shown["Reduced image"] == "not readable" and shown["Lucency, mm"] == "1.2"
    assert (
        listing_rows(listing, "followup", {"timepoints": [{"name": "m12", "second_reading": None}]}, {})[1]
        == []
    )
