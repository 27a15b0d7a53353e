"""Do reported figures reproduce? Which formula, if any, leads from the axes to the volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

from implantflow.config.tumour import ReportedFigures
from implantflow.tumour.response import change_pct, recist, who

Axes = tuple[float, float, float]


@dataclass(frozen=True)
class Formula:
    """One way in which volumes get computed from three full diameters.

    ``sound`` tells whether it gives the volume of a rounded lesion with these diameters.
    """

    code: str
    text: str
    volume: Callable[[Axes], float]
    sound: bool


FORMULAS = (
    Formula("ellipsoid", "pi/6 abc (ellipsoid, full diameters)", lambda a: pi / 6 * _product(a), True),
    Formula("abc_half", "abc/2 (quick form of the ellipsoid)", lambda a: _product(a) / 2, True),
    Formula("box", "abc (box)", lambda a: _product(a), False),
    Formula(
        "diameters_as_semi_axes",
        "4/3 pi abc (full diameters taken for semi-axes, eight times too large)",
        lambda a: 4 / 3 * pi * _product(a),
        False,
    ),
    Formula("sphere_longest", "pi/6 d^3 of the longest diameter", lambda a: pi / 6 * max(a) ** 3, False),
)


def _product(axes: Axes) -> float:
    return axes[0] * axes[1] * axes[2]


def reproducing_formulas(
    axes_cm: Axes, volume_cm3: float, axes_rounding_cm: float, volume_rounding_cm3: float
) -> list[Formula]:
    """Formulas that lead from the axes to the volume within what rounding of both allows, best one first.

    A formula fits when the interval that the rounded axes span meets the interval that the rounded volume
    spans.
    """
    found = []
    for formula in FORMULAS:
        low = formula.volume(_shift(axes_cm, -axes_rounding_cm))
        high = formula.volume(_shift(axes_cm, axes_rounding_cm))
        if low <= volume_cm3 + volume_rounding_cm3 and high >= volume_cm3 - volume_rounding_cm3:
            found.append(formula)
    return sorted(found, key=lambda formula: abs(formula.volume(axes_cm) - volume_cm3))


def _shift(axes: Axes, by: float) -> Axes:
    return (max(axes[0] + by, 0.0), max(axes[1] + by, 0.0), max(axes[2] + by, 0.0))


def check_reported(
    reported: Sequence[ReportedFigures], axes_rounding_cm: float, volume_rounding_cm3: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Check reported axes, volumes and changes against each other.

    Returns
    -------
    entries : one dict per reported time point: formula that reproduces the volume, what each formula gives,
        changes from axes and from volumes, RECIST and WHO from the reported axes
    flags : plain sentences, one per figure that does not hold
    """
    entries: list[dict[str, Any]] = []
    flags: list[str] = []
    for index, figures in enumerate(reported):
        entry, found = _check_volume(figures, axes_rounding_cm, volume_rounding_cm3)
        if index:
            changes, more = _check_change(reported, index, axes_rounding_cm, volume_rounding_cm3)
            entry.update(changes)
            found += more
        entries.append(entry)
        flags += found
    return entries, flags


def _check_volume(
    figures: ReportedFigures, axes_rounding_cm: float, volume_rounding_cm3: float
) -> tuple[dict[str, Any], list[str]]:
    axes, volume = figures.axes_cm, figures.volume_cm3
    fitting = reproducing_formulas(axes, volume, axes_rounding_cm, volume_rounding_cm3)
    stated = "x".join(f"{a:g}" for a in axes)
    sound = pi / 6 * _product(axes)
    flags = []
    if not fitting:
        nearest = min(FORMULAS, key=lambda formula: abs(formula.volume(axes) - volume))
        flags.append(
            f"reported {figures.name}: no formula leads from {stated} cm to {volume:g} cm3; nearest "
            f"is {nearest.text} = {nearest.volume(axes):.1f} cm3; an ellipsoid of these diameters has "
            f"{sound:.1f} cm3"
        )
    elif not any(formula.sound for formula in fitting):
        flags.append(
            f"reported {figures.name}: {volume:g} cm3 is {fitting[0].text} of {stated} cm; "
            f"an ellipsoid of these diameters has {sound:.1f} cm3"
        )
    return {
        "name": figures.name,
        "axes_cm": list(axes),
        "volume_cm3": volume,
        "reproduced_by": fitting[0].code if fitting else None,
        "all_fitting": [formula.code for formula in fitting],
        "formulas_cm3": {formula.code: formula.volume(axes) for formula in FORMULAS},
    }, flags


def _slack_pct(change: float, rounding: float, values: Sequence[float]) -> float:
    """How far rounding may move a change: half a percent of its own, its values' added in squares."""
    relative = sqrt(sum((rounding / value) ** 2 for value in values))
    return 0.5 + (100.0 + change) * relative


def _check_change(
    reported: Sequence[ReportedFigures], index: int, axes_rounding_cm: float, volume_rounding_cm3: float
) -> tuple[dict[str, Any], list[str]]:
    first, this = reported[0], reported[index]
    from_axes = change_pct(_product(first.axes_cm), _product(this.axes_cm))
    from_volumes = change_pct(first.volume_cm3, this.volume_cm3)
    until_now = [sorted(figures.axes_cm, reverse=True) for figures in reported[: index + 1]]
    recist_change, recist_category = recist([10 * a[0] for a in until_now])
    who_change, who_category = who([100 * a[0] * a[1] for a in until_now])
    axes_slack = _slack_pct(from_axes, axes_rounding_cm, [*first.axes_cm, *this.axes_cm])
    volume_slack = _slack_pct(from_volumes, volume_rounding_cm3, [first.volume_cm3, this.volume_cm3])
    flags = []
    if this.change_pct is not None and abs(this.change_pct - from_axes) > axes_slack:
        carries = abs(this.change_pct - from_volumes) <= volume_slack
        flags.append(
            f"reported {this.name}: a change of {this.change_pct:+g} % does not follow from the stated axes "
            f"({from_axes:+.1f} %); the stated volumes give {from_volumes:+.1f} %"
            + (", so it carries their error" if carries else "")
        )
    return {
        "change_pct": this.change_pct,
        "change_from_axes_pct": from_axes,
        "change_from_volumes_pct": from_volumes,
        "recist_change_pct": recist_change,
        "recist": recist_category,
        "who_change_pct": who_change,
        "who": who_category,
        "note": "planes of the reported axes unknown: RECIST from the longest, WHO from the two longest",
    }, flags
