"""What the beam does along the paths: themes from the machine preset, their energy density, time and energy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implantflow.config.build import Machine, Theme
from implantflow.errors import QualityGateError
from implantflow.geometry import FloatArray


class Effort(NamedTuple):
    """Time and energy of each layer, (layers,) arrays: s and J."""

    preheat_s: FloatArray
    melt_s: FloatArray
    rake_s: FloatArray
    preheat_j: FloatArray
    melt_j: FloatArray

    @property
    def time_s(self) -> FloatArray:
        """Time of each layer."""
        return self.preheat_s + self.melt_s + self.rake_s

    @property
    def energy_j(self) -> FloatArray:
        """Beam energy of each layer."""
        return self.preheat_j + self.melt_j


def energy_density_j_mm3(machine: Machine, theme: Theme) -> float:
    """Beam energy per molten volume: P / (speed * offset * layer)."""
    power_w = machine.voltage_kv * theme.current_ma
    return power_w / (theme.speed_mm_s * theme.offset_mm * machine.layer_mm)


def _at_pitch(machine: Machine, theme: str, density: float) -> float:
    """Energy density of a theme at the distance of contour passes, where it melts such; else the theme's own."""
    if theme != "contour" or machine.paths is None or machine.paths.contours < 2:
        return density
    return density * machine.contour.offset_mm / machine.paths.contour_pitch_mm


def check_themes(machine: Machine) -> dict[str, Any]:
    """Themes with their energy density, as written to ``themes.json``.

    Raises
    ------
    QualityGateError
        A theme's energy density lies outside the machine's window.
    """
    low, high = machine.energy_density_j_mm3
    themes: dict[str, Any] = {}
    for name in ("contour", "hatch", "net", *(("support",) if machine.support is not None else ())):
        theme: Theme = getattr(machine, name)
        density = energy_density_j_mm3(machine, theme)
        # Contour passes lie a pitch of their own apart.
        for what, value in {"": density, ", its inner passes,": _at_pitch(machine, name, density)}.items():
            if not low <= value <= high:
                raise QualityGateError(
                    f"theme '{name}'{what} melts with {value:.1f} J/mm3, outside {low:g} to {high:g}",
                    where=f"machine {machine.name}: {name}",
                    fix="change current_ma, speed_mm_s or offset_mm of this theme, or paths.contour_pitch_mm",
                )
        themes[name] = {
            **theme.model_dump(),
            "power_w": machine.voltage_kv * theme.current_ma,
            "energy_density_j_mm3": density,
        }
    return {
        "machine": machine.name,
        "source": machine.source,
        "verified": machine.verified,
        "voltage_kv": machine.voltage_kv,
        "layer_mm": machine.layer_mm,
        "rake_s": machine.rake_s,
        "energy_density_window_j_mm3": [low, high],
        "preheat": {
            **machine.preheat.model_dump(),
            "power_w": machine.voltage_kv * machine.preheat.current_ma,
        },
        "paths": None if machine.paths is None else machine.paths.model_dump(),
        **themes,
    }


def heated_mm(machine: Machine, box_mm: FloatArray) -> FloatArray:
    """(2, 2) corners of the heated rectangle: the part's box and the margin round it, as far as the plate reaches."""
    margin = machine.preheat.margin_mm
    corners = np.array([box_mm[0, :2] - margin, box_mm[1, :2] + margin])
    return np.asarray(np.clip(corners, 0.0, np.asarray(machine.envelope_mm[:2])))


def effort(
    machine: Machine,
    box_mm: FloatArray,
    contour_mm: FloatArray,
    hatch_mm: FloatArray,
    net_mm: FloatArray,
    support_mm: FloatArray | None = None,
) -> Effort:
    """Time and energy of each layer.

    Preheating sweeps the part's bounding rectangle plus a margin (at most the plate) in lines; melting runs
    along the contours and the lines of both fillings; jumps are not counted.

    Parameters
    ----------
    box_mm : (2, 3) box of the part in build_xyz.
    contour_mm, hatch_mm, net_mm, support_mm : (layers,) path lengths.
    """
    heat = machine.preheat
    low, high = heated_mm(machine, box_mm)
    sides = high - low
    preheat = heat.passes * float(sides[0] * sides[1]) / (heat.offset_mm * heat.speed_mm_s)
    layers = len(contour_mm)
    melted = [(contour_mm, machine.contour), (hatch_mm, machine.hatch), (net_mm, machine.net)]
    if support_mm is not None and machine.support is not None:
        melted.append((support_mm, machine.support))
    melt_s, melt_j = np.zeros(layers), np.zeros(layers)
    for length, theme in melted:
        time_s = length / theme.speed_mm_s
        melt_s = melt_s + time_s
        melt_j = melt_j + machine.voltage_kv * theme.current_ma * time_s
    return Effort(
        preheat_s=np.full(layers, preheat),
        melt_s=melt_s,
        rake_s=np.full(layers, machine.rake_s),
        preheat_j=np.full(layers, preheat * machine.voltage_kv * heat.current_ma),
        melt_j=melt_j,
    )
