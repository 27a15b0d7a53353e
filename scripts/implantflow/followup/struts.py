"""Do the struts lie where the pose says? A shift of half a millimetre would show as bone, or hide it."""

from __future__ import annotations

import numpy as np

from implantflow.followup.ingrowth import Region, Sampled
from implantflow.followup.sampling import Smooth
from implantflow.geometry import FloatArray

#: Gauss-Newton steps, a step that ends them and the longest way, mm.
_STEPS, _DONE_MM, _MAX_MM = 8, 0.005, 1.0
#: With fewer places nothing is said.
_MIN_PLACES = 100


def strut_shift_mm(region: Region, sampled: Sampled, model: Smooth, share_max: float) -> FloatArray:
    """(3,) mm, planned axes: how far the struts lie from where the pose of the new scan puts them.

    Bone changes slowly over the lattice, struts do not: what differs between the scans as the design does between two
    places is a shift. It checks the pose by places that it does not rest on. How HU rise with the share of metal is
    taken from the same places of the baseline.
    """
    if sampled.base is None:
        raise ValueError("a shift needs a baseline")
    used = np.isfinite(sampled.now) & np.isfinite(sampled.base) & (sampled.share <= share_max)
    places, before, shift = region.places[used], sampled.share[used], np.zeros(3)
    if len(places) < _MIN_PLACES:
        return shift
    delta = sampled.now[used] - sampled.base[used]
    rise = float(np.polyfit(before, sampled.base[used], 1)[0])
    if rise <= 0.0:
        return shift
    for _ in range(_STEPS):
        share, slope = model.gradients(places - shift)
        columns = np.column_stack([-rise * slope, np.ones(len(places))])
        step = np.linalg.lstsq(columns, delta - rise * (share - before), rcond=None)[0][:3]
        # The struts repeat: a longer way could end at the next of them.
        shift = np.clip(shift + step, -_MAX_MM, _MAX_MM)
        if np.abs(step).max() < _DONE_MM:
            break
    return np.asarray(shift)


def shift_error_hu(places: FloatArray, model: Smooth, shift_mm: FloatArray, metal_hu: float) -> float:
    """Change of the mean HU over (N, 3) ``places`` when the struts lie ``shift_mm`` off."""
    return metal_hu * float(model.values(places - shift_mm).mean() - model.values(places).mean())
