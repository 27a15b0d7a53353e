"""The filled traveller: of this part, complete, in order, accepted; anything else is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from release_room import Room

from implantflow.errors import ImplantflowError, InputError, QualityGateError
from implantflow.release.traveller import STEPS


def step(filled: dict[str, Any], key: str, **change: Any) -> dict[str, Any]:
    """The traveller with one step changed."""
    steps = [{**s, **change} if s["step"] == key else s for s in filled["steps"]]
    return {**filled, "steps": steps}


def test_complete_traveller_completes_the_release(room: Room) -> None:
    filled = room.filled()
    room.hand_in(filled)
    record = room.release()
    assert record["complete"] is True and record["traveller"] == {"status": "complete", "missing": []}
    kept = json.loads((room.case / "release/traveller.json").read_text())
    assert kept["traveller"] == filled
    page = (room.case / "release/device_history.html").read_text()
    assert "P-77" in page and "M. Roth" in page and "Manufacturing record open" not in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"build_cli_sha256": "0" * 64}, "build_cli_sha256"),
        ({"revision": "r1"}, "revision: 'r1', this part has 'r2'"),
        ({"side": "right"}, "side: 'right'"),
        ({"case": "other"}, "case: 'other'"),
        ({"material": "CoCr"}, "material: 'CoCr'"),
        ({"machine": "another"}, "machine: 'another'"),
        ({"powder_lot": ""}, "powder_lot"),
        ({"powder_lot": "   "}, "powder_lot"),
        ({"powder_reuse_count": None}, "powder_reuse_count"),
        ({"powder_reuse_count": -1}, "powder_reuse_count"),
        ({"version": 2}, "version 2"),
        ({"form": "a form"}, "form 'a form'"),
        ({"steps": []}, "steps are missing: powder, build_job"),
        ({"signed_by": "me"}, "signed_by"),
    ],
)
def test_what_is_not_of_this_part_or_incomplete_is_refused(
    room: Room, change: dict[str, Any], words: str
) -> None:
    room.hand_in(room.filled(**change))
    with pytest.raises(InputError) as refusal:
        room.release()
    assert words in refusal.value.what


@pytest.mark.parametrize(
    ("key", "change", "error", "words"),
    [
        ("cleaning", {"who": ""}, InputError, "who"),
        ("cleaning", {"when": ""}, InputError, "when"),
        ("cleaning", {"when": "2025-13-40"}, InputError, "when"),
        ("cleaning", {"accepted": None}, InputError, "accepted"),
        ("cleaning", {"accepted": "yes, mostly"}, InputError, "accepted"),
        ("cleaning", {"when": "2025-05-01"}, InputError, "cleaning is dated 2025-05-01, before machining"),
        ("final_inspection", {"when": "2025-05-17"}, InputError, "after the release (2025-05-16)"),
        ("heat_treatment", {"step": "annealing"}, InputError, "steps are missing: heat_treatment"),
        ("powder_removal", {"accepted": False, "remarks": "powder in cell 3"}, QualityGateError, "powder in cell 3"),
    ],
)  # fmt: skip
def test_each_step_is_checked(
    room: Room, key: str, change: dict[str, Any], error: type[ImplantflowError], words: str
) -> None:
    room.hand_in(step(room.filled(), key, **change))
    with pytest.raises(error) as refusal:
        room.release()
    assert words in refusal.value.what


def test_steps_twice_or_out_of_order_are_refused(room: Room) -> None:
    filled = room.filled()
    for steps in ([*filled["steps"], filled["steps"][0]], filled["steps"][::-1]):
        room.hand_in({**filled, "steps": steps})
        with pytest.raises(InputError, match="wanted, once each and in this order"):
            room.release()


def test_all_problems_are_told_at_once(room: Room) -> None:
    room.hand_in(step(room.filled(case="other", side="right"), "cleaning", when="2025-05-01"))
    with pytest.raises(InputError) as refusal:
        room.release()
    assert all(words in refusal.value.what for words in ("case:", "side:", "cleaning is dated"))


def test_form_has_every_step_and_what_is_known(room: Room) -> None:
    page = room.form().read_text()
    assert all(
        f'name="{s.key}.{field}"' in page for s in STEPS for field in ("who", "when", "accepted", "remarks")
    )
    assert room.sha256("build/r2/build.cli") in page and "Ti-6Al-4V ELI" in page


def test_text_of_the_config_cannot_leave_its_place(room: Room) -> None:
    room.settings["release"]["device"]["material"] = "</script><b>x"
    page = room.form().read_text()
    assert "</script><b>" not in page and "\\u003c/script>" in page
