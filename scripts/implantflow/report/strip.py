"""One dot a case along one axis, with median and quartiles: how a figure spreads over a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np

from implantflow.report.svgplot import axis_figure, axis_ticks

_WIDTH, _LEFT, _RIGHT, _MIDDLE, _BASE, _HEIGHT = 420, 18, 18, 62, 96, 118
_DOT = 4.2


def strip(title: str, values: Sequence[float], names: Sequence[str]) -> str:
    """SVG of ``values`` (in the unit that ``title`` names), each dot with the name of its case as a tooltip.

    Dots that would cover one another are stacked. The box spans the quartiles, its bar is the median; below five
    cases there is no box.
    """
    at = np.asarray(values, dtype=np.float64)
    low, high = float(at.min()), float(at.max())
    room = 0.05 * (high - low) or 0.5
    low, high = low - room, high + room

    def across(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    middle = float(np.median(at))
    words = f"{title}: {len(at)} cases, median {middle:.3g}, {at.min():.3g} to {at.max():.3g}"
    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)}" '
        f'xmlns="http://www.w3.org/2000/svg"><text class="pt" x="{_LEFT}" y="18">{escape(title)}</text>'
    ]
    if len(at) >= 5:
        first, third = (float(q) for q in np.quantile(at, (0.25, 0.75)))
        parts.append(
            f'<rect x="{across(first):.1f}" y="{_MIDDLE - 14}" width="{across(third) - across(first):.1f}" '
            f'height="28" fill="#dfe8ee"/><path stroke="#0b4f7a" stroke-width="2" '
            f'd="M{across(middle):.1f} {_MIDDLE - 14}v28"/>'
        )
    for x, y, name, value in _stacked([across(float(v)) for v in at], names, at):
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}" fill="#0072b2" stroke="#fff">'
            f"<title>{escape(name)}: {value:.3g}</title></circle>"
        )
    parts.append(f'<path class="pa" d="M{_LEFT} {_BASE}H{_WIDTH - _RIGHT}"/>')
    for tick in axis_ticks(low, high):
        parts.append(
            f'<text class="pl" text-anchor="middle" x="{across(tick):.1f}" y="{_BASE + 16}">{axis_figure(tick)}</text>'
        )
    return "".join(parts) + "</svg>"


def _stacked(
    places: Sequence[float], names: Sequence[str], values: Sequence[float] | np.ndarray
) -> list[tuple[float, float, str, float]]:
    """Dots from left to right, moved up and down in turn where they would meet."""
    out: list[tuple[float, float, str, float]] = []
    for index in np.argsort(np.asarray(places), kind="stable"):
        x, level = places[index], 0
        near = {round((y - _MIDDLE) / (2 * _DOT)) for other, y, _, _ in out if x - other < 2 * _DOT}
        while (level + 1) // 2 * (-1) ** level in near and level < 6:
            level += 1
        out.append((x, _MIDDLE + (level + 1) // 2 * (-1) ** level * 2 * _DOT, names[index], values[index]))
    return out
