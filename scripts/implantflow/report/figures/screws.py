"""Names of the screws on a picture of the construct, in columns at its edges with a line to each head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from implantflow.fonts import dejavu_sans
from implantflow.report import canvas
from implantflow.report.figures import base
from implantflow.report.figures.base import Context, Float, Image
from implantflow.report.palette import Rgb
from implantflow.report.views import Camera

_ROW_PX, _INSET_PX, _SIZE_PX = 17, 26, 12
_LIGHT: Rgb = (255, 214, 102)


def heads(context: Context) -> dict[str, Float]:
    """Where each screw of the plan begins (3,): the middle of its head, or its entry where no rod holds it."""
    found = {}
    for entry in context.summary["plan"].get("corridors") or []:
        place = base.as_point(entry.get("start_lps_mm")) if isinstance(entry, Mapping) else None
        if place is not None:
            found[str(entry["name"])] = place
    record = context.files.json(context.plan_file("construct.json")) or {}
    for screw in record.get("screws") or []:
        place = base.as_point(screw.get("saddle_lps_mm"))
        if place is not None:
            found[str(screw["name"])] = place
    return found


def named(image: Image, camera: Camera, places: Mapping[str, Float], *, dark: bool) -> Image:
    """Names beside a picture, each at the edge that its screw is nearer to; those outside the picture are left out."""
    height, width = image.shape[:2]
    middle = (np.array([width, height]) - 1.0) / 2.0
    at = {}
    for name, place in places.items():
        x, y = (camera.axes[:2] @ (place - np.asarray(camera.centre_mm))) / camera.mm_per_px + middle
        if 0 <= x < width and 0 <= y < height:
            at[name] = (float(x), float(y))
    colour = _LIGHT if dark else canvas.INK
    for right in (False, True):
        mine = sorted((y, x, name) for name, (x, y) in at.items() if (x >= width / 2.0) == right)
        for row, (y, x, name) in zip(_rows([y for y, _, _ in mine], height), mine, strict=True):
            edge = width - _INSET_PX if right else _INSET_PX
            long = dejavu_sans(_SIZE_PX, True).getlength(name)
            end = edge - long - 4.0 if right else edge + long + 4.0
            image = canvas.lines(image, np.array([[[x, y], [end, row]]]), colour, 1.0)
            image = canvas.text(
                image,
                (round(edge - long if right else edge), round(row) - _SIZE_PX // 2 - 1),
                name,
                size=_SIZE_PX,
                colour=colour,
                bold=True,
            )
    return image


def _rows(wanted: list[float], height: int) -> list[float]:
    """Heights of the names, from above: near ``wanted``, a line apart, within the picture."""
    top, bottom = 1.5 * _ROW_PX, height - 2.5 * _ROW_PX
    rows: list[float] = []
    for place in wanted:
        rows.append(max(place, top, rows[-1] + _ROW_PX if rows else top))
    for i in reversed(range(len(rows))):
        rows[i] = min(rows[i], bottom - (len(rows) - 1 - i) * _ROW_PX)
    return rows
