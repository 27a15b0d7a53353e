"""The planning CT: taken after chemotherapy, so it shows the preoperative tumour in the bed of the earlier one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.phantom.grids import Field
from implantflow.phantom.parameters import Shape
from implantflow.phantom.rendering import (
    Contrast,
    TumourContrast,
    add_marrow_features,
    add_tumour,
    render,
)
from implantflow.phantom.scene import Scene
from implantflow.phantom.slabs import over_slabs
from implantflow.phantom.tissue_tables import appearance

#: Nominal density of compact bone. A cortex of 1.2 mm loses about a third of it to blur; chosen so that the
#: *measured* peak across it is near 1000 HU (tests/phantom measure it).
_CORTEX_HU = 1600.0
#: Thickness of the cortex: none, sacrum, coccyx, hips, femora, L5-L3 (order of anatomy.BONES).
_CORTEX_MM = (0.0, 1.2, 1.0, 1.3, 1.3, 1.6, 1.6, 1.15, 1.15, 1.15)
#: Standard deviation of the point spread in plane and across slices, mm (FWHM 1.3 and 1.5 mm).
_PSF_MM = (0.55, 0.55, 0.62)
#: Healed rim of bone where the tumour has drawn back, and the treated osteosarcoma with its mineral.
_BED = TumourContrast(
    mean=150.0, texture=45.0, rim=170.0, rim_mm=3.0, core=0.0, mineral=60.0, inside_bone_only=True
)
_TREATED = TumourContrast(
    mean=52.0, texture=9.0, rim=45.0, rim_mm=2.5, core=-14.0, mineral=110.0, inside_bone_only=False
)


def ct_contrast(shape: Shape) -> Contrast:
    """HU of tissues and bones of one patient."""
    sacrum, iliac, lumbar = shape.sacral_marrow_hu, shape.iliac_marrow_hu, shape.vertebral_marrow_hu
    return Contrast(
        tissue=appearance(0),
        tissue_variation=appearance(1),
        cortex=_CORTEX_HU,
        cortex_mm=np.array(_CORTEX_MM),
        marrow=np.array([0.0, sacrum, 120.0, iliac, iliac, 230.0, 230.0, lumbar, lumbar, lumbar]),
        marrow_texture=46.0,
        subchondral=190.0,
    )


def render_ct(scene: Scene, threads: int = 1) -> Field:
    """The planning anatomy (K, J, I) in HU on the scene's grid, as it is before any scanner: no blur, no noise."""
    hu = render(scene, ct_contrast(scene.patient.shape), threads)
    add_marrow_features(hu, scene, endplate=330.0, vein=-140.0, threads=threads)
    add_tumour(hu, scene, scene.tumours["diagnosis"], _BED, 11.0)
    add_tumour(hu, scene, scene.tumours["preoperative"], _TREATED, 3.0)
    return hu


def simulate_ct(
    scene: Scene, noise_hu: float, threads: int = 1, anatomy: Field | None = None
) -> NDArray[np.int16]:
    """The CT (K, J, I) int16 HU on the scene's grid: rendered, blurred by the point spread, with noise.

    ``anatomy`` is what :func:`render_ct` gives, where it is there already.
    """
    hu = render_ct(scene, threads) if anatomy is None else anatomy
    hu = blurred(hu, np.array(_PSF_MM) / scene.grid.spacing_mm, threads)
    out = np.empty(hu.shape, np.int16)
    over_slabs(lambda a, b: _digitise(hu, out, noise_hu, scene.patient.shape.seed, a, b), len(hu), threads)
    return out


def blurred(volume: Field, sigma_voxels: NDArray[np.float64], threads: int) -> Field:
    """Gaussian blur with ``sigma_voxels`` (along i, j, k), slab by slab with the slices it needs around."""
    from scipy.ndimage import gaussian_filter

    out = np.empty_like(volume)
    sigma = tuple(float(s) for s in sigma_voxels[::-1])
    halo = int(np.ceil(3 * sigma[0])) + 1

    def work(first: int, last: int) -> None:
        low, high = max(first - halo, 0), min(last + halo, len(volume))
        slab = gaussian_filter(volume[low:high], sigma, truncate=3.0, mode="nearest")
        out[first:last] = slab[first - low : last - low]

    over_slabs(work, len(volume), threads)
    return out


def _digitise(hu: Field, out: NDArray[np.int16], noise_hu: float, seed: int, first: int, last: int) -> None:
    """Add noise correlated like a reconstruction's, stronger towards the middle of the body, and round."""
    from scipy.ndimage import gaussian_filter

    n_j, n_i = hu.shape[1:]
    j, i = np.linspace(-1, 1, n_j)[:, None], np.linspace(-1, 1, n_i)[None]
    strength = noise_hu * (0.8 + 0.45 * np.exp(-(i**2 + j**2) / 0.35)).astype(np.float32)
    for k in range(first, last):
        white = np.random.default_rng([seed, 900, k]).standard_normal((n_j, n_i), dtype=np.float32)
        grain = gaussian_filter(white, 0.6, mode="wrap")
        noisy = hu[k] + strength * (grain / np.float32(grain.std()))
        out[k] = np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)
