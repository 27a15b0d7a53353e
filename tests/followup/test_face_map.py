"""The picture of the faces says what their grades say: the same classes on the same areas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_world import settings

from implantflow.config.followup import FaceRules, GradeRules
from implantflow.followup import face_map as drawing
from implantflow.followup.compare import FacesRead
from implantflow.followup.face_map import face_map
from implantflow.followup.faces import Face, Lines
from implantflow.followup.grade import Shown, face_figures, shown, unplanned
from implantflow.followup.lucency import Host, Reading

FACES = FaceRules.model_validate(settings()["faces"])
RULES = GradeRules.model_validate(settings()["grade"])
LEAST, MOST = RULES.lucency_min_mm, RULES.limit_max_mm
#: lucent, bone seen, detection limit and what that shows under the rule.
KINDS = {
    "gap": (1.0, 0.0, 1.5 * LEAST, Shown.GAP),
    "bone": (0.0, 1.0, 0.9 * LEAST, Shown.BONE),
    "bone, gap could hide": (0.0, 1.0, 1.5 * LEAST, Shown.NO_GAP_NONE_WOULD_SHOW),
    "bone, any gap hides": (0.0, 1.0, np.nan, Shown.NO_GAP_NONE_WOULD_SHOW),
    "contact": (0.0, 0.0, LEAST, Shown.NO_GAP),
    "contact, gap could hide": (0.0, 0.0, MOST, Shown.NO_GAP_NONE_WOULD_SHOW),
    "blind": (0.0, 0.0, MOST + 0.5, Shown.NOT_READABLE),
    "unread": (np.nan, np.nan, np.nan, Shown.NOT_READABLE),
}
#: The face that was painted green though its grade said that no bone is proven.
DEMO = ["bone, gap could hide"] * 7 + ["contact, gap could hide"] + ["unread"] * 8
MIXED = ["bone"] * 3 + ["gap"] * 5 + ["contact"] * 2 + ["bone, any gap hides", "blind"] * 3
BLIND = ["bone"] + ["unread"] * 15
WIDTH_MM = 2.0


def a_face(name: str = "midline") -> Face:
    """A level face of 4 x 4 patches of 12 mm, seen from the feet."""
    step = 0.4
    side = np.arange(0.0, 48.0, step) + step / 2
    x, y = (part.ravel() for part in np.meshgrid(side, side))
    points = np.stack([x, y, np.zeros(x.size)], axis=1)
    down = np.array([0.0, 0.0, -1.0])
    patch = (x // 12.0).astype(np.int64) + 4 * (y // 12.0).astype(np.int64)
    centres = np.array([points[patch == number].mean(axis=0) for number in range(16)])
    lines = Lines(
        points,
        np.tile(down, (x.size, 1)),
        np.full(x.size, step**2),
        patch,
        centres,
        np.tile(down, (16, 1)),
        np.full(16, 144.0),
        np.ones(16, dtype=bool),
    )
    return Face(name, "remaining_bone", 2.0, 2304.0, lines)


def a_reading(kinds: list[str]) -> Reading:
    lucent, bone, limit = np.array([KINDS[kind][:3] for kind in kinds]).T
    width = np.where(lucent == 1.0, WIDTH_MM, 0.0)
    return Reading(width, lucent, limit, width, lucent, bone, 0.9 * width, 1.0)


def read(kinds: list[str], months: float = 12.0) -> tuple[FacesRead, dict[str, Any]]:
    face, reading = a_face(), a_reading(kinds)
    host = Host(np.full(16, 0.3), np.zeros((16, 1)))
    figures = face_figures(face, host, reading, FACES, RULES, months, 0.0)
    faces = FacesRead([face], {face.name: figures}, {face.name: reading}, {face.name: host}, {}, {})
    return faces, figures


def painted_pct(picture: np.ndarray) -> dict[str, float]:
    """Share of the face's pixels in each colour; the legend at the foot is left out."""
    colours = {
        "bone": drawing._BONE,
        "no gap": drawing._CONTACT,
        "untold": drawing._UNTOLD,
        "unread": drawing._UNREAD,
        "gap": drawing._shade(WIDTH_MM),
    }
    body = picture[:-112]
    counts = {name: int((body == np.array(colour)).all(axis=2).sum()) for name, colour in colours.items()}
    return {name: 100.0 * count / sum(counts.values()) for name, count in counts.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_patch_shows(kind: str) -> None:
    assert shown(a_reading([kind]), RULES).tolist() == [KINDS[kind][3]]


@pytest.mark.parametrize(("kinds", "untold"), [(DEMO, 8), (MIXED, 3)])
def test_painted_areas_are_the_graded_shares(kinds: list[str], untold: int) -> None:
    faces, figures = read(kinds)
    found = painted_pct(face_map(faces, RULES, True, "m12"))
    seen = figures["readable_pct"] / 100.0
    # Patches are painted a little beyond their rims; one of them is 6.25 %.
    assert found["bone"] == pytest.approx(seen * figures["bone_seen_pct"], abs=2.0)
    assert found["gap"] == pytest.approx(seen * figures["lucent_pct"], abs=2.0)
    assert found["unread"] == pytest.approx(100.0 - figures["readable_pct"], abs=2.0)
    assert found["untold"] == pytest.approx(100.0 * untold / 16, abs=2.0)


def test_a_face_without_proven_bone_has_no_colour_of_bone() -> None:
    faces, figures = read(DEMO)
    assert figures["grade"] == "contact" and figures["bone_seen_pct"] == 0.0
    assert painted_pct(face_map(faces, RULES, True, "m12"))["bone"] == 0.0


@pytest.mark.parametrize(
    ("kinds", "months", "grade"), [(BLIND, 12.0, "not readable"), (["bone"] * 16, 0.0, "as placed")]
)
def test_a_face_that_is_not_graded_is_grey_as_a_whole(kinds: list[str], months: float, grade: str) -> None:
    faces, figures = read(kinds, months)
    assert figures["grade"] == grade
    assert painted_pct(face_map(faces, RULES, False, "m"))["unread"] == 100.0


def test_a_face_that_could_not_even_be_tried_is_shown_grey() -> None:
    face, disc = a_face(), a_face("l5s1")
    figures = {
        "midline": unplanned(face, "no metal") | {"grade": "not readable"},
        "l5s1": unplanned(disc, "disc"),
    }
    picture = face_map(FacesRead([face, disc], figures, {}, {}, {}, {}), RULES, False, "m12")
    assert painted_pct(picture)["unread"] == 100.0
    grey = np.nonzero((picture[:-112] == np.array(drawing._UNREAD)).all(axis=2))
    # One face of 48 mm: the one across the disc is not drawn.
    assert np.ptp(grey[0]) == pytest.approx(48 * 5, abs=12) and np.ptp(grey[1]) == pytest.approx(
        48 * 5, abs=12
    )


def test_sides_and_bar() -> None:
    """Seen from the feet the patient's left is at the right; the bar of 20 mm has the scale of the faces."""
    frame = drawing._axes(a_face())
    assert [drawing._side(way) for way in (-frame[0], frame[0], -frame[1], frame[1])] == ["R", "L", "A", "P"]
    faces, _ = read(["gap"] + ["unread"] * 3 + ["contact", "bone"] * 6)
    picture = face_map(faces, RULES, False, "m12")
    bar = np.flatnonzero((picture[-17] == np.array(drawing.INK)).all(axis=1))
    painted = np.nonzero((picture[:-112] == np.array(drawing._shade(WIDTH_MM))).all(axis=2))
    assert bar[:100].tolist() == list(range(10, 110))
    # The first patch lies to the patient's right and in front.
    others = np.nonzero((picture[:-112] == np.array(drawing._BONE)).all(axis=2))
    assert painted[1].mean() < others[1].mean() and painted[0].mean() < others[0].mean()
