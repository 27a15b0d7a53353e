"""The package: complete, byte-identical where it copies, the same twice, and saying what it is."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from release_room import Room, pass_gates

from implantflow import artifacts
from implantflow.config.load import load
from implantflow.config.models import CaseConfig
from implantflow.config.site import SiteConfig
from implantflow.release.package import NAMES
from implantflow.review.statement import open_envelope

RULE = Path(__file__).parents[2] / "rules" / "release.smk"


def read(room: Room, name: str) -> str:
    return (room.case / "release" / name).read_text(encoding="utf-8")


def test_package_is_complete_and_its_list_true(room: Room) -> None:
    record = room.release()
    folder = room.case / "release"
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    listed = json.loads(read(room, "manifest.json"))["files"]
    assert {f["path"] for f in listed} == on_disk - {"manifest.json", "SHA256SUMS"}
    for entry in listed:
        data = (folder / entry["path"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry["sha256"], entry["size_bytes"])
    sums = [line.split("  ") for line in read(room, "SHA256SUMS").splitlines()]
    assert [(d, n) for d, n in sums] == [(f["sha256"], f["path"]) for f in listed]
    assert {f["path"] for f in record["files"]} == {f["path"] for f in listed} - {"release.json"}


def test_check_outside_its_limit_is_not_counted_as_passed(room: Room) -> None:
    def told(*outside: str) -> str:
        checks = [{"name": name, "pass": False, "severity": "warning"} for name in outside]
        checks.append({"name": "open_loops", "pass": True, "severity": "error"})
        room.change("build/r2/checks.json", checks=checks, warnings=list(outside))
        room.release_gate("r2")
        found = {c["check"]: c["result"] for c in room.release()["checks"]}
        assert f"<td>{found['build checks']}</td>" in read(room, "device_history.html")
        return found["build checks"]

    assert told() == "1 passed"
    assert told("dense_islands") == "1 passed, 1 outside as a warning: dense_islands"
    assert (
        told("dense_islands", "down_facing") == "1 passed, 2 outside as warnings: dense_islands, down_facing"
    )


def design_row(room: Room, step: str) -> str:
    """What the history says of one step of the design; the page says the same."""
    rows = {row["step"]: row["what"] for row in json.loads(read(room, "device_history.json"))["design"]}
    assert f"<td>{rows[step]}</td>" in read(room, "device_history.html")
    return str(rows[step])


def notes(room: Room) -> str:
    return " ".join(json.loads(read(room, "device_history.json"))["notes"])


def test_margin_is_told_with_the_saw_at_its_worst(room: Room) -> None:
    asked = "p1; bone margin 13.3 mm, at least 10 mm asked; "
    room.release()
    assert design_row(room, "plan") == f"{asked}11.2 mm with the saw at the worst of its tolerances"
    assert "margin" not in notes(room)
    room.change("plan/p1/plan.json", osteotomy_margin_worst_case_mm=9.7)
    pass_gates(room)
    room.release()
    worst = "9.7 mm with the saw at the worst of its tolerances, below what was asked"
    assert design_row(room, "plan") == asked + worst
    assert "the bone margin is below what was asked" in notes(room)
    room.change("plan/p1/plan.json", osteotomy_margin_worst_case_mm=None, osteotomy_margin_min_mm=None)
    pass_gates(room)
    room.release()
    assert design_row(room, "plan") == "p1; nothing is sawn, so no bone margin"


def test_strength_is_told_with_its_error_bars_and_what_is_assumed(room: Room) -> None:
    def release(**change: Any) -> None:
        room.change("strength/final/strength.json", **change)
        pass_gates(room)
        room.release()

    sure, assumed = {"verified": True}, {"verified": False}
    release(metal=sure, fatigue_dense=sure, fatigue_strut=sure, load_cases=[sure], supports=[sure])
    said = "safety factor 3.46 (stairs), 3.21 with the error bars of its grid, at least 1.5 asked"
    assert design_row(room, "strength") == said
    assert "strength check" not in notes(room)
    grid = {
        "error_bar_pct": {"max_von_mises_dense_mpa": 21.7, "max_strut_stress_mpa": 3.4},
        "not_converged": ["max_von_mises_dense_mpa"],
    }
    release(load_cases=[sure, assumed], supports=[assumed], grid_sensitivity=grid)
    assert "Not verified in the strength check: load cases, bone supports." in notes(room)
    told = "Not converged with the grid of the strength check: largest stress in dense metal ± 22 %."
    assert told in notes(room) and told in read(room, "device_history.html")
    extract = json.loads(read(room, "strength.json"))
    assert (extract["safety_factor_with_error_bar"], extract["grid_sensitivity"]) == (3.21, grid)
    release(metal=assumed)
    assert "Not verified in the strength check: material figures, load cases, bone supports." in notes(room)


def test_graded_lattice_is_told_with_its_range_and_its_worst_strut(room: Room) -> None:
    room.release()
    even = "diamond 2.5 mm, struts 0.67 mm, pore 1371 µm, throat 1054 µm; porosity 70.0 %, closed pores 0"
    assert design_row(room, "lattice") == even
    # The nominal strut is in the table, but the graded lattice does not have it.
    cells = {
        "0.670": {"porosity": 0.70, "pore_um": 1371.2, "throat_um": 1053.8},
        "0.550": {"porosity": 0.79, "pore_um": 1491.2, "throat_um": 1173.8},
        "0.650": {"porosity": 0.72, "pore_um": 1391.2, "throat_um": 1073.8},
    }
    room.change("lattice/lattice.json", strut_range_mm=[0.55, 0.65], by_strut=cells)
    pass_gates(room)
    room.release()
    graded = (
        "struts 0.55 to 0.65 mm (nominal 0.67), at worst (0.65 mm) pore 1391 µm, throat 1074 µm; porosity"
    )
    assert graded in design_row(room, "lattice")
    extract = json.loads(read(room, "lattice.json"))
    assert (extract["strut_range_mm"], extract["by_strut"]) == ([0.55, 0.65], cells)
    assert extract["worst_strut"] == {"strut_mm": 0.65, **cells["0.650"]}


def test_extracts_name_the_record_they_were_taken_from(room: Room) -> None:
    room.release()
    history = json.loads(read(room, "device_history.json"))
    named = {row["path"]: row["sha256"] for row in history["design"]}
    for name, source in (
        ("strength.json", "strength/final/strength.json"),
        ("lattice.json", "lattice/lattice.json"),
    ):
        extract = json.loads(read(room, name))
        assert (extract["source"], extract["source_sha256"]) == (source, room.sha256(source))
        assert named[source] == extract["source_sha256"], "the history names another file"
    assert named["lattice/field.json"] == room.sha256("lattice/field.json")
    said = "are those of files in the case folder"
    assert said in history["paths"] and said in read(room, "device_history.html")


def test_prototype_that_nobody_signed_for_is_called_so(room: Room) -> None:
    room.release()
    assert design_row(room, "approved prototype (unsigned)").startswith("rp2 from rp1")
    checks = {c["check"]: c["result"] for c in json.loads(read(room, "release.json"))["checks"]}
    assert "approved prototype (unsigned)" in checks["side"]


def test_signed_prototype_is_called_approved(clinical: Room) -> None:
    clinical.hand_in(clinical.filled())
    clinical.release()
    assert design_row(clinical, "approved prototype").startswith("rp2 from rp1")


def test_copies_are_byte_identical_and_of_the_released_revision(room: Room) -> None:
    room.release()
    for copy, original in {
        "implant.stl": "implant/implant.stl",
        "build/build.cli": "build/r2/build.cli",
        "build/build.json": "build/r2/build.json",
        "build/checks.json": "build/r2/checks.json",
        "build/themes.json": "build/r2/themes.json",
        "inspection/deviation.json": "inspect/r2/deviation.json",
        "inspection/deviation.png": "inspect/r2/deviation.png",
    }.items():
        assert (room.case / "release" / copy).read_bytes() == (room.case / original).read_bytes(), copy


def test_machined_part_is_in_the_package_and_in_its_history(room: Room) -> None:
    assert room.release()["machined"] is None
    assert sorted(p.name for p in (room.case / "release/inspection").iterdir()) == [
        "deviation.json",
        "deviation.png",
    ]
    room.machine()
    record = room.release()
    assert record["machined"] == "accepted"
    for name in ("machined.json", "machined.png"):
        packed = (room.case / "release/inspection" / name).read_bytes()
        assert packed == (room.case / "inspect/r2" / name).read_bytes()
    assert {"inspection/machined.json", "inspection/machined.png"} <= {f["path"] for f in record["files"]}
    check = next(c for c in record["checks"] if c["check"] == "machined part")
    assert check["result"] == "accepted after machining; to gauge: s1"
    gate = artifacts.read_json(room.case / "inspect/r2/gate.json")
    assert gate["subjects"]["inspect/r2/machined.json"] == room.sha256("inspect/r2/machined.json")
    page = read(room, "device_history.html")
    assert "plane +0.020 mm off, tilt 0.04°" in page and "17 % of its wall seen: to be gauged" in page
    assert "gauge them: s1" in page and page.count("data:image/png") == 2


def test_record_says_what_was_released(room: Room) -> None:
    record = room.release()
    assert (record["status"], record["revision"], record["side"], record["purpose"]) == (
        "done",
        "r2",
        "left",
        "demo",
    )
    assert record["complete"] is False and record["traveller"]["status"] == "open"
    assert (
        "powder lot" in record["traveller"]["missing"]
        and "Final inspection" in record["traveller"]["missing"]
    )
    assert [r["decision"] for r in record["revisions"]] == ["rejected", "accepted"]
    assert record["imaging"]["verdict"] == "within the limits"
    assert {i["name"]: i["age_days"] for i in record["imaging"]["images"]} == {
        "ct_planning": 26, "mr_preoperative": 28,
    }  # fmt: skip
    assert record["signatures"] == "4 of 4 open gates passed unsigned, by policy; 0 envelopes"


def test_same_case_gives_the_same_bytes(room: Room, tmp_path: Path) -> None:
    room.release()
    first = artifacts.sha256_path(room.case / "release")
    room.release()
    assert artifacts.sha256_path(room.case / "release") == first


def test_rule_declares_exactly_the_package(room: Room) -> None:
    body = RULE.read_text().split("rule release_case:")[1].split("log:")[0].split("output:")[1]
    declared = dict(re.findall(r'(\w+)=(?:directory\()?"results/\{case\}/release/([^"]+)"', body))
    assert declared == dict(NAMES)


def test_history_tells_why_r1_was_rejected_and_who_signed(clinical: Room) -> None:
    clinical.hand_in(clinical.filled())
    record = clinical.release()
    history = json.loads(read(clinical, "device_history.json"))
    first, second = history["revisions"]
    assert (first["id"], first["decision"], first["reasons"]) == (
        "r1", "rejected", ["scale error -0.62 %, limit 0.30 %"],
    )  # fmt: skip
    assert (second["id"], second["parent"], second["decision"]) == ("r2", "r1", "accepted")
    assert [g["gate"] for g in history["gates"]] == ["labels", "review", "design", "release", "release"]
    assert [g["item"] for g in history["gates"]][-2:] == ["r1", "r2"]
    assert history["gates"][-2]["decision"] == "rejected"
    signers = {r["name"] for r in history["gates"][-1]["reviewers"]}
    assert signers == {"Dr Surgeon", "Dr Quality"}
    page = read(clinical, "device_history.html")
    assert "scale error -0.62 %, limit 0.30 %" in page and "Dr Surgeon" in page and "scaled by 1.0063" in page
    assert record["signatures"] == "all 4 open gates signed; 8 envelopes"


def test_signatures_are_the_records_and_verify(clinical: Room) -> None:
    clinical.hand_in(clinical.filled())
    clinical.release()
    folder = clinical.case / "release" / "signatures"
    records = {p.name: p.read_bytes() for p in (clinical.case.parent / "reviews/demo").iterdir()}
    copies = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "gates.json"}
    assert {n: records[n] for n in copies} == copies and len(copies) == 8
    gates = json.loads((folder / "gates.json").read_text())["gates"]
    release = next(g for g in gates if g["path"] == "inspect/r2/gate.json")
    for name in release["envelopes"]:
        envelope = json.loads(copies[name])
        key = release["public_keys"][envelope["signatures"][0]["keyid"]]
        assert open_envelope(envelope, key).subjects == release["subjects"]


@pytest.mark.parametrize("name", ["traveller.html", "label.html", "label.svg", "device_history.html"])
def test_pages_say_side_purpose_and_simulated(room: Room, name: str) -> None:
    room.release()
    page = read(room, name)
    assert "NOT FOR CLINICAL USE · simulated patient and print" in page
    assert "patient’s left side" in page
    assert re.search(r">\s*(LEFT|left)\b", page)
    assert re.search(r"""(src|href)=["']?(https?:)?//""", page) is None


def test_virtual_tumour_in_a_real_person_is_said_everywhere(room: Room) -> None:
    room.settings["simulated"] = {"patient": False, "tumour": True, "print": True}
    said = "virtual tumour, simulated print"
    assert room.release()["simulated"] == said
    assert json.loads(read(room, "device_history.json"))["simulated"] == said
    for name in ("traveller.html", "label.html", "label.svg", "device_history.html"):
        assert f"NOT FOR CLINICAL USE · {said}" in read(room, name), name


@pytest.mark.parametrize(
    ("case", "simulated"),
    [
        ("demo", {"patient": True, "tumour": False, "print": True}),
        ("vhf", {"patient": False, "tumour": True, "print": True}),
    ],
)
def test_rule_tells_the_release_what_is_simulated(case: str, simulated: dict[str, bool]) -> None:
    body = "def release_settings" + RULE.read_text().split("def release_settings")[1].split("\n\n\n")[0]
    config = load(CaseConfig, RULE.parents[1] / f"config/cases/{case}.yaml")
    names: dict[str, Any] = {
        "CASES": {case: config},
        "SITE": load(SiteConfig, RULE.parents[1] / "config/site.yaml"),
        "section": lambda *_: lambda _: {},
    }
    exec(body, names)
    assert names["release_settings"](SimpleNamespace(case=case))["simulated"] == simulated


def test_clinical_pages_carry_no_mark(clinical: Room) -> None:
    clinical.hand_in(clinical.filled())
    record = clinical.release()
    assert record["complete"] is True and record["simulated"] is None
    for name in ("traveller.html", "label.svg", "device_history.html"):
        page = read(clinical, name)
        assert "NOT FOR CLINICAL USE" not in page and "imulated" not in page
    assert "Manufacturing record complete" in read(clinical, "label.svg")


def test_date_of_release_is_the_stated_one_and_says_so(room: Room) -> None:
    said = "date stated by the case config"
    assert room.release()["date_source"] == said
    assert json.loads(read(room, "device_history.json"))["date_source"] == said
    for name in ("label.svg", "label.html", "device_history.html"):
        page = read(room, name)
        assert page.index("2025-05-16") < page.index(said), name


def test_label_of_an_open_record_must_not_be_used(room: Room) -> None:
    room.release()
    assert "Manufacturing record OPEN: not to be used." in read(room, "label.svg")
    assert "UDI" not in read(room, "label.svg")
    room.settings["release"]["device"] = {
        **room.settings["release"]["device"], "udi": "(01)04012345000016(10)L-1", "name": "Implant <b>&</b>",
    }  # fmt: skip
    room.release()
    assert "(01)04012345000016(10)L-1" in read(room, "label.svg")
    assert "Implant &lt;b&gt;&amp;&lt;/b&gt;" in read(room, "label.svg")
    assert "<b>&</b>" not in read(room, "device_history.html")
