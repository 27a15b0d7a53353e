"""Shape parameters of the phantom and their spread between patients.

The nominal values are textbook-like guesses; a handful of positions (obliquity of the sacroiliac joint and of
the iliac blade at S1) were read off an axial figure of the Visible Human. No mesh, atlas or measurement of a
population went in: the phantom's variety must not be taken for that of patients.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


def _spread(value: float, sd: float) -> float:
    """A parameter with its nominal ``value`` and its standard deviation between draws."""
    return field(default=value, metadata={"sd": sd})


@dataclass(frozen=True)
class Shape:
    """One patient's shape, in the anatomy frame (mm, origin at the centre of the S1 endplate, axes as LPS)."""

    scale: float = _spread(1.0, 0.016)
    sacral_slope_deg: float = _spread(41.0, 3.0)
    sacral_length_mm: float = _spread(118.0, 3.0)
    sacral_kyphosis_deg: float = _spread(58.0, 5.0)
    si_half_width_mm: float = _spread(55.0, 0.8)
    si_gap_mm: float = _spread(2.4, 0.2)
    si_wave_mm: float = _spread(0.9, 0.15)
    endplate_half_width_mm: float = _spread(25.0, 0.9)
    endplate_half_depth_mm: float = _spread(16.0, 0.6)
    ala_volume: float = _spread(0.86, 0.04)
    canal: float = _spread(1.0, 0.06)
    foramina: float = _spread(1.0, 0.08)
    asis_half_distance_mm: float = _spread(120.0, 2.5)
    wing_thickness: float = _spread(1.0, 0.06)
    vertebral_height_mm: float = _spread(28.0, 1.0)
    disc_l5s1_mm: float = _spread(10.5, 1.0)
    disc_mm: float = _spread(11.0, 0.8)
    transverse_process_mm: float = _spread(45.0, 2.0)
    spinous_process_mm: float = _spread(31.0, 2.0)
    pedicle: float = _spread(1.0, 0.06)
    sacral_marrow_hu: float = _spread(110.0, 20.0)
    vertebral_marrow_hu: float = _spread(160.0, 20.0)
    iliac_marrow_hu: float = _spread(140.0, 18.0)
    asymmetry: float = _spread(1.0, 0.0)

    #: Draw that gave this shape; seeds noise, joint waves and left-right differences.
    seed: int = 0


def draw(seed: int, attempt: int = 0) -> Shape:
    """Draw a shape; every parameter normal about its nominal value, clipped at two standard deviations.

    ``attempt`` tells apart the candidates of one seed when earlier ones were out of range
    (:func:`implantflow.phantom.population.draw_in_range`).
    """
    rng = np.random.default_rng([seed, attempt])
    values: dict[str, float] = {}
    for item in dataclasses.fields(Shape):
        if "sd" in item.metadata:
            offset = float(np.clip(rng.standard_normal(), -2.0, 2.0))
            values[item.name] = float(item.default) + item.metadata["sd"] * offset  # type: ignore[arg-type]
    return Shape(**values, seed=seed * 1000 + attempt)


def jitter(shape: Shape, name: str, count: int, sd_mm: float) -> NDArray[np.float64]:
    """Left-right differences and the like: ``count`` values with ``sd_mm``, fixed by the draw and ``name``."""
    rng = np.random.default_rng([shape.seed, *name.encode()])
    return np.asarray(np.clip(rng.standard_normal(count), -2, 2) * sd_mm * shape.asymmetry)
