"""Errors of planes, registrations, label maps and surfaces against their truth, in mm, degrees and Dice."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.geometry import Plane, transform_points
from implantflow.volumes import Volume

#: Places on a surface that are measured.
_PLACES = 3_000


def plane_error(found: Plane, truth: Plane, over_mm: ArrayLike) -> dict[str, float]:
    """How far a plane is from the true one, seen over the place it is used at.

    Parameters
    ----------
    over_mm : (N, 3) points of the anatomy that the plane divides, patient LPS mm.

    Returns
    -------
    dict
        ``angle_deg`` between the planes (their sides do not count), ``offset_mm``: distance of the found plane's
        point from the true plane, ``max_mm``: largest difference of the two signed distances over ``over_mm``.
    """
    points = np.asarray(over_mm, dtype=np.float64)
    cosine = float(np.dot(found.normal, truth.normal))
    sign = 1.0 if cosine >= 0 else -1.0
    difference = sign * found.distance(points) - truth.distance(points)
    return {
        "angle_deg": float(np.degrees(np.arccos(np.clip(abs(cosine), 0.0, 1.0)))),
        "offset_mm": abs(float(truth.distance([found.point])[0])),
        "max_mm": float(np.abs(difference).max()),
    }


def registration_error(found: ArrayLike, truth: ArrayLike, centre_mm: ArrayLike, size_mm: float) -> float:
    """Largest target registration error in mm over the corners of a box around the tumour.

    Parameters
    ----------
    found, truth : (4, 4) rigid maps from the series to the planning CT.
    centre_mm : (3,) middle of the box, patient LPS of the CT.
    size_mm : edge of the box.
    """
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * size_mm + np.asarray(centre_mm)
    in_series = transform_points(np.linalg.inv(np.asarray(truth, dtype=np.float64)), corners)
    return float(np.linalg.norm(transform_points(found, in_series) - corners, axis=1).max())


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float | None:
    """Dice coefficient of two masks on one grid; None when both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2.0 * int((found & truth).sum()) / total if total else None


def on_grid(volume: Volume, target: Volume) -> NDArray[Any]:
    """``volume`` (labels) at the voxel centres of ``target``, nearest neighbour; 0 outside.

    Both grids must run along the patient's axes or be the same; slices are looked up one by one, so memory
    stays that of one slice.
    """
    same = volume.array.shape == target.array.shape
    if same and np.allclose(volume.affine_lps, target.affine_lps, atol=1e-3):
        return volume.array
    out = np.zeros(target.array.shape, volume.array.dtype)
    matrix = np.linalg.inv(volume.affine_lps) @ target.affine_lps
    rows, columns = np.indices(target.array.shape[1:])
    size = np.array(volume.array.shape[::-1])
    for k in range(len(out)):
        place = np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, k)], axis=1)
        index = np.rint(transform_points(matrix, place)).astype(int)
        inside = ((index >= 0) & (index < size)).all(axis=1)
        i, j, s = index[inside].T
        out[k].reshape(-1)[inside] = volume.array[s, j, i]
    return out


def surface_distances(found: Path, truth: Path) -> dict[str, float]:
    """Mean and 95th percentile in mm of the distances between two closed surfaces, both ways."""
    from implantflow.solids.distance import Surface
    from implantflow.solids.mesh import even_points, read_solid

    a, b = read_solid(found, "result"), read_solid(truth, "truth")
    distances = np.concatenate(
        [
            Surface(to).nearest(even_points(of, _PLACES), signed=False).distance_mm
            for to, of in ((b, a), (a, b))
        ]
    )
    return {"mean_mm": float(distances.mean()), "p95_mm": float(np.percentile(distances, 95.0))}
