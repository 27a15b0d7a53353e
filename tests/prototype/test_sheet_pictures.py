"""Pictures of the review sheet say which side of the patient is which, and how long 20 mm are; its banner what is made
up.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic_pelvis import IMPLANT

from implantflow.artifacts import read_json
from implantflow.config.implant import ImplantConfig
from implantflow.prototype.pictures import VIEWS, Item, edge_letters, render
from implantflow.prototype.sheet import SheetContent, write_sheet
from implantflow.solids.shapes import box

#: Patient LPS.
WAYS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
BODY = box([-20, -20, -20], [20, 20, 20])


def picture(items: list[Item], view: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(render(items, view)))).astype(int)


@pytest.mark.parametrize("view", list(VIEWS))
def test_a_letter_stands_where_that_side_of_the_patient_is(view: str) -> None:
    left, right, top, bottom = edge_letters(view)
    for letter, axis, sign in ((left, 1, -1), (right, 1, 1), (top, 0, -1), (bottom, 0, 1)):
        middle = 40.0 * np.array(WAYS[letter])
        shown = picture(
            [Item(BODY, (0.5, 0.5, 0.5)), Item(box(middle - 4, middle + 4), (1.0, 0.0, 0.0))], view
        )
        place = np.argwhere(shown[..., 0] > shown[..., 1] + 40).mean(axis=0)
        grey = np.argwhere((shown.max(axis=2) == shown.min(axis=2)) & (abs(shown[..., 0] - 80) < 60)).mean(
            axis=0
        )
        assert sign * (place - grey)[axis] > 50 and abs((place - grey)[1 - axis]) < 20, letter


def test_level_cuts_are_seen_from_the_feet() -> None:
    assert edge_letters("from the feet") == ("R", "L", "A", "P")
    assert not any(edge_letters(v)[:2] == ("L", "R") and edge_letters(v)[2:] == ("A", "P") for v in VIEWS), (
        "the mirror image of the report's"
    )


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_letters_are_drawn_and_readable_on_dark_and_light(grey: float) -> None:
    """A cube looks the same from the front and from behind, but for the letters at its left and right."""
    items = [Item(BODY, (grey, grey, grey))]
    front, behind = picture(items, "from the front"), picture(items, "from behind")
    rows, columns = np.nonzero((front != behind).any(axis=2))
    height, width = front.shape[:2]
    at_left, at_right = columns < 34, columns >= width - 34
    assert at_left.sum() > 20 and at_right.sum() > 20 and (at_left | at_right).all()
    assert (abs(rows - height / 2) < 34).all()
    for zone in (
        front[:34, width // 2 - 17 : width // 2 + 17],
        front[-40:, width // 2 - 17 : width // 2 + 17],
    ):
        assert zone.min() == 0 and zone.max() == 255


def test_bar_is_20_mm_long() -> None:
    shown = picture([Item(BODY, (1.0, 1.0, 1.0))], "from the left")
    cube = np.flatnonzero(shown[100, :, 0] < 250)
    bar = np.flatnonzero((shown[-10, :240] == 0).all(axis=1))
    assert cube[-1] - cube[0] > 400
    assert len(bar) == pytest.approx((cube[-1] - cube[0] + 1) / 2, abs=1.5)


@pytest.mark.parametrize(
    ("purpose", "simulated", "series", "banner"),
    [
        ("demo", True, "mr", "SIMULATED PATIENT · NOT FOR CLINICAL USE"),
        ("demo", False, None, "VIRTUAL TUMOUR · NOT FOR CLINICAL USE"),
        ("clinical", False, None, "VIRTUAL TUMOUR"),
        ("clinical", False, "mr", None),
    ],
)
def test_banner_says_what_is_made_up(
    rp1: Path,
    plan: Path,
    tmp_path: Path,
    purpose: str,
    simulated: bool,
    series: str | None,
    banner: str | None,
) -> None:
    record: dict[str, Any] = read_json(rp1 / "prototype.json")
    (image,) = record["planned"]["imaging"]
    record |= {"purpose": purpose, "planned": record["planned"] | {"imaging": [image | {"series": series}]}}
    limits = ImplantConfig.model_validate(IMPLANT).limits
    small = box([0, 0, 0], [10, 10, 10])
    place = record["fit"]["faces"]["si_joint"]
    record["fit"]["faces"]["si_joint"] = place | {"point_lps_mm": [5.0, 5.0, 5.0]}
    made = SheetContent(
        "x", simulated, record, read_json(plan / "plan.json"), limits, small, small, None, None
    )
    write_sheet(tmp_path / "sheet.html", made)
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    if banner is None:
        assert '<div class="banner">' not in text
    else:
        assert f'<div class="banner">{banner}</div>' in text
