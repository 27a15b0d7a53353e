"""How much metal a scan holds, and how far from it the image is disturbed.

Disturbed is soft tissue whose grey values scatter from pixel to pixel more than in tissue far from all metal. The
measure sees streaks and their noise; a smooth shading (beam hardening) that changes over centimetres it does not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.volumes import Volume

#: Air and fat end below, bone begins above, HU: what is looked at is tissue in between.
_SOFT_HU = (-250.0, 250.0)
#: Distances from the metal are taken in steps of this, mm, at least one voxel.
_STEP_MM = 4.0
#: Tissue as far as this from metal is taken as undisturbed, mm; fewer voxels than the second say nothing.
_FAR_MM, _LEAST_VOXELS = 80.0, 500
#: Scatter above the undisturbed one by this factor is a disturbance.
_FACTOR = 1.25
#: Pieces smaller than this are noise at the scanner's ceiling or calcification, mm3.
_LEAST_MM3 = 100.0
#: From the median absolute deviation to the standard deviation of a normal distribution.
_TO_SD = 1.4826


def metal_in(volume: Volume, metal_hu: float) -> NDArray[np.bool_]:
    """(K, J, I) True in every piece of metal of at least :data:`_LEAST_MM3`."""
    from scipy import ndimage

    labels, count = ndimage.label(volume.array >= metal_hu)
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, np.arange(count + 1)) * volume.voxel_volume_mm3
    large = sizes >= _LEAST_MM3
    large[0] = False
    return np.asarray(large[labels])


def artefact(volume: Volume, metal_hu: float) -> dict[str, Any]:
    """Figures for followup.json: volume and pieces of metal, and how far from it soft tissue is disturbed.

    Parameters
    ----------
    volume : HU, any frame.
    metal_hu : from here on a voxel is metal.

    Returns
    -------
    dict
        ``volume_mm3``, ``pieces``, ``reach_mm`` (None with a ``reason`` where it cannot be determined), and
        ``profile``: scatter (HU) of soft tissue by distance (mm).
    """
    from scipy import ndimage

    metal = metal_in(volume, metal_hu)
    found: dict[str, Any] = {
        "volume_mm3": float(metal.sum() * volume.voxel_volume_mm3),
        "pieces": int(ndimage.label(metal)[1]),
        "reach_mm": None,
        "reason": None,
        "meaning": f"distance up to which soft tissue scatters more than {_FACTOR:g} times as much as {_FAR_MM:g} mm "
        "from metal",
        "profile": [],
    }
    if not metal.any():
        return found | {"reason": "no metal in the scan"}
    way = ndimage.distance_transform_edt(~metal, sampling=volume.spacing_mm[::-1])
    hu = volume.array.astype(np.float32)
    soft = ndimage.binary_erosion((hu > _SOFT_HU[0]) & (hu < _SOFT_HU[1]), np.ones((1, 3, 3)))
    fine = hu - ndimage.uniform_filter(hu, size=(1, 5, 5))
    far = fine[soft & (way >= _FAR_MM)]
    if len(far) < _LEAST_VOXELS:
        return found | {"reason": f"too little soft tissue {_FAR_MM:g} mm from the metal to compare with"}
    quiet, step = _scatter(far), max(_STEP_MM, float(volume.spacing_mm.max()))
    for low in np.arange(0.0, _FAR_MM, step):
        ring = fine[soft & (way >= low) & (way < low + step)]
        if len(ring) >= _LEAST_VOXELS // 10:
            found["profile"].append([float(low), float(low + step), _scatter(ring)])
    disturbed = [high for _, high, scatter in found["profile"] if scatter > _FACTOR * quiet]
    return found | {"reach_mm": max(disturbed, default=0.0), "quiet_hu": quiet}


def _scatter(values: NDArray[np.float32]) -> float:
    return float(_TO_SD * np.median(np.abs(values - np.median(values))))
