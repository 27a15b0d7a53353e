"""Pictures of the build that a person looks through: all its layers under a slider, other orientations as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from implantflow.report import canvas, svgplot
from implantflow.report.cli_layers import LayerFile
from implantflow.report.figures import making
from implantflow.report.figures.base import Context, Figure

#: Layers under the slider, evenly over the height, and the side of each picture in pixels.
FRAMES, SIDE_PX = 24, 420

_GREY = "#9aa0a6"


def layer_slider(context: Context) -> Figure | None:
    """Layers of the last build file side by side in one picture, of which the page shows one at a time."""
    revision = making.last_build(context)
    if revision is None or not context.files.exists(f"build/{revision}/build.cli"):
        return None
    cli = LayerFile(context.files.path(f"build/{revision}/build.cli"))
    if not len(cli):
        return None
    picks = sorted({round(n) for n in np.linspace(0, len(cli) - 1, min(FRAMES, len(cli)))})
    chosen = [(n, cli.layer(n)) for n in picks]
    points = np.vstack([p for _, layer in chosen for _, p in layer.outlines] or [np.zeros((1, 2))])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = float(max(np.max(high - low), 1.0)) * 1.06 / SIDE_PX
    frames = []
    for n, layer in chosen:
        drawn = making.draw_layer(layer, (low + high) / 2.0, scale, SIDE_PX, hatches=True)
        titled = canvas.titled(drawn, f"layer {n + 1} of {len(cli)}, z = {layer.z_mm:.2f} mm")
        # Every layer carries the words: only one of them is seen.
        frames.append(canvas.stamp(titled, context.stamp) if context.stamp else titled)
    image = np.concatenate(frames, axis=1)
    return Figure(
        "layer-slider",
        f"Layers of build {revision}, one at a time",
        f"{len(frames)} of {len(cli)} layers, evenly over the height, read from build.cli by the report's own reader. "
        "Blue: outlines; orange: outlines of holes; purple, light blue: outer, inner contour passes of dense metal; "
        "grey: its hatch; green: net of lattice struts; yellow: places too thin for a contour.",
        "Contours and hatch lines of layers of the build file, chosen with a slider.",
        "image/png",
        canvas.to_png(image),
        len(frames),
    )


def orientations(context: Context) -> Figure | None:
    """Time against dense surface that needs supports, for the chosen orientation and the others searched."""
    revision = making.last_build(context)
    found = None if revision is None else context.files.json(f"build/{revision}/orientation.json")
    rows: Sequence[Mapping[str, Any]] = (found or {}).get("orientations") or []
    if found is None or len(rows) < 2:
        return None

    def dots(chosen: Sequence[Mapping[str, Any]], colour: str, name: str, radius: float) -> svgplot.Line:
        x = np.array([float(row["time_h"]) for row in chosen])
        y = np.array([float(row["dense_area_mm2"]) / 100.0 for row in chosen])
        return svgplot.Line(x, y, colour, name, radius=radius)

    rest = [row for row in rows if row["fits"] and not row["chosen"] and not row["unbeaten"]]
    front = [row for row in rows if row["unbeaten"] and not row["chosen"]]
    groups = [(rest, _GREY, "others", 2.2), (front, svgplot.BLUE, "unbeaten", 3.4)]
    lines = [dots(*group) for group in groups if group[0]]
    lines.append(dots([row for row in rows if row["chosen"]], svgplot.ORANGE, "chosen", 4.6))
    title = "Other orientations"
    svg = svgplot.plot(title, "time of the build, h", "dense surface to support, cm²", lines).encode()
    unfit = sum(not row["fits"] for row in rows)
    caption = (
        f"{len(rows)} orientations of the part of build {revision}; {unfit} do not fit the machine and are not shown. "
        f"Surface leaning more than {found['overhang_deg']:g}° from the vertical, face down. Unbeaten: none is as good "
        "in time, surface and room for supports and better in one of them. Nothing is chosen by this search."
    )
    return Figure("orientations", title, caption, title, "image/svg+xml", svg)
