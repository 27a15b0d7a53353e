"""What another strut would cost: porosity, pore and throat over the strut, with the choice of the case.

In a lattice graded by strut also what it brings: modulus and safety factor over the strut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from implantflow.report import svgplot
from implantflow.report.figures.base import Context, Figure, Float

_GREY = "#666666"
#: Steps of strut over which safety factors are gathered, and the least number of elements that makes a step.
_BINS, _ELEMENTS_MIN = 8, 20


def tradeoff(context: Context) -> list[Figure]:
    """Two plots of the table ``tradeoff`` of lattice.json; nothing where it is missing or has one row."""
    if not context.files.exists("lattice/lattice.json"):
        return []
    data = context.files.json("lattice/lattice.json") or {}
    rows = data.get("tradeoff") or []
    if len(rows) < 2:
        return []
    strut = np.array([row["strut_mm"] for row in rows], dtype=np.float64)
    porosity, pore, throat = (
        np.array([row[key] for row in rows], dtype=np.float64) for key in ("porosity", "pore_um", "throat_um")
    )
    chosen = float(data["strut_mm"])
    cell = f"{str(data['cell']).replace('_', ' ')}, cell {data['cell_mm']:g} mm"
    found = []
    for name, title, unit, lines in (
        (
            "porosity",
            "Porosity",
            "porosity, %",
            [svgplot.Line(strut, 100 * porosity, svgplot.BLUE, "porosity")],
        ),
        (
            "pores",
            "Pores",
            "diameter, um",
            [
                svgplot.Line(strut, pore, svgplot.BLUE, "pore"),
                svgplot.Line(strut, throat, svgplot.ORANGE, "throat"),
            ],
        ),
    ):
        values = np.concatenate([line.y for line in lines])
        here = np.array([float(values.min()), float(values.max())])
        lines.append(svgplot.Line(np.full(2, chosen), here, _GREY, "this case", "4 3"))
        ends = [s for s in data.get("strut_range_mm") or [] if s != chosen]
        lines += [
            svgplot.Line(np.full(2, s), here, svgplot.GREEN, "graded from, to" if s == ends[0] else "", "2 3")
            for s in ends
        ]
        caption = f"{cell}, strut {chosen:g} mm dashed: measured on the field of each cell, not on a print."
        found.append(_plot(f"tradeoff-{name}", title, unit, lines, caption))
    return found


def graded(context: Context) -> list[Figure]:
    """What each strut of a graded lattice brings and costs; nothing where all struts are alike."""
    lattice = context.files.json("lattice/lattice.json") or {}
    strength = context.files.json("strength/final/strength.json") or {}
    nominal = context.files.json("strength/solid/strength.json") or {}
    needed = ("lattice/field.json", "lattice/field.npz", "strength/final/view.npz")
    if not lattice.get("grading") or not strength or not all(map(context.files.exists, needed)):
        return []
    struts, safety = _safety_by_strut(context, float(strength["fatigue_strut"]["strength_mpa"]))
    low, high = lattice["strut_range_mm"]
    edges = np.linspace(low, high, _BINS + 1)
    number = np.clip(np.digitize(struts, edges) - 1, 0, _BINS - 1)
    steps = [n for n in range(_BINS) if (number == n).sum() >= _ELEMENTS_MIN]
    if len(steps) < 2:
        return []
    middle = np.array([0.5 * (edges[n] + edges[n + 1]) for n in steps])
    least, typical = (np.array([f(safety[number == n]) for n in steps]) for f in (np.min, np.median))
    share = np.array([100.0 * float((number == n).mean()) for n in steps])
    lines = [
        svgplot.Line(middle, least, svgplot.ORANGE, "least"),
        svgplot.Line(middle, typical, svgplot.BLUE, "median"),
    ]
    said = ""
    if nominal.get("safety_factor"):
        level = np.full(2, float(nominal["safety_factor"]))
        lines.append(svgplot.Line(np.array([low, high]), level, _GREY, "all nominal, least", "4 3"))
        said = f" Dashed: least one with {lattice['strut_mm']:g} mm everywhere (strength/solid)."
    case = strength["governing_load_case"]
    by = f"struts {low:g} to {high:g} mm by {lattice['grading']['by']}"
    safe = f"Struts of {case}, {by}, element by element; as far as judged.{said}"
    cost = f"By the law fitted to five homogenised cells; {by}. Pore and throat are those of the cell's own plots."
    return [
        _plot("graded-safety", "Safety factor of struts", "safety factor", lines, safe),
        _plot("graded-cost", "Modulus and metal by strut", "GPa; metal, %", _cost(lattice, strength), cost),
        _plot(
            "graded-share",
            "How much of the lattice has which strut",
            "% of the judged elements",
            [svgplot.Line(middle, share, svgplot.GREEN, "share")],
            f"Share of the judged lattice elements by strut; {by}.",
        ),
    ]


def _plot(name: str, title: str, unit: str, lines: list[svgplot.Line], caption: str) -> Figure:
    svg = svgplot.plot(title, "strut, mm", unit, lines, width=520).encode()
    return Figure(name, title, caption, title, "image/svg+xml", svg)


def _cost(lattice: Mapping[str, Any], strength: Mapping[str, Any]) -> list[svgplot.Line]:
    """Modulus (GPa) and metal (% of the volume) of the cells that were measured, over their strut."""
    cells = sorted((float(strut), cell) for strut, cell in lattice["by_strut"].items())
    strut = np.array([s for s, _ in cells])
    metal = np.array([1.0 - float(cell["porosity"]) for _, cell in cells])
    law = strength["homogenised"]["gibson_ashby"]
    modulus = float(strength["metal"]["modulus_gpa"]) * law["coefficient"] * metal ** law["exponent"]
    return [
        svgplot.Line(strut, modulus, svgplot.ORANGE, "modulus, GPa"),
        svgplot.Line(strut, 100.0 * metal, svgplot.BLUE, "metal, %"),
    ]


def _safety_by_strut(context: Context, fatigue_mpa: float) -> tuple[Float, Float]:
    """Strut (N,) mm at the middle of every judged lattice element of strength/final, and its safety factor (N,)."""
    from implantflow.field.field import DISTANCE_STEP_MM, Field

    field = Field.load(context.files.path("lattice/field.json"), context.files.path("lattice/field.npz"))
    with np.load(context.files.path("strength/final/view.npz"), allow_pickle=False) as view:
        stress = np.asarray(view["strut_mpa"], dtype=np.float64)
        judged = (view["judged"] > 0) & (stress > 0)
        origin, spacing = view["origin_mm"], view["spacing_mm"]
    places = origin + (np.argwhere(judged)[:, ::-1] + 0.5) * spacing
    if field.grade is None:
        return np.full(len(places), field.strut_mm), fatigue_mpa / stress[judged]
    index = np.round((places - field.origin_mm) / field.spacing_mm).astype(np.int64)
    index = np.clip(index, 0, np.array(field.grade.shape[::-1]) - 1)
    struts = field.grade[index[:, 2], index[:, 1], index[:, 0]] * DISTANCE_STEP_MM
    return np.asarray(struts, dtype=np.float64), fatigue_mpa / stress[judged]
