"""Is the registration right? Each registered scan and the planning CT by turns, like the squares of a chessboard."""

from __future__ import annotations

from typing import Any

import numpy as np

from implantflow.report import canvas, slicing
from implantflow.report.figures import base
from implantflow.report.figures.anatomy import in_planning_space
from implantflow.report.figures.base import Context, Figure, Image
from implantflow.report.palette import BONES
from implantflow.report.slicing import Slice
from implantflow.volumes import Volume

_SQUARE_MM = 20.0
_SIZE_MM = (250.0, 190.0)
_MM_PER_PX = 0.55
#: The CT in a window that shows soft tissue and bone, as the MR does.
_CT_WINDOW_HU = (150.0, 900.0)


def registration_checkerboard(context: Context) -> Figure | None:
    """Squares of the planning CT and of each registered scan by turns, with the outline of the segmented bones."""
    ct, focus = context.ct, context.focus_mm
    if ct is None or focus is None:
        return None
    rows = []
    for entry in context.summary["tumour"].get("timepoints") or []:
        scan = context.files.volume(f"ingest/{entry.get('series') or 'none'}/volume.nii.gz")
        if scan is not None and entry.get("registration"):
            rows.append(_row(context, entry, in_planning_space(scan, entry), ct))
    if not rows:
        return None
    return base.finish(
        context,
        "registration-checkerboard",
        "Registered scans against the planning CT",
        f"Squares of {_SQUARE_MM:g} mm show the planning CT and the registered scan by turns; lines: the bones as "
        "segmented on the CT. Where the registration is right, the outlines of bones, vessels and muscles run on from "
        "square to square and the lines follow the bones' edges in the scan's squares too.",
        "Chessboard pictures in three planes, planning CT and registered scan by turns.",
        canvas.column(rows),
        photo=True,
    )


def _row(context: Context, entry: dict[str, Any], scan: Volume, ct: Volume) -> Image:
    panels = []
    for plane in slicing.three_planes(context.focus_mm, *_SIZE_MM, _MM_PER_PX):  # type: ignore[arg-type]
        image = _mixed(slicing.windowed(slicing.sample(ct, plane), *_CT_WINDOW_HU), _grey(scan, plane), plane)
        for name, mesh in context.bones.items():
            image = base.outline(image, plane, mesh, BONES[name], 1.2)
        panels.append(base.dressed(image, plane))
    how = str(entry["registration"].get("method", "rigid"))
    residual = entry["registration"].get("residual_mm")
    words = f"{entry.get('name')}: {entry.get('series')}, {how}"
    words += "" if residual is None else f", largest residual {residual:.2f} mm"
    return canvas.titled(canvas.row(panels), words)


def _grey(scan: Volume, plane: Slice) -> Image:
    values = slicing.sample(scan, plane)
    seen = values[np.isfinite(values)]
    low, high = np.percentile(seen, [2.0, 98.0]) if len(seen) else (0.0, 1.0)
    return slicing.windowed(values, float(low + high) / 2.0, max(float(high - low), 1.0))


def _mixed(first: Image, second: Image, plane: Slice) -> Image:
    """Squares of ``first`` and ``second`` by turns."""
    side = _SQUARE_MM / plane.mm_per_px
    row, column = (np.arange(n) // side for n in first.shape[:2])
    return np.where(((row[:, None] + column[None]) % 2 == 0)[..., None], first, second)
