"""What is usually done instead, for the same table: linear mixing of materials, and a threshold beside the metal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.followup.profile import STEPS_MM, Profiles
from implantflow.geometry import FloatArray

#: HU of Ti-6Al-4V and of cortical bone at 70 keV, the effective energy commonly taken for 120 kVp (NIST tables:
#: log-interpolated; 4.43 and 1.92 g/cm3).
METAL_HU, CORTEX_HU = 11078.0, 1594.0
FLUID_HU = 25.0
#: From here on a profile is beyond what one voxel of metal hides, mm; bone from this HU on.
_FROM_MM, _BONE_HU = 0.75, 226.0


def mixed(hu: FloatArray, metal_share: FloatArray) -> float:
    """Share of the pores that is bone, from one scan, by linear mixing of metal, bone and fluid."""
    pores = 1.0 - metal_share
    rest = hu - metal_share * METAL_HU - pores * FLUID_HU
    return float(np.nansum(rest) / np.nansum(np.where(np.isfinite(hu), pores, 0.0)) / (CORTEX_HU - FLUID_HU))


def difference(now: FloatArray, base: FloatArray, metal_share: FloatArray) -> float:
    """The same from the difference of two scans over all places."""
    pores = 1.0 - float(metal_share.mean())
    return float(np.nanmean(now - base)) / (pores * (CORTEX_HU - FLUID_HU))


def width(profiles: Profiles) -> FloatArray:
    """(P,) width of what lies below bone's HU beside the metal, mm; 0: bone right from where metal stops hiding it."""
    beyond = STEPS_MM >= _FROM_MM
    with np.errstate(invalid="ignore"):
        bone: NDArray[np.bool_] = profiles.hu[:, beyond] >= _BONE_HU
    first = np.where(bone.any(axis=1), bone.argmax(axis=1), bone.shape[1] - 1)
    at = STEPS_MM[beyond][first]
    return np.asarray(np.where(bone[:, 0], 0.0, at), dtype=np.float64)
