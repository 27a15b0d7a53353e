"""From Hounsfield units to the two basis materials and back to what a mixture would show."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from implantflow.geometry import FloatArray
from implantflow.phantom.followup.spectrum import Physics

#: HU up to which a voxel is soft tissue (water of another density) without mineral.
SOFT_HU = 100.0


def basis_of_hu(hu: ArrayLike, physics: Physics) -> FloatArray:
    """Basis densities (..., 2), water and titanium, of tissue that shows ``hu``.

    Up to :data:`SOFT_HU` water of another density; above it mineral is added, in proportion to solid cortical bone.
    """
    values = np.asarray(hu, dtype=np.float64)
    bone = np.maximum(values - SOFT_HU, 0.0) / (physics.bone_hu - SOFT_HU)
    soft = np.maximum(1.0 + np.minimum(values, SOFT_HU) / 1000.0, 0.0) * (1.0 - bone)
    return np.stack([soft + bone * physics.bone_water, bone * physics.bone_titanium], axis=-1)
