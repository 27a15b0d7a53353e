"""Map of the contact faces: each patch where it lies on its face, coloured by what stands between it and bone."""

from __future__ import annotations

import numpy as np

from implantflow.followup.canvas import INK, Image, Rgb, blank, words
from implantflow.followup.compare import FacesRead
from implantflow.followup.faces import Face
from implantflow.followup.lucency import Reading
from implantflow.geometry import FloatArray

_PX_PER_MM = 5.0
_BONE: Rgb = (60, 170, 110)
_CONTACT: Rgb = (120, 140, 160)
_UNREAD: Rgb = (58, 60, 66)
_NARROW: Rgb = (255, 225, 90)
_WIDE: Rgb = (200, 40, 40)
#: Width at which the colour is that of a wide gap, mm.
_WIDE_MM = 3.0
_PAD_PX = 30


def face_map(faces: FacesRead, limit_max_mm: float, simulated: bool, name: str) -> Image:
    """Picture (H, W, 3) of all faces that mate with bone, seen from outside.

    Patches that would not show a gap of ``limit_max_mm`` are left grey.
    """
    panels = [
        _panel(face, faces.readings[face.name], limit_max_mm)
        for face in faces.faces
        if face.name in faces.readings
    ]
    if not panels:
        panels = [blank(200, 400)]
        words(panels[0], (20, 90), "no face could be read", size=16)
    height = max(panel.shape[0] for panel in panels)
    padded = [np.concatenate([p, blank(height - p.shape[0], p.shape[1])], axis=0) for p in panels]
    body = np.concatenate(padded, axis=1)
    width = max(body.shape[1], 900)
    body = np.concatenate([body, blank(height, width - body.shape[1])], axis=1)
    head, foot = blank(34, width), blank(60, width)
    words(head, (10, 8), f"{name}: contact faces from outside, by what lies between face and bone", size=15)
    if simulated:
        words(head, (width - 10, 8), "SIMULATED", size=16, colour=(255, 200, 60), anchor="ra")
    _legend(foot)
    return np.concatenate([head, body, foot], axis=0)


def _panel(face: Face, reading: Reading, limit_max_mm: float) -> Image:
    frame = _axes(face)
    away = face.lines.points - face.lines.points.mean(axis=0)
    flat = np.stack([away @ frame[0], away @ frame[1]], axis=1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    size = np.ceil((high - low) * _PX_PER_MM).astype(int) + 2 * _PAD_PX
    picture = blank(int(size[1]) + 20, max(int(size[0]), 190))
    colours = _colours(reading, limit_max_mm)
    radius = int(np.ceil(_PX_PER_MM * 0.8))
    at = np.rint((flat - low) * _PX_PER_MM).astype(int) + _PAD_PX
    for (column, row), patch in zip(at, face.lines.patch, strict=True):
        picture[row + 20 - radius : row + 21 + radius, column - radius : column + radius + 1] = colours[patch]
    words(picture, (_PAD_PX, 6), face.name, size=15)
    words(
        picture,
        (_PAD_PX, picture.shape[0] - 8),
        f"up: {_word(-frame[1])}, right: {_word(frame[0])}",
        size=12,
        anchor="ls",
    )
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


def _word(direction: FloatArray) -> str:
    names = (("left", "right"), ("posterior", "anterior"), ("cranial", "caudal"))
    axis = int(np.argmax(np.abs(direction)))
    return names[axis][0 if direction[axis] > 0 else 1]


def _colours(reading: Reading, limit_max_mm: float) -> list[Rgb]:
    found = []
    readable = reading.readable(limit_max_mm)
    for read, lucent, bone, width in zip(
        readable, reading.lucent, reading.bone_seen, reading.width_mm, strict=True
    ):
        if not read:
            found.append(_UNREAD)
        elif lucent == 1.0:
            found.append(_shade(float(width)))
        else:
            found.append(_BONE if bone == 1.0 else _CONTACT)
    return found


def _shade(width_mm: float) -> Rgb:
    share = min(width_mm / _WIDE_MM, 1.0)
    mixed = [round(a + share * (b - a)) for a, b in zip(_NARROW, _WIDE, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _legend(foot: Image) -> None:
    entries = (
        (_BONE, "bone seen between face and host"),
        (_CONTACT, "no gap seen; below the detection limit it cannot be told from contact"),
        (_UNREAD, "not readable here, or no bone opposite"),
    )
    for (colour, text), (column, row) in zip(entries, ((10, 8), (290, 8), (560, 34)), strict=True):
        foot[row : row + 12, column : column + 12] = colour
        words(foot, (column + 18, row - 3), text, size=13, colour=INK)
    for number in range(120):
        foot[34:46, 10 + 2 * number : 12 + 2 * number] = _shade(_WIDE_MM * number / 119)
    words(foot, (260, 31), f"gap of soft tissue, 0 to {_WIDE_MM:g} mm and more", size=13)
