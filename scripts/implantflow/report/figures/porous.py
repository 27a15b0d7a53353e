"""What another strut would cost: porosity, pore and throat over the strut, with the choice of the case."""

from __future__ import annotations

import numpy as np

from implantflow.report import svgplot
from implantflow.report.figures.base import Context, Figure

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#666666"


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
            [svgplot.Line(strut, 100 * porosity, _BLUE, "porosity")],
        ),
        (
            "pores",
            "Pores",
            "diameter, um",
            [
                svgplot.Line(strut, pore, _BLUE, "pore"),
                svgplot.Line(strut, throat, _ORANGE, "throat"),
            ],
        ),
    ):
        values = np.concatenate([line.y for line in lines])
        here = np.array([float(values.min()), float(values.max())])
        lines.append(svgplot.Line(np.full(2, chosen), here, _GREY, "this case", "4 3"))
        svg = svgplot.plot(title, "strut, mm", unit, lines, width=520).encode()
        caption = f"{cell}, strut {chosen:g} mm dashed: measured on the field of each cell, not on a print."
        found.append(Figure(f"tradeoff-{name}", title, caption, title, "image/svg+xml", svg))
    return found
