"""From the scan of a machined part to the verdict on its milled face and its bore, against the simulated workshop."""

from __future__ import annotations

import numpy as np
import pytest
from print_bench import Bench  # type: ignore[import-not-found]

from implantflow.artifacts import read_json
from implantflow.errors import InputError
from implantflow.inspect.machined import BORE_SEEN_MIN_PCT, Placed, bore_figures
from implantflow.inspect.regions import Hole


def test_a_well_machined_part_is_accepted(stocked: Bench) -> None:
    scan = stocked.machine("good", "r1", face_error_mm=0.04, face_tilt_deg=0.1, bore_error_mm=0.03)
    found = stocked.inspect_machined("r1", scan)
    assert (found["verdict"], found["decision"], found["reasons"]) == ("within", "accepted", [])
    face = found["faces"]["midline"]
    # The bow, 0.08 mm on this small part, is in the pose by the surfaces as built.
    assert face["shift_mm"] == pytest.approx(0.04, abs=0.05)
    assert face["tilt_deg"] == pytest.approx(0.1, abs=0.12)
    assert face["flat_p95_mm"] < 0.08
    bore = found["bores"]["s1"]
    assert bore["design_diameter_mm"] == 4.0
    assert (bore["diameter_mm"] is None) == (found["bores_to_gauge"] == ["s1"])


def test_a_ct_measures_the_bore_that_a_scanner_leaves_to_a_gauge(stocked: Bench) -> None:
    scan = stocked.machine("ct", "r1", "ct", face_error_mm=0.04, face_tilt_deg=0.1, bore_error_mm=0.03)
    found = stocked.inspect_machined("r1", stocked.ingest(scan), "ct")
    assert (found["kind"], found["decision"], found["bores_to_gauge"]) == ("ct", "accepted", [])
    # Its blur shortens the strut ends of the porous sides: taken for the sides themselves, they pull by 0.13 mm.
    assert found["faces"]["midline"]["shift_mm"] == pytest.approx(0.04, abs=0.03)
    bore, truth = found["bores"]["s1"], read_json(scan.with_suffix(".json"))["bores"]["s1"]
    assert truth["diameter_mm"] == pytest.approx(4.03)
    assert bore["seen_pct"] > 90.0
    assert bore["diameter_mm"] == pytest.approx(truth["diameter_mm"], abs=0.04)
    assert bore["axis_error_mm"] < 0.05
    # Stock left in the bore is 0.5 mm all round: a part that was never bored is told by its diameter.
    unbored = stocked.inspect_machined("r1", stocked.ingest(stocked.print("r1", "ct")), "ct")
    assert unbored["decision"] == "rejected"
    assert any("bore s1: its diameter is off by -1.0" in reason for reason in unbored["reasons"])


@pytest.mark.requirement("print-inspected")
def test_stock_that_was_left_and_a_mill_too_deep_are_rejected(stocked: Bench) -> None:
    stock_left = stocked.inspect_machined("r1", stocked.print("r1", "surface"))
    assert stock_left["decision"] == "rejected"
    assert stock_left["faces"]["midline"]["shift_mm"] == pytest.approx(0.5, abs=0.1)
    assert "0.5 mm of stock were printed" in stock_left["reasons"][0]
    scan = stocked.machine("deep", "r1", face_error_mm=-0.3, face_tilt_deg=0.0, bore_error_mm=0.0)
    deep = stocked.inspect_machined("r1", scan)
    assert deep["decision"] == "rejected"
    assert deep["faces"]["midline"]["shift_mm"] == pytest.approx(-0.3, abs=0.05)


def test_a_design_without_stock_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="no machining stock"):
        bench.inspect_machined("r1", bench.folder)


def _wall(radius: float, shift: float, turns: float, noise: float = 0.01) -> Placed:
    """Points on ``turns`` of a bore's wall along z, 20 mm long, its axis shifted along x."""
    rng = np.random.default_rng(3)
    angle, z = rng.uniform(0.0, 2.0 * np.pi * turns, 4000), rng.uniform(0.0, 20.0, 4000)
    out = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(4000)])
    points = (radius + rng.normal(0.0, noise, 4000))[:, None] * out
    points += np.column_stack([np.full(4000, shift), np.zeros(4000), z])
    return Placed(points, -out, np.ones(4000))


def test_bore_is_measured_or_left_to_a_gauge() -> None:
    hole = Hole("s1", np.array([[0.0, 0.0, -5.0], [0.0, 0.0, 20.0]]), 3.0)
    design = _wall(3.0, 0.0, 1.0, 0.0).points_mm
    found = bore_figures(_wall(3.1, 0.07, 1.0), hole, design)
    assert found["diameter_mm"] == pytest.approx(6.2, abs=0.005)
    assert found["axis_error_mm"] == pytest.approx(0.07, abs=0.005)
    assert found["seen_pct"] > 95
    half = bore_figures(_wall(2.9, 0.0, 0.5), hole, design)
    assert half["diameter_error_mm"] == pytest.approx(-0.2, abs=0.02)
    blind = bore_figures(_wall(3.1, 0.0, 0.25), hole, design)
    assert blind["diameter_mm"] is None and blind["seen_pct"] < BORE_SEEN_MIN_PCT
