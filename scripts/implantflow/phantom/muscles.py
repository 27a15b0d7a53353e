"""Muscles: capsules along the spine and in the pelvis, and the thickness of those that cover the hip bone."""

from __future__ import annotations

import numpy as np

from implantflow.geometry import FloatArray
from implantflow.phantom.primitives import Parts
from implantflow.phantom.tissue_tables import Tissue

#: Thickness (mm) of the gluteal layer outside the blade at (y, z), 2 mm grid from (-98, -175).
_GLUTEAL = np.array(
    [
        *((-90, 30, 0), (-90, -30, 0), (-80, -5, 3), (-76, -60, 12), (-80, -110, 16), (-75, -150, 18)),
        *((-50, 30, 0), (-22, 50, 0), (10, 52, 0), (40, 40, 0), (60, 20, 0), (75, 0, 0)),
        *((-55, 0, 13), (-50, -35, 27), (-50, -75, 30), (-50, -120, 24), (-20, 25, 9), (-20, 0, 26)),
        *((-20, -40, 36), (-20, -80, 34), (-20, -130, 30), (10, 25, 9), (10, 0, 26), (10, -40, 41)),
        *((10, -90, 45), (10, -140, 48), (40, 10, 8), (40, -20, 27), (40, -60, 44), (40, -110, 52)),
        *((62, -15, 7), (70, -40, 15), (72, -70, 30), (72, -110, 42), (72, -150, 40), (88, -60, 4)),
        *((90, -110, 10), (90, -150, 12)),
    ],
    dtype=float,
)
#: Thickness of iliacus (and obturator internus below) inside the blade.
_INNER = np.array(
    [
        *((-90, 0, 0), (-90, -80, 6), (-70, 10, 2), (-68, -20, 9), (-60, -60, 16), (-60, -110, 8)),
        *((-40, 36, 0), (-10, 42, 0), (30, 32, 0), (-40, 15, 7), (-15, 20, 8), (-40, -20, 15)),
        *((-20, -10, 14), (-20, -40, 13), (5, 10, 6), (10, -10, 0), (8, -40, 2), (30, 0, 0)),
        *((30, -40, 0), (60, -20, 0), (60, -50, 0), (40, -70, 0), (0, -80, 9), (-20, -90, 12)),
        *((10, -110, 14), (-30, -130, 12), (10, -150, 14), (45, -100, 0), (80, -110, 0)),
    ],
    dtype=float,
)


def gluteal_thickness() -> FloatArray:
    """(2, NY, NZ) maps of the layers outside and inside the blade, mm; 2 mm grid from (-98, -175)."""
    from scipy.interpolate import RBFInterpolator
    from scipy.ndimage import gaussian_filter

    y, z = np.arange(-98.0, 90.0, 2.0), np.arange(-175.0, 66.0, 2.0)
    grid = np.stack(np.meshgrid(y, z, indexing="ij"), -1).reshape(-1, 2)
    maps = []
    for rows in (_GLUTEAL, _INNER):
        values = RBFInterpolator(rows[:, :2], rows[:, 2], smoothing=1.0)(grid).reshape(len(y), len(z))
        # No muscle above the crest or before the front rim, wherever the spline goes there.
        fade = np.clip((54.0 - grid[:, 1]) / 16.0, 0, 1) * np.clip((grid[:, 0] + 84.0) / 14.0, 0, 1)
        faded = np.maximum(values, 0.0) * fade.reshape(values.shape)
        maps.append(gaussian_filter(faded, 1.5))
    return np.stack(maps)


def muscle_parts() -> list[tuple[Tissue, Parts]]:
    """Tissue and parts, in the order of painting, anatomy frame."""
    parts, ligaments = Parts(), Parts()
    for side in (1, -1):
        # Erector spinae with multifidus, psoas running to the groin, quadratus lumborum, piriformis.
        parts.capsule((side * 34, 50, 140), (side * 27, 55, -8), 31, 22, weights=(0.85, 1.15, 1))
        parts.capsule((side * 14, 58, 140), (side * 14, 66, -66), 14, 8)
        parts.capsule((side * 38, 2, 135), (side * 54, -26, 15), 17, 20)
        parts.capsule((side * 54, -26, 15), (side * 76, -52, -50), 20, 17)
        parts.capsule((side * 76, -52, -50), (side * 98, -70, -120), 17, 15)
        parts.capsule((side * 70, 28, 140), (side * 66, 24, 42), 14, 11, weights=(0.8, 1.3, 1))
        parts.capsule((side * 24, 40, -58), (side * 78, 26, -84), 8, 11, weights=(1, 1.15, 0.85))
        parts.capsule((side * 78, 26, -84), (side * 122, -4, -100), 10, 6)
        # Gluteus maximus beside sacrum and coccyx.
        parts.capsule((side * 26, 78, -62), (side * 64, 74, -128), 9, 19, weights=(0.75, 1.2, 0.9))
        parts.capsule((side * 64, 74, -128), (side * 96, 58, -160), 22, 24, weights=(0.9, 1.1, 0.9))
        # Levator ani towards the coccyx.
        parts.capsule((side * 6, 24, -122), (side * 40, -4, -140), 4, 5, weights=(1, 1, 1))
        # The interosseous ligament fills the cleft behind the sacroiliac joint.
        ligaments.capsule((side * 44, 36, -4), (side * 41, 56, -42), 10, 9, weights=(1.1, 0.9, 1))
    return [(Tissue.MUSCLE, parts), (Tissue.LIGAMENT, ligaments)]
