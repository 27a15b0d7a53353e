"""Pictures of a follow-up: slices through the implant with its faces marked, and a map of the faces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from implantflow.config.followup import GradeRules
from implantflow.followup.canvas import INK, Image, Rgb, blank, dots, windowed, words, write_png
from implantflow.followup.compare import FacesRead
from implantflow.followup.face_map import face_map
from implantflow.followup.inputs import Inputs
from implantflow.followup.profile import Scan
from implantflow.followup.sampling import Smooth, crop_around, smooth
from implantflow.geometry import FloatArray, transform_points
from implantflow.volumes import Volume

#: Half-width and half-height of a slice, mm, and its pixels per mm.
_HALF_MM = 70.0
_PX_PER_MM = 4.0
#: Height of title and foot, and room between two panels, px.
_BAR_PX, _GAP_PX = 34, 8
#: Level and width of the windows, HU (usual for bone; wide enough to look into titanium).
_WINDOWS = (("bone window", 400.0, 1800.0), ("metal window", 1400.0, 3600.0))


class _View(NamedTuple):
    """Right and down of a slice in patient LPS; letters at its left, right, top and bottom."""

    axes: tuple[tuple[float, float, float], tuple[float, float, float]]
    letters: tuple[str, str, str, str]


_VIEWS = {
    "axial": _View(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), ("R", "L", "A", "P")),
    "coronal": _View(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)), ("R", "L", "H", "F")),
    "sagittal": _View(((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)), ("A", "P", "H", "F")),
}
_COLOURS: dict[str, Rgb] = {
    "midline": (80, 200, 255),
    "caudal": (255, 120, 220),
    "si_joint": (255, 190, 60),
    "l5s1": (150, 230, 120),
}
_STRUT: Rgb = (255, 90, 80)
_SHORT = {"midline": "midline strut", "caudal": "caudal", "si_joint": "porous face", "l5s1": "L5/S1"}
_MEANING = {
    "midline": "midline face (dense)",
    "caudal": "caudal face",
    "si_joint": "porous face to the ilium",
    "l5s1": "face to L5 (disc space)",
}

_REDUCED = (
    "Right: simulated projections, not the scanner's data; around the implant only. Bone beside metal may show as a "
    "gap there; no grade rests on it."
)


def write_pictures(
    paths: Mapping[str, Path],
    inputs: Inputs,
    volume: Volume,
    scan: Scan,
    faces: FacesRead,
    rules: GradeRules,
    simulated: bool,
    name: str,
    reduced: Volume | None,
) -> None:
    """Write ``axial``, ``coronal``, ``sagittal`` and ``face_map`` PNG files.

    With the artefact-reduced image around the implant, ``reduced``, the slices show it below, the original beside it.
    """
    centre = transform_points(scan.planning_from_design, inputs.centroid_mm[None])[0]
    for view in _VIEWS:
        picture = _slice_pair(view, inputs, volume, scan, faces, centre, simulated, name)
        if reduced is not None:
            second = reduced_pair(view, volume, reduced, scan, centre, simulated)
            picture = np.concatenate([picture, second], axis=0)
        write_png(paths[view], picture)
    write_png(paths["face_map"], face_map(faces, rules, simulated, name))


def _slice_pair(
    view: str,
    inputs: Inputs,
    volume: Volume,
    scan: Scan,
    faces: FacesRead,
    centre: FloatArray,
    simulated: bool,
    name: str,
) -> Image:
    """Both windows of one slice beside each other, the bone window with marks and without."""
    right, down = (np.array(way) for way in _VIEWS[view].axes)
    hu = _slice(volume, scan, centre, right, down)
    panels = []
    for number, (title, level, width) in enumerate(_WINDOWS):
        picture = windowed(hu, level, width)
        if number == 1:
            _mark(picture, inputs, scan, faces, centre, right, down)
        _orient(picture, view)
        words(picture, (10, 8), f"{title}, {level:g}/{width:g} HU", size=15)
        panels.append(picture)
    axis = int(np.argmax(np.abs(np.cross(right, down))))
    place = f"{'xyz'[axis]} = {centre[axis]:.1f}"
    heading = f"{name}: {view}, {place} mm of the planning CT, through the implant's centroid"
    foot = blank(_BAR_PX, _pair_width(panels))
    _legend(foot, faces)
    return _framed(panels, heading, foot, simulated)


def _pair_width(panels: list[Image]) -> int:
    return int(sum(panel.shape[1] for panel in panels)) + _GAP_PX


def _framed(panels: list[Image], title: str, foot: Image, simulated: bool) -> Image:
    """Two panels beside each other between a title and a foot (_BAR_PX, :func:`_pair_width`)."""
    body = np.concatenate([panels[0], blank(panels[0].shape[0], _GAP_PX), panels[1]], axis=1)
    head = blank(_BAR_PX, body.shape[1])
    words(head, (10, 8), title, size=15)
    if simulated:
        words(head, (body.shape[1] - 10, 8), "SIMULATED", size=16, colour=(255, 200, 60), anchor="ra")
    return np.concatenate([head, body, foot], axis=0)


def reduced_pair(
    view: str, volume: Volume, reduced: Volume, scan: Scan, centre: FloatArray, simulated: bool
) -> Image:
    """The slice in the bone window without marks: as the scanner made it, and with reduced artefacts."""
    right, down = (np.array(way) for way in _VIEWS[view].axes)
    _, level, width = _WINDOWS[0]
    panels = []
    for title, image in (("original", volume), ("artefacts reduced (NMAR)", reduced)):
        picture = windowed(_slice(image, scan, centre, right, down), level, width)
        _orient(picture, view)
        words(picture, (10, 8), f"{title}, {level:g}/{width:g} HU", size=15)
        panels.append(picture)
    foot = blank(_BAR_PX, _pair_width(panels))
    words(foot, (10, 8), _REDUCED, size=14)
    return _framed(panels, "The same slice, for the second reading of lucency", foot, simulated)


def _slice(volume: Volume, scan: Scan, centre: FloatArray, right: FloatArray, down: FloatArray) -> FloatArray:
    """(H, W) HU of the scan on a plane of the planning CT."""
    count = int(2 * _HALF_MM * _PX_PER_MM)
    offset = (np.arange(count) + 0.5) / _PX_PER_MM - _HALF_MM
    rows, columns = np.meshgrid(offset, offset, indexing="ij")
    places = centre + columns.ravel()[:, None] * right + rows.ravel()[:, None] * down
    there = transform_points(scan.scan_from_planning, places)
    local: Smooth = smooth(crop_around(volume, there, 2.0))
    return local.values(there).reshape(count, count)


def _to_pixels(places: FloatArray, centre: FloatArray, right: FloatArray, down: FloatArray) -> FloatArray:
    """(N, 2) column and row of planning places."""
    away = places - centre
    return (np.stack([away @ right, away @ down], axis=1) + _HALF_MM) * _PX_PER_MM - 0.5


def _mark(
    picture: Image,
    inputs: Inputs,
    scan: Scan,
    faces: FacesRead,
    centre: FloatArray,
    right: FloatArray,
    down: FloatArray,
) -> None:
    """Faces cut by the slice as coloured lines, the strut's axis as dashes where it runs near the slice."""
    normal = np.cross(right, down)
    for face in faces.faces:
        places = transform_points(scan.planning_from_design, face.lines.points)
        near = np.abs((places - centre) @ normal) < 0.6
        at = _to_pixels(places[near], centre, right, down)
        colour = _COLOURS.get(face.name, INK)
        dots(picture, at, colour, radius=1)
        if len(at):
            _name_beside(picture, at, _SHORT.get(face.name, face.name), colour)
    for segment in inputs.regions.get("strut", {}).get("segments", []):
        ends = np.array([segment["start_lps_mm"], segment["end_lps_mm"]], dtype=np.float64)
        share = np.linspace(0.0, 1.0, 400)[:, None]
        axis = transform_points(scan.planning_from_design, ends[0] + share * (ends[1] - ends[0]))
        near = np.abs((axis - centre) @ normal) < float(segment["radius_mm"])
        dashed = near & ((np.arange(len(axis)) // 6) % 2 == 0)
        dots(picture, _to_pixels(axis[dashed], centre, right, down), _STRUT)


def _name_beside(picture: Image, at: FloatArray, text: str, colour: Rgb) -> None:
    """The name of a face next to its mark, on the side away from the implant's middle."""
    middle = picture.shape[1] / 2
    column, row = np.median(at, axis=0)
    left = column < middle
    words(
        picture,
        (int(column) + (-10 if left else 10), int(row)),
        text,
        size=14,
        colour=colour,
        anchor="rm" if left else "lm",
    )


def _orient(picture: Image, view: str) -> None:
    """Letters for the patient's sides and a 20 mm bar."""
    height, width = picture.shape[:2]
    left, right, top, bottom = _VIEWS[view].letters
    words(picture, (width - 12, height // 2), right, size=20, anchor="rm")
    words(picture, (12, height // 2), left, size=20, anchor="lm")
    words(picture, (width // 2, 30), top, size=16, anchor="mt")
    words(picture, (width // 2, height - 10), bottom, size=16, anchor="ms")
    length = int(20 * _PX_PER_MM)
    picture[height - 22 : height - 19, 14 : 14 + length] = INK
    words(picture, (14, height - 28), "20 mm", size=13, anchor="ls")


def _legend(foot: Image, faces: FacesRead) -> None:
    column = 10
    entries = [
        (face.name, _COLOURS.get(face.name, INK), _MEANING.get(face.name, face.name)) for face in faces.faces
    ]
    for _, colour, text in [*entries, ("strut", _STRUT, "axis of the dense strut (within its radius)")]:
        foot[11:23, column : column + 12] = colour
        words(foot, (column + 18, 8), text, size=14)
        column += 40 + 8 * len(text)
