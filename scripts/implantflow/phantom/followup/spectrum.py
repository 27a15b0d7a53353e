"""X-ray physics of the simulated scanner: spectrum, two basis materials, and what a ray's detector cell reads.

Everything a ray meets is expressed as path lengths of water and titanium alloy: over 15-140 keV bone is a mixture of
the two to within a percent, so two path lengths and one table replace the sum over energies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import GeometryError
from implantflow.geometry import FloatArray

Float32Array = NDArray[np.float32]

#: Tube of the simulated scanner: anode angle and total filtration, equivalent to 9 mm of aluminium.
_ANODE_DEG, _FILTER_AL_MM, _BIN_KEV, _CUT_OFF_KEV = 8.0, 9.0, 1.0, 15.0
#: Densities, g/cm3: water, cortical bone (ICRU 44), Ti-6Al-4V.
_DENSITY = {"water": 1.0, "bone": 1.92, "titanium": 4.43}
#: Mass fractions. Cortical bone: ICRU report 44 (as in NIST's tables of attenuation); alloy: nominal Ti-6Al-4V.
_COMPOSITION = {
    "water": {"H": 0.111898, "O": 0.888102},
    "bone": {
        "H": 0.034,
        "C": 0.155,
        "N": 0.042,
        "O": 0.435,
        "Na": 0.001,
        "Mg": 0.002,
        "P": 0.103,
        "S": 0.003,
        "Ca": 0.225,
    },
    "titanium": {"Ti": 0.90, "Al": 0.06, "V": 0.04},
}
#: Water behind which bone is fitted to the basis and an insert's HU are defined, cm.
_BODY_CM = 20.0
#: Steps and ends of the table over (water, titanium), cm. It begins below zero: steep edges undershoot.
WATER_STEP_CM, TITANIUM_STEP_CM = 0.1, 0.01
WATER_FIRST_CM, TITANIUM_FIRST_CM = -1.0, -0.1
_WATER_LAST_CM, _TITANIUM_LAST_CM = 62.0, 14.0


@dataclass(frozen=True)
class Physics:
    """The scanner's physics for one tube voltage.

    Attributes
    ----------
    transmission : (W, T) float32
        Share of the detector's signal that is left behind a ray's water and titanium, both from their ``FIRST`` in
        steps of ``STEP`` (cm).
    hardening : (P,) coefficients, lowest order first
        Polynomial from measured -ln(share) to the value a single energy would give in water.
    reference_per_cm : attenuation of water after that correction, 1/cm.
    bone_water, bone_titanium : basis densities of solid cortical bone.
    bone_hu : HU of a small insert of solid cortical bone behind a body's width of water.
    """

    transmission: Float32Array
    hardening: FloatArray
    reference_per_cm: float
    bone_water: float
    bone_titanium: float
    bone_hu: float


def attenuation_per_cm(material: str, energies_kev: FloatArray) -> FloatArray:
    """Linear attenuation (N,) of ``water``, ``bone`` or ``titanium`` at (N,) energies, 1/cm (Elam's tables)."""
    import xraydb

    mass: FloatArray = np.zeros(len(energies_kev))
    for element, share in _COMPOSITION[material].items():
        mass += share * np.asarray(xraydb.mu_elam(element, energies_kev * 1e3))
    return _DENSITY[material] * mass


def spectrum(kvp: float) -> tuple[FloatArray, FloatArray]:
    """Energies (N,) in keV and the detector's weights (N,), which sum to one: it adds up energy, not photons."""
    import spekpy

    tube = spekpy.Spek(kvp=kvp, th=_ANODE_DEG, dk=_BIN_KEV)
    tube.filter("Al", _FILTER_AL_MM)
    energies, fluence = tube.get_spectrum()
    kept = energies > _CUT_OFF_KEV
    weights = fluence[kept] * energies[kept]
    return np.asarray(energies[kept], float), np.asarray(weights / weights.sum(), float)


@lru_cache(maxsize=2)
def physics(kvp: float) -> Physics:
    """Tables for one tube voltage.

    Raises
    ------
    GeometryError
        A water path would not grow with the measured signal (a broken correction polynomial).
    """
    energies, weights = spectrum(kvp)
    water, bone, titanium = (attenuation_per_cm(m, energies) for m in ("water", "bone", "titanium"))
    table = _transmission(weights, water, titanium)
    lengths = np.arange(0.0, _WATER_LAST_CM, WATER_STEP_CM)
    measured = _log_signal(weights, water[:, None] * lengths)
    slope = float(measured[200] / lengths[200])
    fitted = np.polynomial.Polynomial.fit(measured, slope * lengths, 6)
    hardening: FloatArray = np.asarray(fitted.convert().coef, dtype=np.float64)
    corrected = np.polynomial.polynomial.polyval(measured, hardening)
    if (np.diff(corrected) <= 0).any():
        raise GeometryError("the beam hardening correction is not monotone", where=f"{kvp:g} kV")
    mix = _bone_mixture(weights, water, bone, titanium)
    hu = _insert_hu(weights, water, bone, hardening, slope)
    return Physics(table, hardening, slope, mix[0], mix[1], hu)


def _log_signal(weights: FloatArray, exponents: FloatArray) -> FloatArray:
    """-ln of the weighted mean transmission over the first axis."""
    return np.asarray(-np.log(np.tensordot(weights, np.exp(-exponents), axes=1)))


def _transmission(weights: FloatArray, water: FloatArray, titanium: FloatArray) -> Float32Array:
    in_water = np.arange(WATER_FIRST_CM, _WATER_LAST_CM, WATER_STEP_CM)
    in_titanium = np.arange(TITANIUM_FIRST_CM, _TITANIUM_LAST_CM, TITANIUM_STEP_CM)
    behind_water = np.exp(-np.outer(in_water, water)) * weights
    return (behind_water @ np.exp(-np.outer(titanium, in_titanium))).astype(np.float32)


def _bone_mixture(
    weights: FloatArray, water: FloatArray, bone: FloatArray, titanium: FloatArray
) -> tuple[float, float]:
    """Water and titanium that attenuate like bone, least squares over what a body's width of water lets pass."""
    root = np.sqrt(weights * np.exp(-water * _BODY_CM))
    basis = np.stack([water, titanium], axis=1) * root[:, None]
    found = np.linalg.lstsq(basis, bone * root, rcond=None)[0]
    return float(found[0]), float(found[1])


def _insert_hu(
    weights: FloatArray, water: FloatArray, bone: FloatArray, hardening: FloatArray, slope: float
) -> float:
    """HU of a millimetre of bone in place of a millimetre of water, behind a body's width of water."""
    paths = np.stack([water * _BODY_CM, water * (_BODY_CM - 0.1) + bone * 0.1], axis=1)
    corrected = np.polynomial.polynomial.polyval(_log_signal(weights, paths), hardening)
    return float(1000.0 * (corrected[1] - corrected[0]) / (0.1 * slope))
