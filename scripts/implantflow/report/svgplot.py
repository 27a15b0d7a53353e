"""Small line plots as SVG markup: crisp in print, a few kilobytes, the same bytes every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

#: Colours of lines, from the same set as the pictures (:mod:`implantflow.report.palette`), green darker to be read.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#00795a"

_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 240, 64, 14, 30, 42


@dataclass(frozen=True)
class Line:
    """One line of a plot: points (N,) each, CSS colour, name for the legend, dash pattern ("" is solid).

    With a ``radius`` the points are drawn as dots of that size instead of a line.
    """

    x: Float
    y: Float
    colour: str
    name: str = ""
    dash: str = ""
    radius: float = 0.0


def plot(title: str, x_label: str, y_label: str, lines: Sequence[Line], *, width: int = 420) -> str:
    """SVG of ``lines`` with axes from zero where the data allow it, ticks at round figures, units in labels."""
    x_low, x_high = _range([line.x for line in lines])
    y_low, y_high = _range([line.y for line in lines])
    if 0.0 <= y_low < 0.6 * y_high:
        y_low = 0.0
    x_ticks, y_ticks = axis_ticks(x_low, x_high), axis_ticks(y_low, y_high)
    named = [line for line in lines if line.name]
    beside = _LEFT + 7.2 * len(title) + sum(map(_name_width, named)) < width - _RIGHT
    # A legend that would run into the title has a line of its own, and the plot is that much higher.
    legend_y, top, height = (18, _TOP, _HEIGHT) if beside else (35, _TOP + 17, _HEIGHT + 17)

    def place(x: Float, y: Float) -> tuple[Float, Float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (width - _LEFT - _RIGHT)
        down = height - _BOTTOM - (y - y_low) / (y_high - y_low) * (height - top - _BOTTOM)
        return across, down

    parts = [
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg"><text class="pt" x="{_LEFT}" y="18">{escape(title)}</text>'
    ]
    for tick in y_ticks:
        row = float(place(np.array([x_low]), np.array([tick]))[1][0])
        parts.append(f'<path class="pg" d="M{_LEFT} {row:.1f}H{width - _RIGHT}"/>')
        parts.append(
            f'<text class="pl" text-anchor="end" x="{_LEFT - 6}" y="{row + 4:.1f}">{axis_figure(tick)}</text>'
        )
    for tick in x_ticks:
        column = float(place(np.array([tick]), np.array([y_low]))[0][0])
        parts.append(
            f'<text class="pl" text-anchor="middle" x="{column:.1f}" y="{height - _BOTTOM + 16}">'
            f"{axis_figure(tick)}</text>"
        )
    parts.append(f'<path class="pa" d="M{_LEFT} {top}V{height - _BOTTOM}H{width - _RIGHT}"/>')
    middle = (top + height - _BOTTOM) / 2
    parts.append(
        f'<text class="pl" text-anchor="middle" x="{(_LEFT + width - _RIGHT) / 2}" y="{height - 6}">'
        f"{escape(x_label)}</text>"
        f'<text class="pl" text-anchor="middle" transform="translate(14 {middle}) rotate(-90)">{escape(y_label)}</text>'
    )
    for line in lines:
        across, down = place(line.x, line.y)
        if line.radius > 0:
            parts += [
                f'<circle fill="{line.colour}" r="{line.radius:g}" cx="{a:.1f}" cy="{d:.1f}"/>'
                for a, d in zip(across, down, strict=True)
            ]
            continue
        points = " ".join(f"{a:.1f},{d:.1f}" for a, d in zip(across, down, strict=True))
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        parts.append(
            f'<polyline fill="none" stroke="{line.colour}" stroke-width="1.4"{dash} points="{points}"/>'
        )
    at = width - _RIGHT
    for line in reversed(named):
        parts.append(
            f'<text class="pl" text-anchor="end" x="{at}" y="{legend_y}" style="fill:{line.colour}">'
            f"{escape(line.name)}</text>"
        )
        at -= _name_width(line)
    return "".join(parts) + "</svg>"


def _name_width(line: Line) -> int:
    """Room for a name of the legend and the gap before it, user units."""
    return 8 + round(6.2 * len(line.name))


def thinned(x: Float, y: Float, points: int = 300) -> tuple[Float, Float]:
    """At most ``points`` of a long series: means over equal runs, so that no pattern is made by skipping."""
    if len(x) <= points:
        return x, y
    edges = np.linspace(0, len(x), points + 1).astype(int)
    width = np.diff(edges)
    return np.add.reduceat(x, edges[:-1]) / width, np.add.reduceat(y, edges[:-1]) / width


def _range(series: Sequence[Float]) -> tuple[float, float]:
    low, high = min(float(s.min()) for s in series), max(float(s.max()) for s in series)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def axis_ticks(low: float, high: float) -> list[float]:
    """Round figures between two ends, three to six of them."""
    rough = (high - low) / 4.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1.0, 2.0, 2.5, 5.0, 10.0) if s * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def axis_figure(value: float) -> str:
    """A tick's figure: thousands apart, no needless digits."""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:g}"
