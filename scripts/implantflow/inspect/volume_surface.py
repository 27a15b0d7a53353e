"""The surface of a print from its CT: halfway between the grey value of air and that of solid metal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.errors import InputError
from implantflow.geometry import transform_points
from implantflow.inspect.scan import Scan, require_size
from implantflow.solids.level import level_surface
from implantflow.volumes import Volume, read_volume

#: Metal counts as solid where it reaches this far in all directions (mm): further than any strut.
_SOLID_MM = 0.7
#: Fewer solid voxels than this do not fix the grey value of metal.
_SOLID_VOXELS = 500
#: Air and metal must differ by this many times their noise.
_CONTRAST = 6.0


def read_print_ct(path: Path) -> tuple[Scan, dict[str, Any]]:
    """Iso-surface of an ingested CT of a print, and how its threshold was found.

    Returns
    -------
    scan, facts
        Surface in the CT's own frame (LPS of its headers); grey values of air, metal and threshold, voxel size.

    Raises
    ------
    InputError
        No solid metal thick enough to calibrate on, or too little contrast.
    """
    volume = read_volume(path)
    air, metal, noise = _levels(volume, str(path))
    level = (air + metal) / 2.0
    scan = _iso_surface(volume, level)
    require_size(scan, str(path))
    return scan, {
        "air_hu": air,
        "metal_hu": metal,
        "noise_hu": noise,
        "threshold_hu": level,
        "voxel_mm": volume.spacing_mm,
    }


def _levels(volume: Volume, where: str) -> tuple[float, float, float]:
    """Grey value of air, of solid metal, and the noise in the metal."""
    from scipy.ndimage import minimum_filter

    array = volume.array
    rim = np.concatenate([array[[0, -1]].ravel(), array[:, [0, -1]].ravel(), array[:, :, [0, -1]].ravel()])
    air = float(np.median(rim))
    high = float(np.percentile(array[::2, ::2, ::2], 99.9))
    core = array > (air + high) / 2.0
    reach = [max(round(_SOLID_MM / s), 1) for s in volume.spacing_mm[::-1]]
    solid = minimum_filter(core, size=[2 * r + 1 for r in reach], mode="constant", cval=False)
    values = array[solid].astype(np.float64)
    if len(values) < _SOLID_VOXELS:
        raise InputError(
            f"only {len(values)} voxels of the CT lie deep in solid metal: its grey value cannot be fixed",
            where=where,
            fix="scan with finer voxels, or inspect the surface with an optical scanner",
        )
    metal, noise = float(np.median(values)), float(values.std())
    if metal - air < _CONTRAST * max(noise, float(rim.std())):
        raise InputError(
            f"metal ({metal:.0f}) and air ({air:.0f}) are not told apart in noise of {noise:.0f}",
            where=where,
            fix="scan longer or with coarser voxels",
        )
    return air, metal, noise


def _iso_surface(volume: Volume, level: float) -> Scan:
    """Surface at a grey value, LPS of the CT, faces towards the darker side."""
    index, faces = level_surface(volume.array.astype(np.int16, copy=False), level)
    vertices = transform_points(volume.affine_lps, index)
    if _turned_inwards(volume, vertices, faces):
        faces = np.ascontiguousarray(faces[:, ::-1])
    return Scan(vertices, faces)


def _turned_inwards(volume: Volume, vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> bool:
    """Do the triangles face the brighter side? A sample of them is looked at."""
    pick = faces[:: max(len(faces) // 20_000, 1)]
    a, b, c = (vertices[pick[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    step = normal * float(volume.spacing_mm.mean())

    def grey(points: NDArray[np.float64]) -> float:
        index = np.round(transform_points(np.linalg.inv(volume.affine_lps), points)).astype(int)
        index = np.clip(index, 0, np.array(volume.array.shape[::-1]) - 1)
        return float(volume.array[index[:, 2], index[:, 1], index[:, 0]].mean())

    return grey(a + step) > grey(a - step)
