"""Gd-enhanced T1-weighted MR: thick oblique slices, another pose, a bias field and Rician noise.

Signals are arbitrary units: fat 250, muscle 105, compact bone dark, tumour brighter than fat with a brighter rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray, invert_rigid, transform_points
from implantflow.phantom.ct import blurred
from implantflow.phantom.grids import Field
from implantflow.phantom.poses import rigid
from implantflow.phantom.rendering import (
    Contrast,
    TumourContrast,
    add_marrow_features,
    add_tumour,
    render,
)
from implantflow.phantom.resample import thick_slices
from implantflow.phantom.scene import Scene
from implantflow.phantom.tissue_tables import appearance

_FAT = 250.0
#: Viable tumour enhances all over, most at its rim; after chemotherapy less, with a dead core.
_TUMOUR = {
    "diagnosis": TumourContrast(
        mean=345.0, texture=22.0, rim=75.0, rim_mm=4.0, core=-70.0, mineral=-40.0, inside_bone_only=False
    ),
    "preoperative": TumourContrast(
        mean=320.0, texture=22.0, rim=80.0, rim_mm=3.5, core=-110.0, mineral=-70.0, inside_bone_only=False
    ),
}
#: Scar and sclerosis where the tumour has drawn back: dark.
_BED = TumourContrast(
    mean=125.0, texture=14.0, rim=-25.0, rim_mm=2.5, core=0.0, mineral=-20.0, inside_bone_only=True
)
#: Slices are tilted about the left-right axis towards the sacral endplate (degrees), as planned on a localizer.
_SLICE_TILT_DEG = 12.0
#: The stack is centred here (anatomy frame): S2.
_CENTRE_MM = (0.0, -4.0, -32.0)
#: Field of view, columns and rows, mm.
_FIELD_OF_VIEW_MM = (345.6, 259.2)


@dataclass(frozen=True)
class MagneticResonance:
    """One MR series: (K, J, I) uint16 signal, its affine to its own patient LPS, and the pose truth."""

    signal: NDArray[np.uint16]
    affine_lps: FloatArray
    ct_from_mr: FloatArray


def mr_contrast() -> Contrast:
    """Signals of tissues and bones: fatty marrow bright, compact bone dark."""
    return Contrast(
        tissue=appearance(2),
        tissue_variation=appearance(3),
        cortex=14.0,
        cortex_mm=np.array([0.0, 1.2, 1.0, 1.3, 1.3, 1.6, 1.6, 1.15, 1.15, 1.15]),
        marrow=np.array([0.0, 178.0, 180.0, 172.0, 172.0, 215.0, 215.0, 160.0, 160.0, 160.0]),
        marrow_texture=9.0,
        subchondral=-45.0,
    )


def mr_background(scene: Scene, threads: int = 1) -> Field:
    """Noise-free signal (K, J, I) of ``scene`` on its own grid without tumour; both time points share it."""
    signal = render(scene, mr_contrast(), threads)
    add_marrow_features(signal, scene, endplate=-70.0, vein=70.0, threads=threads)
    return signal


def simulate_mr(
    scene: Scene,
    background: Field,
    timepoint: str,
    mr_rigid: FloatArray,
    spacing_mm: tuple[float, float, float],
    slices: int,
    noise_percent: float,
    threads: int = 1,
) -> MagneticResonance:
    """One MR of ``scene``.

    Parameters
    ----------
    background : (K, J, I) float32
        From :func:`mr_background`; not changed.
    timepoint : ``diagnosis`` or ``preoperative``: which state of the tumour is shown.
    mr_rigid : (4, 4) pose of the anatomy frame in the MR's patient LPS (see ``Pose.rigid``).
    spacing_mm : voxel size along columns, rows and slices.
    noise_percent : Rician noise in percent of the signal of fat.
    """
    signal = background.copy()
    if timepoint == "preoperative":
        add_tumour(signal, scene, scene.tumours["diagnosis"], _BED, 11.0)
    add_tumour(signal, scene, scene.tumours[timepoint], _TUMOUR[timepoint], 3.0)
    grid_spacing = scene.grid.spacing_mm
    in_plane = np.array([0.45 * spacing_mm[0], 0.45 * spacing_mm[1], 0.0]) / grid_spacing
    signal = blurred(signal, np.maximum(in_plane, 1e-3), threads)
    shape, affine = _stack(scene, mr_rigid, spacing_mm, slices)
    ct_from_mr = scene.pose.rigid @ invert_rigid(mr_rigid)
    matrix = np.linalg.inv(scene.grid.affine) @ ct_from_mr @ affine
    sampled = thick_slices(signal, matrix, shape, threads)
    seed = [scene.patient.shape.seed, *timepoint.encode()]
    return MagneticResonance(_measured(sampled, noise_percent, seed), affine, ct_from_mr)


def _stack(
    scene: Scene, mr_rigid: FloatArray, spacing_mm: tuple[float, float, float], slices: int
) -> tuple[tuple[int, int, int], FloatArray]:
    """Shape (K, J, I) and affine of the oblique stack in the MR's patient LPS."""
    columns, rows = (round(f / s) for f, s in zip(_FIELD_OF_VIEW_MM, spacing_mm[:2], strict=True))
    axes = rigid((_SLICE_TILT_DEG, 0, 0), (0, 0, 0))[:3, :3]
    pose = mr_rigid @ np.diag([scene.pose.scale] * 3 + [1.0])
    centre = transform_points(pose, np.array([_CENTRE_MM]))[0]
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(spacing_mm)
    affine[:3, 3] = centre - affine[:3, :3] @ (np.array([columns, rows, slices]) - 1) / 2
    return (slices, rows, columns), affine


def _measured(signal: Field, noise_percent: float, seed: list[int]) -> NDArray[np.uint16]:
    """Multiply by the coils' smooth bias field, add Rician noise, round."""
    rng = np.random.default_rng(seed)
    k, j, i = (np.linspace(-1, 1, n, dtype=np.float32) for n in signal.shape)
    a = rng.uniform(-1, 1, 6).astype(np.float32)
    exponent = (
        (0.12 * a[0] * i + 0.10 * i**2 * (1 + 0.4 * a[1]))[None, None, :]
        + (0.14 * a[2] * j + 0.14 * j**2)[None, :, None]
        + (0.10 * a[3] * k - 0.10 * k**2)[:, None, None]
        + 0.08 * a[4] * (j[:, None] * i[None])[None]
    )
    biased = signal * np.exp(exponent)
    out = np.empty(signal.shape, np.uint16)
    sigma = np.float32(_FAT * noise_percent / 100)
    for n in range(len(signal)):
        pair = np.random.default_rng([*seed, n]).standard_normal((2, *signal.shape[1:]), dtype=np.float32)
        magnitude = np.hypot(biased[n] + sigma * pair[0], sigma * pair[1])
        out[n] = np.clip(np.rint(magnitude), 0, 4095).astype(np.uint16)
    return out
