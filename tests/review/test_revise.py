"""`--decision revise --corrections`: the next iteration is written into the case config, or nothing is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from review_room import Room

from implantflow.audit import ledger
from implantflow.config.load import load
from implantflow.config.models import CaseConfig
from implantflow.errors import ConfigError, ReviewError
from implantflow.review.revise import next_iteration

ROOT = Path(__file__).parents[2]
ASKED: dict[str, Any] = {
    "corrections": [
        {
            "kind": "offset_face",
            "face": "si_joint",
            "distance_mm": 0.4,
            "blend_mm": 3.0,
            "reason": "gap: too wide",
        },
        {"kind": "resize_hole", "name": "s1", "diameter_mm": 7.0, "reason": "the screw binds"},
    ],
    "questions": ["Is it right now?"],
}


@pytest.fixture
def case_file(room: Room) -> Path:
    path = Path("config/cases/demo.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "config/cases/demo.yaml", path)
    return path


def asked(**change: Any) -> Path:
    path = Path("asked.yaml")
    path.write_text(yaml.safe_dump({**ASKED, **change}))
    return path


def test_revise_writes_the_next_iteration(room: Room, case_file: Path) -> None:
    room.write_iteration("demo", "rp3", "demo rp3")
    before = case_file.read_text()
    room.sign("anna", "revise", item="rp3", reason="gap", corrections=asked())
    after = case_file.read_text()
    case = load(CaseConfig, case_file)
    new = case.prototype.iterations[-1]
    assert (new.id, new.parent, new.plan) == ("rp4", "rp3", "p2")
    assert [c.kind for c in new.corrections] == ["offset_face", "resize_hole"]
    assert new.corrections[0].reason == "gap: too wide" and new.questions == ["Is it right now?"]
    assert case.prototype.approved == "rp4", "the iteration that was sent back goes no further"
    old, rest = before.split("\n"), iter(after.split("\n"))
    assert all(line in rest for line in old if line != "  approved: rp3"), (
        "every other line stays, in its order"
    )
    entry = ledger.read(Path("results/demo"))[-1]["entry"]
    assert entry["decision"] == "revise" and entry["next_iteration"] == "rp4"
    with pytest.raises(ReviewError, match="sent back for correction by Anna Weber"):
        room.gate(item="rp3")


def test_an_older_iteration_branches_off(case_file: Path) -> None:
    made = next_iteration(case_file, "rp1", asked(corrections=ASKED["corrections"][:1]))
    case = CaseConfig.model_validate(yaml.safe_load(made.text))
    assert (made.id, case.prototype.iterations[-1].parent, case.prototype.approved) == ("rp4", "rp1", "rp3")


def test_a_new_plan_can_be_asked_for(case_file: Path) -> None:
    wish = [{"kind": "extend_margin", "margin_mm": 15.0, "reason": "more"}]
    made = next_iteration(case_file, "rp2", asked(corrections=wish, plan="p2"))
    assert CaseConfig.model_validate(yaml.safe_load(made.text)).prototype.iterations[-1].plan == "p2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corrections": []}, "at least 1 item"),
        ({"questions": None}, "questions"),
        ({"corrections": [{"kind": "paint"}]}, "paint"),
        ({"corrections": [{**ASKED["corrections"][0], "distance_mm": 50.0}]}, "less than or equal to 5"),
        ({"plan": "p9"}, "names plan 'p9'"),
        ({"plan": "p1"}, "say why with extend_margin or new_imaging"),
        (
            {"corrections": [{"kind": "extend_margin", "margin_mm": 16.0, "reason": "more"}]},
            "needs a new plan revision",
        ),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_what_is_not_valid_is_neither_signed_nor_written(
    room: Room, case_file: Path, change: dict[str, Any], said: str
) -> None:
    room.write_iteration("demo", "rp3", "demo rp3")
    before = case_file.read_bytes()
    with pytest.raises(ConfigError, match=said):
        room.sign("anna", "revise", item="rp3", corrections=asked(**change))
    assert case_file.read_bytes() == before and room.records(item="rp3") == []


def test_corrections_belong_to_revise(room: Room, case_file: Path) -> None:
    for decision, item in (("approve", "rp2"), ("reject", "rp2"), ("revise", "labels")):
        with pytest.raises(ReviewError, match="corrections are for a prototype iteration that is sent back"):
            room.sign("anna", decision, item=item, corrections=asked())


def test_a_list_on_one_line_is_left_alone(case_file: Path) -> None:
    data = yaml.safe_load(case_file.read_text())
    case_file.write_text(yaml.safe_dump(data, default_flow_style=True))
    with pytest.raises(ReviewError, match="not written as a block list"):
        next_iteration(case_file, "rp3", asked())
    case_file.write_text(yaml.safe_dump(data, default_flow_style=False))
    assert next_iteration(case_file, "rp3", asked()).id == "rp4", "whatever the indent"


def test_unknown_iteration(case_file: Path) -> None:
    with pytest.raises(ReviewError, match="no iteration 'rp8'"):
        next_iteration(case_file, "rp8", asked())
