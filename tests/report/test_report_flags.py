"""What a reader must not miss is said: a margin below what was asked, a wide gap, limits that only warn."""

from __future__ import annotations

import pytest

from implantflow.report.flags import flags_of, why_done
from implantflow.report.rows import flatten, headline, shown


def test_a_margin_that_the_saw_may_break_is_said() -> None:
    plan = {"osteotomy_margin_min_mm": 15.6, "osteotomy_margin_worst_case_mm": 12.3, "margin_mm": 15.0}
    (flag,) = flags_of("plan", plan)
    assert "12.3 mm, below the 15 mm" in flag
    assert flags_of("plan", plan | {"osteotomy_margin_worst_case_mm": 15.0}) == []
    assert flags_of("plan", {"osteotomy_margin_min_mm": 15.6}) == []


def test_a_face_with_a_wider_gap_than_all_together_may_have_is_named() -> None:
    faces = {"midline": {"gap_p95_mm": 0.3}, "si_joint": {"gap_p95_mm": 3.23}, "caudal": {"gap_p95_mm": None}}
    faces["l5s1"] = {"gap_p95_mm": 14.15}  # across a disc space
    (flag,) = flags_of("implant", {"limits": {"gap_p95_mm": 2.5}, "faces": faces})
    assert "si_joint is 3.23 mm" in flag and "2.5 mm" in flag
    assert flags_of("implant", {"limits": {"gap_p95_mm": 3.5}, "faces": faces}) == []
    assert flags_of("implant", {"faces": faces}) == []


def test_why_a_stage_is_done_with_figures_outside() -> None:
    checks = [
        {"name": "a", "pass": True, "severity": "error"},
        {"name": "b", "pass": False, "severity": "warning"},
    ]
    build = {"revisions": [{"checks": {"checks": checks}}]}
    assert why_done("build", build) == ", as warnings"
    checks[1]["severity"] = "error"
    assert why_done("build", build) == ""
    prints = [{"decision": "rejected", "reasons": ["too small"]}, {"decision": "accepted", "reasons": []}]
    assert why_done("inspect", {"revisions": prints}) == ", of prints before"
    assert why_done("inspect", {"revisions": prints[::-1]}) == ""


def test_an_approval_that_nobody_signed_is_called_so() -> None:
    iterations = [
        {"id": "rp1", "decision": "superseded"},
        {"id": "rp2", "decision": "auto-approved (demo, unsigned)"},
    ]
    assert headline("prototype", {"approved": "rp2", "iterations": iterations}) == "approved: rp2 · unsigned"
    iterations[1]["decision"] = "approved"
    assert headline("prototype", {"approved": "rp2", "iterations": iterations}) == "approved: rp2"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(7.5e-5, 2, "< 0.01"), (-1e-6, 4, "> −0.0001"), (0.0, 2, "0.00"), (0.006, 2, "0.01"), (0.3, 0, "< 1")],
)
def test_a_figure_below_its_last_digit_shows_no_more_digits(value: float, digits: int, text: str) -> None:
    assert shown(value, digits) == text


def test_counts_in_the_fold_out_table_stay_whole() -> None:
    assert flatten({"n_slices": 262, "rms_mm": 0.25}) == [("n_slices", "262"), ("rms_mm", "0.2500")]
    assert flatten({"shape": [3, 4], "shut": True}) == [("shape", "3, 4"), ("shut", "yes")]


def test_an_interval_in_the_summary_is_no_size() -> None:
    lattice = {"delta_bone_fraction": 0.08, "interval": [-0.06, 0.33]}
    line = headline("followup", {"timepoints": [{"migration_mm": 1.1, "lattice": lattice}]})
    assert line.endswith("bone in the pores 0.08 · its 95 % interval −0.06 to 0.33")
