"""What else than a gap or bone moves a profile: the covariance of its departures from tissue as it is.

Noise and streaks are learnt beside the free surface (:mod:`bloom`). Five more things move whole profiles, each with a
shape that is known and a size that is not: the metal's brightness, its edge's place and width, the shading that the
baseline showed, and the host's own density and place. Each is one term, shape times shape. Their sizes are those that
made what was left of 2,200 profiles of known tissue most likely (development half of the simulated scans, two
patients; fits to either patient, protocol or face differ by less than half). Without the metal's three terms 22 of 158
gaps above their limit were missed there, with them 3 of 142.
"""

from __future__ import annotations

import numpy as np

from implantflow.followup.profile import STEPS_MM
from implantflow.followup.rigid import MAD_TO_SD
from implantflow.geometry import FloatArray

#: What was taken off as the metal's may be wrong by this share; its edge by this way, mm, and this share of its width.
_BRIGHTNESS, _EDGE_MM, _WIDTH = 0.08, 0.035, 0.05
#: The shading that the baseline shows beside the metal repeats but for this share of it, and for this much more per mm
#: that the implant has moved in the bone, alike over this distance, mm: a dark band is stronger or weaker as a whole,
#: and a little out of place.
_SHADING, _SHADING_PER_MM, _BAND_MM = 0.4, 0.1, 60.0
#: The host's density against the planning CT (share), its place (mm): other sharpness of the two scans, error of the
#: pelvis' pose, slow remodelling, and that bone next to metal shows less of its density than bone in a body.
_DENSITY, _PLACE_MM = 0.2, 0.2
#: From here on no gap or remodelling is expected; over this distance streaks are alike, mm. Against a baseline the
#: terms above hold all but this share of what is missed there.
_FAR_MM, _ALIKE_MM, _FAR_COMPARED = 4.5, 3.0, 0.25

_APART_MM = np.abs(STEPS_MM[:, None] - STEPS_MM[None])


def departures(
    learnt: FloatArray,
    seen: FloatArray,
    level: FloatArray,
    metal_hu: FloatArray,
    shading: FloatArray | None,
    moved_mm: float,
) -> FloatArray:
    """(P, S, S) HU2 for each profile.

    Parameters
    ----------
    learnt : (S, S) HU2 beside the free surface.
    seen : (P, S) HU, the tissue, less the baseline's shading. level : (P, S) HU of the host as if it reached the metal.
    metal_hu : (P, S) HU taken off as the metal's.
    shading : (P, S) HU that the baseline showed and tissue does not explain; None where the scan is read alone.
    moved_mm : how far the implant has moved in the bone since the baseline.
    """
    slope = np.gradient(metal_hu, STEPS_MM, axis=1)
    host = _known(level)
    shapes = [
        _BRIGHTNESS * metal_hu,
        _EDGE_MM * slope,
        _WIDTH * STEPS_MM * slope,
        _DENSITY * host,
        _PLACE_MM * np.gradient(host, STEPS_MM, axis=1),
    ]
    modes = np.stack(shapes, axis=1)
    shaped = np.einsum("pms,pmt->pst", modes, modes)
    far = _far(seen, level)
    if shading is None:
        return np.asarray(learnt + far + shaped)
    band = np.hypot(_SHADING, _SHADING_PER_MM * moved_mm) * _known(shading)
    shaped += band[:, :, None] * band[:, None, :] * np.exp(-_APART_MM / _BAND_MM)
    return np.asarray(learnt + _FAR_COMPARED**2 * far + shaped)


def _known(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, 0.0)


def _far(seen: FloatArray, level: FloatArray) -> FloatArray:
    """(S, S) HU2: how the patches of this face miss the planned host where no gap reaches any more.

    Streaks differ from face to face; this is what they do here.
    """
    beyond = STEPS_MM >= _FAR_MM
    rest = (seen - level)[:, beyond]
    rest = rest[np.isfinite(rest)]
    size = MAD_TO_SD * float(np.median(np.abs(rest))) if len(rest) else 0.0
    return np.asarray(size**2 * np.exp(-_APART_MM / _ALIKE_MM))
