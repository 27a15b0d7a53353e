"""Do the struts lie where the pose says? A shift of half a millimetre would show as bone, or hide it."""

from __future__ import annotations

import numpy as np

from implantflow.followup.evenness import within_blocks
from implantflow.followup.ingrowth import Region, Sampled
from implantflow.followup.sampling import Smooth
from implantflow.geometry import FloatArray

#: Gauss-Newton steps, a step that ends them and the longest way, mm.
_STEPS, _DONE_MM, _MAX_MM = 8, 0.005, 1.0
#: With fewer places nothing is said; nor where the scan does not show the struts (slices of 2 mm fold them over).
_MIN_PLACES, _LEAST_CORRELATION = 100, 0.3


def strut_shift_mm(region: Region, sampled: Sampled, model: Smooth, share_max: float) -> FloatArray:
    """(3,) mm, planned axes: how far the struts lie from where the pose of the new scan puts them.

    Bone, shading and graded struts change slowly over the lattice, the single strut does not: what differs between
    neighbouring places as the design does is a shift. It checks the pose by places that it does not rest on. How HU
    rise with the share of metal is taken from the same neighbours in the baseline. Zero where the scan does not show
    the struts.
    """
    if sampled.base is None:
        raise ValueError("a shift needs a baseline")
    used = np.isfinite(sampled.now) & np.isfinite(sampled.base) & (sampled.share <= share_max)
    places, before, shift = region.places[used], sampled.share[used], np.zeros(3)
    if len(places) < _MIN_PLACES:
        return shift
    delta = sampled.now[used] - sampled.base[used]
    fine = np.column_stack([before, sampled.base[used]])
    struts, shown = within_blocks(fine, places).T
    rise = float(struts @ shown / max(struts @ struts, 1e-12))
    if rise * float(np.sqrt(struts @ struts)) < _LEAST_CORRELATION * float(np.sqrt(shown @ shown)):
        return shift
    for _ in range(_STEPS):
        share, slope = model.gradients(places - shift)
        rest = within_blocks(np.column_stack([-rise * slope, delta - rise * (share - before)]), places)
        step = np.linalg.lstsq(rest[:, :3], rest[:, 3], rcond=None)[0]
        # The struts repeat: a longer way could end at the next of them.
        shift = np.clip(shift + step, -_MAX_MM, _MAX_MM)
        if np.abs(step).max() < _DONE_MM:
            break
    return np.asarray(shift)


def shift_error_hu(places: FloatArray, model: Smooth, shift_mm: FloatArray, metal_hu: float) -> float:
    """Change of the mean HU over (N, 3) ``places`` when the struts lie ``shift_mm`` off."""
    return metal_hu * float(model.values(places - shift_mm).mean() - model.values(places).mean())
