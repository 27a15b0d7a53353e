"""The picture of an inspection: the part from six sides in colours of its deviation, with scale and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.artifacts import temporary
from implantflow.config.site import NOT_CLINICAL
from implantflow.geometry import FloatArray

#: Deviations from - to + this many tolerances are told apart; beyond, the end colours stand.
SPAN_TOLERANCES = 2.0
#: Colour stops from -span to +span: blue is too little metal, red too much, pale inside the tolerance.
_STOPS = np.array([-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0])
_COLOURS = np.array(
    [
        [8, 40, 110],
        [33, 97, 174],
        [104, 168, 214],
        [200, 222, 226],
        [240, 240, 214],
        [246, 222, 168],
        [238, 150, 92],
        [206, 70, 48],
        [120, 12, 30],
    ],
    dtype=np.float64,
)
#: What was not scanned.
UNSEEN_GREY = (120, 120, 120)
#: What is seen through pores behind the depth of the map.
PORE_DARK = (52, 52, 58)
#: How deep in the pores the picture shows the scan; behind that the design is dark (mm).
PICTURE_DEPTH_MM = 1.5
_PIXELS = 640
_MARGIN = 14

#: Title -> (direction into the picture, up), patient LPS.
_VIEWS = {
    "from the front": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "from behind": ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "from the patient's left": ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "from the patient's right": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "from above": ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0)),
    "from below": ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
}


def colours_of(deviation_mm: FloatArray, tolerance_mm: float) -> NDArray[np.uint8]:
    """(N, 3) colours of deviations (N,)."""
    at = np.clip(deviation_mm / (SPAN_TOLERANCES * tolerance_mm), -1.0, 1.0)
    channels = [np.interp(at, _STOPS, _COLOURS[:, k]) for k in range(3)]
    return np.round(np.column_stack(channels)).astype(np.uint8)


@dataclass(frozen=True)
class Painted:
    """Triangles with a colour per corner: vertices (N, 3) patient LPS mm, faces (M, 3), colours (N, 3) 0-255.

    ``behind_mm``: drawn this much further away from the eye.
    """

    vertices_mm: FloatArray
    faces: NDArray[np.int64]
    colours: NDArray[np.uint8]
    behind_mm: float = 0.0


def painted_scan(
    vertices_mm: FloatArray,
    faces: NDArray[np.int64],
    deviation_mm: FloatArray,
    shown: NDArray[np.bool_],
    tolerance_mm: float,
) -> tuple[Painted, FloatArray]:
    """The triangles whose corners are all ``shown`` (N,), coloured, and the deviations of the vertices they use."""
    kept = faces[shown[faces].all(axis=1)]
    used = np.zeros(len(shown), dtype=bool)
    used[kept] = True
    deviation = deviation_mm[used]
    return Painted(
        vertices_mm[used], (np.cumsum(used) - 1)[kept], colours_of(deviation, tolerance_mm)
    ), deviation


def view(parts: Sequence[Painted], into: FloatArray, up: FloatArray) -> tuple[NDArray[np.uint8], float]:
    """Picture (H, W, 3) of the parts seen along ``into``, and its pixels per mm."""
    from implantflow.inspect import raster_kernels

    frame = np.column_stack([np.cross(into, up), -up, into])
    places = [part.vertices_mm @ frame for part in parts]
    low = np.min([p.min(0) for p in places if len(p)], axis=0)
    high = np.max([p.max(0) for p in places if len(p)], axis=0)
    scale = (_PIXELS - 2 * _MARGIN) / float((high - low)[:2].max())
    size = np.ceil((high - low)[:2] * scale).astype(int) + 2 * _MARGIN
    image = np.full((size[1], size[0], 3), 255.0)
    depth = np.full((size[1], size[0]), np.inf)
    for part, place in zip(parts, places, strict=True):
        shift = np.array([_MARGIN, _MARGIN, part.behind_mm * scale])
        points = np.ascontiguousarray((place - low) * scale + shift)
        raster_kernels.draw(points, part.faces, part.colours.astype(np.float64), 0.45, image, depth)
    return np.round(image).astype(np.uint8), scale


def write_against_design(
    path: Path,
    scan: Painted,
    designed: tuple[FloatArray, NDArray[np.int64]],
    seen: NDArray[np.bool_],
    tolerance_mm: float,
    result: Mapping[str, Any],
    state: str,
    notes: Sequence[str],
) -> None:
    """Picture of a scan on the design, what was not scanned in grey, and the design dark behind its pores.

    Parameters
    ----------
    designed : vertices (N, 3) and faces (M, 3), patient LPS; ``seen`` (M,) were scanned.
    result : ``simulated``, ``id``, ``purpose`` and ``decision`` of the inspection. state : words after the revision.
    """
    vertices, faces = designed
    grey, dark = (np.full((len(vertices), 3), shade, dtype=np.uint8) for shade in (UNSEEN_GREY, PORE_DARK))
    parts = [
        scan,
        Painted(vertices, faces[~seen], grey),
        Painted(vertices, faces, dark, behind_mm=PICTURE_DEPTH_MM),
    ]
    title = f"{'SIMULATED print: ' if result['simulated'] else ''}revision {result['id']}{state} against the design"
    if result["purpose"] != "clinical":
        title += f"   {NOT_CLINICAL}"
    _write_picture(path, parts, tolerance_mm, title, notes, result["decision"] == "accepted")


def _write_picture(
    path: Path,
    parts: Sequence[Painted],
    tolerance_mm: float,
    title: str,
    notes: Sequence[str],
    accepted: bool,
) -> None:
    """Six views, the colour bar in mm with the tolerance marked, and the figures as text.

    Parameters
    ----------
    title : what is shown; says SIMULATED where it is. notes : lines of figures. accepted : colour of the verdict.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15.0, 10.2), dpi=110, facecolor="white")
    figure.suptitle(title, fontsize=15, x=0.02, y=0.985, ha="left", weight="bold")
    grid = figure.add_gridspec(
        2,
        4,
        left=0.01,
        right=0.99,
        top=0.93,
        bottom=0.02,
        wspace=0.03,
        hspace=0.06,
        width_ratios=[1, 1, 1, 0.92],
    )
    for number, (name, (into, up)) in enumerate(_VIEWS.items()):
        axes = figure.add_subplot(grid[number // 3, number % 3])
        image, scale = view(parts, np.array(into), np.array(up))
        axes.imshow(image, interpolation="nearest")
        axes.set_title(name, fontsize=11)
        axes.set_axis_off()
        # The bar stands in the picture's own pixels, so it cannot disagree with it.
        bottom = image.shape[0] + 10
        axes.plot(
            [_MARGIN, _MARGIN + 20.0 * scale], [bottom, bottom], color="black", linewidth=2.5, clip_on=False
        )
        axes.text(_MARGIN + 10.0 * scale, bottom + 8, "20 mm", ha="center", va="top", fontsize=9)
        axes.set_anchor("C")
    _legend(figure, grid[:, 3], tolerance_mm, notes, accepted)
    with temporary(path) as tmp:
        figure.savefig(tmp, format="png", metadata={"Software": None})


def _legend(figure: Any, place: Any, tolerance_mm: float, notes: Sequence[str], accepted: bool) -> None:
    inner = place.subgridspec(
        2, 2, height_ratios=[1.0, 1.25], width_ratios=[0.13, 1.0], wspace=0.0, hspace=0.05
    )
    bar = figure.add_subplot(inner[0, 0])
    span = SPAN_TOLERANCES * tolerance_mm
    heights = np.linspace(-span, span, 257)
    shades = colours_of(heights, tolerance_mm)[:, None, :]
    bar.imshow(shades, origin="lower", aspect="auto", extent=(0, 1, -span, span))
    bar.set_xticks([])
    bar.yaxis.tick_right()
    marks = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]) * tolerance_mm
    texts = {-1.0: "  lower tolerance", 1.0: "  upper tolerance", 0.0: "  as designed"}
    texts |= {2.0: "  and more: too much metal", -2.0: "  and less: too little metal"}
    bar.set_yticks(marks)
    bar.set_yticklabels(
        [f"{m:+.3f} mm{texts.get(round(m / tolerance_mm, 3), '')}" for m in marks], fontsize=10
    )
    for mark in (-tolerance_mm, tolerance_mm):
        bar.axhline(mark, color="black", linewidth=1.8)
    text = figure.add_subplot(inner[1, :])
    text.set_axis_off()
    text.add_patch(_swatch(text))
    text.text(0.09, 0.955, "not scanned", fontsize=10, va="center", transform=text.transAxes)
    verdict = "#1b6e3c" if accepted else "#a01722"
    for line, note in enumerate(notes):
        text.text(
            0.0,
            0.88 - 0.053 * line,
            note,
            fontsize=12 if line == 0 else 10,
            weight="bold" if line == 0 else "normal",
            color=verdict if line == 0 else "black",
            va="top",
            transform=text.transAxes,
        )


def _swatch(axes: Any) -> Any:
    from matplotlib.patches import Rectangle

    grey = tuple(c / 255.0 for c in UNSEEN_GREY)
    return Rectangle((0.0, 0.93), 0.06, 0.05, transform=axes.transAxes, facecolor=grey, edgecolor="black")
