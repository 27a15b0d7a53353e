"""What bone in the pores of this implant in this patient adds to HU: rays through both, with a whole spectrum.

Seen by one energy, bone would add as much as its attenuation there. But the last centimetre behind a lattice meets a
beam that titanium has hardened, and photons scattered into the detector, which the scanner has not wholly taken off,
do not weaken with it: bone adds a tenth to a quarter less. Rays are followed through the design and the planning CT;
the scatter that is left is what makes the model's lattice as bright as the one in the scan.

Contrast is not one figure. What varies along one direction is seen by the rays that cross it (Fourier slice theorem):
a layer of bone below a face shows as bright as the rays along that layer allow, which may pass half as much metal as
those through the length of the implant. And if the stray signal differs between two scans, the whole lattice moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implantflow.followup.attenuation import Sensitivity, linear_attenuation
from implantflow.geometry import FloatArray

#: Rays: places in the core that they pass, directions in the axial plane, steps in the implant and in the body, mm.
_PLACES, _DIRECTIONS = 60, 12
_IMPLANT_MM, _IMPLANT_STEP_MM = 90.0, 1.0
_BODY_MM, _BODY_STEP_MM = 320.0, 4.0
#: Spectrum: bremsstrahlung by Kramers' law behind aluminium, mm, and how much that may be (about 4 keV of the mean).
_FILTER_MM, _FILTERS_MM = 8.0, (5.0, 14.0)
_LOWEST_KEV, _STEP_KEV = 30.0, 2.0
#: Scatter left, as a share of the median ray's signal: more than this is no scanner.
_SCATTER_MAX = 0.6
_LONGEST_WATER_CM = 70.0
#: Step of the stray signal at which its effect is taken.
_STRAY_STEP = 0.1
#: What this model of straight rays may miss (edges, places other than the core), share of the answer.
_MODEL_DOUBT = 0.08
#: Rays along a layer: within 30 degrees of it. A face whose normal lies less within the slice than this is steep: its
#: layers are not seen as such by one slice.
_LAYER_SINE, _STEEP = 0.5, 0.8
#: The share of bone at which the sensitivity is taken.
_BONE_SHARE = 0.1


@dataclass(frozen=True)
class Rays:
    """Lengths along rays through places of the lattice, (N,) arrays in cm: the body as water, metal, pores.

    ``along`` (N, 3) are the rays' directions, unit, planned patient LPS.
    """

    body_cm: FloatArray
    metal_cm: FloatArray
    pores_cm: FloatArray
    along: FloatArray

    def along_layer(self, normal: FloatArray) -> Rays:
        """The rays that run along a layer with ``normal`` (3,); all where it varies from slice to slice only."""
        flat = np.array([normal[0], normal[1], 0.0])
        length = float(np.linalg.norm(flat))
        if length < _STEEP:
            return self
        kept = np.abs(self.along @ flat) <= _LAYER_SINE * length
        return Rays(self.body_cm[kept], self.metal_cm[kept], self.pores_cm[kept], self.along[kept])


def rays_through(
    core: FloatArray,
    metal_share: Callable[[FloatArray], FloatArray],
    inside: Callable[[FloatArray], NDArray[np.bool_]],
    water: Callable[[FloatArray], FloatArray],
) -> Rays:
    """Follow rays in the axial plane through some of the places of ``core``.

    Parameters
    ----------
    core : (N, 3) planned places in the lattice.
    metal_share, inside, water : functions of (M, 3) planned places
        Share of metal, whether it is in the implant, attenuation before the operation in units of water's.
    """
    places = core[np.linspace(0, len(core) - 1, min(_PLACES, len(core))).astype(int)]
    angles = (np.arange(_DIRECTIONS) + 0.5) * np.pi / _DIRECTIONS
    along = np.stack([np.cos(angles), np.sin(angles), np.zeros(_DIRECTIONS)], axis=1)
    near = _points(places, along, _IMPLANT_MM, _IMPLANT_STEP_MM)
    flat = near.reshape(-1, 3)
    share = np.clip(metal_share(flat), 0.0, 1.0)
    pores = np.where(inside(flat), 1.0 - share, 0.0)
    far = _points(places, along, _BODY_MM, _BODY_STEP_MM)
    return Rays(
        water(far.reshape(-1, 3)).reshape(far.shape[:2]).sum(axis=1) * _BODY_STEP_MM / 10.0,
        share.reshape(near.shape[:2]).sum(axis=1) * _IMPLANT_STEP_MM / 10.0,
        pores.reshape(near.shape[:2]).sum(axis=1) * _IMPLANT_STEP_MM / 10.0,
        np.tile(along, (len(places), 1)),
    )


def _points(places: FloatArray, along: FloatArray, reach_mm: float, step_mm: float) -> FloatArray:
    """(N * D, S, 3) points on rays through (N, 3) ``places`` along (D, 3) directions."""
    way = np.arange(-reach_mm, reach_mm + step_mm / 2, step_mm)
    points = places[:, None, None] + way[None, None, :, None] * along[None, :, None]
    return np.asarray(points.reshape(-1, len(way), 3))


@dataclass(frozen=True)
class Beam:
    """A spectrum at the detector and the scanner's correction for water: what a ray reads, in cm of water.

    Attributes
    ----------
    weight : (E,) share of the signal. water, bone, metal : (E,) linear attenuation, 1/cm.
    """

    weight: FloatArray
    water: FloatArray
    bone: FloatArray
    metal: FloatArray

    @classmethod
    def of(cls, kvp: float, filter_mm: float) -> Beam:
        """Energy-weighted bremsstrahlung of ``kvp`` behind ``filter_mm`` of aluminium."""
        energy: FloatArray = np.arange(_LOWEST_KEV, kvp, _STEP_KEV) + _STEP_KEV / 2
        water, bone, metal, aluminium = (
            linear_attenuation(name, energy) for name in ("water", "bone", "metal", "aluminium")
        )
        weight = (kvp - energy) * np.exp(-aluminium * filter_mm / 10.0)
        return cls(weight / weight.sum(), water, bone, metal)

    def read(
        self, body_cm: FloatArray, bone_cm: FloatArray, metal_cm: FloatArray, stray: float
    ) -> FloatArray:
        """(N,) corrected readings in cm of water of rays through (N,) lengths, with ``stray`` signal added."""
        signal = self._signal(body_cm, bone_cm, metal_cm) + stray
        lengths = np.linspace(0.0, _LONGEST_WATER_CM, 701)
        nothing = np.zeros(len(lengths))
        table = -np.log(self._signal(lengths, nothing, nothing))
        slope = (table[-1] - table[-2]) / (lengths[-1] - lengths[-2])
        measured = -np.log(signal)
        beyond = np.maximum(measured - table[-1], 0.0) / slope
        return np.asarray(np.interp(measured, table, lengths) + beyond)

    def _signal(self, body_cm: FloatArray, bone_cm: FloatArray, metal_cm: FloatArray) -> FloatArray:
        exponent = (
            np.outer(body_cm, self.water) + np.outer(bone_cm, self.bone) + np.outer(metal_cm, self.metal)
        )
        return np.asarray(np.einsum("ne,e->n", np.exp(-exponent), self.weight))

    def metal_contrast_hu(self, rays: Rays, stray: float) -> float:
        """HU by which the lattice's metal is brighter than water, per full share of metal."""
        without, with_it = self._levels(rays, 0.0, stray)
        return 1000.0 * float((with_it - without).sum() / rays.metal_cm.sum())

    def bone_contrast_hu(self, rays: Rays, stray: float) -> float:
        """HU by which bone in all pores is brighter than water, per full share of the pores."""
        _, empty = self._levels(rays, 0.0, stray)
        _, grown = self._levels(rays, _BONE_SHARE, stray)
        return 1000.0 * float((grown - empty).sum() / (_BONE_SHARE * rays.pores_cm.sum()))

    def level_hu(self, rays: Rays, stray: float) -> float:
        """HU of the implant over water, mean over its length."""
        without, with_it = self._levels(rays, 0.0, stray)
        return 1000.0 * float((with_it - without).sum() / (rays.metal_cm + rays.pores_cm).sum())

    def median_signal(self, rays: Rays) -> float:
        """Of the rays through the implant."""
        nothing = np.zeros(len(rays.body_cm))
        return float(np.median(self._signal(rays.body_cm - rays.metal_cm, nothing, rays.metal_cm)))

    def _levels(self, rays: Rays, bone_share: float, stray: float) -> tuple[FloatArray, FloatArray]:
        """Readings without and with the implant, its pores filled to ``bone_share``."""
        nothing = np.zeros(len(rays.body_cm))
        bone = bone_share * rays.pores_cm
        return (
            self.read(rays.body_cm, nothing, nothing, stray),
            self.read(rays.body_cm - rays.metal_cm - bone, bone, rays.metal_cm, stray),
        )


def calibrated(
    gauge: Sensitivity, rays: Rays, kvp: float, filler_hu: float, share_error: float
) -> Sensitivity:
    """``gauge`` with the contrast of bone that rays through this implant and patient have.

    The range holds another spectrum, another share of metal than designed, and what the model may miss.
    """
    seen = gauge.metal_hu
    best, left = _contrast(rays, kvp, _FILTER_MM, seen)
    others = [_contrast(rays, kvp, other, seen)[0] for other in _FILTERS_MM]
    for share in (gauge.metal_share - share_error, gauge.metal_share + share_error):
        others.append(_contrast(rays, kvp, _FILTER_MM, seen * gauge.metal_share / share)[0])
    low, high = min([best, *others]) * (1.0 - _MODEL_DOUBT), max([best, *others]) * (1.0 + _MODEL_DOUBT)
    return replace(
        gauge,
        bone_contrast_hu=best - filler_hu,
        contrast_range_hu=(low - filler_hu, high - filler_hu),
        stray_share=left,
    )


@dataclass(frozen=True)
class Local:
    """How a part of the lattice shows bone, against its core.

    Attributes
    ----------
    evenly : contrast of bone that fills all of the implant alike, as a share of the core's.
    layered : contrast of what this part has more than the core, as a share of the core's.
    stray_hu : HU by which the part grows darker when the stray signal doubles, taken at :data:`_STRAY_STEP` more.
    """

    evenly: float
    layered: float
    stray_hu: float


def local(core: Rays, part: Rays, normal: FloatArray | None, kvp: float, stray_share: float) -> Local:
    """Contrast and stray signal of a ``part`` of the lattice below a face with outward ``normal`` (3,), if any."""
    beam = Beam.of(kvp, _FILTER_MM)
    stray = stray_share * beam.median_signal(core)
    unit = beam.bone_contrast_hu(core, stray)
    evenly = beam.bone_contrast_hu(part, stray) / unit
    layer = part if normal is None else part.along_layer(normal)
    more = beam.level_hu(part, (1.0 + _STRAY_STEP) * stray)
    return Local(
        evenly,
        evenly if layer is part else beam.bone_contrast_hu(layer, stray) / unit,
        (beam.level_hu(part, stray) - more) / _STRAY_STEP,
    )


def _contrast(rays: Rays, kvp: float, filter_mm: float, metal_hu: float) -> tuple[float, float]:
    """HU of bone over water, and the stray signal (share of the median ray's) that makes metal show ``metal_hu``."""
    beam = Beam.of(kvp, filter_mm)
    unit = beam.median_signal(rays)
    low, high = 0.0, _SCATTER_MAX
    # Less metal shows the more stray signal there is; without any the model may already be too dark.
    for _ in range(30):
        middle = (low + high) / 2.0
        brighter = beam.metal_contrast_hu(rays, middle * unit) > metal_hu
        low, high = (middle, high) if brighter else (low, middle)
    left = (low + high) / 2.0
    return beam.bone_contrast_hu(rays, left * unit), left
