"""Map of the contact faces: each patch where it lies on its face, coloured by what its grade rests on."""

from __future__ import annotations

import numpy as np

from implantflow.config.followup import GradeRules
from implantflow.followup.canvas import INK, Image, Rgb, blank, words
from implantflow.followup.compare import FacesRead
from implantflow.followup.faces import Face
from implantflow.followup.grade import AS_PLACED, NO_BONE, NOT_READABLE, Shown, shown
from implantflow.followup.lucency import Reading
from implantflow.geometry import FloatArray

_PX_PER_MM = 5.0
_BONE: Rgb = (60, 170, 110)
_CONTACT: Rgb = (90, 150, 215)
_UNTOLD: Rgb = (175, 150, 200)
_UNREAD: Rgb = (58, 60, 66)
_NARROW: Rgb = (255, 225, 90)
_WIDE: Rgb = (200, 40, 40)
#: Width at which the colour is that of a wide gap, mm.
_WIDE_MM = 3.0
_PAD_PX = 34
_HEAD_PX = 26
_BAR_MM = 20.0
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))


def face_map(faces: FacesRead, rules: GradeRules, simulated: bool, name: str) -> Image:
    """Picture (H, W, 3) of all faces that mate with bone, seen from outside.

    Patches are classed as the grade does (:func:`shown`); a face that is not graded by them is left grey as a whole.
    """
    panels = [
        _panel(face, faces.readings.get(face.name), rules, str(faces.figures[face.name]["grade"]))
        for face in faces.faces
        if faces.figures[face.name]["grade"] != NO_BONE
    ]
    if not panels:
        panels = [blank(200, 400)]
        words(panels[0], (20, 90), "no face could be read", size=16)
    height = max(panel.shape[0] for panel in panels)
    padded = [np.concatenate([p, blank(height - p.shape[0], p.shape[1])], axis=0) for p in panels]
    body = np.concatenate(padded, axis=1)
    width = max(body.shape[1], 900)
    body = np.concatenate([body, blank(height, width - body.shape[1])], axis=1)
    head, foot = blank(34, width), blank(112, width)
    words(head, (10, 8), f"{name}: contact faces from outside, by what lies between face and bone", size=15)
    if simulated:
        words(head, (width - 10, 8), "SIMULATED", size=16, colour=(255, 200, 60), anchor="ra")
    _legend(foot, rules)
    return np.concatenate([head, body, foot], axis=0)


def _panel(face: Face, reading: Reading | None, rules: GradeRules, grade: str) -> Image:
    frame = _axes(face)
    away = face.lines.points - face.lines.points.mean(axis=0)
    flat = np.stack([away @ frame[0], away @ frame[1]], axis=1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    across, down = np.ceil((high - low) * _PX_PER_MM).astype(int) + 2 * _PAD_PX
    picture = blank(_HEAD_PX + int(down) + 14, max(int(across), 210))
    colours = [_UNREAD] * face.lines.count
    if reading is not None and grade not in (NOT_READABLE, AS_PLACED):
        colours = _colours(reading, rules)
    radius = int(np.ceil(_PX_PER_MM * 0.8))
    corner = np.array([_PAD_PX, _HEAD_PX + _PAD_PX])
    at = np.rint((flat - low) * _PX_PER_MM).astype(int) + corner
    for (column, row), patch in zip(at, face.lines.patch, strict=True):
        picture[row - radius : row + 1 + radius, column - radius : column + radius + 1] = colours[patch]
    words(picture, (10, 4), f"{face.name}: {grade}", size=15)
    middle = _HEAD_PX + int(down) // 2
    words(picture, (6, middle), _side(-frame[0]), size=16, anchor="lm")
    words(picture, (int(across) - 6, middle), _side(frame[0]), size=16, anchor="rm")
    words(picture, (int(across) // 2, _HEAD_PX), _side(-frame[1]), size=16, anchor="ma")
    words(picture, (int(across) // 2, _HEAD_PX + int(down)), _side(frame[1]), size=16, anchor="md")
    return picture


def _axes(face: Face) -> FloatArray:
    """(2, 3): right and down of the picture, seen from outside; up is cranial, or anterior on a level face."""
    normal = (face.lines.outward * face.lines.patch_areas[:, None]).sum(axis=0)
    normal = normal / np.linalg.norm(normal)
    up = np.array([0.0, 0.0, 1.0]) if abs(normal[2]) < 0.8 else np.array([0.0, -1.0, 0.0])
    up = up - (up @ normal) * normal
    up /= np.linalg.norm(up)
    # The viewer looks against the normal: right is up x normal.
    return np.stack([np.cross(up, normal), -up])


def _side(direction: FloatArray) -> str:
    """Letter of the patient's side that a direction points to most."""
    axis = int(np.argmax(np.abs(direction)))
    return _LETTERS[axis][0 if direction[axis] > 0 else 1]


def _colours(reading: Reading, rules: GradeRules) -> list[Rgb]:
    plain = {
        Shown.NOT_READABLE: _UNREAD,
        Shown.BONE: _BONE,
        Shown.NO_GAP: _CONTACT,
        Shown.NO_GAP_NONE_WOULD_SHOW: _UNTOLD,
    }
    return [
        _shade(float(width)) if kind == Shown.GAP else plain[Shown(kind)]
        for kind, width in zip(shown(reading, rules), reading.width_mm, strict=True)
    ]


def _shade(width_mm: float) -> Rgb:
    share = min(width_mm / _WIDE_MM, 1.0)
    mixed = [round(a + share * (b - a)) for a, b in zip(_NARROW, _WIDE, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _legend(foot: Image, rules: GradeRules) -> None:
    size = f"{rules.lucency_min_mm:g} mm"
    entries = (
        (_BONE, f"bone seen between face and host, a gap of {size} excluded", 10, 8),
        (_CONTACT, f"no gap seen; one of {size} would show", 470, 8),
        (_UNTOLD, f"no gap seen, none of {size} would show: no proof of bone", 10, 34),
        (_UNREAD, "not readable or not graded, or no bone opposite", 470, 34),
    )
    for colour, text, column, row in entries:
        foot[row : row + 12, column : column + 12] = colour
        words(foot, (column + 18, row - 3), text, size=13, colour=INK)
    for number in range(120):
        foot[60:72, 10 + 2 * number : 12 + 2 * number] = _shade(_WIDE_MM * number / 119)
    words(foot, (260, 57), f"gap of soft tissue, 0 to {_WIDE_MM:g} mm and more", size=13)
    foot[94:97, 10 : 10 + int(_BAR_MM * _PX_PER_MM)] = INK
    words(
        foot, (20 + int(_BAR_MM * _PX_PER_MM), 87), f"{_BAR_MM:g} mm; letters: sides of the patient", size=13
    )
