"""From a change of HU in a part of the lattice to the share of bone, with the interval of all that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implantflow.followup.attenuation import Sensitivity
from implantflow.followup.hardening import Local

#: Half width of a 95 % interval in standard deviations.
SURE = 1.96
#: How far the answer for a layer may be off, as a share of its distance to that for bone spread evenly (95 %).
_LAYER_DOUBT = 0.5


@dataclass(frozen=True)
class Doubts:
    """What the interval has to cover besides noise.

    Attributes
    ----------
    fluid_hu, blood_hu, fat_hu : what may fill pores without bone: fluid or blood at the baseline, later fat as well.
    drift_hu : how much two scans of one protocol may differ in HU inside metal.
    stray_drift : by which share the stray signal of two scans of one protocol may differ.
    metal_share_error : by how much the printed share of metal may differ from the designed one.
    """

    fluid_hu: float
    blood_hu: float
    fat_hu: float
    drift_hu: float
    stray_drift: float
    metal_share_error: float


@dataclass(frozen=True)
class Shown:
    """How a part of the lattice shows bone: ``local`` against the core, and what was read in the core.

    ``core_fraction`` and ``core_error`` (95 %) are shares of the pores; they do not matter where the part is seen as
    the core is.
    """

    local: Local
    core_fraction: float = 0.0
    core_error: float = 0.0

    def fraction(self, hu: float, contrast_hu: float) -> float:
        """Share of bone of a part whose HU rose by ``hu`` per full share of pores.

        As much as the core is taken to fill the whole implant, what goes beyond to lie in layers below the face.
        """
        rest = hu / contrast_hu - self.core_fraction * self.local.evenly
        return self.core_fraction + rest / self.local.layered

    def error(self, error_hu: float, hu: float, contrast_hu: float) -> float:
        """Its error (95 %) where ``hu`` is wrong by ``error_hu``; the core's error is added in full."""
        own = error_hu / (self.local.layered * contrast_hu)
        shared = self.core_error * abs(1.0 - self.local.evenly / self.local.layered)
        evenly = hu / (self.local.evenly * contrast_hu)
        layers = _LAYER_DOUBT * abs(self.fraction(hu, contrast_hu) - evenly)
        return float(np.hypot(own + shared, layers))


@dataclass(frozen=True)
class Errors:
    """95 % errors of a mean change of HU: unevenness, poses, drift of the scanner, its stray signal, struts' shift."""

    noise: float
    pose: float
    drift: float
    stray: float
    shift: float

    @property
    def all(self) -> float:
        """All of them; the struts' own displacement is no chance and is added in full."""
        chance = (self.noise, self.pose, self.drift, self.stray)
        return float(np.sqrt(sum(error**2 for error in chance))) + self.shift

    def as_json(self) -> dict[str, float]:
        """Keys for followup.json."""
        return {
            "noise": self.noise,
            "pose": self.pose,
            "drift": self.drift,
            "stray": self.stray,
            "shift": self.shift,
            "all": self.all,
        }


def share_of_bone(
    mean_hu: float, pores: float, errors: Errors, doubts: Doubts, gauge: Sensitivity, shown: Shown
) -> dict[str, Any]:
    """Share of bone for a mean change of ``mean_hu`` over places with ``pores`` of pore space.

    To the error comes the range of the sensitivity, then what fills the pores without bone: from blood to fat it
    hides bone, from fluid to blood it passes for bone.
    """
    contrast, hu = gauge.bone_contrast_hu, mean_hu / pores
    fraction = shown.fraction(hu, contrast)
    error = shown.error(errors.all / pores, hu, contrast)
    # What another contrast makes of the answer, and the errors of the reading, know nothing of each other.
    other = sorted(fraction * contrast / possible - fraction for possible in gauge.contrast_range_hu)
    low, high = fraction - float(np.hypot(error, other[0])), fraction + float(np.hypot(error, other[1]))
    hidden, passing = (
        change / (shown.local.evenly * contrast) * max(1.0 - max(bone, 0.0), 0.0)
        for change, bone in (
            (doubts.blood_hu - doubts.fat_hu, high),
            (doubts.blood_hu - doubts.fluid_hu, low),
        )
    )
    return {
        "delta_bone_fraction": fraction,
        "error_fraction": error,
        "interval": [low - passing, high + hidden],
        "interval_same_filler": [low, high],
        "filler_doubt_fraction": [passing, hidden],
        "noise_fraction": errors.noise / (pores * shown.local.layered * contrast),
        "error_hu": errors.as_json(),
    }
