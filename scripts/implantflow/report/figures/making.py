"""Pictures of the making: layers of the build file and plots over them; and sections of the stress."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.report import canvas, palette, svgplot
from implantflow.report.cli_layers import Layer, LayerFile
from implantflow.report.figures import base
from implantflow.report.figures.base import Context, Figure, Float
from implantflow.report.palette import Rgb

#: Colour of hatch lines by the label of their block in the build file: 2 dense metal, 3 lattice, 6 outer and 7 inner
#: contour passes of dense metal, 8 borders of struts, 9 places too thin for a contour.
_HATCHES: dict[int, Rgb] = {
    2: (140, 140, 140),
    3: (0, 158, 115),
    6: (204, 64, 160),
    7: (86, 180, 233),
    8: (0, 114, 178),
    9: (230, 159, 0),
}
#: What of it is a path of a contour: drawn over the fillings.
_CONTOUR_PATHS = (6, 7, 8)

#: Colour of contour passes in plots, near that of their outer pass in the pictures.
_PURPLE = "#cc40a0"


def layers(context: Context) -> Figure | None:
    """Four layers of the build file as the machine gets them, and a detail of one."""
    revision = last_build(context)
    if revision is None or not context.files.exists(f"build/{revision}/build.cli"):
        return None
    cli = LayerFile(context.files.path(f"build/{revision}/build.cli"))
    if not len(cli):
        return None
    picks = sorted({round((len(cli) - 1) * share) for share in (0.15, 0.4, 0.65, 0.9)})
    chosen = [(n, cli.layer(n)) for n in picks]
    points = np.vstack([p for _, layer in chosen for _, p in layer.outlines] or [np.zeros((1, 2))])
    low, high = points.min(axis=0), points.max(axis=0)
    side_px = 330
    scale = float(max(np.max(high - low), 1.0)) * 1.08 / side_px
    middle = (low + high) / 2.0
    panels = [
        canvas.titled(
            draw_layer(layer, middle, scale, side_px, hatches=False),
            f"layer {n + 1}, z = {layer.z_mm:.2f} mm",
        )
        for n, layer in chosen
    ]
    n, layer = chosen[len(chosen) // 2]
    spot = _busy_spot(layer, middle)
    for wide_mm in (12.0, 4.0):
        detail = draw_layer(layer, spot, wide_mm / side_px, side_px, hatches=True)
        panels.append(canvas.titled(detail, f"detail of layer {n + 1}: {wide_mm:g} mm wide, with hatches"))
    image = canvas.column([canvas.row(panels[:3]), canvas.row(panels[3:])])
    entries: list[tuple[str, Rgb]] = [
        ("outline", (0, 114, 178)),
        ("outline of a hole", (213, 94, 0)),
        ("hatch of dense metal", _HATCHES[2]),
        ("net of lattice struts", _HATCHES[3]),
    ]
    drawn = {number for _, layer in chosen for number, _ in layer.hatches}
    for number, name in ((6, "outer contour pass"), (7, "inner contour pass"), (9, "net of thin places")):
        if number in drawn:
            entries.append((name, _HATCHES[number]))
    return base.finish(
        context,
        "layers",
        f"Layers of build {revision}",
        "Read from build.cli by the report's own reader; x and y of the machine. A hole runs clockwise. Where "
        "contour passes are drawn, the beam follows them inside the outline of dense metal, and not the outline.",
        "Contours of four layers of the build file and an enlarged detail with hatch lines.",
        canvas.legend(image, entries),
    )


def last_build(context: Context) -> str | None:
    """Name of the newest build revision that exists."""
    revisions = context.summary["build"].get("revisions") or []
    return str(revisions[-1]["id"]) if revisions else None


def _busy_spot(layer: Layer, middle: Float) -> Float:
    """A place with metal: what of the contour passes, or else of the outlines, is nearest the middle of the part."""
    passes = [lines[:, 0] for number, lines in layer.hatches if number == 6]
    if not layer.outlines:
        return middle
    points = np.vstack(passes or [p for _, p in layer.outlines])
    return np.asarray(points[np.argmin(np.linalg.norm(points - middle, axis=1))])


def draw_layer(
    layer: Layer, middle: Float, mm_per_px: float, side_px: int, *, hatches: bool
) -> NDArray[np.uint8]:
    """A square picture round ``middle`` (2,), coloured by theme, y upwards."""
    image = np.full((side_px, side_px, 3), 255, np.uint8)

    def to_px(points: Float) -> Float:
        local = (points - middle) / mm_per_px
        return np.asarray(np.stack([local[..., 0], -local[..., 1]], axis=-1) + (side_px - 1) / 2.0)

    def visible(segments: Float) -> Float:
        low, high = segments.min(axis=1), segments.max(axis=1)
        crossing: NDArray[np.bool_] = ((high > -20) & (low < side_px + 20)).all(axis=1)
        return np.asarray(segments[crossing])

    if hatches:
        for number, colour in _HATCHES.items():
            blocks = [to_px(h) for own, h in layer.hatches if (own if own in _HATCHES else 2) == number]
            if blocks:
                wide = 1.4 if number in _CONTOUR_PATHS else 1.0
                image = canvas.lines(image, visible(np.vstack(blocks)), colour, wide)
    for direction, colour in ((1, (0, 114, 178)), (0, (213, 94, 0)), (2, (150, 0, 150))):
        loops = [to_px(p) for d, p in layer.outlines if d == direction]
        if loops:
            pairs = np.vstack([np.stack([p[:-1], p[1:]], axis=1) for p in loops])
            image = canvas.lines(image, visible(pairs), colour, 1.2 if hatches else 0.8)
    return canvas.scale_bar(image, mm_per_px, dark=False)


@dataclass(frozen=True)
class _Curve:
    """A column of layers.parquet as a line: factor to the plotted unit, name in the legend, colour, dashes."""

    column: str
    factor: float
    name: str
    colour: str
    dash: str = ""


#: Plots over the height of the part: title, unit, curves (those whose column is there are drawn).
_PLOTS: tuple[tuple[str, str, tuple[_Curve, ...]], ...] = (
    (
        "Area per layer",
        "mm²",
        (
            _Curve("area_mm2", 1.0, "metal", svgplot.BLUE),
            _Curve("solid_area_mm2", 1.0, "outer solid", svgplot.ORANGE, "5 3"),
        ),
    ),
    (
        "Length of paths per layer",
        "m",
        (
            _Curve("contour_mm", 1e-3, "outline", svgplot.BLUE),
            _Curve("melted_contour_mm", 1e-3, "contour passes", _PURPLE, "7 2"),
            _Curve("hatch_mm", 1e-3, "hatch", svgplot.ORANGE, "5 3"),
            _Curve("net_mm", 1e-3, "net", svgplot.GREEN, "2 2"),
        ),
    ),
    (
        "Jumps of the beam per layer",
        "m",
        (
            _Curve("cli_jump_mm", 1e-3, "in the CLI file", svgplot.ORANGE, "5 3"),
            _Curve("jump_mm", 1e-3, "in the open build file", svgplot.BLUE),
        ),
    ),
    (
        "Time per layer",
        "s",
        (
            _Curve("preheat_s", 1.0, "preheat", svgplot.ORANGE, "5 3"),
            _Curve("melt_s", 1.0, "melt", svgplot.BLUE),
            _Curve("rake_s", 1.0, "rake", svgplot.GREEN, "2 2"),
        ),
    ),
    (
        "Energy per layer",
        "kJ",
        (
            _Curve("preheat_j", 1e-3, "preheat", svgplot.ORANGE, "5 3"),
            _Curve("melt_j", 1e-3, "melt", svgplot.BLUE),
        ),
    ),
)


def layer_plots(context: Context) -> list[Figure]:
    """Area, lengths, time and energy over the height of the part."""
    revision = last_build(context)
    if revision is None or not context.files.exists(f"build/{revision}/layers.parquet"):
        return []
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(context.files.path(f"build/{revision}/layers.parquet"))
    if "z_mm" not in table.column_names or table.num_rows < 2:
        return []
    z = np.asarray(table["z_mm"].to_numpy(), dtype=np.float64)
    found = []
    for number, (title, unit, curves) in enumerate(_PLOTS):
        lines = []
        for curve in curves:
            if curve.column in table.column_names:
                values = np.asarray(table[curve.column].to_numpy(), dtype=np.float64) * curve.factor
                lines.append(svgplot.Line(*svgplot.thinned(z, values), curve.colour, curve.name, curve.dash))
        if lines:
            svg = svgplot.plot(title, "height above the plate, mm", unit, lines).encode()
            caption = f"Build {revision}, {len(z)} layers, means over equal runs of layers."
            found.append(Figure(f"layers-{number}", title, caption, title, "image/svg+xml", svg))
    return found


def stress(context: Context) -> Figure | None:
    """Stress of the governing load case in the planes through the most loaded element."""
    which = "final" if context.files.exists("strength/final/view.npz") else "solid"
    if not context.files.exists(f"strength/{which}/view.npz"):
        return None
    with np.load(context.files.path(f"strength/{which}/view.npz"), allow_pickle=False) as arrays:
        dense, struts = arrays["von_mises_mpa"].astype(np.float64), arrays["strut_mpa"].astype(np.float64)
        judged = arrays["judged"] > 0
        metal = (arrays["dense_share"] + arrays["porous_share"]) > 0
        share = arrays["dense_share"] > 0.5
        spacing = float(np.ravel(arrays["spacing_mm"])[0])
    # Each element shows the stress of the metal it is made of: dense metal, or struts of the lattice.
    values = np.where(share, dense, struts)
    if not (metal & judged).any():
        return None
    limit = float(np.percentile(values[metal & judged], 99.5))
    top = int(np.argmax(np.where(metal & judged, values, -1.0)))
    k, j, i = (int(n) for n in np.unravel_index(top, values.shape))
    cuts = (
        ("across z", values[k], metal[k], judged[k]),
        ("across y", values[::-1, j], metal[::-1, j], judged[::-1, j]),
        ("across x", values[::-1, :, i], metal[::-1, :, i], judged[::-1, :, i]),
    )
    panels = [_stress_panel(*cut, limit, spacing) for cut in cuts]
    image = canvas.legend(
        canvas.row(panels), [("beside a loaded or held face: not judged", palette.NOT_JUDGED)]
    )
    image = canvas.colour_bar(
        image,
        palette.SEQUENTIAL,
        "0",
        f"{limit / 2:.0f}",
        f"{limit:.0f} MPa",
        "von Mises stress of the metal",
    )
    case = (context.files.json(f"strength/{which}/strength.json") or {}).get("governing_load_case")
    return base.finish(
        context,
        "stress",
        f"Stress in the implant ({which}{f', {case}' if case else ''})",
        "Sections through the most loaded judged element, in the grid of the finite elements. In the porous part, the "
        "stress in the struts. Colours end at the 99.5th percentile; the largest value is in the table.",
        "Three sections of the implant coloured by von Mises stress.",
        image,
    )


def _stress_panel(
    name: str,
    values: Float,
    metal: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    limit: float,
    spacing: float,
) -> NDArray[np.uint8]:
    colours = palette.sequential(values, 0.0, limit)
    colours[~judged] = palette.NOT_JUDGED
    colours[~metal] = 255
    repeat = max(1, round(380 / max(values.shape)))
    image = np.ascontiguousarray(np.repeat(np.repeat(colours, repeat, axis=0), repeat, axis=1))
    return canvas.titled(canvas.scale_bar(image, spacing / repeat, dark=False), name)
