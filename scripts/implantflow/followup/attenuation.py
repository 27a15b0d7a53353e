"""How much a lattice's HU rises with bone in its pores, from the lattice itself.

The spectrum inside a metal lattice is unknown: scanner, patient and metal harden it. The lattice carries its own
gauge: its share of metal is known from the design, so its HU at the baseline tells at which energy a monochromatic
beam would show titanium as bright; bone at that energy gives the sensitivity. No spectrum enters, and the same
figures hold for another kVp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

#: Mass attenuation coefficients, cm2/g (NIST XAAMDI tables 3 and 4, DOI 10.18434/T4D01F).
_ENERGY_KEV = np.array([30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0])
_WATER = np.array([0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505])
_CORTICAL_BONE = np.array([1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480])
_TITANIUM = np.array([4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721, 0.1649])
_ALUMINIUM = np.array([1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378])
_VANADIUM = np.array([5.564, 2.472, 1.347, 0.8438, 0.4371, 0.2877, 0.1682])
_TI6AL4V = 0.90 * _TITANIUM + 0.06 * _ALUMINIUM + 0.04 * _VANADIUM
#: g/cm3: Ti-6Al-4V; cortical bone (ICRU 44).
_ALLOY_DENSITY, _BONE_DENSITY = 4.43, 1.92
_ALUMINIUM_DENSITY = 2.70
#: An effective energy below this is no CT's, keV.
_LOWEST_KEV = 40.0
_MATERIALS = {
    "water": (_WATER, 1.0),
    "bone": (_CORTICAL_BONE, _BONE_DENSITY),
    "metal": (_TI6AL4V, _ALLOY_DENSITY),
    "aluminium": (_ALUMINIUM, _ALUMINIUM_DENSITY),
}
#: The one energy that explains titanium need not explain bone: by how much it may differ, keV. And bone hardens the
#: beam further, so that more of it shows a little less: simulated scanners gave 0.88 to 1.00 of this model.
_ENERGY_DOUBT_KEV, _HARDENED = 12.0, 0.88


def _hu(mass: np.ndarray, density: float, energy_kev: float) -> float:  # type: ignore[type-arg]
    where = np.log(energy_kev)
    material = np.exp(np.interp(where, np.log(_ENERGY_KEV), np.log(mass)))
    water = np.exp(np.interp(where, np.log(_ENERGY_KEV), np.log(_WATER)))
    return float(1000.0 * (density * material / water - 1.0))


def linear_attenuation(material: str, energy_kev: FloatArray) -> FloatArray:
    """(E,) 1/cm of ``water``, ``bone``, ``metal`` (Ti-6Al-4V) or ``aluminium`` at 30 to 150 keV, log-log."""
    mass, density = _MATERIALS[material]
    found = np.exp(np.interp(np.log(energy_kev), np.log(_ENERGY_KEV), np.log(mass)))
    return np.asarray(density * found, dtype=np.float64)


@dataclass(frozen=True)
class Sensitivity:
    """HU per share of the pores filled with bone.

    Attributes
    ----------
    energy_kev : effective energy that explains the lattice's HU.
    metal_share : share of metal of the region.
    bone_contrast_hu, contrast_range_hu : HU by which bone is brighter than what filled the pores, best value and the
        range it may have.
    metal_hu : HU of solid alloy at that energy.
    bone_hu : HU of cortical bone at that energy.
    read_share_max : places with more metal than this are not read.
    stray_share : scatter left by the scanner, share of the signal behind the implant, where it was modelled.
    """

    energy_kev: float
    metal_share: float
    bone_contrast_hu: float
    contrast_range_hu: tuple[float, float]
    metal_hu: float
    bone_hu: float
    read_share_max: float = 1.0
    stray_share: float | None = None

    @property
    def hu_per_share(self) -> float:
        """HU of the region's mean per share of its pores filled with bone."""
        return (1.0 - self.metal_share) * self.bone_contrast_hu

    @property
    def low(self) -> float:
        """Least value of :attr:`hu_per_share`."""
        return (1.0 - self.metal_share) * self.contrast_range_hu[0]

    @property
    def high(self) -> float:
        """Largest value of :attr:`hu_per_share`."""
        return (1.0 - self.metal_share) * self.contrast_range_hu[1]

    def as_json(self) -> dict[str, Any]:
        """Keys for followup.json."""
        return {
            "hu_per_0_10_bone": self.hu_per_share / 10.0,
            "range_hu_per_0_10_bone": [self.low / 10.0, self.high / 10.0],
            "effective_energy_kev": self.energy_kev,
            "metal_share": self.metal_share,
            "read_where_metal_share_below": self.read_share_max,
            "hu_per_0_01_metal": self.metal_hu / 100.0,
            "bone_means": "cortical bone of 1.92 g/cm3 (ICRU 44), as a share of the pore space",
            "stray_signal_fraction": self.stray_share,
            "method": "energy at which Ti-6Al-4V explains how the lattice's HU at the baseline rise with the designed "
            "share of metal (NIST tables); then rays through this implant and patient with a whole spectrum, with as "
            "much stray signal left as makes the lattice as bright as it is",
        }


def sensitivity(
    lattice_hu: float, metal_share: float, filler_hu: float, share_error: float, read_share_max: float = 1.0
) -> Sensitivity:
    """Sensitivity of a region with ``metal_share`` of metal that shows ``lattice_hu`` with ``filler_hu`` in its pores.

    Raises
    ------
    GeometryError
        No energy from 40 to 150 keV explains the lattice: it is not the one designed, or the scan clips.
    """
    energy = _energy(lattice_hu, metal_share, filler_hu)
    if energy is None:
        raise GeometryError(
            f"no X-ray energy makes a lattice with {100 * metal_share:.0f} % of titanium show {lattice_hu:.0f} HU",
            where="lattice region",
            fix="check that the scan is not a metal-artefact-reduced series, which invents the inside of metal",
        )
    candidates = [energy + d for d in (-_ENERGY_DOUBT_KEV, _ENERGY_DOUBT_KEV)]
    for share in (metal_share - share_error, metal_share + share_error):
        other = _energy(lattice_hu, share, filler_hu)
        candidates += [] if other is None else [other]
    values = [_bone(e) - filler_hu for e in candidates]
    values.append(_HARDENED * min(values))
    return Sensitivity(
        energy,
        metal_share,
        _bone(energy) - filler_hu,
        (min(values), max(values)),
        _hu(_TI6AL4V, _ALLOY_DENSITY, energy),
        _bone(energy),
        read_share_max,
    )


def _bone(energy_kev: float) -> float:
    return _hu(_CORTICAL_BONE, _BONE_DENSITY, float(np.clip(energy_kev, 40.0, 150.0)))


def _energy(lattice_hu: float, metal_share: float, filler_hu: float) -> float | None:
    """Energy in keV by bisection; HU falls as it rises."""

    def shown(energy: float) -> float:
        return metal_share * _hu(_TI6AL4V, _ALLOY_DENSITY, energy) + (1.0 - metal_share) * filler_hu

    low, high = _LOWEST_KEV, float(_ENERGY_KEV[-1])
    if not shown(high) < lattice_hu < shown(low):
        return None
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if shown(middle) > lattice_hu else (low, middle)
    return (low + high) / 2.0
